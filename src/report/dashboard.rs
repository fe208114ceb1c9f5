//! Trend and budget of every objective over the last reports (OPERATIONS.md §5.3, §8).
//!
//! Reports are told apart by what they say, never by their file's name or age. An objective that
//! nobody measured is a row of its own: no data is never 100 %.

mod pages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub use self::pages::{html, human, markdown};
use crate::slo::burn::{self, Window};
use crate::slo::policy::owners::Owner;
use crate::slo::policy::slo::Slis;
use crate::slo::policy::{GatePolicy, Owners, SloBaseline};
use crate::slo::report::{Check, Kind, Report, SCHEMA};
use crate::slo::stats::Share;
use crate::slo::verdict::CheckVerdict;

/// How old the newest report of an objective may be.
pub const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was read: good reports, and the files that are none, with the reason.
#[derive(Debug, Default)]
pub struct Read {
    /// In any order.
    pub reports: Vec<Report>,
    /// Name and reason.
    pub skipped: Vec<(String, String)>,
}

impl Read {
    /// Takes a file: a report, or what is named and left out.
    pub fn file(&mut self, name: &str, text: &str) {
        #[derive(serde::Deserialize)]
        struct Named {
            schema: String,
        }
        let skip = |why: String| (name.to_owned(), why);
        match serde_json::from_str::<Named>(text) {
            Ok(named) if named.schema == SCHEMA => match serde_json::from_str::<Report>(text) {
                Ok(report) if report.ended().is_none() => {
                    self.skipped.push(skip("its times are not RFC 3339".to_owned()));
                }
                Ok(report) => self.reports.push(report),
                Err(error) => self.skipped.push(skip(error.to_string())),
            },
            Ok(_) => self.skipped.push(skip(format!("its schema is not {SCHEMA}"))),
            Err(error) => self.skipped.push(skip(format!("no report: {error}"))),
        }
    }
}

/// What an objective's reports are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    /// What is promised.
    pub slo: &'a SloBaseline,
    /// How fast a budget may burn.
    pub gate: &'a GatePolicy,
    /// Who answers.
    pub owners: &'a Owners,
}

/// The page's contents, `sendcat.dashboard/1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// `sendcat.dashboard/1`.
    pub schema: &'static str,
    /// When it was asked; RFC 3339, UTC.
    pub generated_at: String,
    /// Worst first.
    pub objectives: Vec<Objective>,
    /// Files that are no reports.
    pub skipped: Vec<Skipped>,
}

/// A file that is no report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub file: String,
    /// Why it was left out.
    pub why: String,
}

/// One indicator of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// `scenario.sli`.
    pub id: String,
    /// `fresh`, `stale` or `no_data`.
    pub state: &'static str,
    /// The share that may be bad.
    pub budget: f64,
    /// What the newest report saw.
    pub observed: Option<f64>,
    /// Its 95 % bounds.
    pub ci95: Option<[f64; 2]>,
    /// Of the pooled reports, what of the budget is left; below 0 it is overdrawn.
    pub budget_left: Option<f64>,
    /// Burn of the newest report and of the pool, with their limits.
    pub short: BurnCell,
    /// The pool's.
    pub long: BurnCell,
    /// Reports in the pool.
    pub reports: usize,
    /// When the newest ended; absent of no data.
    pub newest: Option<String>,
    /// Burn of each of the last reports, oldest first.
    pub trend: Vec<f64>,
    /// Places in the trend where another deploy began.
    pub deploys: Vec<usize>,
    /// Who answers for it.
    pub owner: Owner,
    /// The page of the runbook.
    pub runbook: Option<String>,
}

/// A burn rate against its limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BurnCell {
    /// How often the budget is spent at this rate.
    pub burn: Option<f64>,
    /// The most that is allowed.
    pub limit: f64,
    /// `pass`, `fail` or `no_data`.
    pub verdict: Option<CheckVerdict>,
    /// One sentence.
    pub why: String,
}

impl Dashboard {
    /// The newest `most` reports of each objective, judged as of `now` since the Unix epoch.
    pub fn of(read: &Read, policies: Policies<'_>, most: usize, now: Duration) -> Self {
        let mut objectives = Vec::new();
        for (scenario, slo) in &policies.slo.scenarios {
            let (owner, runbook) = policies.owners.of(&slo.subject());
            for (sli, budget) in promised(&slo.slis) {
                let mut row = objective(read, &format!("{scenario}.{sli}"), budget, policies, now);
                let cut = row.trend.len().saturating_sub(most);
                row.trend.drain(..cut);
                row.deploys = row.deploys.iter().filter_map(|at| at.checked_sub(cut)).collect();
                row.owner = owner.clone();
                row.runbook = runbook.map(str::to_owned);
                objectives.push(row);
            }
        }
        objectives.sort_by(|a, b| {
            let left = |row: &Objective| row.budget_left.unwrap_or(f64::INFINITY);
            rank(a).cmp(&rank(b)).then(left(a).total_cmp(&left(b))).then(a.id.cmp(&b.id))
        });
        let skipped =
            read.skipped.iter().cloned().map(|(file, why)| Skipped { file, why }).collect();
        let at = std::time::UNIX_EPOCH + now;
        let generated_at = humantime::format_rfc3339_millis(at).to_string();
        Self { schema: "sendcat.dashboard/1", generated_at, objectives, skipped }
    }

