//! The only actor: one machine, one turn at a time.
//!
//! A turn decides, hands the change to the journal's queue or to the memory beside the actor,
//! applies it, and answers; the answer of a journalled machine waits for the commit. Both steps are
//! guarded. A panic while deciding loses nothing (L0). A panic while applying drops the state and
//! builds it again from what was kept (L1), and what is queued waits for that. If the task itself
//! dies, its sentinel tells the supervisor, which starts another (L2).
//!
//! # Invariants
//! - SV-1: what was queued survives a controlled restart.
//! - SV-3: an old incarnation writes nothing: the journal refuses it, and the cell's address is not
//!   its own any more.

use std::hash::{Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::ActorFutureExt as _;
use actix::{Actor, ActorContext as _, AsyncContext, Context, Handler, Message, WrapFuture};
use sendcat_state::backoff::Backoff;
use sendcat_state::machine::Decision;
use sendcat_state::restart_intensity::{Failures, Intensity, Verdict};
use sendcat_state::store::{Commit, JournalledChange};
use sendcat_state::timestamp::Timestamp;

use crate::failure::AskError;
use crate::handle::{Body, Cell, Envelope, Reply, Ticket, Told};
use crate::journal::{Append, Snapshot};
use crate::machine::{Class, Machine, Publish};
use crate::observe::{CaughtPanic, Cause, Status};
use crate::rebuild::build;
use crate::supervisor::Sentinel;

/// Commands between two yields, so that a flood of one actor starves no neighbour on its thread.
const FAIR_SHARE: u32 = 64;

/// Changes kept beside an actor before its base is renewed: what a restart has to replay.
const MOST_RECALLED: usize = 16_384;

/// Journalled changes after which a snapshot is taken, and the longest time without one.
const CHANGES_PER_SNAPSHOT: usize = 2048;
const JOURNAL_AGE: Duration = Duration::from_secs(30);

/// Delays between restarts: none before the first, for most panics are one-off.
const RESTART_BACKOFF: Backoff =
    Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(5) };

/// Panics while deciding that are borne without a word of their own.
const DECIDE_PANICS: Intensity = Intensity { max: 20, period: Duration::from_secs(60) };

/// Quiet time after which the next restart counts as a first one.
const QUIET: Duration = Duration::from_secs(60);

/// One machine behind a mailbox.
pub(crate) struct Shell<M: Machine> {
    /// `None` while it is being built, and after it was given up.
    machine: Option<M>,
    cell: Arc<Cell<M>>,
    incarnation: u64,
    since_yield: u32,
    /// Those that still count.
    decide_panics: Failures,
    restarts_in_a_row: u32,
    last_restart: Timestamp,
    /// Whether anything changed since the last snapshot.
    dirty: bool,
    saved_at: Timestamp,
    changes_since_save: usize,
    _sentinel: Sentinel,
}

impl<M: Machine> Shell<M> {
    /// Starts the actor on the current thread as that incarnation, unless a later one was begun
    /// while this was on its way here.
    pub(crate) fn launch(cell: Arc<Cell<M>>, incarnation: u64) {
        if cell.vitals.launched() != incarnation {
            return;
        }
        let now = cell.around.clock.now();
        let sentinel = Sentinel::new(cell.vitals.name(), incarnation, &cell.around.reports);
        let shell = Self {
            machine: None,
            cell: Arc::clone(&cell),
            incarnation,
            since_yield: 0,
            decide_panics: Failures::default(),
            restarts_in_a_row: 0,
            last_restart: now,
            dirty: true,
            saved_at: now,
            changes_since_save: 0,
            _sentinel: sentinel,
        };
        let address = shell.start();
        cell.address.store(Some(Arc::new(address)));
    }

    fn now(&self) -> Timestamp {
        self.cell.around.clock.now()
    }

