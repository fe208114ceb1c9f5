//! Access tokens: kept for each connection, renewed before they end.
//!
//! # Always
//! - One renewal of a connection's token at a time: whoever needs it meanwhile waits for that one.
//! - A new refresh token is on disk before anything is done with what came with it.
//! - A grant that is over is noted as the end of the connection, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sendcat_actors::clock::SharedClock;
use sendcat_state::mailboxes::{self, Owned};
use sendcat_state::timestamp::Timestamp;

use super::{Access, Mailboxes, Trouble};
use crate::config::Secret;
use crate::upstream::error::{Clock, UpstreamError};
use crate::upstream::gmail::{self, Request};
use crate::upstream::google::{self, Client, Grant};

/// How long before its end a token is renewed: longer than any call takes.
const EARLY: Duration = Duration::from_secs(120);

/// Connections whose tokens are kept; beyond it those that nobody holds are forgotten.
const KEPT_MAX: usize = 10_000;

/// A connection, by its owner and when it was made.
type Connection = (String, Timestamp);

/// A place for one token, held by whoever renews it.
type Slot = Arc<tokio::sync::Mutex<Option<Kept>>>;

/// Tokens of every connection.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Connection, Slot>>);

#[derive(Clone)]
pub(super) struct Kept {
    access: Access,
    renew_at: Timestamp,
}

impl Tokens {
    fn slot(&self, of: &Owned) -> Slot {
        let mut slots = self.slots();
        if slots.len() >= KEPT_MAX {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let connection = (of.owner.clone(), of.mailbox.connected_at);
        Arc::clone(slots.entry(connection).or_default())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Connection, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what an owner's connections had.
    pub(super) fn forget(&self, owner: &str) {
        self.slots().retain(|(of, _), _| of != owner);
    }
}

impl Kept {
    pub(super) fn of(grant: &Grant, clock: &SharedClock) -> Self {
        let renew_at = clock.now().after(grant.lifetime.saturating_sub(EARLY));
        Self { access: grant.access.clone(), renew_at }
    }
}

impl Mailboxes {
    /// Asks Gmail about a mailbox; a token that it refuses is renewed once.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn asks<T>(
        &self,
        of: &Owned,
        request: &Request,
        read: fn(&[u8]) -> Result<T, UpstreamError>,
    ) -> Result<T, Trouble> {
        let token = self.token(of).await?;
        match self.asks_with(&token, request, read).await {
            Err(UpstreamError::OurKey { status: 401, .. }) => {
                self.forget(of, &token).await;
                let token = self.token(of).await?;
                Ok(self.asks_with(&token, request, read).await?)
            }
            answer => Ok(answer?),
        }
    }

    async fn asks_with<T>(
        &self,
        token: &Access,
        request: &Request,
        read: fn(&[u8]) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let call = request.call(&self.shared.google.gmail_base_url, token);
        let reading = (gmail::read_refusal as _, read);
        self.upstream.read(call, "gmail", self.shared.deadline, reading).await
    }

    /// A token that holds. It is renewed under the lock of its slot, so once however many wait.
    async fn token(&self, of: &Owned) -> Result<Access, Trouble> {
        let slot = self.shared.tokens.slot(of);
        let limit = self.shared.deadline;
        // Whoever renews it may be slow; what is waited here is no call of ours and no failure.
        let locked = tokio::time::timeout(limit, slot.lock()).await;
        let provider = sendcat_state::key::ProviderId::GmailOauth;
        let late = |_| UpstreamError::TimedOut { provider, clock: Clock::Total, limit };
        let mut kept = locked.map_err(late)?;
        let now = self.shared.clock.now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.renew_at) {
            return Ok(kept.access.clone());
        }
        let grant = self.renew(of).await?;
        *kept = Some(Kept::of(&grant, &self.shared.clock));
        Ok(grant.access)
    }

    async fn renew(&self, of: &Owned) -> Result<Grant, Trouble> {
        // The row is read anew: the token may have been replaced since.
        let owner = of.owner.clone();
        let known = self.read(move |records| mailboxes::get(records, &owner)).await?;
        let live = known.filter(|it| it.connected_at == of.mailbox.connected_at);
        let live = live.filter(|it| it.death.is_none()).ok_or(Trouble::Unconnected)?;
        let Some(refresh) = self.vault()?.open(&of.owner, &live.sealed) else {
            tracing::warn!("a refresh token cannot be opened: GOOGLE_CLIENT_SECRET has changed");
            return self.is_over(of).await;
        };
        let client = self.client()?;
        match client.refresh(&self.upstream, &refresh, ("gmail", self.shared.deadline)).await {
            Ok(grant) => {
                if let Some(refresh) = &grant.refresh {
                    self.replace(of, refresh).await?;
                }
                Ok(grant)
            }
            Err(error) if google::is_over(&error) => self.is_over(of).await,
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn client(&self) -> Result<Client<'_>, Trouble> {
        let provider = sendcat_state::key::ProviderId::GmailOauth;
        let client = Client::of(&self.shared.google);
        client.ok_or(Trouble::Upstream(UpstreamError::NoKey { provider }))
    }

    /// Writes down a refresh token that has come in the place of the one before.
    async fn replace(&self, of: &Owned, refresh: &Secret) -> Result<(), Trouble> {
        let sealed = self.vault()?.seal(&of.owner, refresh);
        let sealed = sealed
            .map_err(|_| Trouble::Unwritten(sendcat_actors::failure::AskError::NotDurable))?;
        let (owner, connected_at) = (of.owner.clone(), of.mailbox.connected_at);
        self.transact(move |records| {
            mailboxes::change(records, &owner, connected_at, |mailbox| {
                mailbox.sealed = sealed;
                true
            })
        })
        .await
        .map(|_| ())
    }

    /// Notes the end of a connection.
    async fn is_over<T>(&self, of: &Owned) -> Result<T, Trouble> {
        let (owner, connected_at) = (of.owner.clone(), of.mailbox.connected_at);
        let now = self.shared.clock.now();
        let died = self
            .transact(move |records| {
                mailboxes::change(records, &owner, connected_at, |mailbox| mailbox.die(now))
            })
            .await?;
        if died.is_some() {
            tracing::warn!("a mailbox's grant is over; its owner is told to connect again");
            self.shared.wake.notify_one();
        }
        Err(Trouble::Unconnected)
    }

    /// Forgets a token that was refused, unless another is kept by now.
    async fn forget(&self, of: &Owned, refused: &Access) {
        let slot = self.shared.tokens.slot(of);
        let mut kept = slot.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.access == *refused) {
            *kept = None;
        }
    }
}