    /// Whether some objective has no fresh data, so that `--strict` ends in 3.
    pub fn is_incomplete(&self) -> bool {
        self.objectives.is_empty() || self.objectives.iter().any(|row| row.state != "fresh")
    }
}

/// Past its limit first, then unknown, then stale, then fine.
fn rank(row: &Objective) -> u8 {
    let failed = |cell: &BurnCell| cell.verdict == Some(CheckVerdict::Fail);
    match row.state {
        _ if failed(&row.short) || failed(&row.long) => 0,
        "no_data" => 1,
        "stale" => 2,
        _ => 3,
    }
}

fn objective(
    read: &Read,
    id: &str,
    budget: f64,
    policies: Policies<'_>,
    now: Duration,
) -> Objective {
    let mut seen = windows(read, id);
    seen.sort_by(|a, b| (a.0.ended, &a.0.id).cmp(&(b.0.ended, &b.0.id)));
    // Several files may tell of one run.
    seen.dedup_by(|a, b| a.0.id == b.0.id);
    let gate = &policies.gate.burn_rate;
    let none = |limit| BurnCell { limit, why: "nobody measured it".into(), ..BurnCell::default() };
    let Some((newest, check, _)) = seen.last() else {
        return Objective {
            id: id.to_owned(),
            state: "no_data",
            budget,
            short: none(gate.short_window_max_burn_rate),
            long: none(gate.long_window_max_burn_rate),
            ..Objective::default()
        };
    };
    let others: Vec<Window> = seen.iter().map(|it| it.0.clone()).collect();
    let burn = burn::judge(newest, &others, budget, gate, now);
    let is_stale = now.saturating_sub(newest.ended) > STALE;
    let state = match (newest.share.total, is_stale) {
        (0, _) => "no_data",
        (_, true) => "stale",
        (_, false) => "fresh",
    };
    let cell = |window: burn::WindowBurn| BurnCell {
        burn: window.burn,
        limit: window.limit,
        verdict: Some(window.verdict),
        why: window.why,
    };
    let at = std::time::UNIX_EPOCH + newest.ended;
    let deploys = seen.windows(2).enumerate().filter(|(_, two)| two[0].2 != two[1].2);
    Objective {
        id: id.to_owned(),
        state,
        budget,
        observed: check.observed,
        ci95: check.ci95,
        budget_left: burn.long.burn.map(|burn| 1.0 - burn),
        reports: burn.reports,
        newest: Some(humantime::format_rfc3339_millis(at).to_string()),
        trend: others.iter().filter_map(|window| burn::burn_rate(window.share, budget)).collect(),
        deploys: deploys.map(|(at, _)| at + 1).collect(),
        short: cell(burn.short),
        long: cell(burn.long),
        ..Objective::default()
    }
}

/// Every drill's row of that id, as a window, with what was deployed.
fn windows<'a>(read: &'a Read, id: &str) -> Vec<(Window, &'a Check, String)> {
    let drills = read.reports.iter().filter(|report| report.kind == Kind::LoadDrill);
    drills
        .filter_map(|report| {
            let row = report.checks.iter().find(|row| row.id == id)?;
            let window = Window {
                id: report.id.clone(),
                started: report.started()?,
                ended: report.ended()?,
                scenario: row.scenario.clone(),
                profile: report.profile.clone().unwrap_or_default(),
                slo_hash: report.input_hash("slo-baseline.json").unwrap_or_default().to_owned(),
                share: Share::new(row.bad, row.total),
            };
            let deploy = report.labels.get("deploy").or(report.target.version.as_ref());
            Some((window, row, deploy.cloned().unwrap_or_default()))
        })
        .collect()
}

/// The indicators of a scenario and the share of each that may be bad.
fn promised(slis: &Slis) -> BTreeMap<&'static str, f64> {
    let rates = [
        ("latency", slis.latency.map(|slo| slo.max_rate())),
        ("http5xx", slis.http5xx.as_ref().map(|slo| slo.max_rate)),
        ("network", slis.network.map(|slo| slo.max_rate)),
        ("unknownStatus", slis.unknown_status.map(|slo| slo.max_rate)),
        ("firstByte", slis.first_byte.map(|slo| slo.max_rate())),
        ("streamCut", slis.stream_cut.map(|slo| slo.max_rate)),
    ];
    rates.into_iter().filter_map(|(name, rate)| Some((name, rate?))).collect()
}