    /// One turn.
    fn turn(&mut self, now: Timestamp, body: Body<M>, ctx: &mut Context<Self>) {
        let Body { command, reply, tries } = body;
        let Some(machine) = &self.machine else {
            return refuse(reply, AskError::Down);
        };
        let fingerprint = M::fingerprint(&command);
        // What was told is no input: it gives back or settles what an earlier command did.
        if reply.is_some() && self.cell.poison.refuses(now, fingerprint) {
            return refuse(reply, AskError::Poisoned);
        }
        let told = reply.is_none().then(|| Told { command: command.clone(), tries: tries + 1 });
        let waits = M::CLASS == Class::Journalled && M::waits_for_disk(&command);
        let rules = self.cell.rules.load();
        let faults = &self.cell.faults;
        let decided = catch_unwind(AssertUnwindSafe(|| {
            // `Machine`'s bounds make this sound: `decide` sees no interior mutability.
            faults.strike(crate::faults::Step::Decide);
            machine.decide(now, &rules, command)
        }));
        match decided {
            // Replaced while it hung in there: nobody may see what this one decided (SV-3).
            Ok(_) if self.is_superseded() => {
                refuse(reply, AskError::Crashed);
                self.cell.park(told);
            }
            Ok(decision) => {
                if !self.take_effect(now, decision, reply, waits, ctx) {
                    self.cell.poison.strike(now, fingerprint);
                }
            }
            Err(payload) => {
                self.cell.poison.strike(now, fingerprint);
                self.on_decide_panic(now, "decide", payload.as_ref());
                refuse(reply, AskError::Crashed);
                // What was told must come true: it is told again with the next tick.
                self.cell.park(told);
            }
        }
    }

    /// Records the change, applies it, and answers; `false` if applying it panicked.
    fn take_effect(
        &mut self,
        now: Timestamp,
        decision: Decision<M::Answer, M::Change>,
        reply: Option<Reply<M>>,
        waits: bool,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Decision { answer, change, writes } = decision;
        let journalled = M::CLASS == Class::Journalled;
        let mut answering = Some((reply, answer));
        if journalled && (change.is_some() || !writes.is_empty() || waits) {
            let append = Append {
                commit: Commit { change: change.as_ref().map(|it| self.encode(it)), writes },
                machine: Arc::from(self.cell.vitals.name()),
                incarnation: self.incarnation,
            };
            let waiting = if waits { answering.take() } else { None };
            if let Err(waiting) = self.append(append, waiting) {
                refuse(waiting.or(answering).and_then(|(reply, _)| reply), AskError::Overloaded);
                return true;
            }
        }
        let applied = change.is_none_or(|change| self.apply(change));
        if !applied {
            if let Some((reply, answer)) = answering {
                refuse(reply, AskError::Crashed);
                // The change is kept and comes true, but nobody was given what it gives.
                M::undo(answer).into_iter().for_each(|undo| self.cell.tell(undo));
            }
            self.restart(now, Cause::Apply, ctx);
            return false;
        }
        if let Some((Some(reply), answer)) = answering {
            reply.answer(answer);
        }
        true
    }

    fn encode(&self, change: &M::Change) -> JournalledChange {
        JournalledChange {
            machine: self.cell.vitals.name().to_owned(),
            incarnation: self.incarnation,
            change: serde_json::to_vec(change).expect("a change always encodes"),
        }
    }

    /// Queues a commit, and with it the answer that waits for it, if one does. Hands the answer
    /// back if the queue is full; nothing has changed then.
    #[expect(clippy::type_complexity, reason = "the pair is taken apart where it comes back")]
    fn append(
        &self,
        append: Append,
        waiting: Option<(Option<Reply<M>>, M::Answer)>,
    ) -> Result<(), Option<(Option<Reply<M>>, M::Answer)>> {
        let room = match self.cell.around.journal.room() {
            Ok(room) => room,
            Err(_full) => return Err(waiting),
        };
        let cell = Arc::clone(&self.cell);
        let incarnation = self.incarnation;
        room.append(append, move |outcome| match (outcome, waiting) {
            (Ok(()), Some((Some(reply), answer))) => reply.answer(answer),
            (Ok(()), _) => {}
            (Err(_), waiting) => {
                if let Some((Some(reply), _)) = waiting {
                    reply.refuse(AskError::NotDurable);
                }
                // What this machine remembers may never have happened: it is built again.
                cell.post_notice(Notice::Rebuild { incarnation });
            }
        });
        Ok(())
    }

