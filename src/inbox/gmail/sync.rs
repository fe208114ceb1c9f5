//! Reading what is new in a mailbox, from where it was read to.
//!
//! A page of history is one commit: its messages as evidence, and the point up to which it was
//! read. Whatever crashes, the next reader begins at a point before which everything is kept, and
//! what it finds again is known by its identifier. Two readers of one mailbox get in each other's
//! way at most.

use sendcat_state::job::{AttemptOutcome, ClaimedJob};
use sendcat_state::mailboxes::{self, Found, Owned};
use sendcat_state::records::{RecordLimits, RecordRefusal};
use serde_json::{Map, Value};

use super::{Mailboxes, Trouble, pushed};
use crate::config::fixed;
use crate::upstream::classify::{self, Repeat};
use crate::upstream::error::UpstreamError;
use crate::upstream::gmail::{Request, read_history, read_message, read_messages};
use crate::upstream::google::read_profile;

/// Owners of one address that are served by one push.
const OWNERS_MAX: usize = 100;

/// Pages of history that are read at once; what is left is read by the next reader.
const PAGES_MAX: usize = 50;

/// Messages that are looked through when the history is gone, newest first.
const MESSAGES_MAX: usize = 1000;

/// How far before the last reading one begins whose history is gone.
const OVERLAP: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

const LIMITS: RecordLimits = RecordLimits {
    records: fixed::EVIDENCE_PER_OWNER_MAX as u64,
    data_bytes: fixed::RECORD_BYTES_MAX,
};

impl Mailboxes {
    /// Reads what a push is about: `None` if nobody has connected that mailbox.
    pub(super) async fn work_off(&self, job: &ClaimedJob, address: &str) -> Option<AttemptOutcome> {
        let address = address.to_lowercase();
        let owners = self.read(move |records| mailboxes::owners_of(records, &address, OWNERS_MAX));
        let owners = match owners.await {
            Ok(owners) if owners.is_empty() => return None,
            Ok(owners) => owners,
            Err(trouble) => return Some(outcome(&trouble)),
        };
        let mut worst = None;
        for owner in owners {
            if let Err(trouble) = self.sync(&owner).await {
                tracing::warn!(event = %job.id, error = %trouble, "a mailbox was not read");
                worst = Some(trouble);
            }
        }
        Some(worst.map_or(AttemptOutcome::Done { writes: Vec::new() }, |it| outcome(&it)))
    }

    /// Reads what is new in an owner's mailbox. One that is not connected has nothing new.
    ///
    /// # Errors
    /// [`Trouble`]; what was read before it is kept.
    pub(super) async fn sync(&self, owner: &str) -> Result<(), Trouble> {
        let Some(mailbox) = self.connection(owner).await?.filter(|it| it.death.is_none()) else {
            return Ok(());
        };
        let mut of = Owned { owner: owner.to_owned(), mailbox };
        for _ in 0..PAGES_MAX {
            let begin = of.mailbox.history_id;
            let page = match self.asks(&of, &Request::history(begin), read_history).await {
                Err(Trouble::Upstream(UpstreamError::Rejected { status: 404, .. })) => {
                    return ended(self.sync_anew(&of).await);
                }
                Err(Trouble::Unconnected) => return Ok(()),
                page => page?,
            };
            let messages = self.fetch(&of, page.added).await?;
            let found = Found { messages, history_id: page.history_id, at_end: page.at_end };
            let moved = self.keep(&of, found).await?;
            if page.at_end || !moved {
                return Ok(());
            }
            if page.history_id <= begin {
                let what = "a history that does not move on";
                let provider = sendcat_state::key::ProviderId::GmailApi;
                return Err(UpstreamError::Malformed { provider, what }.into());
            }
            of.mailbox.history_id = page.history_id;
        }
        Ok(())
    }

