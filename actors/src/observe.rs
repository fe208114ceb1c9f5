//! What can be seen of an actor from outside, without asking it.
//!
//! Everything here is written by the actor or its handle and read by anyone at any time, also while
//! every actor hangs: `/ops/actors` is served from it.

mod panics;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use sendcat_state::timestamp::Timestamp;

pub(crate) use panics::CaughtPanic;
pub use panics::{Redact, note_panics};

/// Whether an actor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Not started yet.
    Starting = 0,
    /// It answers.
    Running = 1,
    /// It lost its state and is getting it back.
    Restarting = 2,
    /// It failed too often and was given up.
    Down = 3,
    /// It was stopped on purpose.
    Stopped = 4,
}

impl Status {
    /// The name in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Down => "down",
            Self::Stopped => "stopped",
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Restarting,
            3 => Self::Down,
            _ => Self::Stopped,
        }
    }
}

/// Why an actor was restarted, or would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// A panic while deciding: nothing was lost, so nothing was restarted.
    Decide = 0,
    /// A panic while applying a change.
    Apply = 1,
    /// The actor's task died.
    Death = 2,
    /// It made no progress though there was work.
    Hang = 3,
    /// A change could not be written to disk.
    NotDurable = 4,
    /// An operator asked for it.
    Manual = 5,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 6] =
        [Self::Decide, Self::Apply, Self::Death, Self::Hang, Self::NotDurable, Self::Manual];

    /// The name in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Apply => "apply",
            Self::Death => "death",
            Self::Hang => "hang",
            Self::NotDurable => "not_durable",
            Self::Manual => "manual",
        }
    }
}

/// The last panic of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPanic {
    /// When.
    pub at: Timestamp,
    /// In which step.
    pub step: &'static str,
    /// Its message, cut.
    pub message: String,
    /// File and line, where known.
    pub location: Option<String>,
}

/// Everything that is seen of one actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorView {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub status: Status,
    /// How many times its state was built, the first included.
    pub incarnation: u64,
    /// Restarts by cause.
    pub restarts: Vec<(Cause, u64)>,
    /// Its last panic.
    pub last_panic: Option<LastPanic>,
    /// Commands inside: queued or being worked on.
    pub mailbox_depth: usize,
    /// How long the oldest of them has been inside, as far as is known.
    pub oldest_work: Option<Duration>,
    /// Commands handled since the process started.
    pub handled: u64,
    /// For how long it has been restarting, if it is.
    pub restarting_for: Option<Duration>,
}

/// Between two abandonments of an actor's thread: what came in during one does not count in the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era(u32);

impl Era {
    /// The only era of what is never abandoned.
    pub(crate) const FIRST: Self = Self(0);
}

fn era(depth: u64) -> Era {
    Era(u32::try_from(depth >> 32).expect("the high half fits"))
}

