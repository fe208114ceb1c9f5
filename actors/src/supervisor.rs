//! Who failed, where it is started again, and when it is given up.
//!
//! `actix::Supervisor` does not survive panics, so this does its work. Every actor belongs to a
//! subtree, which bears so many failures in a period (the OTP rule). An actor that dies is started
//! again in the thread it lived on, or in a new one if that is gone. A subtree that fails too often
//! rests; if it may not, the process ends with 70, for whoever started it to start it anew.
//!
//! # Invariants
//! - SV-2: a crash loop gives up and alerts.

mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_rt::Arbiter;
use sendcat_state::restart_intensity::{Failures, Intensity, Verdict};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::clock::SharedClock;
use crate::faults::Step;
use crate::handle::{Cell, Handle};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::observe::{Cause, Status, Vitals};
use crate::shell::{Notice, Shell};
use crate::watchdog::{Abandoned, MOST_ABANDONED, Sight, Watchdog, holds_up};
pub use parts::{Beat, Escalation, Place, Reports, Subtree};
pub(crate) use parts::{Down, Report, Sentinel, end_this_thread};

/// How often time is told to the actors.
const TICK: Duration = Duration::from_millis(250);

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(50);

/// What the root bears before the process gives up: subtrees given up in five minutes.
const ROOT: Intensity = Intensity { max: 3, period: Duration::from_secs(300) };

/// An actor as its supervisor sees it, whatever its machine.
pub(crate) trait Supervised: Send + Sync {
    fn vitals(&self) -> &Arc<Vitals>;
    fn subtree(&self) -> &Arc<Subtree>;
    /// Starts it as a new incarnation; `false` if the place is gone.
    fn start(self: Arc<Self>, place: Place) -> bool;
    fn place(&self) -> Option<Place>;
    /// Tells it that time has passed.
    fn tick(&self);
    /// What the watchdog is to know of it; `None` if it is not watched.
    fn sight(&self) -> Option<Sight>;
    /// Has it finish; the answer says that everything asked before was done.
    fn drain(&self) -> oneshot::Receiver<()>;
    fn faults(&self) -> &crate::faults::FaultBoard;
    /// Puts a message into its mailbox that says nothing, if there is room for one.
    fn crowd(&self) -> bool;
}

impl<M: Machine> Supervised for Cell<M> {
    fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    fn subtree(&self) -> &Arc<Subtree> {
        &self.subtree
    }

    fn start(self: Arc<Self>, place: Place) -> bool {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place.clone());
        let incarnation = self.vitals.next_launch();
        // Until it is there nobody is: what is told meanwhile waits for it, and neither that nor a
        // tick may go to the one before, which may hang for ever.
        self.address.store(None);
        self.ticking.store(false, Ordering::Release);
        self.vitals.restarts(self.around.clock.now(), Duration::ZERO);
        place.run(move || Shell::launch(self, incarnation))
    }

    fn place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tick(&self) {
        self.post_tick();
    }

    fn sight(&self) -> Option<Sight> {
        let progress = self.vitals.progress();
        Some(Sight { progress, has_work: self.has_work(), limit: M::HANG_AFTER })
    }

    fn drain(&self) -> oneshot::Receiver<()> {
        let (done, drained) = oneshot::channel();
        self.post_notice(Notice::Drain { done });
        drained
    }

    fn faults(&self) -> &crate::faults::FaultBoard {
        &self.faults
    }

    fn crowd(&self) -> bool {
        self.post_nothing()
    }
}

impl<M: Machine> Handle<M> {
    pub(crate) fn supervised(&self) -> Arc<dyn Supervised> {
        Arc::clone(self.cell()) as Arc<dyn Supervised>
    }
}

/// Why the supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Too much was given up: the process must end with 70.
    GaveUp {
        /// The actor that was the last straw.
        actor: String,
    },
}

