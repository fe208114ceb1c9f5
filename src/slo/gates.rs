//! The gates of a drill: each indicator a bad/total count, held against its budget
//! (OPERATIONS.md §5.1, §5.2).
//!
//! # Invariants
//! - A row fails exactly where `bad/total > budget`, passes exactly where the one-sided 95 % upper
//!   bound is within the budget, and is `pass_unproven` between the two.
//! - Of no events there is no rate: `no_data`, never a pass.
//! - One bad event is counted by one indicator: a 5xx is no unknown status, a cut stream no
//!   network error, and what was never answered is neither.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::slo::policy::Owners;
use crate::slo::policy::slo::{LatencySlo, ScenarioSlo};
use crate::slo::report::{Check, ErrorKind, Histogram, HistogramError, Scenario};
use crate::slo::stats::{Share, events_to_prove};
use crate::slo::verdict::CheckVerdict;

/// A status class has its own latency row from so many answers on (OPERATIONS.md §5.1).
pub const LEAST_PER_CLASS: u64 = 100;

/// What was counted of one scenario, whoever counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Slower than the limit, of all answers; dropped arrivals are bad.
    pub latency: Share,
    /// The same within each status class.
    pub latency_by_class: BTreeMap<String, Share>,
    /// 5xx, of all answers.
    pub http5xx: Share,
    /// No whole answer, of all requests sent.
    pub network: Share,
    /// Neither expected nor a 5xx, of all answers.
    pub unknown_status: Share,
    /// First byte later than the limit, of all streams that began.
    pub first_byte: Share,
    /// Cut, of all streams that began.
    pub stream_cut: Share,
}

impl Tally {
    /// The counts of a scenario as a report keeps it, so that a verdict can be had again from it.
    ///
    /// # Errors
    /// A histogram of the report cannot be read.
    pub fn of(scenario: &Scenario, slo: &ScenarioSlo) -> Result<Self, HistogramError> {
        let statuses = scenario.statuses();
        let errors = scenario.errors();
        let matching = |is: &dyn Fn(u16) -> bool| {
            statuses.iter().filter(|(status, _)| is(**status)).map(|(_, n)| n).sum::<u64>()
        };
        let answers = matching(&|_| true);
        let cut = errors.get(&ErrorKind::StreamCut).copied().unwrap_or_default();
        let lost = errors.values().sum::<u64>() - cut;
        let excluded = slo.slis.http5xx.as_ref().map_or(&[][..], |slo| &slo.exclude);
        let expected = &slo.expected_statuses;
        let over = |slo: Option<LatencySlo>, histogram: &Histogram| {
            let slow = slo.map_or(0, |slo| histogram.slower_than_ms(slo.max_ms));
            Share::new(slow, histogram.count())
        };
        let mut tally = Self {
            latency: over(slo.slis.latency, &scenario.latency_ms.corrected.histogram()?),
            http5xx: Share::new(matching(&|s| s >= 500 && !excluded.contains(&s)), answers),
            network: Share::new(lost, answers + cut + lost),
            unknown_status: Share::new(matching(&|s| s < 500 && !expected.contains(&s)), answers),
            stream_cut: Share::new(cut, matching(&|s| s < 300) + cut),
            ..Self::default()
        };
        let dropped = scenario.dropped();
        tally.latency = tally.latency.merged(Share::new(dropped, dropped));
        if let Some(first_byte) = &scenario.latency_ms.first_byte {
            tally.first_byte = over(slo.slis.first_byte, &first_byte.histogram()?);
        }
        for (class, measured) in &scenario.by_status_class {
            let share = over(slo.slis.latency, &measured.corrected.histogram()?);
            tally.latency_by_class.insert(class.clone(), share);
        }
        Ok(tally)
    }
}

/// The rows of one scenario, in the order of the policy's keys.
pub fn rows(name: &str, slo: &ScenarioSlo, tally: &Tally, owners: &Owners) -> Vec<Check> {
    let slis = &slo.slis;
    let mut rows = Vec::new();
    let mut row = |sli: &str, share: Share, budget: f64, of: String| {
        rows.push(gate(name, sli, share, budget, &of));
    };
    if let Some(slo) = slis.latency {
        let of = |who: &str| format!("{who} slower than {} ms", slo.max_ms);
        row("latency", tally.latency, slo.max_rate(), of("answers"));
        for (class, share) in &tally.latency_by_class {
            if share.total >= LEAST_PER_CLASS {
                let who = format!("answers of {class}");
                row(&format!("latency@{class}"), *share, slo.max_rate(), of(&who));
            }
        }
    }
    if let Some(slo) = &slis.http5xx {
        let but: Vec<String> = slo.exclude.iter().map(ToString::to_string).collect();
        let but = if but.is_empty() { "".into() } else { format!(" but {}", but.join(", ")) };
        row("http5xx", tally.http5xx, slo.max_rate, format!("answers 5xx{but}"));
    }
    if let Some(slo) = slis.network {
        row("network", tally.network, slo.max_rate, "requests without a whole answer".into());
    }
    if let Some(slo) = slis.unknown_status {
        let of = "answers of an unknown status".into();
        row("unknownStatus", tally.unknown_status, slo.max_rate, of);
    }
    if let Some(slo) = slis.first_byte {
        let of = format!("streams whose first byte came after {} ms", slo.max_ms);
        row("firstByte", tally.first_byte, slo.max_rate(), of);
    }
    if let Some(slo) = slis.stream_cut {
        row("streamCut", tally.stream_cut, slo.max_rate, "streams cut".into());
    }
    let (owner, runbook) = owners.of(&slo.subject());
    for row in &mut rows {
        row.owner = owner.clone();
        row.runbook = runbook.map(str::to_owned);
    }
    rows
}