    /// Applies a change; `false` if that panicked and the state is torn.
    fn apply(&mut self, change: M::Change) -> bool {
        let Some(machine) = &mut self.machine else { return false };
        let faults = &self.cell.faults;
        let applied = catch_unwind(AssertUnwindSafe(|| {
            machine.apply(&change);
            faults.strike(crate::faults::Step::Apply);
        }));
        self.dirty = true;
        self.changes_since_save += 1;
        // A zombie, replaced while it hung, must not add to what its successor remembers (SV-3).
        if M::CLASS != Class::Journalled && !self.is_superseded() {
            let recalled = {
                let mut recall = self.cell.recall();
                recall.changes.push(change);
                recall.changes.len()
            };
            if recalled > MOST_RECALLED && applied.is_ok() {
                self.renew_base();
            }
        }
        match applied {
            Ok(()) => {
                if M::PUBLISH == Publish::EachChange {
                    self.publish();
                }
                true
            }
            Err(payload) => {
                self.note_panic(self.now(), "apply", payload.as_ref());
                false
            }
        }
    }

    /// Whether another was started in its place: what it still does must touch nothing shared.
    fn is_superseded(&self) -> bool {
        self.incarnation != self.cell.vitals.incarnation()
    }

    fn publish(&self) {
        if let Some(machine) = self.machine.as_ref().filter(|_| !self.is_superseded()) {
            let now = self.now();
            let view = catch_unwind(AssertUnwindSafe(|| machine.view(now)));
            match view {
                Ok(view) => self.cell.show(view),
                Err(payload) => self.note_panic(now, "view", payload.as_ref()),
            }
        }
    }

    fn note_panic(&self, now: Timestamp, step: &'static str, payload: &(dyn std::any::Any + Send)) {
        self.cell.vitals.note_panic(now, step, CaughtPanic::of(payload));
    }

    /// A panic that lost nothing: no restart, but too many of them are somebody's to look at.
    fn on_decide_panic(
        &mut self,
        now: Timestamp,
        step: &'static str,
        payload: &(dyn std::any::Any + Send),
    ) {
        self.note_panic(now, step, payload);
        self.cell.vitals.count_restart(Cause::Decide);
        if self.decide_panics.add(now, DECIDE_PANICS) == Verdict::GiveUp {
            self.decide_panics.clear();
            let Intensity { max, period } = DECIDE_PANICS;
            let actor = self.cell.vitals.name();
            tracing::error!(actor, max, ?period, "an actor panics again and again while deciding");
        }
    }

    /// Drops the state and builds it again, after a delay that grows with each restart in a row.
    fn restart(&mut self, now: Timestamp, cause: Cause, ctx: &mut Context<Self>) {
        self.machine = None;
        if self.is_superseded() {
            // A restart would take the place back from its successor.
            return ctx.terminate();
        }
        self.cell.vitals.count_restart(cause);
        if self.cell.subtree.failed(now) == Verdict::GiveUp {
            return self.give_up();
        }
        let quiet = self.last_restart.until(now) >= QUIET;
        self.restarts_in_a_row = if quiet { 0 } else { self.restarts_in_a_row };
        let delay = RESTART_BACKOFF.jittered(self.restarts_in_a_row, self.jitter());
        self.restarts_in_a_row = self.restarts_in_a_row.saturating_add(1);
        self.last_restart = now;
        self.incarnation = self.cell.vitals.next_incarnation();
        self.cell.vitals.restarts(now, delay);
        self.build_after(delay, ctx);
    }

