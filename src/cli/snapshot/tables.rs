//! The snapshot as tables: what is not as it should be is marked, by a word and not by colour.

use comfy_table::{ContentArrangement, Table, presets};

use super::Section;
use crate::contract::ops::{ActorRow, CircuitRow, Counts, Snapshot};

/// Widths beyond which text is wrapped.
const COLUMNS: u16 = 100;

const ALL: [Section; 8] = [
    Section::Rate,
    Section::Alerts,
    Section::Circuits,
    Section::Bulkheads,
    Section::Replay,
    Section::Cache,
    Section::Jobs,
    Section::Actors,
];

/// These sections, or all if none is named.
pub(super) fn of(snapshot: &Snapshot, sections: &[Section]) -> String {
    let sections = if sections.is_empty() { &ALL } else { sections };
    let mut text = format!("{}  last {} min\n", snapshot.generated_at, snapshot.window_minutes);
    for section in sections {
        text.push_str(&written(snapshot, *section));
    }
    text
}

fn written(of: &Snapshot, section: Section) -> String {
    match section {
        Section::Rate => counts(
            "RATE LIMIT",
            ["source:bucket:outcome", "events"],
            &of.rate_limit_pressure.summary,
        ),
        Section::Alerts => {
            let row = |row: &crate::contract::ops::AlertRow| {
                let over =
                    format!("{} (from {} in {} min)", row.count, row.threshold, row.window_minutes);
                vec![row.alert_key.clone(), over, row.created_at.clone()]
            };
            let rows = of.rate_limit_pressure.recent_alerts.iter().map(row).collect();
            table("ALERTS", &["alert", "events", "at"], rows)
        }
        Section::Circuits => {
            let rows = of.circuits.iter().map(circuit).collect();
            table("CIRCUITS", &["provider", "state", "failures", "opened", "probe in"], rows)
        }
        Section::Bulkheads => {
            let row = |(provider, row): (&String, &crate::contract::ops::BulkheadRow)| {
                let full = if row.in_flight >= row.max { "! full" } else { "" };
                let taken = format!("{}/{}", row.in_flight, row.max);
                vec![provider.clone(), taken, row.waiting.to_string(), full.to_owned()]
            };
            let rows = of.bulkheads.iter().map(row).collect();
            table("BULKHEADS", &["provider", "in flight", "waiting", ""], rows)
        }
        Section::Replay => {
            let row = |(scope, row): (&String, &crate::contract::ops::ScopeRow)| {
                vec![scope.clone(), row.keys.to_string(), row.duplicates.to_string()]
            };
            let rows = of.replay_protection.by_scope.iter().map(row).collect();
            table("REPLAY PROTECTION", &["scope", "keys", "duplicates"], rows)
        }
        Section::Cache => {
            counts("TOOL CACHE", ["namespace", "entries"], &of.tool_cache.by_namespace)
        }
        Section::Jobs => jobs(of),
        Section::Actors => {
            let rows = of.actors.iter().map(actor).collect();
            let head = ["actor", "status", "restarts", "mailbox", "oldest", "last panic"];
            table("ACTORS", &head, rows)
        }
    }
}

fn circuit(row: &CircuitRow) -> Vec<String> {
    let state = if row.state == "closed" { row.state.clone() } else { format!("! {}", row.state) };
    let opened = row.opened_at.clone().unwrap_or_default();
    let probe = row.retry_after_ms.map(millis).unwrap_or_default();
    vec![row.provider.clone(), state, row.failures.to_string(), opened, probe]
}

fn jobs(of: &Snapshot) -> String {
    let row = |(tool, full): (&String, &crate::contract::ops::ToolPressure)| {
        let dead = of.tool_jobs.by_tool.get(tool).and_then(|counts| counts.get("dead")).copied();
        vec![
            tool.clone(),
            format!("{}/{}", full.queued, full.queued_max),
            format!("{}/{}", full.running, full.running_max),
            dead.unwrap_or_default().to_string(),
        ]
    };
    let rows = of.tool_jobs.pressure_by_tool.iter().map(row).collect();
    let tools = table("TOOL CALLS", &["tool", "queued", "running", "given up"], rows);
    let ages = [
        ("oldest queued", of.tool_jobs.oldest_queued_age_ms),
        ("oldest running", of.tool_jobs.oldest_running_age_ms),
        ("oldest event", of.inbox.oldest_age_ms),
    ];
    let ages =
        ages.iter().filter_map(|(name, age)| Some(vec![(*name).to_owned(), millis((*age)?)]));
    let inbox = counts("INBOX", ["status", "events"], &of.inbox.by_status);
    tools + &inbox + &table("WAITING", &["what", "for"], ages.collect())
}

fn actor(row: &ActorRow) -> Vec<String> {
    let status = match row.status.as_str() {
        "running" => row.status.clone(),
        other => format!("! {other}"),
    };
    let restarts: u64 = row.restarts.by_cause.values().sum();
    let panic = row.last_panic.as_ref().map(|panic| panic.message.clone()).unwrap_or_default();
    let oldest = row.oldest_work_ms.map(millis).unwrap_or_default();
    let depth = row.mailbox_depth.to_string();
    vec![row.name.clone(), status, restarts.to_string(), depth, oldest, panic]
}

fn counts(title: &str, head: [&str; 2], counts: &Counts) -> String {
    let row = |(name, count): (&String, &u64)| vec![name.clone(), count.to_string()];
    table(title, &head, counts.iter().map(row).collect())
}

/// A table under its title; one line if it has no rows.
fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return format!("\n{title}  none\n");
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(COLUMNS).set_header(head).add_rows(rows);
    format!("\n{title}\n{}\n", table.trim_fmt())
}

/// A span as people write it, to the second from ten seconds on.
fn millis(millis: u64) -> String {
    let span = if millis >= 10_000 { millis / 1000 * 1000 } else { millis };
    humantime::format_duration(std::time::Duration::from_millis(span)).to_string()
}
