//! Connected mailboxes: pushes about them, connecting and disconnecting, reading what is new, and
//! staying told of changes.
//!
//! # Always
//! - A message is evidence of its owner once: it is known by Gmail's identifier, and the point up
//!   to which the history was read moves in the commit that keeps what was found.
//! - A refresh token is written down sealed, and stands in no log, error or `Debug` form.
//! - What Google has ended is not tried again; its owner is told once, to connect again.

mod access;
mod connect;
mod keeper;
pub(super) mod pushed;
mod sync;
pub mod vault;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sendcat_actors::chance;
use sendcat_actors::clock::SharedClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::journal::Journal;
use sendcat_state::key::{IdempotencyKey, InboxSource, ProviderId};
use sendcat_state::machine::{ReadError, RecordWrite, Records};
use serde_json::json;
use tokio::sync::Notify;

pub use connect::{ANSWER_WITHIN, CannotConnect, Comeback, Landed};
pub use pushed::Strangers;
pub use vault::Browser;

use super::NewEvent;
use crate::config::{Config, Google, Resend, Secret};
use crate::contract::gmail::GmailPush;
use crate::upstream::call::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::retry::RetryBudget;
use access::Tokens;
use vault::Vault;

/// How often a push that cannot be read is refused before it is put among the dead letters.
pub const POISON_TRIES: u64 = 5;

/// Pushes that cannot be read and are counted; beyond it the count begins anew.
const POISONS_MAX: usize = 1000;

/// How much of such a push is kept, in bytes.
const POISON_BYTES_MAX: usize = 4096;

/// The event that a push is: it is known by the mailbox and its history id (log 1.6).
pub fn event(push: &GmailPush) -> NewEvent {
    let body = json!({
        "emailAddress": push.email_address,
        "historyId": push.history_id,
        "messageId": push.message_id,
        "publishTime": push.publish_time,
        "subscription": push.subscription,
    });
    NewEvent {
        source: InboxSource::Gmail,
        key: IdempotencyKey::gmail(&push.email_address, &push.history_id),
        body: body.to_string().into_bytes(),
    }
}

/// The event that a push is which cannot be read: it goes to the dead letters, where an operator
/// can look at it.
pub fn poison(body: &[u8], why: &str) -> NewEvent {
    let kept = String::from_utf8_lossy(&body[..body.len().min(POISON_BYTES_MAX)]).into_owned();
    let kept = json!({"poison": why, "body": kept});
    NewEvent {
        source: InboxSource::Gmail,
        key: IdempotencyKey::gmail_poison(&digest(body)),
        body: kept.to_string().into_bytes(),
    }
}

fn digest(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(digest)
}

/// What is shared by every thread that touches mailboxes.
pub struct Shared {
    google: Google,
    resend: Resend,
    settings_url: String,
    deadline: std::time::Duration,
    clock: SharedClock,
    journal: Journal,
    /// `None` where Google is not configured.
    vault: Option<Vault>,
    tokens: Tokens,
    retries: RetryBudget,
    poisons: Mutex<HashMap<String, u64>>,
    /// Tells this life of the process from others.
    life: u64,
    /// Told when there is something to look after.
    wake: Notify,
}

/// Mailboxes, with one thread's way out. Cheap to clone.
#[derive(Clone)]
pub struct Mailboxes {
    shared: Arc<Shared>,
    upstream: Upstream,
}

/// Why something about a mailbox could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no connection, or it has died: there is nothing to be done.
    #[error("the mailbox is not connected")]
    Unconnected,
    /// Google's, or the way to it.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The store could not be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// What was decided could not be made durable.
    #[error("nothing can be stored: {0}")]
    Unwritten(#[from] AskError),
    /// The owner has no room for more evidence.
    #[error("its owner has no room for more evidence")]
    Full,
}

impl Shared {
    /// Mailboxes as the configuration wants them.
    pub fn new(config: &Config, journal: Journal, clock: SharedClock) -> Arc<Self> {
        let google = config.providers.google.clone();
        let configured = google.client_id.is_some();
        let secret = google.client_secret.as_ref().filter(|_| configured);
        Arc::new(Self {
            vault: secret.map(Vault::new),
            google,
            resend: config.providers.resend.clone(),
            settings_url: connect::settings_url(&config.app_base_url),
            deadline: config.deadline(ProviderId::GmailApi),
            clock,
            journal,
            tokens: Tokens::default(),
            retries: RetryBudget::default(),
            poisons: Mutex::default(),
            life: chance::number(),
            wake: Notify::new(),
        })
    }

    /// Counts a push that could not be read; `true` once it was refused often enough, by our count
    /// or by Pub/Sub's.
    pub fn is_poison(&self, body: &[u8], delivery_attempt: Option<u64>) -> bool {
        let mut poisons = self.poisons();
        if poisons.len() >= POISONS_MAX {
            poisons.clear();
        }
        let tries = poisons.entry(digest(body)).or_default();
        *tries += 1;
        (*tries).max(delivery_attempt.unwrap_or(0)) >= POISON_TRIES
    }

    fn poisons(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.poisons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailboxes {
    /// With that way out, made on the thread that uses it.
    pub fn new(shared: Arc<Shared>, upstream: Upstream) -> Self {
        Self { shared, upstream }
    }

    /// What does not need the way out.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    fn vault(&self) -> Result<&Vault, Trouble> {
        let provider = ProviderId::GmailOauth;
        let none = || Trouble::Upstream(UpstreamError::NoKey { provider });
        self.shared.vault.as_ref().ok_or_else(none)
    }

    async fn read<T, F>(&self, of: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Records) -> Result<T, ReadError> + Send + 'static,
    {
        Ok(self.shared.journal.read(of).await?)
    }

    async fn transact<T, F>(&self, rules: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), ReadError> + Send + 'static,
    {
        Ok(self.shared.journal.transact(rules).await??)
    }
}

/// A token that opens a mailbox.
type Access = Secret;
