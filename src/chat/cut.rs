//! Answers that the process before this one did not end: they stay on the stream, closed by an
//! `abort`, until they were read once or a minute has passed; then they are stored as cut.
//!
//! # Always
//! - An answer is on the stream or among the messages, never in both: whoever looks while one goes
//!   from here to there waits until it has.
//! - One that cannot be stored stays here, and is found again by the next process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::SharedClock;
use sendcat_actors::journal::Journal;
use sendcat_actors::stream_log::AnswerReader;
use sendcat_state::key::TimedId;
use sendcat_state::machine::{ReadError, RecordWrite, Records};
use sendcat_state::saved_answers::{self, CutAnswer, KeptStream, KeyedBody, SentParts};
use sendcat_state::threads::{self, Ending, Message, Role, ThreadRefusal};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::Mutex;

use super::turn::Answer;
use crate::config::fixed;
use crate::contract::ui_stream::message::MessagePart;
use crate::contract::ui_stream::rebuild::Rebuilt;
use crate::contract::ui_stream::{DONE, MessageMetadata};

/// How long an answer that was cut waits for its reader.
pub const WAITS: Duration = Duration::from_secs(60);

const WHY: &str = "The service was restarted before the tool was done.";

/// The answers of the process before. Cheap to clone.
#[derive(Clone)]
pub struct CutAnswers {
    journal: Journal,
    clock: SharedClock,
    by_thread: Arc<Mutex<BTreeMap<String, Vec<Kept>>>>,
}

/// One of them, closed.
#[derive(Clone)]
struct Kept {
    id: TimedId,
    owner: String,
    asked: Option<KeyedBody>,
    stream: Vec<Arc<str>>,
    /// `None` if nothing of it was seen.
    message: Option<Message>,
}

impl CutAnswers {
    /// Reads back what the process before left. What cannot be read is left where it is: a chat
    /// without its last answer is a nuisance, a service that does not start is an outage.
    pub async fn load(journal: Journal, clock: SharedClock) -> Self {
        let left = journal.read(saved_answers::left_over).await.unwrap_or_else(|error| {
            tracing::error!(%error, "answers cut by a restart cannot be read");
            Vec::new()
        });
        let mut by_thread: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
        let now = clock.now();
        for answer in left {
            let thread_id = answer.sent.thread_id.clone();
            by_thread.entry(thread_id).or_default().push(Kept::of(answer, now));
        }
        Self { journal, clock, by_thread: Arc::new(Mutex::new(by_thread)) }
    }

    /// The newest of an owner's thread, from its start. Once it was read, call [`Self::store`].
    pub async fn newest(&self, owner: &str, thread_id: &str) -> Option<AnswerReader> {
        let by_thread = self.by_thread.lock().await;
        let newest = by_thread.get(thread_id)?.last().filter(|kept| kept.owner == owner)?;
        Some(newest.reader())
    }

    /// The one that a key was answered with, the digest of its body, and its thread.
    pub(super) async fn of_key(
        &self,
        key: &sendcat_state::key::IdempotencyKey,
    ) -> Option<(String, AnswerReader, String)> {
        let by_thread = self.by_thread.lock().await;
        by_thread.iter().find_map(|(thread_id, answers)| {
            answers.iter().find_map(|kept| {
                let asked = kept.asked.as_ref().filter(|asked| asked.key == *key)?;
                Some((asked.digest.clone(), kept.reader(), thread_id.clone()))
            })
        })
    }

    /// Whether this answer of a thread is here.
    pub(super) async fn has(&self, thread_id: &str, id: TimedId) -> bool {
        let by_thread = self.by_thread.lock().await;
        by_thread.get(thread_id).is_some_and(|answers| answers.iter().any(|kept| kept.id == id))
    }

    /// Stores the answers of a thread as cut, oldest first.
    pub async fn store(&self, thread_id: &str) {
        let mut by_thread = self.by_thread.lock().await;
        let Some(answers) = by_thread.get_mut(thread_id) else { return };
        while let Some(kept) = answers.first().cloned() {
            let (now, thread) = (self.clock.now(), thread_id.to_owned());
            let stored = self.journal.transact(move |records| {
                kept.writes(records, now, &thread).map(|writes| ((), writes))
            });
            let why = match stored.await {
                Ok(Ok(())) => {
                    answers.remove(0);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::error!(thread_id, why, "an answer cut by a restart was not stored");
            return;
        }
        by_thread.remove(thread_id);
    }

    /// Stores all that are left, once their time has passed.
    pub async fn store_in_time(self) {
        tokio::time::sleep(WAITS).await;
        let threads: Vec<_> = self.by_thread.lock().await.keys().cloned().collect();
        for thread_id in threads {
            self.store(&thread_id).await;
        }
    }
}

impl Kept {
    fn of(answer: CutAnswer, now: Timestamp) -> Self {
        let CutAnswer { id, sent: SentParts { owner, asked, parts, .. } } = answer;
        let rebuilt = Rebuilt::read(parts.iter().map(String::as_str));
        let message_id = rebuilt.message_id().map(str::to_owned);
        let mut closing = Vec::new();
        let seen = rebuilt.close(WHY, &mut closing);
        let message = message_id.map(|message_id| {
            message_of(Answer { message_id, parts: seen, finished: None, usage: None }, now)
        });
        let closing = closing.iter().map(|part| part.to_sse().into());
        let sent = parts.into_iter().map(Arc::from);
        let stream = sent.chain(closing).chain([DONE.into()]).collect();
        Self { id, owner, asked, stream, message }
    }

    fn reader(&self) -> AnswerReader {
        AnswerReader::replay(self.stream.iter().cloned())
    }

    fn writes(
        &self,
        records: &dyn Records,
        now: Timestamp,
        thread_id: &str,
    ) -> Result<Vec<RecordWrite>, ReadError> {
        let mut writes = saved_answers::forget(records, self.id)?;
        if let Some(message) = &self.message {
            match threads::append_answer(records, now, &self.owner, thread_id, message) {
                Ok(((), stored)) => writes.extend(stored),
                Err(ThreadRefusal::Unreadable(error)) => return Err(error),
                // The thread is gone, and its answers with it.
                Err(_) => {}
            }
        }
        if let Some(asked) = &self.asked {
            let kept = kept_stream(asked, &self.stream, now);
            writes.extend(saved_answers::keep_stream(records, now, &asked.key, &kept)?);
        }
        Ok(writes)
    }
}

/// The stream that a key was answered with, as it is kept.
pub(super) fn kept_stream(asked: &KeyedBody, stream: &[Arc<str>], now: Timestamp) -> KeptStream {
    let until = now.after(fixed::CHAT_KEY_TTL);
    KeptStream { digest: asked.digest.clone(), stream: stream.concat(), until }
}

/// An answer as its thread keeps it.
pub(super) fn message_of(answer: Answer, now: Timestamp) -> Message {
    let text = answer.parts.iter().filter_map(|part| match part {
        MessagePart::Text(text) => Some(text.as_str()),
        MessagePart::StepStart | MessagePart::Reasoning(_) | MessagePart::Tool(_) => None,
    });
    let parts = answer.parts.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    Message {
        text: text.collect::<Vec<_>>().concat(),
        parts: parts.unwrap_or_default(),
        id: answer.message_id,
        role: Role::Assistant,
        created_at: now,
        ending: match answer.finished {
            Some(_) => Ending::Complete,
            None => Ending::Cut,
        },
        metadata: answer
            .usage
            .and_then(|usage| serde_json::to_value(MessageMetadata { usage }).ok()),
        code: None,
    }
}
