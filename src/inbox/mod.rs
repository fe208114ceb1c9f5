//! What happens after a webhook is accepted, and the accepting itself.
//!
//! Accepting is: claim the keys, put every new event, its body and its claim on disk in one commit,
//! settle the claims. It runs in a task of its own, so a sender that hangs up in the middle leaves
//! no claim without its event and no event without its claim.
//!
//! # Always
//! - Nobody hears yes before the events are on disk.
//! - An effect is written in the commit that ends its event: it happens once, whatever crashes.

pub mod answers;
pub mod generic;
pub mod gmail;
pub mod media_store;
pub mod tidying;
pub mod whatsapp;
mod whatsapp_replies;
mod whatsapp_work;
pub mod work;

use std::collections::HashSet;
use std::time::Duration;

use sendcat_actors::chance;
use sendcat_actors::clock::SharedClock;
use sendcat_actors::failure::{self, AskError, Concern};
use sendcat_actors::idempotency::{ClaimGuard, Idempotency, StillPending};
use sendcat_actors::job_queue::{Jobs, NotRedelivered};
use sendcat_state::idempotency::ClaimRow;
use sendcat_state::job::{JobKind, NewJob, write_body};
use sendcat_state::job_queue::Enqueued;
use sendcat_state::key::{IdempotencyKey, InboxSource, TimedId};
use sendcat_state::machine::Records;
use sendcat_state::whatsapp as state;
use tracing::Instrument as _;

use crate::config::fixed;

/// How long whoever finds a full backlog is asked to wait.
pub const BACKLOG_WAIT: Duration = Duration::from_secs(30);

/// One thing that a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Where it came from.
    pub source: InboxSource,
    /// What it is known by when it comes again.
    pub key: IdempotencyKey,
    /// What it says, as JSON.
    pub body: Vec<u8>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Events that are new.
    pub fresh: usize,
    /// Events that were accepted before.
    pub duplicates: usize,
}

impl Accepted {
    /// Whether there was something, and all of it was accepted before.
    pub fn is_replay(self) -> bool {
        self.fresh == 0 && self.duplicates > 0
    }
}

/// Why a delivery was not accepted; its sender should come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The same delivery is being handled.
    #[error(transparent)]
    Pending(#[from] StillPending),
    /// The backlog is full.
    #[error("the backlog of {0} is full")]
    Full(JobKind),
    /// It could not be made durable.
    #[error(transparent)]
    Unavailable(#[from] AskError),
}

impl NotAccepted {
    /// When to come again, where that is known.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Pending(pending) => Some(pending.retry_after),
            Self::Full(_) => Some(BACKLOG_WAIT),
            Self::Unavailable(_) => None,
        }
    }
}

/// Accepts events. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    claims: Idempotency,
    jobs: Jobs,
    clock: SharedClock,
}

impl Inbox {
    /// An inbox on those actors.
    pub fn new(claims: Idempotency, jobs: Jobs, clock: SharedClock) -> Self {
        Self { claims, jobs, clock }
    }

    /// Accepts what is new of a delivery.
    ///
    /// # Errors
    /// [`NotAccepted`]: nothing of it is durable for sure, and its claims are given back.
    pub async fn accept(&self, events: Vec<NewEvent>) -> Result<Accepted, NotAccepted> {
        if events.is_empty() {
            return Ok(Accepted { fresh: 0, duplicates: 0 });
        }
        let accepting = tokio::spawn(self.clone().accept_all(events).in_current_span());
        // A task that panicked has dropped its claims, which gives them back.
        accepting.await.unwrap_or(Err(NotAccepted::Unavailable(AskError::Crashed)))
    }

    /// Has a dead letter worked off again, also one whose effect may have left: whoever asks has
    /// looked. The answer comes when that is on disk.
    ///
    /// # Errors
    /// [`NotRedelivered`].
    pub async fn redeliver(&self, id: TimedId) -> Result<(), NotRedelivered> {
        let release = move |records: &dyn Records| {
            Ok(state::release_reply(records, id)?.into_iter().collect())
        };
        self.jobs.redeliver(id, release).await
    }

    async fn accept_all(self, events: Vec<NewEvent>) -> Result<Accepted, NotAccepted> {
        let delivered = events.len();
        // One delivery may say the same thing twice.
        let mut known = HashSet::with_capacity(delivered);
        let once = events.into_iter().filter(|event| known.insert(event.key.clone()));
        let mut once: Vec<NewEvent> = once.collect();
        let keys = once.iter().map(|event| event.key.clone()).collect();
        let claimed = self.claims.claim(keys).await?;
        let first = claimed.first;
        let ours: HashSet<_> = first.keys().iter().collect();
        once.retain(|event| ours.contains(&event.key));
        if once.is_empty() {
            return Ok(Accepted { fresh: 0, duplicates: delivered });
        }
        let fresh = once.len();
        self.put_on_disk(once, first).await?;
        Ok(Accepted { fresh, duplicates: delivered - fresh })
    }

    async fn put_on_disk(
        &self,
        events: Vec<NewEvent>,
        claims: ClaimGuard,
    ) -> Result<(), NotAccepted> {
        let now = self.clock.now();
        let until = now.after(fixed::WEBHOOK_KEY_TTL);
        let (mut jobs, mut writes) = (Vec::new(), Vec::new());
        for event in events {
            let id = chance::id(now);
            writes.push(ClaimRow::write(&event.key, now, until));
            writes.push(write_body(id, &event.body));
            let kind = JobKind::Inbox(event.source);
            jobs.push(NewJob { id, kind, key: event.key.to_string(), payload: None });
        }
        match self.jobs.enqueue(jobs, writes).await {
            Ok(Enqueued::Queued) => {
                claims.settle(until);
                Ok(())
            }
            Ok(Enqueued::Saturated(kind)) => Err(NotAccepted::Full(kind)),
            Err(error) => {
                failure::failed(Concern::InboxAccept, error);
                Err(error.into())
            }
        }
    }
}
