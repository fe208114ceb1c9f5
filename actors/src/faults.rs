//! Injected panics, hangs and slow steps, for tests, drills and game days.
//!
//! Struck by builds with the feature `faults` only ([`COMPILED`]). A fault is armed on one actor
//! and strikes at its n-th step from then on, once or several times.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
}

impl FaultKind {
    const fn step(self) -> Step {
        match self {
            Self::PanicDecide | Self::Hang(_) => Step::Decide,
            Self::Deaf(_) => Step::Turned,
            Self::DropReply => Step::Answer,
            Self::PanicRestore => Step::Restore,
            Self::DiskFull => Step::Write,
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

/// The faults armed on one actor.
#[derive(Debug, Default)]
pub struct FaultBoard {
    any: AtomicBool,
    armed: Mutex<Vec<Fault>>,
}

impl FaultBoard {
    /// Arms a fault.
    pub fn arm(&self, fault: Fault) {
        self.lock().push(fault);
        self.any.store(true, Ordering::Release);
    }

    /// Disarms all.
    pub fn clear(&self) {
        self.lock().clear();
        self.any.store(false, Ordering::Release);
    }

    /// What is armed.
    pub fn armed(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Lets a fault that is due at this step strike.
    pub fn strike(&self, step: Step) {
        if !COMPILED || !self.any.load(Ordering::Acquire) {
            return;
        }
        match self.due(step) {
            None | Some(FaultKind::Deaf(_) | FaultKind::DiskFull | FaultKind::DropReply) => {}
            Some(FaultKind::Hang(span)) => std::thread::sleep(span),
            Some(FaultKind::PanicDecide) => panic!("injected: decide panic"),
            Some(FaultKind::PanicApply) => panic!("injected: apply panic"),
            Some(FaultKind::PanicTimer) => panic!("injected: timer panic"),
            Some(FaultKind::PanicRestore) => panic!("injected: restore panic"),
            Some(FaultKind::StopArbiter) => crate::supervisor::end_this_thread(),
        }
    }

    /// Whether the next write is to fail.
    pub(crate) fn disk_is_full(&self) -> bool {
        self.is_due(Step::Write)
    }

    /// Whether the answer that is about to go is to be lost.
    pub(crate) fn loses_answer(&self) -> bool {
        self.is_due(Step::Answer)
    }

    fn is_due(&self, step: Step) -> bool {
        COMPILED && self.any.load(Ordering::Acquire) && self.due(step).is_some()
    }

    /// How long the actor is to be deaf from now on, if it is.
    pub(crate) fn deafness(&self) -> Option<Duration> {
        let any = COMPILED && self.any.load(Ordering::Acquire);
        let due = any.then(|| self.due(Step::Turned)).flatten();
        if let Some(FaultKind::Deaf(span)) = due { Some(span) } else { None }
    }

    fn due(&self, step: Step) -> Option<FaultKind> {
        let mut armed = self.lock();
        let mut due = None;
        for fault in armed.iter_mut().filter(|fault| fault.kind.step() == step) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if due.is_none() {
                fault.times = fault.times.saturating_sub(1);
                due = Some(fault.kind);
            }
        }
        armed.retain(|fault| fault.times > 0);
        self.any.store(!armed.is_empty(), Ordering::Release);
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
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
            "hang" | "deaf" => {
                let millis = span.strip_suffix("ms").unwrap_or(span).parse();
                let millis = millis.map_err(|_| wrong("a hang needs its milliseconds"))?;
                let span = Duration::from_millis(millis);
                if kind == "hang" { FaultKind::Hang(span) } else { FaultKind::Deaf(span) }
            }
            _ => return Err(wrong("no such kind")),
        };
        let times = if kind == FaultKind::DiskFull { u64::MAX } else { 1 };
        Ok(Self { actor: actor.to_owned(), fault: Fault { kind, after, times } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduled_fault_reads_as_written() {
        let fault = Fault { kind: FaultKind::PanicApply, after: 50, times: 1 };
        let wanted = ScheduledFault { actor: "rate_limiter-0".into(), fault };
        assert_eq!("rate_limiter-0:panic_apply@50".parse(), Ok(wanted));
        let fault = Fault { kind: FaultKind::Hang(Duration::from_secs(3)), after: 2, times: 1 };
        let wanted = ScheduledFault { actor: "idempotency".into(), fault };
        assert_eq!("idempotency:hang@2:3000ms".parse(), Ok(wanted));
        assert!("idempotency:dance".parse::<ScheduledFault>().is_err());
    }

    #[test]
    fn a_fault_strikes_at_its_step_and_no_more_often_than_told() {
        let board = FaultBoard::default();
        board.arm(Fault { kind: FaultKind::PanicApply, after: 1, times: 1 });
        assert_eq!(board.due(Step::Decide), None);
        assert_eq!(board.due(Step::Apply), None);
        assert_eq!(board.due(Step::Apply), Some(FaultKind::PanicApply));
        assert_eq!(board.due(Step::Apply), None);
    }
}
