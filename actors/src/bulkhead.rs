//! The bulkheads: one actor a provider.
//!
//! Whoever gets a [`Slot`] holds it until the slot is dropped; one held longer than its lease is
//! renewed by [`Slot::renew`]. If the actor gives no answer, calls go on under a local cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sendcat_state::bulkhead::{
    Acquisition, Bulkhead, BulkheadChange, BulkheadRules, BulkheadView, LeaseState,
};
use sendcat_state::key::{LeaseId, ProviderId};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use crate::failure::{self, Concern};
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine, Publish};
use crate::supervisor::Subtree;

/// What a bulkhead is asked.
#[derive(Debug)]
pub enum Command {
    /// A slot for this holder.
    Acquire(String),
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
            Command::Acquire(holder) => self.acquire(now, rules, &holder).map(Answer::Acquired),
            Command::GiveBack(id) => self.give_back(now, id).map(Answer::Lease),
            Command::Renew(id) => self.renew(now, rules, id).map(Answer::Lease),
        }
    }

    fn housekeep(&self, now: Timestamp, _: &BulkheadRules) -> Decision<(), BulkheadChange> {
        self.sweep(now)
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            Answer::Acquired(Acquisition::Held(lease)) => Some(Command::GiveBack(lease.id)),
            Answer::Acquired(Acquisition::Saturated { .. }) | Answer::Lease(_) => None,
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
    Lease(Handle<Bulkhead>, LeaseId),
    /// The actor gave no answer: counted here.
    Local(Arc<AtomicUsize>),
}

impl Slot {
    /// Renews the lease. `false` if it had run out: the slot is somebody else's by now.
    pub async fn renew(&self) -> bool {
        match &self.held {
            // An actor that gives no answer takes no slot away either.
            Held::Lease(bulkhead, id) => !matches!(
                bulkhead.ask(Command::Renew(*id)).await,
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
            Held::Lease(bulkhead, id) => bulkhead.tell(Command::GiveBack(*id)),
            Held::Local(calls) => {
                calls.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

/// The handle on all bulkheads.
#[derive(Clone)]
pub struct Bulkheads {
    bulkheads: Arc<[Handle<Bulkhead>]>,
    /// Calls made while a bulkhead gave no answer.
    local: Arc<[Arc<AtomicUsize>]>,
}

impl Bulkheads {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        rules: impl Fn(ProviderId) -> BulkheadRules,
        mut base: impl FnMut(&str) -> Bulkhead,
    ) -> Self {
        let bulkhead = |provider: &ProviderId| {
            let name = format!("bulkhead-{provider}");
            let base = base(&name);
            Handle::new(name, subtree, around, rules(*provider), base)
        };
        Self {
            bulkheads: ProviderId::ALL.iter().map(bulkhead).collect(),
            local: ProviderId::ALL.iter().map(|_| Arc::default()).collect(),
        }
    }

    /// Takes a slot for `holder`, whom operators see.
    ///
    /// # Errors
    /// [`Saturated`] if every slot is taken; it says when one is likely to be free.
    pub async fn acquire(&self, provider: ProviderId, holder: &str) -> Result<Slot, Saturated> {
        let bulkhead = self.bulkhead(provider);
        let lease_ttl = bulkhead.rules().lease_ttl;
        match bulkhead.ask(Command::Acquire(holder.to_owned())).await {
            Ok(Answer::Acquired(Acquisition::Held(lease))) => {
                Ok(Slot { held: Held::Lease(bulkhead.clone(), lease.id), lease_ttl })
            }
            Ok(Answer::Acquired(Acquisition::Saturated { retry_after })) => {
                Err(Saturated { provider, retry_after })
            }
            Ok(Answer::Lease(_)) => self.unleased(provider, lease_ttl),
            Err(error) => {
                failure::failed(Concern::BulkheadAcquire, error);
                self.unleased(provider, lease_ttl)
            }
        }
    }

    /// A slot without a lease, under a cap as high as the actor's own.
    fn unleased(&self, provider: ProviderId, lease_ttl: Duration) -> Result<Slot, Saturated> {
        let capacity = self.bulkhead(provider).rules().capacity;
        let calls = &self.local[provider.index()];
        let taken = calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, |calls| {
            (calls < capacity).then_some(calls + 1)
        });
        match taken {
            Ok(_) => Ok(Slot { held: Held::Local(Arc::clone(calls)), lease_ttl }),
            Err(_) => Err(Saturated { provider, retry_after: Duration::from_secs(1) }),
        }
    }

    /// The actor of one provider.
    pub fn bulkhead(&self, provider: ProviderId) -> &Handle<Bulkhead> {
        &self.bulkheads[provider.index()]
    }

    /// All of them, in the order of [`ProviderId::ALL`].
    pub fn bulkheads(&self) -> impl Iterator<Item = (ProviderId, &Handle<Bulkhead>)> {
        ProviderId::ALL.iter().copied().zip(self.bulkheads.iter())
    }
}
