//! Work waiting and no progress: which actors hang, and which of their threads came back.
//!
//! An actor hangs if something waits for it and nothing has moved for its limit. Idle actors hold
//! one queued tick every quarter of a second, so a dead thread shows as well. A hung thread cannot
//! be ended: it is abandoned, everything that lived on it is started elsewhere, and what it still
//! does is refused (SV-3). Pure: it is told what it is to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sendcat_state::timestamp::Timestamp;

/// Abandoned threads that are borne at once; more of them end the process.
pub(crate) const MOST_ABANDONED: usize = 3;

/// What is seen of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// A number that moves while the actor does.
    pub(crate) progress: u64,
    /// Whether something waits for it.
    pub(crate) has_work: bool,
    /// How long it may stand still then.
    pub(crate) limit: Duration,
}

/// Since when each actor stands where it does.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    still: HashMap<String, (u64, Timestamp)>,
}

impl Watchdog {
    /// Takes in what is seen of an actor; whether it hangs.
    pub(crate) fn sees(&mut self, now: Timestamp, actor: &str, sight: Sight) -> bool {
        if !sight.has_work {
            self.still.remove(actor);
            return false;
        }
        match self.still.get_mut(actor) {
            Some((progress, since)) if *progress == sight.progress => {
                since.until(now) >= sight.limit
            }
            Some(stood) => {
                *stood = (sight.progress, now);
                false
            }
            None => {
                self.still.insert(actor.to_owned(), (sight.progress, now));
                false
            }
        }
    }

    /// Starts anew with an actor that was started anew.
    pub(crate) fn forget(&mut self, actor: &str) {
        self.still.remove(actor);
    }
}

/// Which of those on one thread holds it up: the one that has been in the middle of a step for
/// long. None of them if all are between two steps, as beside one that is deaf.
pub(crate) fn holds_up(
    busy_for: impl IntoIterator<Item = Option<Duration>>,
    limit: Duration,
) -> Option<usize> {
    // Whoever waits behind it may have been found a little before its own limit was over.
    busy_for.into_iter().position(|busy| busy.is_some_and(|busy| busy >= limit / 2))
}

/// Threads that hang and were left to themselves.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    threads: Vec<Arc<AtomicBool>>,
}

impl Abandoned {
    /// One more; the flag is to be set by the thread itself, as soon as it moves again.
    pub(crate) fn add(&mut self) -> Arc<AtomicBool> {
        let back = Arc::new(AtomicBool::new(false));
        self.threads.push(Arc::clone(&back));
        back
    }

    /// How many hang still.
    pub(crate) fn count(&mut self) -> usize {
        self.threads.retain(|back| !back.load(Ordering::Acquire));
        self.threads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn sight(progress: u64, has_work: bool) -> Sight {
        Sight { progress, has_work, limit: LIMIT }
    }

    #[test]
    fn an_actor_hangs_when_work_waits_and_nothing_moves_for_its_limit() {
        let mut watchdog = Watchdog::default();
        assert!(!watchdog.sees(at(0), "a", sight(7, true)));
        assert!(!watchdog.sees(at(99), "a", sight(7, true)));
        assert!(watchdog.sees(at(100), "a", sight(7, true)));
        assert!(!watchdog.sees(at(101), "a", sight(8, true)), "it moved");
        assert!(watchdog.sees(at(201), "a", sight(8, true)));
        watchdog.forget("a");
        assert!(!watchdog.sees(at(500), "a", sight(8, true)), "a new one has its whole limit");
    }

    #[test]
    fn an_actor_without_work_never_hangs() {
        let mut watchdog = Watchdog::default();
        assert!(!watchdog.sees(at(0), "a", sight(7, true)));
        assert!(!watchdog.sees(at(50), "a", sight(7, false)));
        assert!(!watchdog.sees(at(1000), "a", sight(7, true)), "it stands still since now");
    }

    #[test]
    fn a_thread_is_held_up_by_the_one_in_a_long_step_and_not_by_those_behind_it() {
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(holds_up([None, None, millis(95), None], LIMIT), Some(2));
        assert_eq!(holds_up([None, None], LIMIT), None, "one of them is deaf");
        assert_eq!(holds_up([millis(3), None], LIMIT), None, "a step of a thread that goes on");
    }

    #[test]
    fn a_thread_that_moves_again_is_not_abandoned_any_more() {
        let mut abandoned = Abandoned::default();
        let (back, _gone) = (abandoned.add(), abandoned.add());
        assert_eq!(abandoned.count(), 2);
        back.store(true, Ordering::Release);
        assert_eq!(abandoned.count(), 1);
    }
}
