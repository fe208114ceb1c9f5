//! Rounds of probes as rows of a report: failed rounds are counted, slow and repeated ones warned
//! of, and what was not clean is kept with its transcript.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{Ending, Outcome, Probe, Try};
use crate::slo::policy::Owners;
use crate::slo::report::Check;
use crate::slo::stats::Share;
use crate::slo::verdict::CheckVerdict;

/// Tries of one probe that are kept, the newest of those that were not clean: `--watch` has no end.
const KEPT: usize = 50;

/// What the rounds of one run have found so far; its size does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    seen: Vec<Seen>,
}

/// What one run found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// A row for each probe.
    pub checks: Vec<Check>,
    /// By probe: rounds, the last one's phases, and all that was not clean with its transcript.
    pub details: Value,
}

/// One probe over all rounds.
#[derive(Clone, Debug)]
struct Seen {
    last: Outcome,
    asked: u64,
    failed: u64,
    degraded: u64,
    retries: u64,
    /// Why it failed or was degraded, the last time that it did.
    wrong: Option<String>,
    weak: Option<String>,
    /// Tries of rounds that were not clean, the newest last.
    not_clean: VecDeque<Try>,
}

impl Rounds {
    /// Adds a round.
    pub fn add(&mut self, round: Vec<Outcome>) {
        for outcome in round {
            let at = self.seen.iter().position(|seen| seen.last.probe == outcome.probe);
            match at {
                Some(at) => self.seen[at].add(outcome),
                None => {
                    let mut seen = Seen::of(outcome.clone());
                    seen.add(outcome);
                    self.seen.push(seen);
                }
            }
        }
    }

    /// Whether there was no round.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How often a probe failed in a round.
    pub fn failures(&self) -> u64 {
        self.seen.iter().map(|seen| seen.failed).sum()
    }

    /// The rows and the details, in the order of the probes.
    pub fn found(&self, owners: &Owners) -> Found {
        let checks = self.seen.iter().map(|seen| seen.check(owners)).collect();
        let details: Vec<Value> = self.seen.iter().map(Seen::details).collect();
        Found { checks, details: json!({ "probes": details }) }
    }
}

impl Seen {
    fn of(last: Outcome) -> Self {
        let (wrong, weak, not_clean) = (None, None, VecDeque::new());
        Self { last, asked: 0, failed: 0, degraded: 0, retries: 0, wrong, weak, not_clean }
    }

    fn add(&mut self, outcome: Outcome) {
        self.retries += outcome.tries.len().saturating_sub(1) as u64;
        match &outcome.ending {
            Ending::Skipped(_) => {}
            Ending::Passed => self.asked += 1,
            Ending::Degraded(why) => {
                self.asked += 1;
                self.degraded += 1;
                self.weak = Some(why.clone());
                self.not_clean.extend(outcome.tries.iter().cloned());
            }
            Ending::Failed(why) => {
                self.asked += 1;
                self.failed += 1;
                self.wrong = Some(why.clone());
                self.not_clean.extend(outcome.tries.iter().cloned());
            }
        }
        let over = self.not_clean.len().saturating_sub(KEPT);
        self.not_clean.drain(..over);
        self.last = outcome;
    }

    fn check(&self, owners: &Owners) -> Check {
        let share = Share::new(self.failed, self.asked);
        let of_rounds = |why: &str, of: u64| match self.asked {
            0 | 1 => why.to_owned(),
            asked => format!("{why} ({of} of {asked} rounds)"),
        };
        let (verdict, why) = match (&self.last.ending, &self.wrong, &self.weak) {
            (Ending::Skipped(why), _, _) => (CheckVerdict::Skipped, why.clone()),
            (_, Some(why), _) => (CheckVerdict::Fail, of_rounds(why, self.failed)),
            (_, None, Some(why)) => (CheckVerdict::Warn, of_rounds(why, self.degraded)),
            (_, None, None) => (CheckVerdict::Pass, of_rounds(&took(&self.last), self.asked)),
        };
        let probe = self.last.probe;
        let (owner, runbook) = owners.of(&format!("route:{}", probe.route()));
        Check {
            id: format!("probe.{}", probe.id()),
            scenario: String::new(),
            sli: "probe".to_owned(),
            bad: share.bad,
            total: share.total,
            observed: share.rate(),
            ci95: None,
            op: "<=".to_owned(),
            threshold: 0.0,
            verdict,
            burn: None,
            owner,
            runbook: runbook.map(str::to_owned),
            why,
        }
    }

    fn details(&self) -> Value {
        let limits = self.last.probe.limits();
        json!({
            "probe": self.last.probe.id(),
            "rounds": self.asked,
            "failed": self.failed,
            "degraded": self.degraded,
            "retries": self.retries,
            "degradedFromMs": limits.degraded.as_millis() as u64,
            "failedFromMs": limits.failed.as_millis() as u64,
            "slowest": self.last.slowest,
            "last": self.last.tries,
            "notClean": self.not_clean,
        })
    }
}

/// The row of a probe that nobody could ask, for nobody answers at all.
pub(super) fn unasked(probe: Probe, why: &str, owners: &Owners) -> Check {
    let ending = Ending::Skipped(why.to_owned());
    let outcome = Outcome { probe, ending, tries: Vec::new(), slowest: None };
    let check = Seen::of(outcome).check(owners);
    Check { verdict: CheckVerdict::NoData, ..check }
}

/// The slowest exchange's status and phases, in words.
fn took(outcome: &Outcome) -> String {
    let newest = || outcome.tries.last().and_then(|last| last.exchanges.last());
    let Some(last) = outcome.slowest.as_ref().or_else(newest) else {
        return "asked".to_owned();
    };
    let phases = last.phases_ms;
    let status = last.status.unwrap_or_default();
    let all = outcome.tries.iter().flat_map(|asked| &asked.exchanges);
    let waited: u64 = all.filter_map(|exchange| exchange.waited_for429_s).sum();
    let waited = if waited > 0 { format!("; waited {waited} s for a 429") } else { String::new() };
    format!(
        "{status}: connect {:.1} ms, first byte {:.1} ms, body {:.1} ms{waited}",
        phases.connect, phases.first_byte, phases.body
    )
}
