//! What a caller may do with an answer that it did not begin, or not on this connection: take it
//! up, stop it, have it again under its key.

use std::sync::Arc;

use sendcat_actors::stream_log::AnswerReader;
use sendcat_state::key::TimedId;
use sendcat_state::saved_answers::{self, KeyedBody};
use sendcat_state::threads::{self, MessagePage, ThreadRefusal};
use tracing::Instrument as _;

use super::engine::{Ask, Begun, ChatRefusal, Engine, OnDisconnect};
use super::once::{Asking, Outcome, Role};
use crate::contract::code::ErrorCode;

/// What the identifier of an answer's message begins with; the answer's own follows.
const MESSAGE_PREFIX: &str = "msg_";

/// An answer that is taken up.
pub struct Resumed {
    /// Reads it from its start.
    pub reader: AnswerReader,
    /// Whether the process before cut it: once it was read, call [`Engine::was_read`].
    pub is_cut: bool,
}

impl Engine {
    /// The answer that runs in an owner's thread, or that a restart has cut; `None` if none does,
    /// also if the thread is another's: clients show a banner for everything else.
    ///
    /// # Errors
    /// [`ChatRefusal`] if that cannot be known now.
    pub async fn resume(
        &self,
        owner: &str,
        thread_id: &str,
    ) -> Result<Option<Resumed>, ChatRefusal> {
        if self.owner_of(thread_id).await?.as_deref() != Some(owner) {
            return Ok(None);
        }
        if let Some(mut reader) = self.parts.answers.resume(thread_id).await? {
            // As for whoever asked, a failure before the first content is no stream.
            let begun = reader.begun().await;
            return Ok(begun.then_some(Resumed { reader, is_cut: false }));
        }
        let cut = self.parts.cut.newest(owner, thread_id).await;
        Ok(cut.map(|reader| Resumed { reader, is_cut: true }))
    }

    /// Stores what a restart has cut, once it was read.
    pub fn was_read(&self, thread_id: &str) {
        let (parts, thread_id) = (Arc::clone(&self.parts), thread_id.to_owned());
        tokio::spawn(async move { parts.cut.store(&thread_id).await }.in_current_span());
    }

    /// Stops an answer of an owner's thread: the newest, or the one named as in its `start` part.
    ///
    /// # Errors
    /// [`ChatRefusal`]: `forbidden` for another's thread, `not_found` for an unknown one or an
    /// unknown answer, `conflict` for an answer that is over.
    pub async fn stop(
        &self,
        owner: &str,
        thread_id: &str,
        stream_id: Option<&str>,
    ) -> Result<(), ChatRefusal> {
        match self.owner_of(thread_id).await? {
            None => return Err(ErrorCode::NotFound.into()),
            Some(other) if other != owner => return Err(ErrorCode::Forbidden.into()),
            Some(_) => {}
        }
        let id = match stream_id {
            None => None,
            Some(named) => {
                let plain = named.strip_prefix(MESSAGE_PREFIX).unwrap_or(named);
                let id = plain.parse::<TimedId>();
                Some(id.map_err(|()| ChatRefusal::from(ErrorCode::NotFound))?)
            }
        };
        if self.parts.answers.stop(thread_id, id).await? {
            return Ok(());
        }
        let is_over = match id {
            None => true,
            Some(id) => self.is_over(owner, thread_id, id).await?,
        };
        Err(if is_over { ErrorCode::Conflict } else { ErrorCode::NotFound }.into())
    }

    /// Whether an answer of a thread has been there.
    async fn is_over(
        &self,
        owner: &str,
        thread_id: &str,
        id: TimedId,
    ) -> Result<bool, ChatRefusal> {
        if self.parts.cut.has(thread_id, id).await {
            return Ok(true);
        }
        let (owner, thread_id) = (owner.to_owned(), thread_id.to_owned());
        let page = self.parts.journal.read(move |records| {
            Ok(threads::message_page(records, &owner, &thread_id, None, usize::MAX, usize::MAX))
        });
        let MessagePage { items, .. } = page.await.map_err(ThreadRefusal::Unreadable)??;
        let name = format!("{MESSAGE_PREFIX}{id}");
        Ok(items.iter().any(|message| message.id == name))
    }

    async fn owner_of(&self, thread_id: &str) -> Result<Option<String>, ChatRefusal> {
        let thread_id = thread_id.to_owned();
        let owner = self.parts.journal.read(move |records| threads::owner_of(records, &thread_id));
        owner.await.map_err(|error| ThreadRefusal::Unreadable(error).into())
    }

    /// Begins an answer under a key, or hands out the one that its key has.
    pub(super) async fn begin_once(
        &self,
        ask: Ask,
        asked: KeyedBody,
    ) -> Result<Begun, ChatRefusal> {
        loop {
            let (mut heard, replayed) = match self.parts.once.join(&asked) {
                Role::Mismatch => return Err(ErrorCode::IdempotencyMismatch.into()),
                Role::Wait(heard) => (heard, true),
                Role::Ask(asking, heard) => {
                    if let Some(begun) = self.had_before(&asked).await? {
                        return Ok(begun);
                    }
                    let asking = self.clone().ask_for_all(ask.clone(), asking);
                    tokio::spawn(asking.in_current_span());
                    (heard, false)
                }
            };
            let outcome: Outcome = match heard.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                // Whoever asked found the answer on disk, or is gone; so look again.
                Err(_) => continue,
            };
            match outcome {
                Some(Ok(link)) => {
                    if let Some(reader) = link.reader() {
                        return Ok(Begun { reader, replayed });
                    }
                }
                Some(Err(refusal)) => return Err(refusal),
                None => {}
            }
            // It is over, and what is on disk is its truth.
            tokio::task::yield_now().await;
        }
    }

    /// The answer that a key was given earlier.
    async fn had_before(&self, asked: &KeyedBody) -> Result<Option<Begun>, ChatRefusal> {
        let same = |digest: &str| match digest == asked.digest {
            true => Ok(()),
            false => Err(ChatRefusal::from(ErrorCode::IdempotencyMismatch)),
        };
        if let Some((digest, reader, thread_id)) = self.parts.cut.of_key(&asked.key).await {
            same(&digest)?;
            self.was_read(&thread_id);
            return Ok(Some(Begun { reader, replayed: true }));
        }
        let (now, key) = (self.parts.clock.now(), asked.key.clone());
        let kept = self
            .parts
            .journal
            .read(move |records| saved_answers::kept_stream(records, now, &key))
            .await
            .map_err(ThreadRefusal::Unreadable)?;
        let Some(kept) = kept else { return Ok(None) };
        same(&kept.digest)?;
        let reader = AnswerReader::replay([kept.stream.into()]);
        Ok(Some(Begun { reader, replayed: true }))
    }

    /// Asks for everybody who has the key, in a task of its own, for the first one may be gone long
    /// before the last.
    async fn ask_for_all(self, ask: Ask, asking: Asking) {
        let outcome = Arc::clone(&asking.outcome);
        let cancels = ask.on_disconnect == OnDisconnect::Cancel;
        let begun = tokio::select! {
            begun = self.begin_now(ask, Some(asking)) => begun,
            () = outcome.closed(), if cancels => return,
        };
        match begun {
            Ok(reader) => {
                outcome.send_replace(Some(Ok(reader.link())));
                // They all have readers of their own once they are gone from here.
                outcome.closed().await;
            }
            Err(refusal) => {
                outcome.send_replace(Some(Err(refusal)));
            }
        }
    }
}
