//! One property per invariant, each machine against a model so plain that it needs no proof.
//!
//! A machine is driven by commands that carry their time. What a command refers to (a lease, a
//! permit) is one of those handed out so far, live or long gone, so late, doubled and lost answers
//! come by themselves.

mod alerts;
mod bulkhead;
mod cache;
mod circuit;
mod claims;
mod jobs;
mod rates;
mod restarts;
mod snapshots;
mod stream;

use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use sendcat_state::machine::{Apply, Decision};
use sendcat_state::timestamp::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// So many cases, and no file of seeds: a seed that found a fault becomes a test of its own name.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A command and when it comes.
#[derive(Clone, Debug)]
pub(crate) struct Timed<C> {
    pub(crate) now: Timestamp,
    pub(crate) what: C,
}

/// Commands with steps of time between them, from none up to `step_ms`.
pub(crate) fn timed<C: Clone + Debug + 'static>(
    what: impl Strategy<Value = C> + 'static,
    step_ms: u64,
    most: usize,
) -> BoxedStrategy<Vec<Timed<C>>> {
    // Half of the commands come at the same moment as the one before, where races lie.
    let step = prop_oneof![2 => Just(0), 1 => Just(1), 1 => 0..=step_ms];
    let steps = prop::collection::vec((step, what), 1..most);
    let run = |steps: Vec<(u64, C)>| {
        let mut now = 1000;
        let timed = steps.into_iter().map(|(step, what)| {
            now += step;
            Timed { now: at(now), what }
        });
        timed.collect()
    };
    steps.prop_map(run).boxed()
}

/// A machine that commands drive, for the properties that every machine has.
pub(crate) trait Driven:
    Sized + Clone + Serialize + DeserializeOwned + Apply<Self::Change>
{
    /// What it is told.
    type Command: Clone + Debug;
    /// What it becomes by that.
    type Change: Serialize + DeserializeOwned;
    /// What callers remember of its answers: leases, permits.
    type Memory: Clone + Default;

    /// A new machine.
    fn fresh() -> Self;

    /// Any run of commands.
    fn commands() -> BoxedStrategy<Vec<Timed<Self::Command>>>;

    /// Decides one command; the answer as text.
    fn decide(
        &self,
        memory: &mut Self::Memory,
        command: &Timed<Self::Command>,
    ) -> Decision<String, Self::Change>;

    /// Decides one command and applies it.
    fn turn(&mut self, memory: &mut Self::Memory, command: &Timed<Self::Command>) -> String {
        let decision = self.decide(memory, command);
        decision.settle(self)
    }
}

/// One of what was handed out, the newest first; `None` if nothing was.
pub(crate) fn recent<T: Copy>(handed_out: &[T], back: usize) -> Option<T> {
    let place = handed_out.len().checked_sub(1 + back % handed_out.len().max(1))?;
    handed_out.get(place).copied()
}