    /// Any number that differs from actor to actor and from restart to restart.
    fn jitter(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        (self.cell.vitals.name(), self.incarnation).hash(&mut hasher);
        hasher.finish()
    }

    fn give_up(&mut self) {
        self.machine = None;
        self.cell.vitals.set_status(Status::Down);
        self.cell.around.reports.gave_up(self.cell.vitals.name(), &self.cell.subtree);
    }

    /// Builds the machine once `delay` is over; until then nothing else of the mailbox is handled.
    fn build_after(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        let cell = Arc::clone(&self.cell);
        let incarnation = self.incarnation;
        let building = async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            build(&cell, incarnation).await
        };
        let built = building.into_actor(self).map(|machine, shell, ctx| shell.built(machine, ctx));
        ctx.wait(built);
    }

    fn built(&mut self, machine: Option<M>, ctx: &mut Context<Self>) {
        if self.is_superseded() {
            return ctx.terminate();
        }
        match machine {
            Some(machine) => {
                self.machine = Some(machine);
                self.dirty = true;
                self.cell.vitals.set_status(Status::Running);
                // What time has ended meanwhile ends before anything else is asked.
                self.housekeep(ctx);
                self.publish();
                self.cell.tell_parked();
            }
            None => {
                // The disk is away; the journal opens it again, and this asks until it has.
                let delay = Duration::from_millis(250);
                self.cell.vitals.restarts(self.now(), delay);
                self.build_after(delay, ctx);
            }
        }
    }

    /// Housekeeping, publishing and saving: what time alone brings.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.cell.faults.strike(crate::faults::Step::Timer);
        self.cell.tell_parked();
        self.housekeep(ctx);
        self.dirty |= self.cell.save_failed.swap(false, Ordering::AcqRel);
        if self.dirty && M::PUBLISH == Publish::OnTick {
            self.publish();
        }
        let now = self.now();
        if self.dirty && self.save_is_due(now) {
            self.save(now);
        }
    }

    /// A snapshot of a journalled machine only shortens the journal, so it is taken seldom.
    fn save_is_due(&self, now: Timestamp) -> bool {
        let age = self.saved_at.until(now);
        match M::CLASS {
            Class::Journalled => {
                self.changes_since_save >= CHANGES_PER_SNAPSHOT || age >= JOURNAL_AGE
            }
            Class::Snapshotted | Class::Passing => age >= self.cell.around.snapshot_every,
        }
    }

    fn housekeep(&mut self, ctx: &mut Context<Self>) {
        /// More than a tick brings; what is left waits for the next.
        const MOST_CHANGES: usize = 256;
        for _ in 0..MOST_CHANGES {
            let Some(machine) = &self.machine else { return };
            let now = self.now();
            let rules = self.cell.rules.load_full();
            let decided = catch_unwind(AssertUnwindSafe(|| machine.housekeep(now, &rules)));
            let decision = match decided {
                Ok(decision) if decision.change.is_none() => return,
                Ok(decision) => decision,
                Err(payload) => {
                    return self.on_decide_panic(now, "housekeep", payload.as_ref());
                }
            };
            let Decision { change, writes, .. } = decision;
            if M::CLASS == Class::Journalled {
                let commit = Commit { change: change.as_ref().map(|it| self.encode(it)), writes };
                let machine = Arc::from(self.cell.vitals.name());
                let append = Append { commit, machine, incarnation: self.incarnation };
                if self.append(append, None).is_err() {
                    return;
                }
            }
            if change.is_some_and(|change| !self.apply(change)) {
                return self.restart(now, Cause::Apply, ctx);
            }
        }
    }

    /// Renews what a restart begins with, and sends it to the disk.
    fn save(&mut self, now: Timestamp) {
        // A zombie would save what its successor has gone past.
        if self.machine.is_none() || self.is_superseded() {
            return;
        }
        self.saved_at = now;
        self.dirty = false;
        self.changes_since_save = 0;
        let base = self.renew_base();
        if M::CLASS == Class::Passing {
            return;
        }
        let snapshot = Snapshot {
            machine: Arc::from(self.cell.vitals.name()),
            incarnation: self.incarnation,
            seal: Box::new(move |seq| sendcat_state::snapshot::seal(M::KIND, seq, base.as_ref())),
            cuts_journal: M::CLASS == Class::Journalled,
            failed: Arc::clone(&self.cell.save_failed),
        };
        // A full queue loses nothing: the state stays dirty and is saved at the next occasion.
        if self.cell.around.journal.save(snapshot).is_err() {
            self.dirty = true;
        }
    }

    fn renew_base(&mut self) -> Arc<M> {
        let machine = self.machine.clone().unwrap_or_else(M::fresh);
        let base = Arc::new(machine);
        if M::CLASS == Class::Journalled {
            return base;
        }
        let mut recall = self.cell.recall();
        recall.base = Arc::clone(&base);
        recall.changes.clear();
        base
    }
}

