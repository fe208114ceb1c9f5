//! Connecting a mailbox and ending that: what a user asks for, and what Google answers through the
//! user's browser.
//!
//! Whoever asks gets an address that he could send to somebody else, who would connect his own
//! mailbox to the account of the one who asked. So a state is good only in the browser in which it
//! was asked for: that browser keeps a name in a cookie, and the state has the name's digest.
//! PKCE does not help there, for it is we who keep the proof; nor does a token, for a browser that
//! comes back from Google brings none.

use std::time::Duration;

use futures_util::FutureExt as _;
use sendcat_actors::failure::AskError;
use sendcat_state::mailboxes::{self, Asking, Mailbox, Owned};

use super::vault::{self, Browser, State};
use super::{Mailboxes, Trouble};
use tracing::Instrument as _;

use crate::config::Secret;
use crate::upstream::again::{Repeats, again};
use crate::upstream::call::ReadRefusal;
use crate::upstream::error::UpstreamError;
use crate::upstream::gmail::{self, Request};
use crate::upstream::google::{Grant, Profile};

/// How long a user may take to answer Google (WEBHOOKS.md §3).
pub const ANSWER_WITHIN: Duration = Duration::from_secs(600);

/// What a browser brings back from Google.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comeback {
    /// What is exchanged for tokens.
    pub code: Option<Secret>,
    /// What we had sent along.
    pub state: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// Which browser it is.
    pub browser: Option<Browser>,
}

/// How connecting ended, as the front end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// The mailbox is connected.
    Connected,
    /// It is not.
    Failed,
    /// It is not: too much is going on now.
    Busy,
}

impl Landed {
    /// Where the front end at `app_base_url` is told so.
    pub fn address(self, app_base_url: &str) -> String {
        let word = match self {
            Self::Connected => "connected",
            Self::Failed => "error",
            Self::Busy => "busy",
        };
        format!("{}&gmail={word}", settings_url(app_base_url))
    }
}

/// Where users look after their connections.
pub(super) fn settings_url(app_base_url: &str) -> String {
    format!("{app_base_url}/settings?tab=connections")
}

/// Why a user cannot be sent to Google.
#[derive(Debug, thiserror::Error)]
pub enum CannotConnect {
    /// Google is not configured.
    #[error("Google is not configured")]
    NotConfigured,
    /// The question could not be written down.
    #[error("the question cannot be stored")]
    Unavailable,
}

impl Mailboxes {
    /// Where a user's browser, and no other, goes to be asked; the answer comes to `redirect`.
    ///
    /// # Errors
    /// [`CannotConnect`].
    pub async fn authorize_url(
        &self,
        owner: &str,
        browser: &Browser,
        redirect: String,
    ) -> Result<String, CannotConnect> {
        let vault = self.vault().map_err(|_| CannotConnect::NotConfigured)?;
        let unavailable = |_| CannotConnect::Unavailable;
        let now = self.shared.clock.now();
        let ends = now.after(ANSWER_WITHIN);
        let nonce = vault::nonce().map_err(unavailable)?;
        let (verifier, challenge) = vault::proof().map_err(unavailable)?;
        let sealed = vault.seal(owner, &verifier).map_err(unavailable)?;
        let (of, browser) = (owner.to_owned(), browser.digest());
        let state = vault.sign(&State { owner: of, nonce: nonce.clone(), browser, ends });
        let client = self.client().map_err(|_| CannotConnect::NotConfigured)?;
        let url = client.authorize_url(&redirect, &state, &challenge);
        let asking = Asking { nonce, verifier: sealed, redirect, ends };
        let owner = owner.to_owned();
        let asked = self.transact(move |records| mailboxes::ask(records, now, &owner, asking));
        asked.await.map_err(|error| {
            tracing::error!(%error, "a question to connect was not stored");
            CannotConnect::Unavailable
        })?;
        Ok(url)
    }

