//! What a gate judges: earlier reports, its own drill, and the server's snapshot in plain numbers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::cli::tool::Tool;
use crate::contract::ops::Snapshot;
use crate::slo::burn::Window;
use crate::slo::burn::runs::{self, Counted};
use crate::slo::gates::Tally;
use crate::slo::policy::{GatePolicy, SloBaseline};
use crate::slo::release::{Bulkhead, Seen};
use crate::slo::report::{Scenario, Told};

/// The largest report that is read, and how many of the newest files.
const REPORT_BYTES: u64 = 32 << 20;
const REPORTS: usize = 2000;

/// The name and the text of a policy: of a flag's file, else the directory's, else built in.
pub(super) fn text(tool: &Tool, file: (Option<&Path>, &str, &str)) -> (String, String) {
    let (named, name, built_in) = file;
    let dir = tool.common.config_dir.as_ref().map(|dir| dir.join(name));
    let path = named.map(Path::to_path_buf).or(dir.filter(|path| path.exists()));
    let read = path.and_then(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        Some((path.display().to_string(), text))
    });
    read.unwrap_or_else(|| (format!("built-in/{name}"), built_in.to_owned()))
}

/// What every report of a directory counted. What cannot be read counts nothing.
pub(super) fn earlier(dir: &Path, slo: &SloBaseline, slo_hash: &str) -> Vec<Counted> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).filter(|path| told(path)).collect();
    // A name ends in its time, so the last are the newest of each kind.
    paths.sort_by_key(|path| path.file_name().map(|name| name.to_owned()));
    let newest = paths.iter().rev().take(REPORTS);
    let reports = newest.filter_map(|path| {
        let small = std::fs::metadata(path).is_ok_and(|about| about.len() <= REPORT_BYTES);
        let text = small.then(|| std::fs::read_to_string(path).ok()).flatten()?;
        Told::read(&text).ok()
    });
    reports.flat_map(|told| runs::counted(&told, slo, slo_hash)).collect()
}

fn told(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = name.starts_with("load-drill-") || name.starts_with("release-gate-");
    kind && name.ends_with(".json")
}

/// What this gate's own drill counted.
pub(super) fn own(
    tool: &Tool,
    scenarios: &[Scenario],
    profile: &str,
    slo: &SloBaseline,
    (slo_hash, now): (&str, Duration),
) -> Vec<Counted> {
    let started = tool.started().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut all = Vec::new();
    for scenario in scenarios {
        let Some(promised) = slo.scenarios.get(&scenario.id) else { continue };
        let Ok(tally) = Tally::of(scenario, promised) else { continue };
        for (sli, budget, share) in runs::indicators(promised, &tally) {
            let window = Window {
                id: "this gate".to_owned(),
                started,
                ended: now,
                scenario: scenario.id.clone(),
                profile: profile.to_owned(),
                slo_hash: slo_hash.to_owned(),
                share,
            };
            all.push(Counted { sli, budget, window });
        }
    }
    all
}

/// The server's snapshot over the policy's window, or why there is none.
pub(super) async fn snapshot(tool: &Tool, policy: &GatePolicy) -> Result<Snapshot, String> {
    let client = tool.ops().ok_or("OPS_TOKEN is not set here")?;
    let looked = client.snapshot(Some(policy.snapshot.window_minutes), Some(1000)).await;
    looked.map_err(|error| error.to_string())
}

/// The later snapshot in plain numbers. Restarts are those since the earlier one, and one for each
/// other actor that panicked within the window before it: the server counts them since its start.
pub(super) fn seen(
    before: Result<&Snapshot, &String>,
    after: Result<&Snapshot, &String>,
    window_minutes: u64,
) -> Result<Seen, String> {
    let after = after.map_err(Clone::clone)?;
    let total = |snapshot: &Snapshot| -> BTreeMap<String, u64> {
        let of = |row: &crate::contract::ops::ActorRow| {
            (row.name.clone(), row.restarts.by_cause.values().sum())
        };
        snapshot.actors.iter().map(of).collect()
    };
    let earlier = before.map(total).unwrap_or_default();
    let since = instant(&after.generated_at)
        .map(|now| now.saturating_sub(Duration::from_secs(window_minutes * 60)));
    let mut actor_restarts = BTreeMap::new();
    for row in &after.actors {
        let now: u64 = row.restarts.by_cause.values().sum();
        // Fewer than before: the process itself began anew.
        let grown = earlier.get(&row.name).and_then(|was| now.checked_sub(*was)).unwrap_or(now);
        let panicked = row.last_panic.as_ref().and_then(|panic| instant(&panic.at));
        let of_late = panicked.zip(since).is_some_and(|(at, since)| at >= since);
        actor_restarts.insert(row.name.clone(), grown.max(u64::from(of_late)));
    }
    let open = |state: &str| state != "closed" && state != "half_open";
    let circuits = after.circuits.iter().filter(|row| open(&row.state));
    let bulkheads = after.bulkheads.iter().map(|(provider, row)| Bulkhead {
        provider: provider.clone(),
        in_flight: row.in_flight,
        max: row.max,
    });
    let dead = after
        .tool_jobs
        .by_tool
        .iter()
        .map(|(tool, counts)| (tool.clone(), counts.get("dead").copied().unwrap_or_default()));
    // A limiter that refuses does its work; what Sentry took, somebody has been told of.
    let alerts = after.rate_limit_pressure.recent_alerts.iter();
    let critical = |rule: &str| rule != "rate_limit_spike";
    let unacked = alerts.filter(|row| critical(&row.rule) && row.delivery != "delivered");
    Ok(Seen {
        open_circuits: circuits.map(|row| row.provider.clone()).collect(),
        bulkheads: bulkheads.collect(),
        oldest_queued_age_ms: after.tool_jobs.oldest_queued_age_ms.unwrap_or_default(),
        dead_jobs: dead.collect(),
        actor_restarts,
        unacked_critical_alerts: unacked.map(|row| row.alert_key.clone()).collect(),
    })
}

fn instant(text: &str) -> Option<Duration> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok()
}