/// The root of the tree.
pub struct Supervisor {
    /// By name: they are told the time in the same order in every run.
    pub(crate) actors: BTreeMap<String, Arc<dyn Supervised>>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) clock: SharedClock,
    pub(crate) topology: crate::tree::Topology,
    pub(crate) given_up: Failures,
    /// A thread made for actors whose own were gone.
    pub(crate) spare: Option<Arbiter>,
    /// Threads made in the place of those that hang.
    pub(crate) made: Vec<Arbiter>,
    /// Held by whoever gives an actor a thread, so that no two do at once.
    pub(crate) placing: Arc<Mutex<()>>,
    pub(crate) journal: Journal,
    pub(crate) watchdog: Watchdog,
    pub(crate) abandoned: Abandoned,
    pub(crate) beat: Arc<Beat>,
}

impl Supervisor {
    /// A supervisor of these actors, which report to `reports`.
    pub(crate) fn new(
        actors: &[Arc<dyn Supervised>],
        reports: mpsc::UnboundedReceiver<Report>,
        clock: SharedClock,
        topology: crate::tree::Topology,
        journal: Journal,
    ) -> Self {
        let beat = Arc::new(Beat::at(clock.now()));
        let by_name =
            |actor: &Arc<dyn Supervised>| (actor.vitals().name().to_owned(), Arc::clone(actor));
        Self {
            actors: actors.iter().map(by_name).collect(),
            reports,
            clock,
            topology,
            journal,
            beat,
            given_up: Failures::default(),
            spare: None,
            made: Vec::new(),
            placing: Arc::default(),
            watchdog: Watchdog::default(),
            abandoned: Abandoned::default(),
        }
    }

    /// Tells actors the time and starts again those that die, until `stop` is dropped or told, or
    /// too much has failed.
    pub async fn run(mut self, stop: oneshot::Receiver<()>) -> Ended {
        let ended = self.supervise(stop).await;
        for arbiter in self.spare.take().into_iter().chain(self.made.drain(..)) {
            arbiter.stop();
        }
        ended
    }

