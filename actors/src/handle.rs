//! What callers hold of an actor: never its address, which changes when it is restarted.
//!
//! Admission is ours, for a mailbox of actix has no bound. A command takes a permit before it
//! enters and the permit travels inside the message: it is given back when the command was handled,
//! skipped, or lost with a dying mailbox, so the depth never passes its cap and always returns to
//! 0.
//!
//! A caller that goes away before its answer comes leaves no trace: a command not begun is skipped,
//! and an answer that nobody took is undone (`Machine::undo`). What is told, not asked, survives
//! also the death of the mailbox it lies in: the next incarnation hears it.

mod crowd;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Addr, Message};
use arc_swap::{ArcSwap, ArcSwapOption};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::oneshot;

use crate::clock::SharedClock;
use crate::failure::{self, AskError, Concern};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::observe::{Era, Status, Vitals};
use crate::shell::{Notice, Shell};
use crate::supervisor::{Place, Reports, Subtree};

/// A handle on an actor. Cheap to clone, good for the whole life of the process.
pub struct Handle<M: Machine> {
    cell: Arc<Cell<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell) }
    }
}

/// What the handle and the actor share.
pub(crate) struct Cell<M: Machine> {
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) subtree: Arc<Subtree>,
    pub(crate) address: ArcSwapOption<Addr<Shell<M>>>,
    pub(crate) rules: ArcSwap<M::Rules>,
    pub(crate) view: ArcSwap<M::View>,
    pub(crate) recall: Mutex<Recall<M>>,
    /// What was told and died with a mailbox before its turn came, or panicked in it.
    parked: Mutex<Vec<Told<M>>>,
    /// Whether a tick is in the mailbox: a deaf actor is not told the time twice.
    pub(crate) ticking: Arc<AtomicBool>,
    /// Whether a snapshot was handed to the journal and did not reach the disk.
    pub(crate) save_failed: Arc<AtomicBool>,
    /// Whether the machine has forgotten what holders of the last process held.
    pub(crate) reopened: AtomicBool,
    pub(crate) place: Mutex<Option<Place>>,
    pub(crate) around: Around,
    pub(crate) faults: crate::faults::FaultBoard,
    pub(crate) poison: crate::poison::PoisonBook,
}

/// What every actor of a tree is given.
#[derive(Clone)]
pub struct Around {
    /// The time.
    pub clock: SharedClock,
    /// The way to the disk.
    pub journal: Journal,
    /// Where deaths are reported.
    pub reports: Reports,
    /// How often a changed state is saved.
    pub snapshot_every: Duration,
}

/// What outlives an actor inside the process: its state as last saved, and every change since.
pub(crate) struct Recall<M: Machine> {
    pub(crate) base: Arc<M>,
    pub(crate) changes: Vec<M::Change>,
}

impl<M: Machine> Recall<M> {
    pub(crate) fn of(base: M) -> Mutex<Self> {
        Mutex::new(Self { base: Arc::new(base), changes: Vec::new() })
    }
}

/// A command on its way, with everything that comes back for it.
pub(crate) struct Envelope<M: Machine> {
    /// Taken out when the command begins.
    body: Option<Body<M>>,
    asked_at: Timestamp,
    /// Of what was told: where it goes if the mailbox dies with it.
    told: Option<Arc<Cell<M>>>,
    /// Of what was offered: what for, to be counted if it is lost.
    offered: Option<Concern>,
    _permit: DepthPermit,
}

pub(crate) struct Body<M: Machine> {
    pub(crate) command: M::Command,
    pub(crate) reply: Option<Reply<M>>,
    /// How often deciding it came to nothing.
    pub(crate) tries: u8,
}

/// How often what was told may panic before it is left alone.
const MOST_TRIES: u8 = 3;

/// What was told and is to be told again.
pub(crate) struct Told<M: Machine> {
    pub(crate) command: M::Command,
    /// How often deciding it came to nothing.
    pub(crate) tries: u8,
}

impl<M: Machine> Message for Envelope<M> {
    type Result = ();
}

impl<M: Machine> Envelope<M> {
    /// The command and where its answer goes; `None` if the caller is gone, so that nothing is
    /// done for nobody.
    pub(crate) fn begin(&mut self) -> Option<Body<M>> {
        let body = self.body.take()?;
        let gone = body.reply.as_ref().is_some_and(|reply| reply.to.is_closed());
        (!gone).then_some(body)
    }

    pub(crate) fn asked_at(&self) -> Timestamp {
        self.asked_at
    }
}

