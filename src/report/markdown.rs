//! A report as Markdown, for a pull request or an incident's notes.

use std::fmt::Write as _;

use super::{held, human, owner, worst_first};
use crate::slo::report::Report;

/// The page.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let verdict = report.verdict;
    let _ =
        writeln!(out, "# {} {}: {}\n", human::mark(verdict), report.kind.word(), verdict.word());
    let _ = writeln!(out, "{}\n", escaped(&human::verdict_line(report)));
    let _ = writeln!(
        out,
        "{} to {} (UTC) against {}\n",
        report.started_at,
        report.ended_at,
        escaped(&report.target.base_url)
    );
    for reason in &report.reasons {
        let _ = writeln!(out, "- {}", escaped(reason));
    }
    if !report.reasons.is_empty() {
        out.push('\n');
    }
    checks(&mut out, report);
    scenarios(&mut out, report);
    for next in &report.next {
        let _ = writeln!(out, "    {next}");
    }
    out
}

fn checks(out: &mut String, report: &Report) {
    if report.checks.is_empty() {
        return;
    }
    out.push_str("| verdict | check | observed | bad/total | burn | owner | runbook | why |\n");
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in worst_first(report) {
        let burn = row.burn.map_or("–".to_owned(), |burn| format!("{burn:.2}"));
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {}/{} | {burn} | {} | {} | {} |",
            row.verdict.marked(),
            code(&row.id),
            escaped(&held(row)),
            row.bad,
            row.total,
            escaped(&owner(row)),
            escaped(row.runbook.as_deref().unwrap_or("–")),
            escaped(&row.why)
        );
    }
    out.push('\n');
}

fn scenarios(out: &mut String, report: &Report) {
    if report.scenarios.is_empty() {
        return;
    }
    out.push_str("| scenario | latency, ms | p50 | p95 | p99 | p99.9 | max |\n");
    out.push_str("|---|---|---|---|---|---|---|\n");
    for scenario in &report.scenarios {
        let latency = &scenario.latency_ms;
        for (word, of) in [("corrected", &latency.corrected), ("service", &latency.service)] {
            let _ = writeln!(
                out,
                "| {} | {word} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
                escaped(&scenario.id),
                of.p50,
                of.p95,
                of.p99,
                of.p999,
                of.max
            );
        }
    }
    out.push('\n');
}

/// Text within backticks, where nothing but a bar can be escaped.
pub(super) fn code(text: &str) -> String {
    text.replace('`', "'").replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// Text that can neither end its cell nor be markup.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' => out.extend(['\\', letter]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
