//! A report for whoever ran the tool: the verdict, the rows at 80 columns, whom to call, what to
//! type next.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use super::{held, owner, worst_first};
use crate::slo::report::{Check, Report};
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// Columns of a terminal that nobody has widened.
pub const COLUMNS: u16 = 80;

/// Whether words may be coloured; the marks stand in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours around marked words.
    On,
    /// Plain text.
    Off,
}

/// The whole text that a tool ends with. `files` are what it wrote.
pub fn text(report: &Report, files: &[String], colour: Colour) -> String {
    let mut out = scenarios(report);
    let rows = worst_first(report);
    if !rows.is_empty() {
        let _ = writeln!(out, "{}", table(&rows));
    }
    for row in rows.iter().filter(|row| worth_a_word(row.verdict)) {
        told(&mut out, row);
    }
    for reason in &report.reasons {
        let _ = writeln!(out, "! {reason}");
    }
    for file in files {
        let _ = writeln!(out, "wrote {file}");
    }
    for next in &report.next {
        let _ = writeln!(out, "next  {next}");
    }
    let _ = writeln!(out, "{}", verdict_line(report));
    match colour {
        Colour::On => coloured(&out),
        Colour::Off => out,
    }
}

/// The verdict and the counts behind it in one line.
pub fn verdict_line(report: &Report) -> String {
    let count = |verdict| report.checks.iter().filter(|row| row.verdict == verdict).count();
    let counts: Vec<_> = [
        (count(CheckVerdict::Fail), "failed"),
        (count(CheckVerdict::NoData), "without data"),
        (count(CheckVerdict::Warn), "warned"),
        (count(CheckVerdict::PassUnproven), "unproven"),
        (count(CheckVerdict::Skipped), "skipped"),
        (count(CheckVerdict::Pass), "passed"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    let counts = if counts.is_empty() { "nothing was judged".into() } else { counts.join(", ") };
    let (mark, word) = (mark(report.verdict), report.verdict.word());
    format!("{mark} {word} {}: {counts} (exit {})", report.kind.word(), report.exit_code)
}

/// A mark beside the word.
pub fn mark(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Pass => "✓",
        RunVerdict::Fail | RunVerdict::Aborted => "✗",
        RunVerdict::Inconclusive => "?",
        RunVerdict::Invalid => "!",
    }
}

fn worth_a_word(verdict: CheckVerdict) -> bool {
    !matches!(verdict, CheckVerdict::Pass | CheckVerdict::Skipped)
}

fn table(rows: &[&Check]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(COLUMNS);
    table.set_header(["verdict", "check", "observed", "bad/total"]);
    for row in rows {
        let counts = format!("{}/{}", row.bad, row.total);
        table.add_row([row.verdict.marked(), &row.id, &held(row), &counts]);
    }
    table
}

/// What a row that is no pass says, whom to call and where to read.
fn told(out: &mut String, row: &Check) {
    let page = row.runbook.as_deref().unwrap_or("no page of the runbook");
    let _ = writeln!(out, "{} {}", row.verdict.marked(), row.id);
    let _ = writeln!(out, "    {}", row.why);
    let _ = writeln!(out, "    owner {}, {page}", owner(row));
}

/// Both latencies of each scenario side by side: what a user waits, and what the server took.
fn scenarios(report: &Report) -> String {
    if report.scenarios.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(COLUMNS);
    table.set_header(["scenario", "latency, ms", "p50", "p95", "p99", "p99.9", "max"]);
    for scenario in &report.scenarios {
        let both = [
            ("corrected", &scenario.latency_ms.corrected),
            ("service", &scenario.latency_ms.service),
        ];
        for (word, of) in both {
            let ms = |value: f64| format!("{value:.1}");
            let values = [of.p50, of.p95, of.p99, of.p999, of.max].map(ms);
            let mut row = vec![scenario.id.clone(), word.to_owned()];
            row.extend(values);
            table.add_row(row);
        }
    }
    let mut out = format!("{table}\n");
    for scenario in &report.scenarios {
        let sum = |of: fn(&crate::slo::report::Stage) -> u64| -> u64 {
            scenario.stages.iter().map(of).sum()
        };
        let (planned, started) = (sum(|stage| stage.planned), sum(|stage| stage.started));
        let statuses = scenario.statuses();
        let statuses: Vec<_> = statuses.iter().map(|(code, n)| format!("{n}×{code}")).collect();
        let errors: u64 = scenario.errors().values().sum();
        let _ = writeln!(
            out,
            "{}: {started} of {planned} sent, {} dropped, {}, {errors} errors, lag p99 {:.1} ms",
            scenario.id,
            scenario.dropped(),
            if statuses.is_empty() { "no answers".to_owned() } else { statuses.join(" ") },
            scenario.lag_ms.p99,
        );
    }
    out
}

/// Colours the marked words, once the columns stand.
fn coloured(text: &str) -> String {
    const PAINTS: [(&str, &str); 10] = [
        ("✗ fail", "31"),
        ("✗ FAIL", "31;1"),
        ("✗ ABORTED", "31;1"),
        ("? no_data", "35"),
        ("? INCONCLUSIVE", "35;1"),
        ("! INVALID", "33;1"),
        ("! warn", "33"),
        ("✓ pass_unproven", "36"),
        ("✓ pass ", "32"),
        ("✓ PASS", "32;1"),
    ];
    PAINTS.iter().fold(text.to_owned(), |text, (word, paint)| {
        text.replace(word, &format!("\x1b[{paint}m{word}\x1b[0m"))
    })
}
