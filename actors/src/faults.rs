//! Injected panics, hangs and slow steps, for tests, drills and game days.
//!
//! Struck by builds with the feature `faults` only ([`COMPILED`]). A fault is armed on one actor
//! and strikes at its n-th step from then on, once or several times. One that is armed under a
//! [`Witness`] is counted there each time it strikes, and is over as soon as that has ended,
//! whoever is in the middle of it.

#[cfg(test)]
mod tests;
mod witness;

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use witness::Witness;

/// Whether this build strikes at all.
pub const COMPILED: bool = cfg!(feature = "faults");

/// Where in a turn a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// While the machine decides.
    Decide,
    /// After the change was applied, before the turn ends.
    Apply,
    /// Outside every guard, when time is told.
    Timer,
    /// After a turn, when the next may begin.
    Turned,
    /// When an answer goes back.
    Answer,
    /// While the machine is built again.
    Restore,
    /// Before the journal writes.
    Write,
    /// Before the journal waits for the disk.
    Flush,
    /// When time is told, and the task may end.
    Tick,
    /// Where a guard is about to do its work.
    Guard,
    /// When a job's attempt begins.
    Job,
    /// When the wall's clock is read.
    Wall,
}

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A panic while deciding.
    PanicDecide,
    /// A panic while applying.
    PanicApply,
    /// A panic outside every guard: the task dies.
    PanicTimer,
    /// The thread is blocked for so long.
    Hang(Duration),
    /// The actor waits for so long and hears nothing, and its thread goes on.
    Deaf(Duration),
    /// An answer is lost on its way.
    DropReply,
    /// A panic while the machine is built again.
    PanicRestore,
    /// The actor's whole thread ends; nothing where there is but one.
    StopArbiter,
    /// Writes fail as on a full disk, until the fault is disarmed; on `journal` alone.
    DiskFull,
    /// Each wait for the disk takes so much longer; on `journal` alone.
    DiskSlow(Duration),
    /// The task ends without a panic, as if somebody had stopped it.
    Kill,
    /// The guard lets everything pass: a circuit breaker, the claims, or, on `root`, the watchdog.
    Bypass,
    /// One job, the first to begin, panics in every attempt; on `job_queue` alone.
    PoisonJob,
    /// The wall's clock is so many milliseconds off; on `clock` alone.
    WallOff(i64),
    /// The wall's clock stands still at so many milliseconds since 1970; on `clock` alone.
    WallAt(u64),
}

impl FaultKind {
    const fn step(self) -> Step {
        match self {
            Self::PanicDecide | Self::Hang(_) => Step::Decide,
            Self::Deaf(_) => Step::Turned,
            Self::DropReply => Step::Answer,
            Self::PanicRestore => Step::Restore,
            Self::DiskFull => Step::Write,
            Self::DiskSlow(_) => Step::Flush,
            Self::Kill => Step::Tick,
            Self::Bypass => Step::Guard,
            Self::PoisonJob => Step::Job,
            Self::WallOff(_) | Self::WallAt(_) => Step::Wall,
            Self::PanicApply => Step::Apply,
            Self::PanicTimer | Self::StopArbiter => Step::Timer,
        }
    }
}

/// A fault armed on an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What strikes.
    pub kind: FaultKind,
    /// Steps of that sort that pass before it does.
    pub after: u64,
    /// How often it strikes.
    pub times: u64,
}

impl Fault {
    /// One that strikes at every step until it is disarmed.
    pub const fn lasting(kind: FaultKind) -> Self {
        Self { kind, after: 0, times: u64::MAX }
    }
}

/// The faults armed on one actor.
#[derive(Debug, Default)]
pub struct FaultBoard {
    any: AtomicBool,
    armed: Mutex<Vec<Armed>>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    witness: Option<Arc<Witness>>,
}

impl Armed {
    fn is_over(&self) -> bool {
        self.fault.times == 0 || self.witness.as_ref().is_some_and(|witness| witness.has_ended())
    }
}

/// A fault that is due, and who counts it.
struct Due {
    kind: FaultKind,
    witness: Option<Arc<Witness>>,
}

impl FaultBoard {
    /// Arms a fault.
    pub fn arm(&self, fault: Fault) {
        self.push(Armed { fault, witness: None });
    }

    /// Arms a fault that is counted by `witness`, and is over when that has ended.
    pub fn arm_under(&self, witness: &Arc<Witness>, fault: Fault) {
        self.push(Armed { fault, witness: Some(Arc::clone(witness)) });
    }

    fn push(&self, armed: Armed) {
        self.lock().push(armed);
        self.any.store(true, Ordering::Release);
    }

    /// Disarms all.
    pub fn clear(&self) {
        self.lock().clear();
        self.any.store(false, Ordering::Release);
    }

    /// What is armed.
    pub fn armed(&self) -> Vec<Fault> {
        let armed = self.lock();
        armed.iter().filter(|each| !each.is_over()).map(|each| each.fault.clone()).collect()
    }

