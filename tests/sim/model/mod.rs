//! The naive model: what callers were told, and what must follow from it.

mod guards;
mod limits;
mod work;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub(crate) use guards::{Claims, Leases, Probes};
pub(crate) use limits::{Limits, Rule};
pub(crate) use work::{Answers, Counters, Events, Runs};

/// What a run has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) steps: u64,
    pub(crate) lives: u64,
    /// Virtual time that passed.
    pub(crate) virtual_ms: u64,
    /// Events that their senders heard yes of.
    pub(crate) acknowledged: u64,
    pub(crate) dead_letters: u64,
    /// Actors that were given up, as their subtree's table says.
    pub(crate) given_up: u64,
    /// Faults that struck, by kind.
    pub(crate) struck: BTreeMap<String, u64>,
    /// Answers by what was asked and how it was answered.
    pub(crate) answers: BTreeMap<String, u64>,
}

impl Stats {
    pub(crate) fn struck(&mut self, kind: &str, times: u64) {
        *self.struck.entry(kind.to_owned()).or_default() += times;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.lives += other.lives;
        self.virtual_ms += other.virtual_ms;
        self.acknowledged += other.acknowledged;
        self.dead_letters += other.dead_letters;
        self.given_up += other.given_up;
        for (kind, times) in &other.struck {
            self.struck(kind, *times);
        }
        for (what, times) in &other.answers {
            *self.answers.entry(what.clone()).or_default() += times;
        }
    }
}

/// All that is known of a run.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What happened, each with its time.
    pub(crate) trace: Vec<String>,
    /// What must not have happened.
    pub(crate) wrong: Vec<String>,
    /// Jobs that two workers were at, which only a queue or a disk that failed permits.
    pub(crate) twice: Vec<String>,
    pub(crate) stats: Stats,
    pub(crate) limits: Limits,
    pub(crate) probes: Probes,
    pub(crate) leases: Leases,
    pub(crate) slots: Leases,
    pub(crate) claims: Claims,
    pub(crate) events: Events,
    pub(crate) counters: Counters,
    pub(crate) answers: Answers,
    pub(crate) runs: Runs,
    /// Numbers for identifiers.
    next: u64,
}

impl Model {
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn note(&mut self, now: u64, what: &str, answer: &str) {
        self.trace.push(format!("{now} {what} {answer}"));
        let answer = answer.split([' ', '{', '(']).next().unwrap_or_default();
        let what = what.split([' ', '-']).next().unwrap_or_default();
        *self.stats.answers.entry(format!("{what} {answer}")).or_default() += 1;
    }

    pub(crate) fn check(&mut self, wrong: Option<String>) {
        self.wrong.extend(wrong);
    }

    /// One number for all that happened; of what happened in the same moment the order is left out.
    pub(crate) fn digest(&self) -> u64 {
        let hash = |line: &String| {
            let mut hasher = DefaultHasher::new();
            line.hash(&mut hasher);
            hasher.finish()
        };
        self.trace.iter().map(hash).fold(0, u64::wrapping_add)
    }

    pub(crate) fn process_ended(&mut self, now: u64, drained: bool, saved: impl Fn(&str) -> bool) {
        self.limits.process_ended(now, drained, saved);
        self.probes.process_ended();
        self.leases.process_ended();
        self.slots.process_ended();
        self.claims.process_ended();
        self.answers.process_ended();
        self.runs.process_ended();
    }
}
