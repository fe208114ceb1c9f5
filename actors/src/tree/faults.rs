//! Faults by the name of the actor they are armed on.
//!
//! Beside the actors there are `journal`, `root` (the supervisor's own loop) and `clock` (the
//! wall's time).

use std::sync::Arc;

use super::Tree;
use crate::faults::{COMPILED, Fault, FaultBoard, Witness};
use crate::supervisor::Supervised;

/// What the root is called where faults are armed.
const ROOT: &str = "root";

/// What the wall's time is called there.
const CLOCK: &str = "clock";

impl Tree {
    /// Arms a fault on an actor. `false` if there is none of that name, or if this build has no
    /// faults.
    pub fn arm(&self, actor: &str, fault: Fault) -> bool {
        self.board(actor).inspect(|board| board.arm(fault)).is_some()
    }

    /// The same, counted by `witness` and over when that has ended.
    pub fn arm_under(&self, witness: &Arc<Witness>, actor: &str, fault: Fault) -> bool {
        self.board(actor).inspect(|board| board.arm_under(witness, fault)).is_some()
    }

    /// Posts so many messages that say nothing to an actor, from a thread of its own, until
    /// `witness` ends; what its full mailbox refuses counts too. `false` if there is no such actor,
    /// or no thread.
    pub fn flood(&self, witness: &Arc<Witness>, actor: &str, messages: u64) -> bool {
        let found = self.inner.actors.iter().find(|each| each.vitals().name() == actor);
        let Some(found) = found.filter(|_| COMPILED).map(Arc::clone) else { return false };
        let witness = Arc::clone(witness);
        let flood = move || {
            for _ in 0..messages {
                if witness.has_ended() {
                    return;
                }
                found.crowd();
                witness.count();
            }
        };
        std::thread::Builder::new().name("flood".into()).spawn(flood).is_ok()
    }

    fn board(&self, actor: &str) -> Option<&FaultBoard> {
        if !COMPILED {
            return None;
        }
        if actor == self.journal.vitals().name() {
            return Some(self.journal.faults());
        }
        if actor == ROOT {
            return Some(&self.inner.beat.faults);
        }
        if actor == CLOCK {
            return self.clock.faults();
        }
        let found = self.inner.actors.iter().find(|each| each.vitals().name() == actor);
        found.map(|actor| actor.faults())
    }

    /// Whether an actor of that name exists.
    pub fn has_actor(&self, name: &str) -> bool {
        self.inner.actors.iter().any(|actor| actor.vitals().name() == name)
    }

    /// Every fault that is armed, and on which actor.
    pub fn armed(&self) -> Vec<(String, Fault)> {
        let of = |actor: &Arc<dyn Supervised>| {
            let name = actor.vitals().name().to_owned();
            actor.faults().armed().into_iter().map(move |fault| (name.clone(), fault))
        };
        let beside = [
            (self.journal.vitals().name(), Some(self.journal.faults())),
            (ROOT, Some(&self.inner.beat.faults)),
            (CLOCK, self.clock.faults()),
        ];
        let beside = beside.into_iter().flat_map(|(name, board)| {
            let armed = board.map(FaultBoard::armed).unwrap_or_default();
            armed.into_iter().map(move |fault| (name.to_owned(), fault))
        });
        self.inner.actors.iter().flat_map(of).chain(beside).collect()
    }

    /// Disarms every fault.
    pub fn clear_faults(&self) {
        self.inner.actors.iter().for_each(|actor| actor.faults().clear());
        let beside = [Some(self.journal.faults()), Some(&self.inner.beat.faults)];
        let beside = beside.into_iter().chain([self.clock.faults()]).flatten();
        beside.for_each(FaultBoard::clear);
    }
}
