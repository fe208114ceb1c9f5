//! What a machine must say of itself to be served by an actor.
//!
//! The bounds are the point: `decide` takes `&self` of a type without interior mutability, so that
//! a panic in it leaves the machine as it was, and the compiler agrees.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use sendcat_state::machine::{Apply, Decision, ReadError, Records};
use sendcat_state::timestamp::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How an actor's state outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A change is on disk before the caller hears yes.
    Journalled,
    /// Memory is the truth; what changed since the last snapshot is kept beside the actor.
    Snapshotted,
    /// Kept beside the actor like a snapshotted one, and gone with the process.
    Passing,
}

/// When an actor publishes what it shows of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// After each change: for small views that callers fall back on.
    EachChange,
    /// A few times a second.
    OnTick,
}

/// A machine that an actor serves.
pub trait Machine:
    Apply<Self::Change>
    + Clone
    + Serialize
    + DeserializeOwned
    + RefUnwindSafe
    + UnwindSafe
    + Send
    + Sync
    + Unpin
    + 'static
{
    /// What it is asked.
    type Command: Clone + UnwindSafe + Send + 'static;
    /// What it answers.
    type Answer: Send + 'static;
    /// What a command makes of it: journalled, replayed, applied.
    type Change: Serialize
        + DeserializeOwned
        + Clone
        + RefUnwindSafe
        + UnwindSafe
        + Send
        + Sync
        + Unpin
        + 'static;
    /// The knobs that it decides by; swapped when they are reloaded.
    type Rules: RefUnwindSafe + Send + Sync + 'static;
    /// What it shows of itself.
    type View: Default + Send + Sync + 'static;

    /// Which machine a saved form is of.
    const KIND: &'static str;
    /// How its state outlives the actor.
    const CLASS: Class;
    /// When its view is published.
    const PUBLISH: Publish = Publish::OnTick;
    /// How long a caller waits for an answer.
    const ASK_DEADLINE: Duration;
    /// How long it may stand still with work waiting before it is taken for hung.
    const HANG_AFTER: Duration = Duration::from_secs(2);
    /// Commands that may be inside at once.
    const QUEUE_CAP: usize = 4096;

    /// The machine before anything happened.
    fn fresh() -> Self;

    /// Decides one command. May panic: nothing is lost then.
    fn decide(
        &self,
        now: Timestamp,
        rules: &Self::Rules,
        command: Self::Command,
    ) -> Decision<Self::Answer, Self::Change>;

    /// Decides what time alone has brought: leases that ended, claims that expired.
    fn housekeep(&self, now: Timestamp, rules: &Self::Rules) -> Decision<(), Self::Change> {
        let _ = (now, rules);
        Decision::unchanged(())
    }

    /// What a command is known by when it makes the actor panic again and again: whose or what it
    /// is about. `None` for commands that are all alike.
    fn fingerprint(command: &Self::Command) -> Option<u128> {
        let _ = command;
        None
    }

    /// Whether the answer to this command waits for the disk; asked of journalled machines only.
    fn waits_for_disk(command: &Self::Command) -> bool {
        let _ = command;
        true
    }

    /// The command that undoes an answer which nobody was there to take.
    fn undo(answer: Self::Answer) -> Option<Self::Command> {
        let _ = answer;
        None
    }

    /// The machine when nothing that was saved of it can be used: what the store's records say of
    /// it, or what is safe to assume.
    ///
    /// # Errors
    /// [`ReadError`] if the records cannot be read now.
    fn salvage(now: Timestamp, records: &dyn Records) -> Result<Self, ReadError> {
        let _ = (now, records);
        Ok(Self::fresh())
    }

    /// Called on a machine read back when the process starts: whoever held something of it is dead.
    fn reopened(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// The one word for the state that a view shows, of machines that have such states: a change of
    /// it is logged and counted.
    fn word(view: &Self::View) -> Option<&'static str> {
        let _ = view;
        None
    }

    /// What it shows of itself.
    fn view(&self, now: Timestamp) -> Self::View;
}