    async fn supervise(&mut self, mut stop: oneshot::Receiver<()>) -> Ended {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => return Ended::Stopped,
                report = self.reports.recv() => match report {
                    Some(Report::Down(down)) => {
                        if self.on_down(&down) == Verdict::GiveUp {
                            return Ended::GaveUp { actor: down.actor };
                        }
                    }
                    Some(Report::GaveUp { actor, subtree, escalation }) => {
                        if self.on_give_up(&actor, subtree, escalation) == Verdict::GiveUp {
                            return Ended::GaveUp { actor };
                        }
                    }
                    None => return Ended::Stopped,
                },
                _ = looks.tick() => {
                    self.beat.faults.strike(Step::Decide);
                    self.beat.beats(self.clock.now());
                    if let Some(actor) = self.look_for_hangs() {
                        return Ended::GaveUp { actor };
                    }
                }
                _ = ticks.tick() => {
                    self.journal.probe();
                    self.actors.values().for_each(|actor| actor.tick());
                }
            }
        }
    }

    /// Starts an actor again whose task died (L2). The verdict is the root's.
    fn on_down(&mut self, down: &Down) -> Verdict {
        let Some(actor) = self.actors.get(&down.actor).cloned() else { return Verdict::Restart };
        let vitals = Arc::clone(actor.vitals());
        let _placing = Arc::clone(&self.placing);
        let _placing = _placing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another task has taken its place by now: a worker's thread ended and the next adopted it.
        let superseded = down.incarnation < vitals.launched();
        if superseded || matches!(vitals.status(), Status::Stopped | Status::Down) {
            return Verdict::Restart;
        }
        tracing::error!(
            actor = %down.actor, incarnation = down.incarnation, panicking = down.panicking,
            "an actor's task died and is started again"
        );
        let now = self.clock.now();
        vitals.count_restart(Cause::Death);
        if let Some(panic) = down.panic.clone() {
            vitals.note_panic(now, "task", panic);
        }
        vitals.restarts(now, Duration::ZERO);
        let place = actor.place().filter(Place::is_there);
        // An actor is not to blame for the end of its thread, which takes its neighbours along.
        let to_blame = down.panicking || place.is_some();
        if to_blame && actor.subtree().failed(now) == Verdict::GiveUp {
            vitals.set_status(Status::Down);
            let subtree = Arc::clone(actor.subtree());
            return self.on_give_up(&down.actor, subtree.name, subtree.escalation);
        }
        let place = place.unwrap_or_else(|| self.spare_place());
        if !Arc::clone(&actor).start(place) {
            let spare = self.spare_place();
            actor.start(spare);
        }
        Verdict::Restart
    }

    /// Starts elsewhere what lives on a thread with an actor that hangs (L3). The name of the actor
    /// with which too much was given up, if one was.
    fn look_for_hangs(&mut self) -> Option<String> {
        let now = self.clock.now();
        if self.beat.faults.bypassed() {
            self.watchdog = Watchdog::default();
            return None;
        }
        let actors: Vec<_> = self.actors.values().cloned().collect();
        for actor in actors {
            let (name, running) = (actor.vitals().name(), actor.vitals().status());
            let Some(sight) = actor.sight().filter(|_| running == Status::Running) else {
                self.watchdog.forget(name);
                continue;
            };
            if self.watchdog.sees(now, name, sight) && self.on_hang(now, &actor) == Verdict::GiveUp
            {
                return Some(name.to_owned());
            }
        }
        None
    }

    fn on_hang(&mut self, now: Timestamp, found: &Arc<dyn Supervised>) -> Verdict {
        let Some(place) = found.place() else { return Verdict::Restart };
        let _placing = Arc::clone(&self.placing);
        let _placing = _placing.lock().unwrap_or_else(PoisonError::into_inner);
        let neighbours: Vec<_> = self
            .actors
            .values()
            .filter(|actor| actor.place().is_some_and(|other| other.is_same(&place)))
            .filter(|actor| !matches!(actor.vitals().status(), Status::Stopped | Status::Down))
            .cloned()
            .collect();
        // Whoever was found first waits, maybe, behind the one that hangs (SUPERVISION.md §6.6).
        let busy = |actor: &Arc<dyn Supervised>| Some(actor.vitals().busy_since()?.until(now));
        let limit = found.sight().map_or(Duration::ZERO, |sight| sight.limit);
        let hung = holds_up(neighbours.iter().map(busy), limit);
        let hung = hung.map_or(found, |at| &neighbours[at]);
        tracing::error!(actor = hung.vitals().name(), "an actor hangs and its thread is abandoned");
        hung.vitals().count_restart(Cause::Hang);
        let mut verdict = Verdict::Restart;
        if hung.subtree().failed(now) == Verdict::GiveUp {
            hung.vitals().set_status(Status::Down);
            let subtree = hung.subtree();
            verdict = self.on_give_up(hung.vitals().name(), subtree.name, subtree.escalation);
        }
        let moving = if neighbours.is_empty() { vec![Arc::clone(hung)] } else { neighbours };
        let elsewhere = self.abandon(place);
        // Also beside one that is given up: the thread is no place for its neighbours any more.
        for actor in moving.iter().filter(|actor| actor.vitals().status() != Status::Down).cloned()
        {
            self.watchdog.forget(actor.vitals().name());
            actor.vitals().abandon();
            actor.start(elsewhere.clone());
        }
        if self.abandoned.count() > MOST_ABANDONED { Verdict::GiveUp } else { verdict }
    }

    /// Leaves a thread to itself, and makes one in its place.
    fn abandon(&mut self, place: Place) -> Place {
        let Place::Arbiter { .. } = &place else { return Place::Here };
        let back = self.abandoned.add();
        place.run(move || back.store(true, Ordering::Release));
        let arbiter = Arbiter::new();
        let elsewhere = Place::on(arbiter.handle());
        self.made.push(arbiter);
        elsewhere
    }

    fn on_give_up(&mut self, actor: &str, subtree: &str, escalation: Escalation) -> Verdict {
        tracing::error!(actor, subtree, ?escalation, "an actor failed too often and was given up");
        match escalation {
            Escalation::Rests => Verdict::Restart,
            Escalation::CountsAtTheRoot => self.given_up.add(self.clock.now(), ROOT),
        }
    }

    /// A thread for an actor whose own is gone.
    fn spare_place(&mut self) -> Place {
        match self.topology {
            crate::tree::Topology::Here => Place::Here,
            crate::tree::Topology::Threads { .. } => {
                let alive = self.spare.take().filter(|spare| spare.handle().alive());
                let arbiter = self.spare.insert(alive.unwrap_or_else(Arbiter::new));
                Place::on(arbiter.handle())
            }
        }
    }
}
