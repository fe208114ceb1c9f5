//! From reports to windows: what each run counted, recomputed from its histograms and statuses,
//! never read off its rows.

use std::time::Duration;

use super::{Burn, Window, WindowBurn, judge};
use crate::slo::gates::Tally;
use crate::slo::policy::gate::BurnPolicy;
use crate::slo::policy::slo::ScenarioSlo;
use crate::slo::policy::{Owners, SloBaseline};
use crate::slo::report::{Check, Told};
use crate::slo::stats::Share;
use crate::slo::verdict::CheckVerdict;

/// One indicator of one scenario in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The indicator, as the policy names it.
    pub sli: &'static str,
    /// The share that may be bad.
    pub budget: f64,
    /// What was counted, when, and by what it was judged.
    pub window: Window,
}

/// What a run counted of every indicator that is promised now.
///
/// Drills and gates count only ([`Told::tells`]). A report judged by other objectives than those of
/// `slo_hash` keeps a hash of its own, so it is pooled with none of these. What cannot be read
/// counts nothing.
pub fn counted(told: &Told, slo: &SloBaseline, slo_hash: &str) -> Vec<Counted> {
    let names = told.scenarios.iter().map(|scenario| scenario.id.as_str());
    names.flat_map(|name| counted_of(told, name, slo, slo_hash)).collect()
}

/// The same of one scenario alone.
pub fn counted_of(told: &Told, name: &str, slo: &SloBaseline, slo_hash: &str) -> Vec<Counted> {
    let all = || {
        let (started, ended) = (told.started()?, told.ended()?);
        let scenario = told.scenarios.iter().find(|it| it.id == name && told.tells())?;
        let promised = slo.scenarios.get(name)?;
        let tally = Tally::of(scenario, promised).ok()?;
        let of = |(sli, budget, share)| {
            let window = Window {
                id: told.id.clone(),
                started,
                ended,
                scenario: name.to_owned(),
                profile: told.profile.clone().unwrap_or_default(),
                slo_hash: if told.is_judged_by(slo_hash) { slo_hash } else { "" }.to_owned(),
                share,
            };
            Counted { sli, budget, window }
        };
        Some(indicators(promised, &tally).into_iter().map(of).collect())
    };
    all().unwrap_or_default()
}

/// Every promised indicator with its budget and what was counted of it.
pub fn indicators(slo: &ScenarioSlo, tally: &Tally) -> Vec<(&'static str, f64, Share)> {
    let budgets = budgets(slo);
    let of = |sli: &str| match sli {
        "latency" => tally.latency,
        "http5xx" => tally.http5xx,
        "network" => tally.network,
        "unknownStatus" => tally.unknown_status,
        "firstByte" => tally.first_byte,
        _ => tally.stream_cut,
    };
    budgets.into_iter().map(|(sli, budget)| (sli, budget, of(sli))).collect()
}

/// The budget of every indicator that is promised, in the order of the policy's keys.
pub fn budgets(slo: &ScenarioSlo) -> Vec<(&'static str, f64)> {
    let slis = &slo.slis;
    let all = [
        ("latency", slis.latency.map(|slo| slo.max_rate())),
        ("http5xx", slis.http5xx.as_ref().map(|slo| slo.max_rate)),
        ("network", slis.network.map(|slo| slo.max_rate)),
        ("unknownStatus", slis.unknown_status.map(|slo| slo.max_rate)),
        ("firstByte", slis.first_byte.map(|slo| slo.max_rate())),
        ("streamCut", slis.stream_cut.map(|slo| slo.max_rate)),
    ];
    all.into_iter().filter_map(|(sli, budget)| Some((sli, budget?))).collect()
}

/// The rows of every indicator of the newest run: its own burn, and that of the pool.
///
/// `runs` are all runs known, in any order; the newest of those judged by `slo_hash` and of
/// `profile` is looked at first. A scenario that no such run tells of has one row without data.
pub fn rows(
    runs: &[Counted],
    (profile, slo_hash): (&str, &str),
    slo: &SloBaseline,
    (policy, owners): (&BurnPolicy, &Owners),
    now: Duration,
) -> Vec<Check> {
    let mut rows = Vec::new();
    for (scenario, promised) in &slo.scenarios {
        let (owner, runbook) = owners.of(&promised.subject());
        let from = rows.len();
        for (sli, budget) in budgets(promised) {
            let alike = |run: &&Counted| {
                let window = &run.window;
                run.sli == sli
                    && window.scenario == *scenario
                    && window.profile == profile
                    && window.slo_hash == slo_hash
                    && window.ended <= now
            };
            let windows: Vec<Window> =
                runs.iter().filter(alike).map(|run| run.window.clone()).collect();
            let newest = windows.iter().max_by_key(|window| (window.ended, window.started));
            let Some(newest) = newest else { continue };
            let Burn { short, long, .. } = judge(newest, &windows, budget, policy, now);
            rows.push(row(scenario, sli, "short", short));
            rows.push(row(scenario, sli, "long", long));
        }
        if rows.len() == from {
            rows.push(untold(scenario));
        }
        for row in &mut rows[from..] {
            row.owner = owner.clone();
            row.runbook = runbook.map(str::to_owned);
        }
    }
    rows
}

fn row(scenario: &str, sli: &str, window: &str, found: WindowBurn) -> Check {
    Check {
        id: format!("burn.{scenario}.{sli}.{window}"),
        scenario: scenario.to_owned(),
        sli: sli.to_owned(),
        bad: found.share.bad,
        total: found.share.total,
        observed: found.burn,
        ci95: None,
        op: "<=".to_owned(),
        threshold: found.limit,
        verdict: found.verdict,
        burn: found.burn,
        owner: crate::slo::policy::owners::Owner::default(),
        runbook: None,
        why: found.why,
    }
}

/// The one row of a scenario of which there is no run.
fn untold(scenario: &str) -> Check {
    let share = Share::default();
    let why = "no drill of this profile was judged by these objectives".to_owned();
    let verdict = CheckVerdict::NoData;
    let mut row = row(scenario, "", "", WindowBurn { share, burn: None, limit: 0.0, verdict, why });
    row.id = format!("burn.{scenario}");
    row
}