    /// Takes what a browser has brought back. A state is good once, whatever comes of it.
    pub async fn comes_back(&self, comeback: Comeback) -> Landed {
        // A code is good once: what is begun with it goes on when the browser goes away.
        let this = self.clone();
        let connecting =
            tokio::spawn(async move { this.connects(comeback).await }.in_current_span());
        match connecting.await {
            Ok(Ok(landed)) => landed,
            Err(_) => Landed::Failed,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a mailbox was not connected");
                match error {
                    Trouble::Upstream(
                        UpstreamError::Saturated { .. }
                        | UpstreamError::CircuitOpen { .. }
                        | UpstreamError::RateLimited { .. },
                    ) => Landed::Busy,
                    Trouble::Upstream(_)
                    | Trouble::Unconnected
                    | Trouble::Unreadable(_)
                    | Trouble::Unwritten(_)
                    | Trouble::Full => Landed::Failed,
                }
            }
        }
    }

    async fn connects(&self, comeback: Comeback) -> Result<Landed, Trouble> {
        let now = self.shared.clock.now();
        let state = comeback.state.as_deref().and_then(|it| self.vault().ok()?.verify(it, now));
        let Some(State { owner, nonce, browser, .. }) = state else { return Ok(Landed::Failed) };
        // The question stays open: its own browser may still answer it.
        if comeback.browser.is_none_or(|it| it.digest() != browser) {
            tracing::warn!("a browser came back to a question that was asked in another one");
            return Ok(Landed::Failed);
        }
        let asker = owner.clone();
        let redeemed =
            self.transact(move |records| mailboxes::redeem(records, now, &asker, &nonce)).await?;
        let (Some(asking), Some(code), None) = (redeemed, comeback.code, comeback.error) else {
            return Ok(Landed::Failed);
        };
        let Some(verifier) = self.vault()?.open(&owner, &asking.verifier) else {
            return Ok(Landed::Failed);
        };
        let (grant, profile) = self.exchange(&code, &verifier, &asking.redirect).await?;
        let Some(refresh) = &grant.refresh else {
            tracing::warn!("Google gave no refresh token; the mailbox was not connected");
            return Ok(Landed::Failed);
        };
        let sealed = self.vault()?.seal(&owner, refresh);
        let sealed = sealed.map_err(|_| Trouble::Unwritten(AskError::NotDurable))?;
        self.shared.tokens.forget(&owner);
        let now = self.shared.clock.now();
        self.transact(move |records| {
            let new = (profile.address.as_str(), sealed, profile.history_id);
            mailboxes::connect(records, now, &owner, new)
        })
        .await?;
        self.shared.wake.notify_one();
        Ok(Landed::Connected)
    }

    /// The code for tokens, and whose mailbox they open. A user who does not let us read mail has
    /// not connected a mailbox.
    async fn exchange(
        &self,
        code: &Secret,
        verifier: &Secret,
        redirect: &str,
    ) -> Result<(Grant, Profile), Trouble> {
        let client = self.client()?;
        let budget = (&self.shared.retries, &self.shared.clock);
        let deadline = self.shared.deadline;
        let grant = again(budget, deadline, Repeats::OnlyUndone, |left| {
            let with = (code.expose(), verifier, redirect);
            client.exchange(&self.upstream, with, ("connect", left)).boxed()
        });
        let grant = grant.await?;
        if grant.may_read == Some(false) {
            return Err(Trouble::Unconnected);
        }
        let profile = again(budget, deadline, Repeats::Harmless, |left| {
            client.profile(&self.upstream, &grant.access, ("connect", left)).boxed()
        });
        let profile = profile.await?;
        Ok((grant, profile))
    }

    /// An owner's connection.
    ///
    /// # Errors
    /// [`Trouble::Unreadable`].
    pub async fn connection(&self, owner: &str) -> Result<Option<Mailbox>, Trouble> {
        let owner = owner.to_owned();
        self.read(move |records| mailboxes::get(records, &owner)).await
    }

    /// Ends an owner's connection: here at once and for good, then at Google as far as that
    /// answers; `false` if there was none.
    ///
    /// # Errors
    /// [`Trouble::Unwritten`]: it may be there still.
    pub async fn disconnect(&self, owner: &str) -> Result<bool, Trouble> {
        let of = owner.to_owned();
        let ended = self.transact(move |records| mailboxes::disconnect(records, &of)).await?;
        self.shared.tokens.forget(owner);
        let Some(mailbox) = ended else { return Ok(false) };
        let last = Owned { owner: owner.to_owned(), mailbox };
        let this = self.clone();
        tokio::spawn(async move { this.take_leave(last).await }.in_current_span());
        Ok(true)
    }

    /// Ends the pushes, then the grant: without it they could not be ended.
    async fn take_leave(&self, last: Owned) {
        let Ok(client) = self.client() else { return };
        let vault = self.vault().ok();
        let Some(refresh) = vault.and_then(|it| it.open(&last.owner, &last.mailbox.sealed)) else {
            return;
        };
        let budget = (&self.shared.retries, &self.shared.clock);
        let deadline = self.shared.deadline;
        let stopped = async {
            let grant = again(budget, deadline, Repeats::Harmless, |left| {
                client.refresh(&self.upstream, &refresh, ("disconnect", left)).boxed()
            });
            let grant = grant.await?;
            again(budget, deadline, Repeats::Harmless, |left| {
                let call = Request::stop().call(&self.shared.google.gmail_base_url, &grant.access);
                let reading = (gmail::read_refusal as ReadRefusal, gmail::read_nothing);
                self.upstream.read(call, "disconnect", left, reading).boxed()
            })
            .await
        };
        if let Err(error) = stopped.await {
            tracing::warn!(%error, "a mailbox that was disconnected may be watched for some days");
        }
        let revoked = again(budget, deadline, Repeats::Harmless, |left| {
            client.revoke(&self.upstream, &refresh, ("disconnect", left)).boxed()
        });
        if let Err(error) = revoked.await {
            tracing::warn!(%error, "a grant that nobody uses any more may not be revoked");
        }
    }
}
