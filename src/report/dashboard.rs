//! Trend and budget of every objective over the last reports (OPERATIONS.md §5.3, §8).
//!
//! Reports are told apart by what they say, never by their file's name or age. An objective that
//! nobody measured is a row of its own: no data is never 100 %.

mod pages;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Serialize;

pub use self::pages::{html, human, markdown};
use crate::slo::burn::{self, Window, runs};
use crate::slo::gates;
use crate::slo::policy::owners::Owner;
use crate::slo::policy::{GatePolicy, Owners, SloBaseline};
use crate::slo::report::{SCHEMA, Told};
use crate::slo::verdict::CheckVerdict;

/// How old the newest report of an objective may be.
pub const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was read: good reports, and the files that are none, with the reason.
#[derive(Debug, Default)]
pub struct Read {
    /// In any order.
    pub reports: Vec<Told>,
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
        // The reason quotes nothing of the file: whoever wrote it may have written a secret.
        let at = |error: &serde_json::Error| {
            format!("not understood at line {}, column {}", error.line(), error.column())
        };
        let why = match Told::read(text) {
            Ok(told) if told.schema == SCHEMA && told.ended().is_some() => {
                self.reports.push(told);
                return;
            }
            Ok(told) if told.schema == SCHEMA => "its times are not RFC 3339".to_owned(),
            Ok(_) => format!("its schema is not {SCHEMA}"),
            Err(error) => match serde_json::from_str::<Named>(text) {
                Ok(named) if named.schema != SCHEMA => format!("its schema is not {SCHEMA}"),
                Ok(_) => at(&error),
                Err(error) => format!("no report: {}", at(&error)),
            },
        };
        self.skipped.push((name.to_owned(), why));
    }

    /// The newest `most` runs of a scenario that can be pooled, newest first: judged alike, of one
    /// profile, none that overlaps a newer one, each once. Only these are looked into.
    fn newest(&self, scenario: &str, slo_hash: &str, most: usize) -> Vec<&Told> {
        let of = |told: &&Told| {
            told.tells() && told.scenarios.iter().any(|measured| measured.id == scenario)
        };
        let mut runs: Vec<_> =
            self.reports.iter().filter(of).map(|told| (told.ended(), told)).collect();
        runs.sort_by(|a, b| (b.0, &b.1.id).cmp(&(a.0, &a.1.id)));
        let mut ids = HashSet::new();
        let mut taken: Vec<&Told> = Vec::new();
        for (ended, told) in runs {
            let alike = taken.first().is_none_or(|newest| {
                newest.profile == told.profile
                    && newest.is_judged_by(slo_hash) == told.is_judged_by(slo_hash)
            });
            let apart = taken.last().is_none_or(|newer| ended <= newer.started());
            if alike && apart && ids.insert(&told.id) {
                taken.push(told);
            }
            if taken.len() >= most {
                break;
            }
        }
        taken
    }
}

/// What an objective's reports are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    /// What is promised.
    pub slo: &'a SloBaseline,
    /// Of the file it stands in: runs judged by another are pooled with none judged by it.
    pub slo_hash: &'a str,
    /// How fast a budget may burn.
    pub gate: &'a GatePolicy,
    /// Who answers.
    pub owners: &'a Owners,
    /// When chapters of the runbook were last exercised, by anchor; those that never were are not
    /// among them.
    pub exercised: &'a BTreeMap<String, String>,
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
    /// When chapters of the runbook were last exercised by a game day, by anchor.
    pub exercised: BTreeMap<String, String>,
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
    /// Bad events.
    pub bad: u64,
    /// All events.
    pub total: u64,
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
            let newest = read.newest(scenario, policies.slo_hash, most);
            let told: Vec<_> = newest
                .iter()
                .map(|told| runs::counted_of(told, scenario, policies.slo, policies.slo_hash))
                .collect();
            for (sli, budget) in runs::budgets(slo) {
                let of_sli = |run: &Vec<runs::Counted>| {
                    run.iter().find(|counted| counted.sli == sli).map(|it| it.window.clone())
                };
                let seen = newest.iter().zip(&told);
                let seen: Vec<_> =
                    seen.filter_map(|(told, run)| Some((of_sli(run)?, told.deploy()))).collect();
                let mut row = objective((scenario, sli), &seen, budget, policies.gate, now);
                row.owner = owner.clone();
                row.runbook = runbook.map(str::to_owned);
                objectives.push(row);
            }
        }
        objectives.sort_by(|a, b| {
            let left = |row: &Objective| row.budget_left.unwrap_or(f64::INFINITY);
            let rank = |row: &Objective| row.standing().rank();
            rank(a).cmp(&rank(b)).then(left(a).total_cmp(&left(b))).then(a.id.cmp(&b.id))
        });
        let skipped =
            read.skipped.iter().cloned().map(|(file, why)| Skipped { file, why }).collect();
        let at = std::time::UNIX_EPOCH + now;
        let generated_at = humantime::format_rfc3339_millis(at).to_string();
        let exercised = policies.exercised.clone();
        Self { schema: "sendcat.dashboard/1", generated_at, objectives, exercised, skipped }
    }
}