/// One row: a share held against its budget. `of` says what is counted, for its sentence.
///
/// The owner is the caller's to fill in.
pub fn gate(scenario: &str, sli: &str, share: Share, budget: f64, of: &str) -> Check {
    let observed = share.rate();
    let verdict = judged(share, budget);
    let Share { bad, total } = share;
    let allowed = percent(budget);
    let why = match (verdict, observed) {
        (CheckVerdict::Pass, Some(rate)) => {
            format!("{} of {total} {of} ({bad}), proved to be at most {allowed}", percent(rate))
        }
        (CheckVerdict::Fail, Some(rate)) => {
            format!("{} of {total} {of} ({bad}), more than {allowed}", percent(rate))
        }
        (_, Some(_)) => {
            let upper = percent(share.bounds()[1]);
            let needed = events_to_prove(budget)
                .filter(|needed| *needed > total)
                .map_or(String::new(), |needed| format!("; {needed} without one would prove it"));
            format!("{bad} of {total} {of} may still be {upper}, {allowed} is allowed{needed}")
        }
        (_, None) => format!("no events: nothing is known of {of}"),
    };
    Check {
        id: format!("{scenario}.{sli}"),
        scenario: scenario.to_owned(),
        sli: sli.to_owned(),
        bad,
        total,
        observed,
        ci95: observed.map(|_| share.bounds()),
        op: "<=".to_owned(),
        threshold: budget,
        verdict,
        burn: observed.map(|rate| rate / budget),
        owner: crate::slo::policy::owners::Owner::default(),
        runbook: None,
        why,
    }
}

/// The verdict of a share against a budget (OPERATIONS.md §5.1).
pub fn judged(share: Share, budget: f64) -> CheckVerdict {
    match share.rate() {
        None => CheckVerdict::NoData,
        Some(rate) if rate > budget => CheckVerdict::Fail,
        Some(_) if share.proves_at_most(budget) => CheckVerdict::Pass,
        Some(_) => CheckVerdict::PassUnproven,
    }
}

/// The row of a scenario that was not run, with the reason.
pub fn skipped(scenario: &str, why: &str) -> Check {
    let mut row = gate(scenario, "scenario", Share::default(), 0.0, "");
    row.verdict = CheckVerdict::Skipped;
    row.why = why.to_owned();
    row
}

/// What the generator did against what it had planned (OPERATIONS.md §5.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Arrivals of the schedule.
    pub planned: u64,
    /// Arrivals that were sent.
    pub started: u64,
    /// 99th percentile of the lag that is the generator's own, milliseconds.
    pub lag_self_p99_ms: f64,
    /// The longest wait for a free slot, milliseconds: the server's doing, not the generator's.
    pub lag_cap_max_ms: f64,
    /// The smallest latency limit that is gated, milliseconds.
    pub tightest_limit_ms: Option<u64>,
}

impl Schedule {
    /// Why nothing can be said of the server, `None` if something can: the generator's own lag
    /// passed 5 ms and a tenth of the tightest limit, or arrivals are missing with nobody waiting.
    pub fn invalid(&self) -> Option<String> {
        let allowed = self.tightest_limit_ms.map_or(5.0, |ms| (ms as f64 / 10.0).max(5.0));
        if self.lag_self_p99_ms > allowed {
            let lag = self.lag_self_p99_ms;
            return Some(format!(
                "the generator sent {lag:.1} ms late (p99), {allowed} ms allowed"
            ));
        }
        let Self { planned, started, .. } = *self;
        let kept = (started as f64) >= 0.99 * planned as f64;
        (!kept && self.lag_cap_max_ms == 0.0)
            .then(|| format!("the generator sent {started} of {planned} planned requests"))
    }
}

/// A rate as people read it.
pub(super) fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    let digits = if percent >= 10.0 { 1 } else { 2 };
    format!("{percent:.digits$} %")
}