    /// Reads a mailbox whose history is gone: what has come since it was last read, and a day
    /// before. Where its history stands is asked first, so that nothing falls between.
    async fn sync_anew(&self, of: &Owned) -> Result<(), Trouble> {
        tracing::info!("the history of a mailbox is gone: its messages are looked through");
        let provider = sendcat_state::key::ProviderId::GmailApi;
        let profile = |body: &[u8]| read_profile(sendcat_state::key::ProviderId::GmailApi, body);
        let profile = self.asks(of, &Request::profile(), profile).await?;
        if profile.address != of.mailbox.address {
            let what = "the profile of another mailbox";
            return Err(UpstreamError::Malformed { provider, what }.into());
        }
        let since = of.mailbox.synced_at.before(OVERLAP);
        let (mut page, mut looked) = (None, 0);
        while looked < MESSAGES_MAX {
            let request = Request::messages(since, page.as_deref());
            let listed = self.asks(of, &request, read_messages).await?;
            looked += listed.ids.len().max(1);
            let messages = self.fetch(of, listed.ids).await?;
            let found = Found { messages, history_id: of.mailbox.history_id, at_end: false };
            if !self.keep(of, found).await? {
                return Ok(());
            }
            page = listed.next;
            if page.is_none() {
                break;
            }
        }
        let found = Found { messages: Vec::new(), history_id: profile.history_id, at_end: true };
        self.keep(of, found).await.map(|_| ())
    }

    /// Fetches those messages of which there is no evidence. One that is gone by now is left out.
    async fn fetch(
        &self,
        of: &Owned,
        ids: Vec<String>,
    ) -> Result<Vec<(String, Map<String, Value>)>, Trouble> {
        let owner = of.owner.clone();
        let ids = ids.into_iter().map(|id| format!("{EVIDENCE}{id}")).collect();
        let missing = self.read(move |records| mailboxes::missing(records, &owner, ids)).await?;
        let mut messages = Vec::with_capacity(missing.len());
        for id in missing {
            let name = id.trim_start_matches(EVIDENCE);
            let whole = self.asks(of, &Request::message(name, true), read_message).await;
            let message = match whole {
                // One that is larger than any answer may be has its headers all the same.
                Err(Trouble::Upstream(UpstreamError::Malformed { .. })) => {
                    self.asks(of, &Request::message(name, false), read_message).await
                }
                whole => whole,
            };
            match message {
                Ok(message) => messages.push((id, message)),
                Err(Trouble::Upstream(UpstreamError::Rejected { status: 404, .. })) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(messages)
    }

    /// Keeps what was found; `false` if the connection is another by now.
    async fn keep(&self, of: &Owned, found: Found) -> Result<bool, Trouble> {
        let (owner, connected_at) = (of.owner.clone(), of.mailbox.connected_at);
        let now = self.shared.clock.now();
        let kept = self.shared.journal.transact(move |records| {
            mailboxes::found(records, now, (&owner, connected_at), LIMITS, found)
        });
        match kept.await? {
            Ok(kept) => Ok(kept),
            Err(RecordRefusal::Unreadable(error)) => Err(error.into()),
            Err(RecordRefusal::Full(_)) => Err(Trouble::Full),
            Err(refusal @ (RecordRefusal::TooLarge { .. } | RecordRefusal::NotFound)) => {
                // What is kept of a message is bounded below what a record may have.
                tracing::error!(%refusal, "a message was not kept");
                Err(Trouble::Full)
            }
        }
    }
}

/// What stands before a message's identifier in that of its evidence.
const EVIDENCE: &str = "gmail-";

/// A connection that is over has nothing to be read.
fn ended(synced: Result<(), Trouble>) -> Result<(), Trouble> {
    match synced {
        Err(Trouble::Unconnected) => Ok(()),
        synced => synced,
    }
}

/// What the queue is told of a reading that failed.
fn outcome(trouble: &Trouble) -> AttemptOutcome {
    let error = pushed::failure(trouble);
    match trouble {
        Trouble::Upstream(error_of) => match classify::repeat(error_of) {
            Repeat::No if matches!(error_of, UpstreamError::Rejected { .. }) => {
                AttemptOutcome::Dead { error }
            }
            // A repeated reading does no harm, be it of one that was not answered in time.
            Repeat::No | Repeat::Yes | Repeat::After(_) => {
                AttemptOutcome::Retry { error, after: error_of.retry_after() }
            }
        },
        Trouble::Unreadable(_) | Trouble::Unwritten(_) => {
            AttemptOutcome::Retry { error, after: None }
        }
        Trouble::Full => AttemptOutcome::Dead { error },
        Trouble::Unconnected => AttemptOutcome::Done { writes: Vec::new() },
    }
}
