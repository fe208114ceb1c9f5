//! The trend and budget page as Markdown, as HTML, and for a terminal.

use std::fmt::Write as _;

use maud::{Markup, html as markup};

use super::{BurnCell, Dashboard, Objective};
use crate::report::markdown::escaped;
use crate::report::{html as page, percent, svg};

/// For a terminal: one line an objective, worst first, at most 80 columns.
pub fn human(dashboard: &Dashboard) -> String {
    let mut out = String::new();
    for row in &dashboard.objectives {
        let (mark, word) = row.standing().said();
        let _ = writeln!(
            out,
            "{mark} {word:<8} {:<34.34} left {:>8} burn {:>5}/{:>5}",
            row.id,
            left(row),
            burn(&row.short),
            burn(&row.long)
        );
    }
    for (page, at) in &dashboard.exercised {
        let _ = writeln!(out, "- RUNBOOK.md#{page} was exercised {at}");
    }
    for file in &dashboard.skipped {
        let _ = writeln!(out, "- skipped {}: {}", file.file, file.why);
    }
    out
}

/// The page as Markdown.
pub fn markdown(dashboard: &Dashboard) -> String {
    let mut out = format!("# Service levels\n\n{} (UTC)\n\n", dashboard.generated_at);
    out.push_str("| state | objective | observed | budget left | burn short | burn long | ");
    out.push_str(
        "reports | newest | owner | runbook |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in &dashboard.objectives {
        let (mark, word) = row.standing().said();
        let _ = writeln!(
            out,
            "| {mark} {word} | `{}` ≤ {} | {} | {} | {} of {} | {} of {} | {} | {} | {} {} | {} |",
            row.id,
            percent(row.budget),
            observed(row),
            left(row),
            burn(&row.short),
            row.short.limit,
            burn(&row.long),
            row.long.limit,
            row.reports,
            row.newest.as_deref().unwrap_or("never"),
            escaped(&row.owner.team),
            escaped(&row.owner.contact),
            escaped(row.runbook.as_deref().unwrap_or("–"))
        );
    }
    out.push_str("\nChapters of the runbook, and when a game day last exercised them:\n\n");
    if dashboard.exercised.is_empty() {
        out.push_str("- no game day is on record\n");
    }
    for (page, at) in &dashboard.exercised {
        let _ = writeln!(out, "- {}: {}", escaped(page), escaped(at));
    }
    if !dashboard.skipped.is_empty() {
        out.push_str("\nFiles that are no reports:\n\n");
    }
    for file in &dashboard.skipped {
        let _ = writeln!(out, "- {}: {}", escaped(&file.file), escaped(&file.why));
    }
    out
}

/// The page, which needs no network and no script.
pub fn html(dashboard: &Dashboard) -> String {
    let body = markup! {
        (top(dashboard))
        div class="tiles" { @for row in &dashboard.objectives { (tile(row)) } }
        section {
            h2 { "Runbook, by the last game day that exercised it" }
            @if dashboard.exercised.is_empty() {
                p class="tile nodata" { "? No game day is on record." }
            } @else {
                @let rows: Vec<_> = dashboard.exercised.iter()
                    .map(|(page, at)| vec![format!("RUNBOOK.md#{page}"), at.clone()]).collect();
                (svg::table(&["chapter", "last exercised (UTC)"], &rows))
            }
        }
        @if !dashboard.skipped.is_empty() {
            section {
                h2 { "Files that are no reports" }
                ul {
                    @for file in &dashboard.skipped {
                        li { code { (file.file) } ": " (file.why) }
                    }
                }
            }
        }
    };
    page::shell("Service levels", &body)
}

fn top(dashboard: &Dashboard) -> Markup {
    let worst = dashboard.objectives.first();
    let (mark, word) = worst.map_or(("?", "no_data"), |row| row.standing().said());
    let newest = dashboard.objectives.iter().filter_map(|row| row.newest.as_deref()).max();
    let class = if word == "fail" {
        "top vFAIL"
    } else if word == "pass" {
        "top vPASS"
    } else {
        "top"
    };
    markup! {
        header class=(class) {
            h1 { (mark) " " (word) " " small { "service levels, worst first" } }
            div class="big" {
                @if let Some(row) = worst {
                    p { "worst" b { (row.id) } }
                    p { "its budget left" b { (left(row)) } }
                }
                p { "newest data" b { (newest.map_or("none".to_owned(), minute)) } }
                @if let Some(age) = newest.and_then(|at| age(at, &dashboard.generated_at)) {
                    p { "its age" b { (age) } }
                }
            }
            p class="soft" { "as of " (dashboard.generated_at) " (UTC)" }
        }
    }
}

fn tile(row: &Objective) -> Markup {
    let (mark, word) = row.standing().said();
    let class = match row.state {
        "no_data" => "tile nodata",
        "stale" => "tile stale",
        _ => "tile",
    };
    let rows: Vec<_> = row
        .trend
        .iter()
        .enumerate()
        .map(|(n, burn)| {
            let deploy = if row.deploys.contains(&n) { "deploy" } else { "" };
            vec![(n + 1).to_string(), format!("{burn:.2}"), deploy.to_owned()]
        })
        .collect();
    markup! {
        article class=(class) {
            h2 { (mark) " " (word) " " code { (row.id) } }
            @if !row.trend.is_empty() {
                (svg::spark(&format!("Burn of {}", row.id), &row.trend, &row.deploys,
                    row.short.limit))
            }
            dl {
                dt { "objective" } dd { "at most " (percent(row.budget)) " bad" }
                dt { "observed" } dd { (observed(row)) }
                dt { "budget left" } dd { (left(row)) }
                dt { "burn, newest" } dd { (burn(&row.short)) " of " (row.short.limit) }
                dt { "burn, " (row.reports) " reports" }
                dd { (burn(&row.long)) " of " (row.long.limit) }
                dt { "newest" }
                dd { (row.newest.as_deref().map_or("never".to_owned(), minute)) }
                dt { "owner" } dd { (row.owner.team) " " (row.owner.contact) }
                dt { "runbook" } dd { (row.runbook.as_deref().unwrap_or("–")) }
            }
            p class="soft" { (row.long.why) }
            @if !rows.is_empty() {
                details { summary { "Table" } (svg::table(&["report", "burn", ""], &rows)) }
            }
        }
    }
}

/// A moment to the minute, with its zone.
fn minute(at: &str) -> String {
    at.get(..16).map_or(at.to_owned(), |at| format!("{} UTC", at.replace('T', " ")))
}

/// How long before `now` it was, in the largest unit that is not nothing.
fn age(at: &str, now: &str) -> Option<String> {
    let [at, now] = [at, now].map(humantime::parse_rfc3339);
    let minutes = now.ok()?.duration_since(at.ok()?).ok()?.as_secs() / 60;
    Some(match minutes {
        0..60 => format!("{minutes} min"),
        60..2880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    })
}

fn burn(cell: &BurnCell) -> String {
    cell.burn.map_or("–".to_owned(), |burn| format!("{burn:.2}"))
}

fn left(row: &Objective) -> String {
    row.budget_left.map_or("unknown".to_owned(), |left| format!("{:.0} %", left * 100.0))
}

fn observed(row: &Objective) -> String {
    let seen = row.observed.map_or("no data".to_owned(), percent);
    match row.ci95 {
        Some([low, high]) => format!("{seen} ({} – {})", percent(low), percent(high)),
        None => seen,
    }
}