fn refuse<M: Machine>(reply: Option<Reply<M>>, error: AskError) {
    if let Some(reply) = reply {
        reply.refuse(error);
    }
}

impl<M: Machine> Actor for Shell<M> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // The depth gate is the bound; a smaller mailbox would only park senders.
        ctx.set_mailbox_capacity(M::QUEUE_CAP);
        self.build_after(Duration::ZERO, ctx);
    }
}

impl<M: Machine> Handler<Envelope<M>> for Shell<M> {
    type Result = ();

    fn handle(&mut self, mut envelope: Envelope<M>, ctx: &mut Context<Self>) {
        let now = self.now();
        self.cell.vitals.step_begins(now, envelope.asked_at());
        if self.is_superseded() {
            // It was not executed: dropped, it says so, or goes to the successor if it was told.
            drop(envelope);
        } else if let Some(body) = envelope.begin() {
            self.turn(now, body, ctx);
        }
        self.cell.vitals.step_ends();
        if let Some(span) = self.cell.faults.deafness() {
            ctx.wait(tokio::time::sleep(span).into_actor(self));
        }
        self.since_yield += 1;
        if self.since_yield >= FAIR_SHARE {
            self.since_yield = 0;
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}

/// What its supervisor or the journal has to say to an actor.
pub(crate) enum Notice {
    /// Time has passed.
    Tick(Ticket),
    /// A commit of that incarnation failed.
    Rebuild {
        /// Which.
        incarnation: u64,
    },
    /// Finish: what was asked before has been answered; save, and do not start again.
    Drain {
        /// Told when that is done.
        done: tokio::sync::oneshot::Sender<()>,
    },
}

impl Message for Notice {
    type Result = ();
}

impl<M: Machine> Handler<Notice> for Shell<M> {
    type Result = ();

    fn handle(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        self.cell.vitals.moved();
        match notice {
            Notice::Tick(_) if self.is_superseded() || self.cell.faults.kills() => ctx.terminate(),
            Notice::Tick(_ticket) => self.tick(ctx),
            // Every commit of a failed group says so; the first rebuilds.
            Notice::Rebuild { incarnation }
                if incarnation == self.incarnation && self.machine.is_some() =>
            {
                self.cell.vitals.count_restart(Cause::NotDurable);
                self.machine = None;
                self.incarnation = self.cell.vitals.next_incarnation();
                self.cell.vitals.restarts(self.now(), Duration::ZERO);
                self.build_after(Duration::ZERO, ctx);
            }
            Notice::Rebuild { .. } => {}
            Notice::Drain { done } => {
                self.save(self.now());
                self.cell.vitals.set_status(Status::Stopped);
                let _ = done.send(());
            }
        }
    }
}
