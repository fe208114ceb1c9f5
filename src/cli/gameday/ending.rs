//! How game days end: the rows of their report, their lines in the journal, what is said of each.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::cli::tool::{Found, Tool};
use crate::contract::rfc3339;
use crate::load::gameday::journal::{self, Entry};
use crate::load::gameday::run::Played;
use crate::load::gameday::server::BoardError;
use crate::load::gameday::verdict;
use crate::slo::policy::{Owners, Policy as _};
use crate::slo::verdict::Circumstance;

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Notes what was played in the journal, and ends the tool with its report.
pub(super) fn end(tool: Tool, played: &[Played], error: Option<BoardError>) -> ExitCode {
    let owners = match tool.policy::<Owners>(Owners::FILE) {
        Ok(owners) => owners,
        Err(code) => return code,
    };
    let base_url = tool.common.base_url.clone();
    let mut checks: Vec<_> =
        played.iter().flat_map(|each| verdict::checks(each, &owners)).collect();
    checks.sort_by_key(|check| check.verdict.order());
    let mut beside: Vec<_> = played.iter().flat_map(verdict::beside).collect();
    let mut reasons: Vec<_> = played.iter().filter_map(reason).collect();
    if let Some(error) = error {
        beside.push(match error {
            BoardError::Unauthorized | BoardError::Refused(_) => Circumstance::Misused,
            BoardError::NoBoard | BoardError::Unreachable(_) => Circumstance::Unreachable,
        });
        reasons.push(error.to_string());
    }
    let unverified = played.iter().filter(|each| each.day.revert_verified == Some(false));
    let by_hand = |each: &Played| verdict::by_hand(&base_url, each.lease.as_deref());
    let next: Vec<_> = unverified.flat_map(by_hand).collect();
    let at = rfc3339(millis(tool.now()));
    let noted =
        played.iter().try_for_each(|each| journal::note(&tool.common.out, &entry(&at, each)));
    reasons.extend(noted.err().map(|error| format!("the journal cannot be written: {error}")));
    say(played, &next, tool.common.quiet);
    let days: Vec<_> = played.iter().map(verdict::details).collect();
    let details = Some(json!({ "gameDays": days }));
    tool.end(Found { checks, beside, reasons, next, details, ..Found::default() })
}

/// Why a game day shows nothing, in a sentence.
fn reason(played: &Played) -> Option<String> {
    let (day, id) = (&played.day, &played.day.plan().id);
    if day.revert_verified == Some(false) {
        return Some(format!("{id}: the fault was not seen to be taken back"));
    }
    if let Some(why) = &day.unsteady {
        return Some(format!("{id}: {why}"));
    }
    day.aborted.as_ref().map(|why| format!("{id}: aborted, {why:?}"))
}

fn entry(at: &str, played: &Played) -> Entry {
    let plan = played.day.plan();
    let runbook = verdict::runbook_of(&plan.fault).unwrap_or_default();
    Entry {
        at: at.to_owned(),
        id: plan.id.clone(),
        fault: plan.fault.clone(),
        score: verdict::word(played.day.score()).to_owned(),
        runbook: runbook.trim_start_matches("RUNBOOK.md#").to_owned(),
    }
}

#[expect(clippy::print_stderr, reason = "whoever ran the command reads how each ended")]
fn say(played: &[Played], next: &[String], quiet: bool) {
    let span = |span: Option<Duration>| {
        span.map_or("never".to_owned(), |span| format!("after {:.0} s", span.as_secs_f64()))
    };
    for day in played.iter().filter(|_| !quiet).map(|each| &each.day) {
        let (score, id) = (verdict::word(day.score()), &day.plan().id);
        let (detected, recovered) = (span(day.detected), span(day.recovered));
        let (hurt, witness) = (day.hurt, day.witness());
        eprintln!(
            "{score} {id}: detected {detected}, recovered {recovered}, {hurt} requests hurt, \
             witness {witness}"
        );
    }
    for command in next {
        eprintln!("revert by hand: {command}");
    }
}
