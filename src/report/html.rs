//! A report as one page that needs no network and no script (OPERATIONS.md §8).

mod charts;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::details::{self, GameDay};
use super::{held, human, owner, svg, worst_first};
use crate::slo::canary::Row;
use crate::slo::canary::kept::Details;
use crate::slo::report::{Kind, Report};

/// What the page may load: nothing but its own styles.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

const STYLE: &str = include_str!("html/page.css");

/// The page.
pub fn page(report: &Report) -> String {
    let title = format!("{} {}", report.kind.word(), report.verdict.word());
    let body = html! {
        (head(report))
        @if !report.reasons.is_empty() {
            ul class="reasons" { @for reason in &report.reasons { li { (reason) } } }
        }
        (checks(report))
        @if report.kind == Kind::CanaryCheck { (canary(report)) }
        @if report.kind == Kind::GameDay {
            (charts::timeline(&details::rows::<GameDay>(report.details.as_ref(), "gameDays")))
        }
        @if report.kind == Kind::CanaryCheck { (charts::overlaid(&report.scenarios)) }
        @for scenario in &report.scenarios { (charts::scenario(scenario)) }
        (about(report))
    };
    shell(&title, &body)
}

/// A whole document around a body.
pub(super) fn shell(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
    .into_string()
}

fn head(report: &Report) -> Markup {
    let verdict = report.verdict.word();
    html! {
        header class={ "top v" (verdict) } {
            h1 { (human::mark(report.verdict)) " " (verdict) " " small { (report.kind.word()) } }
            p { (human::verdict_line(report)) }
            p class="soft" {
                (report.started_at) " to " (report.ended_at) " (UTC), " (report.target.base_url)
                @if let Some(version) = &report.target.version { ", version " (version) }
            }
        }
    }
}

fn checks(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Checks, worst first" }
            @if report.checks.is_empty() { p class="tile nodata" { "? Nothing was judged." } }
            div class="wide checks" tabindex="0" {
                table {
                    thead { tr {
                        @for word in ["verdict", "check", "observed, limit", "95 % bounds",
                            "bad/total", "burn", "owner", "runbook"] {
                            th scope="col" { (word) }
                        }
                    } }
                    tbody {
                        @for row in worst_first(report) {
                            tr {
                                td class={ "o" (row.verdict.order()) } { (row.verdict.marked()) }
                                td { code { (row.id) } div class="soft" { (row.why) } }
                                td { (held(row)) }
                                td { @if let Some([low, high]) = row.ci95 {
                                    (super::percent(low)) " – " (super::percent(high))
                                } }
                                td { (row.bad) "/" (row.total) }
                                td { @if let Some(burn) = row.burn { (format!("{burn:.2}")) } }
                                td { (owner(row)) }
                                td { (row.runbook.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn canary(report: &Report) -> Markup {
    let details = report.details.as_ref();
    let rows = details::rows::<Row>(details, "rows").into_iter().map(|row| {
        vec![
            details::in_unit(row.control, row.unit),
            details::in_unit(row.candidate, row.unit),
            details::effect(&row),
            details::margin(&row),
            format!("{:.1e}", row.p),
            row.verdict.marked().to_owned(),
            row.scenario,
            row.metric,
        ]
    });
    let named_first = |mut row: Vec<String>| {
        row.rotate_right(2);
        row
    };
    let rows: Vec<_> = rows.map(named_first).collect();
    let head = ["scenario", "metric", "control", "candidate", "effect", "margin", "p", "verdict"];
    let whole = details.and_then(|details| serde_json::from_value::<Details>(details.clone()).ok());
    html! {
        section {
            h2 { "Metrics" }
            @if let Some(whole) = whole { (decided(&whole)) }
            @if rows.is_empty() { p class="tile nodata" { "? Nothing was compared." } }
            (svg::table(&head, &rows))
        }
    }
}

/// What to do with the release, what was looked at, and what a pass could not have seen.
fn decided(details: &Details) -> Markup {
    let Details { control, candidate, rollback, looks, judgement, .. } = details;
    html! {
        p { "control " code { (control) } ", candidate " code { (candidate) }
            @if details.aa { ": one server, compared with itself" } }
        p { b { (format!("{:?}", rollback.decision)) } ": " (rollback.because) }
        @for look in looks {
            p class="soft" {
                "look at " (look.samples_per_arm) " requests of each arm, α " (look.alpha) ": "
                (look.verdict.word())
            }
        }
        @for caught in &judgement.would_have_caught { p class="soft" { (caught) } }
        p class="soft" { (judgement.cannot_see) }
    }
}

fn about(report: &Report) -> Markup {
    let host = &report.host;
    let percent = |value: Option<f64>| value.map_or("unknown".to_owned(), |v| format!("{v:.1} %"));
    let mut rows = vec![
        vec!["run".to_owned(), report.id.clone()],
        vec!["seed".to_owned(), report.seed.to_string()],
        vec!["processors".to_owned(), host.cpus.to_string()],
        vec!["CPU pressure before".to_owned(), percent(host.cpu_pressure_before)],
        vec!["CPU pressure after".to_owned(), percent(host.cpu_pressure_after)],
    ];
    rows.extend(report.labels.iter().map(|(key, value)| vec![key.clone(), value.clone()]));
    let inputs = report.inputs.iter();
    rows.extend(inputs.map(|input| vec![input.path.clone(), input.sha256.clone()]));
    html! {
        section {
            h2 { "What to do next, and what this was judged by" }
            @for next in &report.next { p { code { (next) } } }
            (svg::table(&["what", "value"], &rows))
        }
    }
}
