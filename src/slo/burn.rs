//! How fast an error budget burns: over report files, and over live counters
//! (OPERATIONS.md §5.3; CONFORMANCE G10, G11).
//!
//! Windows are pooled, Σbad over Σtotal, never averaged: a report of ten requests weighs as ten.
//! Drill windows block unless shown good, for their size is ours to choose; live counters block
//! only if shown bad.
//!
//! # Invariants
//! - The order of reports and the age of their files change nothing: what counts is when a run
//!   ended, and what it was judged by.
//! - One run counts once, however many files tell of it.

pub mod runs;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use crate::slo::gates::percent;
use crate::slo::policy::gate::BurnPolicy;
use crate::slo::stats::Share;
use crate::slo::verdict::CheckVerdict;

/// One run of one scenario as a report tells it, for one indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The run's own name.
    pub id: String,
    /// When it began, since the Unix epoch.
    pub started: Duration,
    /// When it ended, since the Unix epoch.
    pub ended: Duration,
    /// The scenario.
    pub scenario: String,
    /// The drill's profile.
    pub profile: String,
    /// The hash of the objectives it was judged by.
    pub slo_hash: String,
    /// What was counted.
    pub share: Share,
}

/// What two windows say of one indicator.
#[derive(Clone, Debug, PartialEq)]
pub struct Burn {
    /// The newest report alone.
    pub short: WindowBurn,
    /// All reports looked at, pooled.
    pub long: WindowBurn,
    /// How many reports the long window holds.
    pub reports: usize,
}

/// One window against its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowBurn {
    /// What was counted.
    pub share: Share,
    /// `(bad/total) / budget`; absent where nothing was counted.
    pub burn: Option<f64>,
    /// The most that is allowed.
    pub limit: f64,
    /// What was found.
    pub verdict: CheckVerdict,
    /// One sentence.
    pub why: String,
}

/// `(bad/total) / budget`: 1 spends the budget exactly over its window. `None` of nothing.
pub fn burn_rate(share: Share, budget: f64) -> Option<f64> {
    share.rate().map(|rate| rate / budget)
}

/// How long the budget of a window lasts at a burn rate; `None` where none of it burns.
pub fn exhaustion(window: Duration, burn: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(window.as_secs_f64() / burn).ok().filter(|_| burn > 0.0)
}

/// The part of the budget that a burn rate has spent after so much of the window.
pub fn budget_spent(burn: f64, elapsed: Duration, window: Duration) -> f64 {
    burn * elapsed.as_secs_f64() / window.as_secs_f64()
}

/// The reports that count beside the newest: same scenario, profile and objectives, not stale,
/// each run once and none that overlaps a newer one; newest first, at most `lookback_reports`.
///
/// A gate's report tells of the drill inside it, so two files may tell of the same requests:
/// runs that overlap in time are not independent.
pub fn independent<'a>(
    newest: &'a Window,
    others: &'a [Window],
    policy: &BurnPolicy,
) -> Vec<&'a Window> {
    let oldest = newest.ended.saturating_sub(hours(policy.max_report_age_hours));
    let alike = |window: &&Window| {
        window.scenario == newest.scenario
            && window.profile == newest.profile
            && window.slo_hash == newest.slo_hash
            && window.ended >= oldest
            && window.ended <= newest.ended
    };
    let mut sorted: Vec<_> = others.iter().filter(alike).collect();
    sorted.sort_by(|a, b| (b.ended, b.started, &b.id).cmp(&(a.ended, a.started, &a.id)));
    let mut ids = HashSet::from([newest.id.as_str()]);
    let mut taken = vec![newest];
    for window in sorted {
        let apart = taken.last().is_none_or(|newer| window.ended <= newer.started);
        if taken.len() < policy.lookback_reports && apart && ids.insert(&window.id) {
            taken.push(window);
        }
    }
    taken
}