fn inside(depth: u64) -> usize {
    usize::try_from(depth & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

/// The counters behind an [`ActorView`].
#[derive(Debug)]
pub struct Vitals {
    name: String,
    status: AtomicU8,
    incarnation: AtomicU64,
    /// The incarnation that the task alive now was started as.
    launched: AtomicU64,
    /// The era in the high half, commands inside in the low half.
    depth: AtomicU64,
    handled: AtomicU64,
    /// Bumped when a step begins and when it ends.
    progress: AtomicU64,
    /// When the step under way began, in milliseconds; 0 while there is none.
    busy_since_ms: AtomicU64,
    /// When the oldest known work came in; 0 while there is none.
    oldest_ms: AtomicU64,
    /// When a restart under way may be over.
    back_at_ms: AtomicU64,
    /// Since when it has not been running, in milliseconds; 0 while it is.
    away_since_ms: AtomicU64,
    restarts: [AtomicU64; Cause::ALL.len()],
    /// How often its machine came to each of its words.
    turns: Mutex<BTreeMap<&'static str, u64>>,
    last_panic: Mutex<Option<LastPanic>>,
}

impl Vitals {
    /// Of an actor that has not started.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: AtomicU8::new(Status::Starting as u8),
            incarnation: AtomicU64::new(0),
            launched: AtomicU64::new(0),
            depth: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            busy_since_ms: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(0),
            back_at_ms: AtomicU64::new(0),
            away_since_ms: AtomicU64::new(0),
            restarts: [const { AtomicU64::new(0) }; Cause::ALL.len()],
            turns: Mutex::default(),
            last_panic: Mutex::new(None),
        }
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it answers.
    pub fn status(&self) -> Status {
        Status::of(self.status.load(Ordering::Acquire))
    }

    pub(crate) fn set_status(&self, status: Status) {
        if status == Status::Running {
            self.away_since_ms.store(0, Ordering::Relaxed);
        }
        self.status.store(status as u8, Ordering::Release);
    }

    /// It is being built again, for at least `delay`.
    pub(crate) fn restarts(&self, now: Timestamp, delay: Duration) {
        let since = now.as_millis().max(1);
        let _ = self.away_since_ms.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
        self.back_at_ms.store(now.after(delay).as_millis(), Ordering::Relaxed);
        self.set_status(Status::Restarting);
    }

    /// How long a restart under way may still take.
    pub(crate) fn back_in(&self, now: Timestamp) -> Duration {
        now.until(Timestamp::from_millis(self.back_at_ms.load(Ordering::Relaxed)))
    }

    /// Which incarnation is in force.
    pub fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// Begins a new incarnation; whatever an earlier one still writes is refused from here on.
    pub(crate) fn next_incarnation(&self) -> u64 {
        self.incarnation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Begins a new incarnation as a new task; every task before it is superseded from here on.
    pub(crate) fn next_launch(&self) -> u64 {
        let incarnation = self.next_incarnation();
        self.launched.fetch_max(incarnation, Ordering::AcqRel);
        incarnation
    }

    /// The incarnation that the newest task was started as.
    pub(crate) fn launched(&self) -> u64 {
        self.launched.load(Ordering::Acquire)
    }

    /// Commands inside.
    pub fn depth(&self) -> usize {
        inside(self.depth.load(Ordering::Acquire))
    }

    /// Lets one more command in if fewer than `cap` are inside.
    pub(crate) fn enter_below(&self, cap: usize, now: Timestamp) -> Option<Era> {
        let entered = self.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, |depth| {
            (inside(depth) < cap).then_some(depth + 1)
        });
        self.note_work(now);
        entered.ok().map(era)
    }

    /// Lets one more command in, whatever is inside: for what must never be refused.
    pub(crate) fn enter(&self, now: Timestamp) -> Era {
        self.note_work(now);
        era(self.depth.fetch_add(1, Ordering::AcqRel))
    }

    fn note_work(&self, now: Timestamp) {
        let ms = now.as_millis().max(1);
        let _ = self.oldest_ms.compare_exchange(0, ms, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A command is no longer inside. One that came in before the actor's thread was abandoned
    /// does not count any more.
    pub(crate) fn leave(&self, came_in: Era) {
        let left = self.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, |depth| {
            (era(depth) == came_in && inside(depth) > 0).then(|| depth - 1)
        });
        if left.is_ok_and(|before| inside(before) == 1) {
            self.oldest_ms.store(0, Ordering::Relaxed);
        }
    }

    /// The actor's thread is left to itself with whatever is inside.
    pub(crate) fn abandon(&self) {
        let next = |depth: u64| Some((depth >> 32).wrapping_add(1) << 32);
        let _ = self.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        self.busy_since_ms.store(0, Ordering::Relaxed);
        self.oldest_ms.store(0, Ordering::Relaxed);
    }

    pub(crate) fn step_begins(&self, now: Timestamp, asked_at: Timestamp) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.busy_since_ms.store(now.as_millis().max(1), Ordering::Relaxed);
        self.oldest_ms.store(asked_at.as_millis().max(1), Ordering::Relaxed);
    }

    pub(crate) fn step_ends(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.busy_since_ms.store(0, Ordering::Relaxed);
    }

    /// The actor moved without having been asked for anything.
    pub(crate) fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that moves while the actor does.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Since when the step under way has been going on.
    pub fn busy_since(&self) -> Option<Timestamp> {
        let ms = self.busy_since_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Timestamp::from_millis(ms))
    }

    pub(crate) fn count_restart(&self, cause: Cause) {
        self.restarts[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turned(&self, word: &'static str) {
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *turns.entry(word).or_default() += 1;
    }

    /// How often its machine came to each of its words since the process started.
    pub fn turns(&self) -> BTreeMap<&'static str, u64> {
        self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn note_panic(&self, at: Timestamp, step: &'static str, panic: CaughtPanic) {
        let (message, location) = panic.into_parts();
        tracing::error!(actor = %self.name, step, %message, location, "an actor panicked");
        let note = LastPanic { at, step, message, location };
        *self.last_panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(note);
    }

    /// What is seen of the actor.
    pub fn view(&self, now: Timestamp) -> ActorView {
        let restarts =
            Cause::ALL.map(|cause| (cause, self.restarts[cause as usize].load(Ordering::Relaxed)));
        let oldest_ms = self.oldest_ms.load(Ordering::Relaxed);
        let depth = self.depth();
        let away_ms = self.away_since_ms.load(Ordering::Relaxed);
        let restarting = self.status() == Status::Restarting && away_ms > 0;
        let last_panic = self.last_panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ActorView {
            name: self.name.clone(),
            status: self.status(),
            incarnation: self.incarnation(),
            restarts: restarts.into_iter().filter(|(_, times)| *times > 0).collect(),
            last_panic: last_panic.clone(),
            mailbox_depth: depth,
            oldest_work: (depth > 0 && oldest_ms > 0)
                .then(|| now.since(Timestamp::from_millis(oldest_ms))),
            restarting_for: restarting.then(|| now.since(Timestamp::from_millis(away_ms))),
            handled: self.handled.load(Ordering::Relaxed),
        }
    }
}