impl<M: Machine> Drop for Envelope<M> {
    fn drop(&mut self) {
        // The mailbox died with the command in it: it was surely not executed.
        let Some(Body { command, reply, tries }) = self.body.take() else { return };
        if let Some(reply) = reply {
            reply.refuse(AskError::Restarting { retry_after: Duration::ZERO });
        } else if let Some(cell) = self.told.take() {
            cell.park(Some(Told { command, tries }));
        } else if let Some(concern) = self.offered {
            failure::failed(concern, AskError::Restarting { retry_after: Duration::ZERO });
        }
    }
}

/// Where an answer goes.
pub(crate) struct Reply<M: Machine> {
    to: oneshot::Sender<Result<Delivery<M>, AskError>>,
    cell: Arc<Cell<M>>,
}

impl<M: Machine> Reply<M> {
    /// Hands the answer over. If nobody takes it, it is undone.
    pub(crate) fn answer(self, answer: M::Answer) {
        let lost = self.cell.faults.loses_answer();
        let delivery = Delivery { answer: Some(answer), cell: self.cell };
        if lost {
            return;
        }
        // A delivery that comes back, or is dropped on its way, undoes itself.
        drop(self.to.send(Ok(delivery)));
    }

    pub(crate) fn refuse(self, error: AskError) {
        drop(self.to.send(Err(error)));
    }
}

/// An answer on its way to a caller who may be gone.
struct Delivery<M: Machine> {
    answer: Option<M::Answer>,
    cell: Arc<Cell<M>>,
}

impl<M: Machine> Delivery<M> {
    fn take(mut self) -> Option<M::Answer> {
        self.answer.take()
    }
}

impl<M: Machine> Drop for Delivery<M> {
    fn drop(&mut self) {
        let undo = self.answer.take().and_then(M::undo);
        if let Some(command) = undo {
            self.cell.tell(command);
        }
    }
}

/// The one tick that may be in a mailbox; makes way for the next when it is handled or lost.
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// One place in a queue, given back when dropped.
struct DepthPermit {
    vitals: Arc<Vitals>,
    era: Era,
}

impl Drop for DepthPermit {
    fn drop(&mut self) {
        self.vitals.leave(self.era);
    }
}

impl<M: Machine> Cell<M> {
    /// Publishes what it shows of itself; a change of its word is told once.
    pub(crate) fn show(&self, view: M::View) {
        let (before, after) = (M::word(&self.view.load()), M::word(&view));
        self.view.store(Arc::new(view));
        if let (Some(from), Some(to)) = (before, after)
            && from != to
        {
            self.vitals.turned(to);
            tracing::warn!(actor = self.vitals.name(), from, to, "a state has changed");
        }
    }

    /// Sends a command that must not be refused: a release, an undo. Its number is bounded by what
    /// was admitted before.
    pub(crate) fn tell(self: &Arc<Self>, command: M::Command) {
        self.tell_again(Told { command, tries: 0 });
    }

    fn tell_again(self: &Arc<Self>, Told { command, tries }: Told<M>) {
        let now = self.around.clock.now();
        let era = self.vitals.enter(now);
        let permit = DepthPermit { vitals: Arc::clone(&self.vitals), era };
        let body = Some(Body { command, reply: None, tries });
        let told = Some(Arc::clone(self));
        self.post(Envelope { body, asked_at: now, told, offered: None, _permit: permit });
    }

    /// Keeps what was told until an actor is there again; one that is not coming back needs none.
    pub(crate) fn park(&self, told: Option<Told<M>>) {
        let Some(told) = told.filter(|told| told.tries <= MOST_TRIES) else { return };
        if !matches!(self.vitals.status(), Status::Down | Status::Stopped) {
            self.parked.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        }
    }

    /// Tells again what died with a mailbox, or panicked.
    pub(crate) fn tell_parked(self: &Arc<Self>) {
        let parked =
            std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
        for told in parked {
            self.tell_again(told);
        }
    }

    /// Whether something waits for the actor, a tick included.
    pub(crate) fn has_work(&self) -> bool {
        self.vitals.depth() > 0 || self.ticking.load(Ordering::Acquire)
    }