/// The burn over the newest report and over the pool of all that count (OPERATIONS.md §5.3).
///
/// `now` is when the question is asked: where the newest report is older than the policy allows,
/// both windows have no data, for nobody has looked since.
pub fn judge(
    newest: &Window,
    others: &[Window],
    budget: f64,
    policy: &BurnPolicy,
    now: Duration,
) -> Burn {
    let pool = independent(newest, others, policy);
    let pooled = pool.iter().fold(Share::default(), |sum, window| sum.merged(window.share));
    let (reports, needed) = (pool.len(), policy.min_reports_for_long_window);
    let mut short = held(newest.share, budget, policy.short_window_max_burn_rate, policy);
    let mut long = held(pooled, budget, policy.long_window_max_burn_rate, policy);
    if reports < needed {
        long.verdict = CheckVerdict::NoData;
        long.why = format!("{reports} reports of the last runs, {needed} are needed");
    }
    let age = now.saturating_sub(newest.ended);
    if age > hours(policy.max_report_age_hours) {
        for window in [&mut short, &mut long] {
            window.verdict = CheckVerdict::NoData;
            window.why = format!("stale: the newest report is {} h old", age.as_secs() / 3600);
        }
    }
    Burn { short, long, reports }
}

fn held(share: Share, budget: f64, limit: f64, policy: &BurnPolicy) -> WindowBurn {
    let burn = burn_rate(share, budget);
    let Share { bad, total } = share;
    let (verdict, why) = match burn {
        None => (CheckVerdict::NoData, "no events were counted".to_owned()),
        Some(burn) if burn <= limit => {
            (CheckVerdict::Pass, format!("burn {burn:.2} of {limit:.2} allowed, {bad} of {total}"))
        }
        // Few events past the limit may be chance; but a drill is blocked unless shown good.
        Some(burn) if bad < policy.min_bad_events => {
            let least = policy.min_bad_events;
            let say = format!("burn {burn:.2} by {bad} bad events; {least} are needed to say so");
            (CheckVerdict::NoData, say)
        }
        Some(burn) => {
            let rate = percent(share.rate().unwrap_or_default());
            let say = format!("burn {burn:.2}, {limit:.2} allowed: {bad} of {total} are {rate}");
            (CheckVerdict::Fail, say)
        }
    };
    WindowBurn { share, burn, limit, verdict, why }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3600))
}

/// A pair of windows over live counters: it fires only if both burn past the factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Over how long a burn must last.
    pub long: Duration,
    /// Over how long it must still be going on.
    pub short: Duration,
    /// The burn rate past which it fires.
    pub factor: f64,
    /// Who is called.
    pub severity: Severity,
}

/// Who is called, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody, now.
    Page,
    /// Somebody, in working hours.
    Ticket,
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

const fn pair(long: u64, short: u64, factor: f64, severity: Severity) -> Pair {
    Pair { long: minutes(long), short: minutes(short), factor, severity }
}

/// The four pairs of the workbook, for a budget of 30 days (OPERATIONS.md §1.2).
pub const WORKBOOK: [Pair; 4] = [
    pair(60, 5, 14.4, Severity::Page),
    pair(6 * 60, 30, 6.0, Severity::Page),
    pair(24 * 60, 2 * 60, 3.0, Severity::Ticket),
    pair(3 * 24 * 60, 6 * 60, 1.0, Severity::Ticket),
];

/// With fewer bad events in its long window a pair does not fire (OPERATIONS.md §5.3).
pub const LIVE_MIN_BAD_EVENTS: u64 = 5;

impl Pair {
    /// Whether it fires on what the two windows counted.
    pub fn fires(&self, long: Share, short: Share, budget: f64) -> bool {
        let over = |share| burn_rate(share, budget).is_some_and(|burn| burn > self.factor);
        long.bad >= LIVE_MIN_BAD_EVENTS && over(long) && over(short)
    }

    /// The error rate past which it fires; 1 or more means never.
    pub fn threshold(&self, budget: f64) -> f64 {
        self.factor * budget
    }

    /// Whether it can ever fire: `factor · budget < 1` (OPERATIONS.md §5.3, lint a).
    pub fn can_fire(&self, budget: f64) -> bool {
        self.threshold(budget) < 1.0
    }

    /// How long a steady error rate lasts until the long window fires,
    /// `W·B·(1−SLO)/errorRate`; `None` if it never does.
    pub fn time_to_fire(&self, budget: f64, error_rate: f64) -> Option<Duration> {
        let share = self.threshold(budget) / error_rate;
        (share < 1.0).then(|| self.long.mul_f64(share))
    }
}

/// Whether the last two minutes are an outage, beside all pairs: at least 95 % bad of at least 20
/// events, or 3 synthetic probes failed in a row (OPERATIONS.md §5.3, b).
pub fn is_outage(two_minutes: Share, probes_failed_in_a_row: u32) -> bool {
    let most_bad = two_minutes.rate().is_some_and(|rate| rate >= 0.95);
    (two_minutes.total >= 20 && most_bad) || probes_failed_in_a_row >= 3
}