    /// Lets a fault that is due at this step strike.
    pub fn strike(&self, step: Step) {
        if !COMPILED || !self.any.load(Ordering::Acquire) {
            return;
        }
        let Some(Due { kind, witness }) = self.due(step) else { return };
        match kind {
            FaultKind::Hang(span) => block_for(span, witness.as_deref()),
            FaultKind::DiskSlow(span) => std::thread::sleep(span),
            FaultKind::PanicDecide => panic!("injected: decide panic"),
            FaultKind::PanicApply => panic!("injected: apply panic"),
            FaultKind::PanicTimer => panic!("injected: timer panic"),
            FaultKind::PanicRestore => panic!("injected: restore panic"),
            FaultKind::StopArbiter => crate::supervisor::end_this_thread(),
            // Whoever has such a step asks for it by name.
            FaultKind::Deaf(_)
            | FaultKind::DiskFull
            | FaultKind::DropReply
            | FaultKind::Kill
            | FaultKind::Bypass
            | FaultKind::PoisonJob
            | FaultKind::WallOff(_)
            | FaultKind::WallAt(_) => {}
        }
    }

    /// Whether the next write is to fail.
    pub(crate) fn disk_is_full(&self) -> bool {
        self.asked(Step::Write).is_some()
    }

    /// Whether the answer that is about to go is to be lost.
    pub(crate) fn loses_answer(&self) -> bool {
        self.asked(Step::Answer).is_some()
    }

    /// Whether the task is to end now.
    pub(crate) fn kills(&self) -> bool {
        self.asked(Step::Tick).is_some()
    }

    /// Whether the guard is switched off.
    pub(crate) fn bypassed(&self) -> bool {
        self.asked(Step::Guard).is_some()
    }

    /// Panics if the job of that number is poisoned: the first that asks, again and again.
    pub(crate) fn strike_job(&self, number: u128) {
        let Some(Due { witness: Some(witness), .. }) = self.asked(Step::Job) else { return };
        if witness.marks(number) {
            witness.count();
            panic!("injected: a poisoned job");
        }
    }

    /// How long the actor is to be deaf from now on, if it is.
    pub(crate) fn deafness(&self) -> Option<Duration> {
        let due = self.asked(Step::Turned)?;
        if let FaultKind::Deaf(span) = due.kind { Some(span) } else { None }
    }

    /// What the wall's clock shows instead of `truth`, both in milliseconds since 1970.
    pub(crate) fn wall(&self, truth: u64) -> u64 {
        match self.asked(Step::Wall).map(|due| due.kind) {
            Some(FaultKind::WallOff(millis)) => truth.saturating_add_signed(millis),
            Some(FaultKind::WallAt(millis)) => millis,
            Some(_) | None => truth,
        }
    }

    fn asked(&self, step: Step) -> Option<Due> {
        let any = COMPILED && self.any.load(Ordering::Acquire);
        any.then(|| self.due(step)).flatten()
    }

    fn due(&self, step: Step) -> Option<Due> {
        let mut armed = self.lock();
        let mut due = None;
        armed.retain(|each| !each.is_over());
        for each in armed.iter_mut().filter(|each| each.fault.kind.step() == step) {
            let fault = &mut each.fault;
            if fault.after > 0 {
                fault.after -= 1;
            } else if due.is_none() {
                if fault.times != u64::MAX {
                    fault.times -= 1;
                }
                // A job counts when it is the poisoned one.
                let witness = each.witness.clone();
                witness.iter().filter(|_| step != Step::Job).for_each(|witness| witness.count());
                due = Some(Due { kind: fault.kind, witness });
            }
        }
        armed.retain(|each| !each.is_over());
        self.any.store(!armed.is_empty(), Ordering::Release);
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks the thread for so long, or until the lease it is blocked under has ended.
fn block_for(span: Duration, witness: Option<&Witness>) {
    const SLICE: Duration = Duration::from_millis(20);
    let mut left = span;
    while !left.is_zero() && !witness.is_some_and(Witness::has_ended) {
        let slice = if witness.is_some() { left.min(SLICE) } else { left };
        std::thread::sleep(slice);
        left -= slice;
    }
}

/// A fault and the actor to arm it on, as written in `SENDCAT_FAULTS`:
/// `actor:kind@after[:duration]`, for example `idempotency:hang@120:3000ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledFault {
    /// Which actor.
    pub actor: String,
    /// What to arm.
    pub fault: Fault,
}

impl FromStr for ScheduledFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("fault {text:?}: {what}; write actor:kind@n[:1500ms]");
        let (actor, rest) = text.split_once(':').ok_or_else(|| wrong("no actor"))?;
        let (kind, when) = rest.split_once('@').unwrap_or((rest, "0"));
        let (after, span) = when.split_once(':').unwrap_or((when, ""));
        let after = after.parse().map_err(|_| wrong("the number of steps is not one"))?;
        let kind = match kind {
            "panic_decide" => FaultKind::PanicDecide,
            "panic_apply" => FaultKind::PanicApply,
            "panic_timer" => FaultKind::PanicTimer,
            "panic_restore" => FaultKind::PanicRestore,
            "drop_reply" => FaultKind::DropReply,
            "stop_arbiter" => FaultKind::StopArbiter,
            "disk_full" => FaultKind::DiskFull,
            "hang" | "deaf" | "disk_slow" => {
                let millis = span.strip_suffix("ms").unwrap_or(span).parse();
                let millis =
                    millis.map_err(|_| wrong(&format!("a {kind} needs its milliseconds")))?;
                let span = Duration::from_millis(millis);
                match kind {
                    "hang" => FaultKind::Hang(span),
                    "deaf" => FaultKind::Deaf(span),
                    _ => FaultKind::DiskSlow(span),
                }
            }
            _ => return Err(wrong("no such kind")),
        };
        let lasts = matches!(kind, FaultKind::DiskFull | FaultKind::DiskSlow(_));
        let times = if lasts { u64::MAX } else { 1 };
        Ok(Self { actor: actor.to_owned(), fault: Fault { kind, after, times } })
    }
}