/// How an objective stands, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Past a limit.
    Fail,
    /// Nobody measured it.
    NoData,
    /// Nobody has for too long.
    Stale,
    /// Fresh, but too few runs or events to say so.
    Unproven,
    /// Within both limits.
    Pass,
}

impl Standing {
    fn rank(self) -> u8 {
        self as u8
    }

    /// A mark and a word: colour is never the only signal.
    fn said(self) -> (&'static str, &'static str) {
        match self {
            Self::Fail => ("✗", "fail"),
            Self::NoData => ("?", "no_data"),
            Self::Stale => ("!", "stale"),
            Self::Unproven => ("!", "unproven"),
            Self::Pass => ("✓", "pass"),
        }
    }
}

impl Objective {
    fn standing(&self) -> Standing {
        let both = [self.short.verdict, self.long.verdict];
        match self.state {
            _ if both.contains(&Some(CheckVerdict::Fail)) => Standing::Fail,
            "no_data" => Standing::NoData,
            "stale" => Standing::Stale,
            _ if both == [Some(CheckVerdict::Pass); 2] => Standing::Pass,
            _ => Standing::Unproven,
        }
    }
}

/// One objective by its windows with what was deployed, the newest first.
fn objective(
    (scenario, sli): (&str, &str),
    seen: &[(Window, &str)],
    budget: f64,
    gate: &GatePolicy,
    now: Duration,
) -> Objective {
    let gate = &gate.burn_rate;
    let none = |limit| BurnCell { limit, why: "nobody measured it".into(), ..BurnCell::default() };
    let id = format!("{scenario}.{sli}");
    let Some((newest, _)) = seen.first() else {
        return Objective {
            id,
            state: "no_data",
            budget,
            short: none(gate.short_window_max_burn_rate),
            long: none(gate.long_window_max_burn_rate),
            ..Objective::default()
        };
    };
    let windows: Vec<Window> = seen.iter().map(|it| it.0.clone()).collect();
    let burn = burn::judge(newest, &windows, budget, gate, now);
    let is_stale = now.saturating_sub(newest.ended) > STALE;
    let state = match (newest.share.total, is_stale) {
        (0, _) => "no_data",
        (_, true) => "stale",
        (_, false) => "fresh",
    };
    let cell = |window: burn::WindowBurn| BurnCell {
        burn: window.burn,
        bad: window.share.bad,
        total: window.share.total,
        limit: window.limit,
        verdict: Some(window.verdict),
        why: window.why,
    };
    let at = std::time::UNIX_EPOCH + newest.ended;
    let gated = gates::gate(scenario, sli, newest.share, budget, "");
    // Oldest first, as a line is read; a run that counted nothing has no place in it.
    let told: Vec<_> = seen.iter().rev().filter(|(window, _)| window.share.total > 0).collect();
    let deploys = told.windows(2).enumerate().filter(|(_, two)| two[0].1 != two[1].1);
    Objective {
        id,
        state,
        budget,
        observed: gated.observed,
        ci95: gated.ci95,
        budget_left: burn.long.burn.map(|burn| 1.0 - burn),
        reports: burn.reports,
        newest: Some(humantime::format_rfc3339_millis(at).to_string()),
        deploys: deploys.map(|(at, _)| at + 1).collect(),
        trend: told.iter().filter_map(|it| burn::burn_rate(it.0.share, budget)).collect(),
        short: cell(burn.short),
        long: cell(burn.long),
        ..Objective::default()
    }
}
