//! Renderings of a report: the same report always renders the same (OPERATIONS.md §3, §8).
//!
//! Pure: text in, text out; no clock, no file, no network. Rows stand with the failing first in
//! every form, and a mark and a word say what a colour says.

pub mod dashboard;
pub mod details;
pub mod explain;
pub mod html;
pub mod human;
pub mod junit;
pub mod markdown;
pub mod prometheus;
mod svg;

use crate::slo::report::{Check, Report};

/// The rows in the order of every rendering: failing first, then what could not be judged.
fn worst_first(report: &Report) -> Vec<&Check> {
    let mut rows: Vec<_> = report.checks.iter().collect();
    rows.sort_by_key(|row| row.verdict.order());
    rows
}

/// A value of a row in the unit of its indicator: a share in percent, else a plain number.
fn value(row: &Check, value: f64) -> String {
    // A burn rate counts budgets, a percentile's effect milliseconds, a verdict rows.
    let counts = row.id.starts_with("burn.")
        || matches!(row.sli.as_str(), "p50" | "p95" | "p99" | "p995" | "verdict");
    let is_share = row.total > 0 && !counts && (0.0..=1.0).contains(&row.threshold);
    if is_share && (-1.0..=1.0).contains(&value) { percent(value) } else { number(value) }
}

/// A share as people read it.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent >= 10.0 { 1 } else { 2 };
    format!("{percent:.digits$} %")
}

/// A number with as many digits as tell something.
fn number(value: f64) -> String {
    match value.abs() {
        size if value.fract() == 0.0 && size < 1e15 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

/// Who answers for a row, or that nobody is named.
fn owner(row: &Check) -> String {
    let (team, contact) = (&row.owner.team, &row.owner.contact);
    match (team.is_empty(), contact.is_empty()) {
        (true, _) => "nobody named".to_owned(),
        (false, true) => team.clone(),
        (false, false) => format!("{team} {contact}"),
    }
}

/// What was observed, the operator and the threshold.
fn held(row: &Check) -> String {
    let observed = row.observed.map_or("no data".to_owned(), |seen| value(row, seen));
    format!("{observed} {} {}", row.op, value(row, row.threshold))
}
