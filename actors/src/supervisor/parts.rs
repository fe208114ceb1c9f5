//! What supervision is made of: subtrees, places, and the reports that reach the root.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use sendcat_state::restart_intensity::{Failures, Intensity, Verdict};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::mpsc;

use crate::observe::CaughtPanic;

/// What happens when a subtree has failed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escalation {
    /// Its actor rests and its callers fail in their direction; too many of these end the process.
    CountsAtTheRoot,
    /// Its actor rests and nothing else happens: what observes must not take down what serves.
    Rests,
}

/// Actors that are given up together.
#[derive(Debug)]
pub struct Subtree {
    pub(super) name: &'static str,
    pub(super) intensity: Intensity,
    pub(super) escalation: Escalation,
    pub(super) failures: Mutex<Failures>,
}

impl Subtree {
    /// A subtree that bears `max` failures in `period`.
    pub fn new(
        name: &'static str,
        max: usize,
        period: Duration,
        escalation: Escalation,
    ) -> Arc<Self> {
        let intensity = Intensity { max, period };
        Arc::new(Self { name, intensity, escalation, failures: Mutex::default() })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Counts a failure of one of its actors.
    pub(crate) fn failed(&self, now: Timestamp) -> Verdict {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.add(now, self.intensity)
    }
}

/// Where an actor lives.
#[derive(Clone, Debug)]
pub enum Place {
    /// On an arbiter's thread.
    Arbiter {
        /// Tells the thread from others.
        id: u64,
        /// The way to it.
        arbiter: ArbiterHandle,
    },
    /// On the thread of whoever starts it: a test with everything on one.
    Here,
}

impl Place {
    /// The thread of that arbiter.
    pub(crate) fn on(arbiter: ArbiterHandle) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Arbiter { id: NEXT.fetch_add(1, Ordering::Relaxed), arbiter }
    }

    /// Whether this is the same thread as that; on one thread everything is.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Arbiter { id, .. }, Self::Arbiter { id: other, .. }) => id == other,
            (Self::Here, Self::Here) => false,
            (Self::Arbiter { .. }, Self::Here) | (Self::Here, Self::Arbiter { .. }) => false,
        }
    }

    /// Runs `start` there. `false` if that thread is gone.
    pub(crate) fn run(&self, start: impl FnOnce() + Send + 'static) -> bool {
        match self {
            Self::Arbiter { arbiter, .. } => arbiter.spawn_fn(start),
            Self::Here => {
                start();
                true
            }
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Arbiter { arbiter, .. } => arbiter.alive(),
            Self::Here => true,
        }
    }
}

/// Ends the arbiter whose thread this is, and with it every actor on it; nothing on a thread that
/// is none's.
pub(crate) fn end_this_thread() {
    if let Some(arbiter) = Arbiter::try_current() {
        arbiter.stop();
    }
}

/// The pulse of the root's loop: whether the supervisor itself still goes round.
#[derive(Debug, Default)]
pub struct Beat {
    count: AtomicU64,
    at_ms: AtomicU64,
    pub(crate) faults: crate::faults::FaultBoard,
}

impl Beat {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { at_ms: AtomicU64::new(now.as_millis()), ..Self::default() }
    }

    pub(crate) fn beats(&self, now: Timestamp) {
        self.at_ms.store(now.as_millis(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that moves, twenty times a second, while the root does.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long ago the last beat was.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_millis(self.at_ms.load(Ordering::Relaxed)))
    }
}

/// The end of an actor's task.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub(crate) actor: String,
    pub(crate) incarnation: u64,
    pub(crate) panicking: bool,
    /// The panic that ended it, if one did and was noted.
    pub(crate) panic: Option<CaughtPanic>,
}

/// Reports the end of the task that holds it, whatever ended it.
pub(crate) struct Sentinel {
    actor: String,
    incarnation: u64,
    reports: Reports,
}

impl Sentinel {
    pub(crate) fn new(actor: &str, incarnation: u64, reports: &Reports) -> Self {
        Self { actor: actor.to_owned(), incarnation, reports: reports.clone() }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Nothing here may panic: a second panic while the first unwinds ends the process.
        self.reports.down(Down {
            actor: std::mem::take(&mut self.actor),
            incarnation: self.incarnation,
            panicking: std::thread::panicking(),
            panic: CaughtPanic::unwinding(),
        });
    }
}

/// What reaches the supervisor.
pub(crate) enum Report {
    Down(Down),
    GaveUp { actor: String, subtree: &'static str, escalation: Escalation },
}

/// Where actors report. Sending never waits and never panics. The channel has no cap of its own:
/// an actor reports once an incarnation, and incarnations are bounded by what subtrees bear.
#[derive(Clone, Debug)]
pub struct Reports {
    pub(super) to: mpsc::UnboundedSender<Report>,
}

impl Reports {
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (to, from) = mpsc::unbounded_channel();
        (Self { to }, from)
    }

    pub(crate) fn down(&self, down: Down) {
        drop(self.to.send(Report::Down(down)));
    }

    pub(crate) fn gave_up(&self, actor: &str, subtree: &Subtree) {
        let (name, escalation) = (subtree.name, subtree.escalation);
        let report = Report::GaveUp { actor: actor.to_owned(), subtree: name, escalation };
        drop(self.to.send(report));
    }
}
