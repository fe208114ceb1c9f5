//! JUnit, for every CI: one testcase a check. What has no data or no validity is an error, never
//! skipped: a pipeline must not read it as green.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{held, owner};
use crate::slo::report::{Check, Report};
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// The document.
pub fn text(report: &Report) -> String {
    let mut suite = TestSuite::new(report.kind.word());
    for row in &report.checks {
        suite.add_test_case(case(row));
    }
    if let Some(error) = run(report) {
        suite.add_test_case(error);
    }
    let mut junit = Junit::new("sendcat");
    junit.add_test_suite(suite);
    junit.to_string().expect("memory takes every byte")
}

fn case(row: &Check) -> TestCase {
    let failed = |kind, word: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        let page = row.runbook.as_deref().unwrap_or("no page");
        status.set_type(word).set_message(row.why.clone());
        status.set_description(format!("{}; owner {}; {page}", held(row), owner(row)));
        status
    };
    let status = match row.verdict {
        CheckVerdict::Pass | CheckVerdict::PassUnproven | CheckVerdict::Warn => {
            TestCaseStatus::success()
        }
        CheckVerdict::Fail => failed(NonSuccessKind::Failure, "fail"),
        CheckVerdict::NoData => failed(NonSuccessKind::Error, "no_data"),
        CheckVerdict::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(row.why.clone());
            status
        }
    };
    let mut case = TestCase::new(row.id.clone(), status);
    case.set_classname(if row.scenario.is_empty() { "sendcat" } else { row.scenario.as_str() });
    if matches!(row.verdict, CheckVerdict::PassUnproven | CheckVerdict::Warn) {
        case.set_system_out(format!("{}: {}", row.verdict.marked(), row.why));
    }
    case
}

/// The run itself, where it ended without a word on the server.
fn run(report: &Report) -> Option<TestCase> {
    let kind = match report.verdict {
        RunVerdict::Pass | RunVerdict::Fail => return None,
        RunVerdict::Inconclusive | RunVerdict::Invalid | RunVerdict::Aborted => {
            NonSuccessKind::Error
        }
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(report.verdict.word());
    status.set_message(match report.reasons.is_empty() {
        true => super::human::verdict_line(report),
        false => report.reasons.join("; "),
    });
    let mut case = TestCase::new(format!("{}.run", report.kind.word()), status);
    case.set_classname("sendcat");
    Some(case)
}