    pub(crate) fn post_tick(&self) {
        if !self.ticking.swap(true, Ordering::AcqRel) {
            self.post_notice(Notice::Tick(Ticket(Arc::clone(&self.ticking))));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the permit inside the message is the bound")]
    fn post(&self, envelope: Envelope<M>) {
        if let Some(address) = self.address.load().as_ref() {
            address.do_send(envelope);
        }
    }

    /// Tells the actor what its supervisor or the journal has to say.
    #[expect(clippy::disallowed_methods, reason = "one tick, one a failed commit, one at the end")]
    pub(crate) fn post_notice(&self, notice: Notice) {
        if let Some(address) = self.address.load().as_ref() {
            address.do_send(notice);
        }
    }

    pub(crate) fn recall(&self) -> std::sync::MutexGuard<'_, Recall<M>> {
        // A panic while it was held came from a clone or a push; what is inside is whole.
        self.recall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Machine> Handle<M> {
    /// A handle on an actor that is not started yet.
    pub(crate) fn new(
        name: impl Into<String>,
        subtree: &Arc<Subtree>,
        around: &Around,
        rules: M::Rules,
        base: M,
    ) -> Self {
        let view = base.view(around.clock.now());
        let cell = Cell {
            vitals: Arc::new(Vitals::new(name)),
            subtree: Arc::clone(subtree),
            address: ArcSwapOption::empty(),
            rules: ArcSwap::from_pointee(rules),
            view: ArcSwap::from_pointee(view),
            recall: Recall::of(base),
            parked: Mutex::default(),
            ticking: Arc::default(),
            save_failed: Arc::default(),
            reopened: AtomicBool::new(false),
            place: Mutex::new(None),
            around: around.clone(),
            faults: crate::faults::FaultBoard::default(),
            poison: crate::poison::PoisonBook::default(),
        };
        Self { cell: Arc::new(cell) }
    }

    pub(crate) fn cell(&self) -> &Arc<Cell<M>> {
        &self.cell
    }

    /// Asks, and waits for the answer up to the machine's deadline.
    ///
    /// # Errors
    /// [`AskError`] says whether the command was surely not executed.
    pub async fn ask(&self, command: M::Command) -> Result<M::Answer, AskError> {
        let now = self.cell.around.clock.now();
        self.check_status(now)?;
        let vitals = &self.cell.vitals;
        let Some(era) = vitals.enter_below(M::QUEUE_CAP, now) else {
            return Err(AskError::Overloaded);
        };
        let permit = DepthPermit { vitals: Arc::clone(vitals), era };
        let (to, answer) = oneshot::channel();
        let reply = Some(Reply { to, cell: Arc::clone(&self.cell) });
        let body = Some(Body { command, reply, tries: 0 });
        let (told, offered) = (None, None);
        self.cell.post(Envelope { body, asked_at: now, told, offered, _permit: permit });
        match tokio::time::timeout(M::ASK_DEADLINE, answer).await {
            Ok(Ok(Ok(delivery))) => delivery.take().ok_or(AskError::Crashed),
            Ok(Ok(Err(error))) => Err(error),
            // The reply was dropped by a handler that died with it.
            Ok(Err(_)) => Err(AskError::Crashed),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// Tells the actor what it must learn sooner or later; never refused, never waited for.
    pub(crate) fn tell(&self, command: M::Command) {
        self.cell.tell(command);
    }

    /// Offers what the actor need not learn: dropped and counted if there is no room, or nobody.
    pub(crate) fn offer(&self, concern: Concern, command: M::Command) {
        let now = self.cell.around.clock.now();
        let vitals = &self.cell.vitals;
        let Some(era) = vitals.enter_below(M::QUEUE_CAP, now) else {
            failure::failed(concern, AskError::Overloaded);
            return;
        };
        let permit = DepthPermit { vitals: Arc::clone(vitals), era };
        let body = Some(Body { command, reply: None, tries: 0 });
        let (told, offered) = (None, Some(concern));
        self.cell.post(Envelope { body, asked_at: now, told, offered, _permit: permit });
    }

    /// What the actor last published of its state.
    pub fn view(&self) -> Arc<M::View> {
        self.cell.view.load_full()
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<M::Rules> {
        self.cell.rules.load_full()
    }

    /// Puts other rules in force, from the next command on.
    pub fn set_rules(&self, rules: M::Rules) {
        self.cell.rules.store(Arc::new(rules));
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.cell.vitals
    }

    fn check_status(&self, now: Timestamp) -> Result<(), AskError> {
        let vitals = &self.cell.vitals;
        match vitals.status() {
            Status::Running => Ok(()),
            Status::Restarting | Status::Starting => {
                Err(AskError::Restarting { retry_after: vitals.back_in(now) })
            }
            Status::Down | Status::Stopped => Err(AskError::Down),
        }
    }
}
