//! The bulkheads: one actor a provider.
//!
//! Whoever gets a [`Slot`] holds it until the slot is dropped; one held longer than its lease is
//! renewed by [`Slot::renew`]. Where the rules allow a wait, a caller without a slot stands in line
//! until its turn or its deadline comes; one that goes away leaves the line. If the actor gives no
//! answer, calls go on under a local cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sendcat_state::bulkhead::{
    Acquisition, Bulkhead, BulkheadChange, BulkheadRules, BulkheadView, LeaseState, Priority,
    Ticket, TicketId, TicketState,
};
use sendcat_state::key::{LeaseId, PerProvider, ProviderId};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use tokio::sync::Notify;

use crate::alert_monitor::Monitor;
use crate::failure::{self, Concern};
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine, Publish};
use crate::supervisor::Subtree;

/// How long a caller in line waits before it asks by itself: what lapses is told to nobody.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a bulkhead is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// A slot for this holder, or a place in line.
    Acquire(String, Priority),
    /// The slot of a ticket whose turn has come.
    PickUp(TicketId),
    /// A ticket no longer needed.
    Leave(TicketId),
    /// A slot given back.
    GiveBack(LeaseId),
    /// A slot still needed.
    Renew(LeaseId),
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Acquire`].
    Acquired(Acquisition),
    /// To [`Command::PickUp`].
    Ticket(TicketState),
    /// To [`Command::Leave`].
    Left,
    /// To all else.
    Lease(LeaseState),
}

impl Machine for Bulkhead {
    type Command = Command;
    type Answer = Answer;
    type Change = BulkheadChange;
    type Rules = BulkheadRules;
    type View = BulkheadView;

    const KIND: &'static str = "bulkhead";
    const CLASS: Class = Class::Snapshotted;
    const PUBLISH: Publish = Publish::EachChange;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        command: Command,
    ) -> Decision<Answer, BulkheadChange> {
        match command {
            Command::Acquire(holder, priority) => {
                self.acquire(now, rules, (&holder, priority)).map(Answer::Acquired)
            }
            Command::PickUp(ticket) => self.pick_up(now, rules, ticket).map(Answer::Ticket),
            Command::Leave(ticket) => self.leave(now, rules, ticket).map(|()| Answer::Left),
            Command::GiveBack(id) => self.give_back(now, rules, id).map(Answer::Lease),
            Command::Renew(id) => self.renew(now, rules, id).map(Answer::Lease),
        }
    }

    fn housekeep(&self, now: Timestamp, rules: &BulkheadRules) -> Decision<(), BulkheadChange> {
        self.sweep(now, rules)
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            Answer::Acquired(Acquisition::Held(lease))
            | Answer::Ticket(TicketState::Granted(lease)) => Some(Command::GiveBack(lease.id)),
            Answer::Acquired(Acquisition::Queued(ticket)) => Some(Command::Leave(ticket.id)),
            Answer::Acquired(Acquisition::Saturated { .. })
            | Answer::Ticket(TicketState::Waiting | TicketState::Gone { .. })
            | Answer::Left
            | Answer::Lease(_) => None,
        }
    }

    fn reopened(&mut self, _: Timestamp) {
        self.forget_leases();
    }

    fn view(&self, _: Timestamp) -> BulkheadView {
        Self::view(self)
    }
}

/// Every slot of a provider is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bulkhead of {provider} is saturated, ask again in {retry_after:?}")]
pub struct Saturated {
    /// Whose.
    pub provider: ProviderId,
    /// When a slot is likely to be free.
    pub retry_after: Duration,
}

/// A slot, given back when dropped.
#[must_use = "a slot is given back as soon as it is dropped"]
pub struct Slot {
    held: Held,
    lease_ttl: Duration,
}

enum Held {
    Lease(Lined, LeaseId),
    /// The actor gave no answer: counted here.
    Local(Arc<AtomicUsize>),
}

/// A bulkhead, and the bell that is rung when one of its slots may be free.
#[derive(Clone)]
struct Lined {
    bulkhead: Handle<Bulkhead>,
    bell: Arc<Notify>,
}

impl Lined {
    /// Gives something back. Whoever hears the bell asks after this was handled, for commands are
    /// handled in the order they come.
    fn free(&self, command: Command) {
        self.bulkhead.tell(command);
        self.bell.notify_waiters();
    }
}

/// A place in line, left when dropped.
struct Place {
    lined: Lined,
    ticket: Option<Ticket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.lined.free(Command::Leave(ticket.id));
        }
    }
}

impl Slot {
    /// Renews the lease. `false` if it had run out: the slot is somebody else's by now.
    pub async fn renew(&self) -> bool {
        match &self.held {
            // An actor that gives no answer takes no slot away either.
            Held::Lease(lined, id) => !matches!(
                lined.bulkhead.ask(Command::Renew(*id)).await,
                Ok(Answer::Lease(LeaseState::Gone))
            ),
            Held::Local(_) => true,
        }
    }

    /// How often to renew it: often enough to survive two renewals that are lost.
    pub fn renew_every(&self) -> Duration {
        self.lease_ttl / 3
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match &self.held {
            Held::Lease(lined, id) => lined.free(Command::GiveBack(*id)),
            Held::Local(calls) => {
                calls.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

/// What the actor of that provider is called.
pub(crate) fn name_of(provider: ProviderId) -> String {
    format!("bulkhead-{provider}")
}

/// The handle on all bulkheads.
#[derive(Clone)]
pub struct Bulkheads {
    bulkheads: PerProvider<Lined>,
    /// Calls made while a bulkhead gave no answer.
    local: PerProvider<Arc<AtomicUsize>>,
    /// Who is told that one is full.
    monitor: Option<Monitor>,
    /// Calls that got no slot.
    refused: PerProvider<Arc<AtomicU64>>,
}

impl Bulkheads {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        rules: impl Fn(ProviderId) -> BulkheadRules,
        mut base: impl FnMut(&str) -> Bulkhead,
    ) -> Self {
        let bulkhead = |provider| {
            let name = name_of(provider);
            let base = base(&name);
            let bulkhead = Handle::new(name, subtree, around, rules(provider), base);
            Lined { bulkhead, bell: Arc::default() }
        };
        let local = PerProvider::new(|_| Arc::default());
        let refused = PerProvider::new(|_| Arc::default());
        Self { bulkheads: PerProvider::new(bulkhead), local, monitor: None, refused }
    }

    /// The same bulkheads, which tell the monitor when they are full.
    pub(crate) fn telling(self, monitor: &Monitor) -> Self {
        Self { monitor: Some(monitor.clone()), ..self }
    }

    /// Takes a slot for `holder`, whom operators see, as somebody at a screen.
    ///
    /// # Errors
    /// [`Saturated`] if every slot is taken; it says when one is likely to be free.
    pub async fn acquire(&self, provider: ProviderId, holder: &str) -> Result<Slot, Saturated> {
        self.acquire_as(provider, holder, Priority::Interactive).await
    }

    /// Takes a slot for `holder`, and waits in line for it where the rules allow that. Dropped
    /// before it is done, it leaves the line.
    ///
    /// # Errors
    /// [`Saturated`] if no slot came in time, or none is expected to; it says when one is.
    pub async fn acquire_as(
        &self,
        provider: ProviderId,
        holder: &str,
        priority: Priority,
    ) -> Result<Slot, Saturated> {
        let taken = self.take(provider, holder, priority).await;
        if taken.is_err() {
            self.refused.of(provider).fetch_add(1, Ordering::Relaxed);
            if let Some(monitor) = &self.monitor {
                monitor.saturated(provider);
            }
        }
        taken
    }

    async fn take(
        &self,
        provider: ProviderId,
        holder: &str,
        priority: Priority,
    ) -> Result<Slot, Saturated> {
        let lined = self.bulkheads.of(provider);
        let lease_ttl = lined.bulkhead.rules().lease_ttl;
        match lined.bulkhead.ask(Command::Acquire(holder.to_owned(), priority)).await {
            Ok(Answer::Acquired(Acquisition::Held(lease))) => {
                Ok(Slot { held: Held::Lease(lined.clone(), lease.id), lease_ttl })
            }
            Ok(Answer::Acquired(Acquisition::Queued(ticket))) => {
                self.in_line(provider, ticket).await
            }
            Ok(Answer::Acquired(Acquisition::Saturated { retry_after })) => {
                Err(Saturated { provider, retry_after })
            }
            Ok(Answer::Lease(_) | Answer::Ticket(_) | Answer::Left) => {
                self.unleased(provider, lease_ttl)
            }
            Err(error) => {
                failure::failed(Concern::BulkheadAcquire, error);
                self.unleased(provider, lease_ttl)
            }
        }
    }

    /// Waits for a ticket's turn.
    async fn in_line(&self, provider: ProviderId, ticket: Ticket) -> Result<Slot, Saturated> {
        let lined = self.bulkheads.of(provider);
        let (bulkhead, clock) = (&lined.bulkhead, &lined.bulkhead.cell().around.clock);
        let lease_ttl = bulkhead.rules().lease_ttl;
        let mut place = Place { lined: lined.clone(), ticket: Some(ticket) };
        loop {
            // A bell that rings from here on is heard below, by all in line in their order.
            let bell = lined.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            match bulkhead.ask(Command::PickUp(ticket.id)).await {
                Ok(Answer::Ticket(TicketState::Granted(lease))) => {
                    place.ticket = None;
                    return Ok(Slot { held: Held::Lease(lined.clone(), lease.id), lease_ttl });
                }
                Ok(Answer::Ticket(TicketState::Gone { retry_after })) => {
                    return Err(Saturated { provider, retry_after });
                }
                Ok(
                    Answer::Ticket(TicketState::Waiting)
                    | Answer::Acquired(_)
                    | Answer::Left
                    | Answer::Lease(_),
                ) => {}
                Err(error) => {
                    failure::failed(Concern::BulkheadAcquire, error);
                    return self.unleased(provider, lease_ttl);
                }
            }
            let left = clock.now().until(ticket.deadline);
            // Whether the bell rang or time is up, the machine has the answer.
            let _ = tokio::time::timeout(left.min(LOOK_EVERY), bell).await;
        }
    }

    /// A slot without a lease, under a cap as high as the actor's own.
    fn unleased(&self, provider: ProviderId, lease_ttl: Duration) -> Result<Slot, Saturated> {
        let capacity = self.bulkhead(provider).rules().capacity;
        let calls = self.local.of(provider);
        let taken = calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, |calls| {
            (calls < capacity).then_some(calls + 1)
        });
        match taken {
            Ok(_) => Ok(Slot { held: Held::Local(Arc::clone(calls)), lease_ttl }),
            Err(_) => Err(Saturated { provider, retry_after: Duration::from_secs(1) }),
        }
    }

    /// Calls to a provider that got no slot, since the process started.
    pub fn refused(&self, provider: ProviderId) -> u64 {
        self.refused.of(provider).load(Ordering::Relaxed)
    }

    /// The actor of one provider.
    pub fn bulkhead(&self, provider: ProviderId) -> &Handle<Bulkhead> {
        &self.bulkheads.of(provider).bulkhead
    }

    /// All of them, in the order of [`ProviderId::ALL`].
    pub fn bulkheads(&self) -> impl Iterator<Item = (ProviderId, &Handle<Bulkhead>)> {
        self.bulkheads.iter().map(|(provider, lined)| (provider, &lined.bulkhead))
    }
}
