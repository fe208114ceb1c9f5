//! Begins answers: checks that one may begin, stores what was asked, and starts the task that
//! drives it.
//!
//! The order of the checks is INTERFACE.md §3: ownership, configuration, bulkhead, circuit. Nothing
//! is stored before they passed, and the provider is not called before the question is on disk.
//!
//! # Always
//! - The caller waits for the first content, or for the failure that takes its place; after that
//!   every failure is a part of the stream.
//! - A caller that goes away while it waits ends the turn, as one that leaves later does.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::bulkhead::Slot;
use sendcat_actors::chance;
use sendcat_actors::clock::SharedClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::journal::Journal;
use sendcat_actors::stream_log::{AnswerReader, AnswerWriter, Answers, OpenError};
use sendcat_state::key::{ProviderId, TimedId};
use sendcat_state::saved_answers::KeyedBody;
use sendcat_state::threads::{
    self, BeginTurn, Ending, Message, Role, ThreadLimits, ThreadRefusal, Trigger,
};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::cut::CutAnswers;
use super::driver::{Asked, Driver};
use super::once::{Asking, Once};
use super::tools::{self, Desk};
use super::turn::{Failure, Opening};
use crate::config::{ChatRules, Openrouter, fixed};
use crate::contract::body::{BodyError, Issue};
use crate::contract::chat as wire;
use crate::contract::code::ErrorCode;
use crate::contract::trace::Trace;
use crate::upstream::call::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::openrouter::{Message as ModelMessage, Tool};
use crate::upstream::retry::RetryBudget;

/// What the model is told before everything else.
const SYSTEM: &str = "You are a helpful assistant. Answer in the language you are asked in, \
     briefly and to the point. Use the tools you have when the answer depends on them.";

/// What happens to an answer when its last reader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It ends, and the provider is told by a closed connection.
    Cancel,
    /// It runs on, so that another reader can take it up.
    Finish,
}

/// What becomes of a message that a thread has already when it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnKnown {
    /// It is asked anew, and what follows it goes: a person has changed or repeated a question.
    Replace,
    /// It stays, and so does what follows it: a channel has delivered it again.
    Keep,
}

/// A request for an answer, its body read and its caller known.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub owner: String,
    /// What the body says.
    pub request: wire::ChatRequest,
    /// What happens when the reader goes.
    pub on_disconnect: OnDisconnect,
    /// What happens if its message is known.
    pub on_known: OnKnown,
    /// The trace that the request belongs to.
    pub trace: Trace,
    /// The key that it is to be answered once under, if it has one.
    pub key: Option<KeyedBody>,
}

/// An answer that has begun.
pub struct Begun {
    /// Reads it from its start.
    pub reader: AnswerReader,
    /// Another request with the same key has asked for it.
    pub replayed: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRefusal {
    /// The wire code.
    pub code: ErrorCode,
    /// One sentence for the person, where there is a better one than the code's own.
    pub sentence: Option<String>,
    /// When to ask again, where that is known.
    pub retry_after: Option<Duration>,
    /// What is wrong with the body, where that is it.
    pub issues: Vec<Issue>,
}

impl From<ErrorCode> for ChatRefusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, sentence: None, retry_after: None, issues: Vec::new() }
    }
}

impl From<&UpstreamError> for ChatRefusal {
    fn from(error: &UpstreamError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for ChatRefusal {
    fn from(failure: Failure) -> Self {
        let code = ErrorCode::from_name(failure.code).unwrap_or(ErrorCode::InternalError);
        let (sentence, retry_after) = (Some(failure.sentence), failure.retry_after);
        Self { code, sentence, retry_after, issues: Vec::new() }
    }
}

impl From<ThreadRefusal> for ChatRefusal {
    fn from(refusal: ThreadRefusal) -> Self {
        match refusal {
            ThreadRefusal::Forbidden => ErrorCode::Forbidden.into(),
            ThreadRefusal::NotFound(_) => ErrorCode::NotFound.into(),
            ThreadRefusal::Taken => ErrorCode::Conflict.into(),
            ThreadRefusal::Full(what) => Self {
                sentence: Some(format!("There is no room for more {what}; delete some first.")),
                ..ErrorCode::Conflict.into()
            },
            ThreadRefusal::NothingToAnswer => {
                let shape = BodyError::shape("messages", "a user message at the end");
                let issues = shape.issues().to_vec();
                Self { sentence: Some(shape.sentence()), issues, ..shape.code().into() }
            }
            ThreadRefusal::Unreadable(error) => {
                tracing::error!(%error, "a thread could not be read");
                ErrorCode::StorageUnavailable.into()
            }
        }
    }
}

impl From<AskError> for ChatRefusal {
    fn from(error: AskError) -> Self {
        sendcat_actors::failure::failed(sendcat_actors::failure::Concern::Threads, error);
        ErrorCode::StorageUnavailable.into()
    }
}

/// What every answer needs.
pub struct Parts {
    /// Running answers.
    pub answers: Answers,
    /// Where tools are called.
    pub tools: Arc<Desk>,
    /// Threads and messages.
    pub journal: Journal,
    /// The time.
    pub clock: SharedClock,
    /// Clocks and bounds of an answer.
    pub rules: ChatRules,
    /// The model provider.
    pub openrouter: Openrouter,
    /// How often its calls may be made again.
    pub retries: RetryBudget,
    /// Requests with a key that are being answered.
    pub once: Once,
    /// Answers that the process before did not end.
    pub cut: CutAnswers,
    /// Cancelled when the process has no more time for answers.
    pub stop: CancellationToken,
}

/// Begins answers on one thread. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) parts: Arc<Parts>,
    pub(super) upstream: Upstream,
    pub(super) tools: Arc<[Tool]>,
}

/// The provider of every answer.
pub(super) const PROVIDER: ProviderId = ProviderId::OpenrouterChat;

impl Engine {
    /// An engine whose calls go that way.
    pub fn new(parts: Arc<Parts>, upstream: Upstream) -> Self {
        Self { parts, upstream, tools: tools::offered().into() }
    }

    /// Begins an answer and waits for its first content. A request with a key that another one has
    /// had gets that one's answer.
    ///
    /// # Errors
    /// [`ChatRefusal`] if none could begin, or the provider failed before any content.
    pub async fn begin(&self, ask: Ask) -> Result<Begun, ChatRefusal> {
        match ask.key.clone() {
            Some(asked) => self.begin_once(ask, asked).await,
            None => {
                let reader = self.begin_now(ask, None).await?;
                Ok(Begun { reader, replayed: false })
            }
        }
    }

    /// Begins an answer, whatever was asked before.
    pub(super) async fn begin_now(
        &self,
        ask: Ask,
        asking: Option<Asking>,
    ) -> Result<AnswerReader, ChatRefusal> {
        // What does not depend on each other is asked at once, and judged in the order of the
        // checks: a wake-up of another thread costs more than the work it wakes for.
        let thread_id = ask.request.thread_id.clone();
        let slot = self.upstream.slot(PROVIDER, thread_id.as_str());
        let (owned, slot) = tokio::join!(self.check_owner(&ask), slot);
        owned?;
        if self.parts.openrouter.api_key.is_none() {
            return Err((&UpstreamError::NoKey { provider: PROVIDER }).into());
        }
        let slot = slot.map_err(|error| ChatRefusal::from(&error))?;
        self.check_circuit()?;
        // What the process before had answered belongs above what is asked now.
        self.parts.cut.store(thread_id.as_str()).await;
        // One moment for both: an answer never begins before its thread was founded.
        let now = self.parts.clock.now();
        let opening = self.open(thread_id.as_str(), now);
        let (history, writer) = tokio::join!(self.store_question(&ask, now), opening);
        let (history, writer) = (history?, writer?);
        self.start((ask, asking), history, writer, slot).await
    }

    /// Opens the log of a new answer.
    async fn open(&self, thread_id: &str, now: Timestamp) -> Result<AnswerWriter, ChatRefusal> {
        let id = chance::id(now);
        let opened = self.parts.answers.open(thread_id, id, fixed::STREAM_LOG_BYTES_MAX).await;
        opened.map_err(|error| match error {
            OpenError::TooMany => ErrorCode::Overloaded.into(),
            OpenError::Unavailable(error) => ChatRefusal::from(error),
        })
    }

    async fn check_owner(&self, ask: &Ask) -> Result<(), ChatRefusal> {
        let thread_id = ask.request.thread_id.as_str().to_owned();
        let read = self.parts.journal.read(move |records| threads::owner_of(records, &thread_id));
        match read.await {
            Ok(Some(owner)) if owner != ask.owner => Err(ErrorCode::Forbidden.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(ThreadRefusal::Unreadable(error).into()),
        }
    }

    fn check_circuit(&self) -> Result<(), ChatRefusal> {
        let now = self.parts.clock.now();
        self.upstream.circuits().check(PROVIDER, now).map_err(|open| {
            let retry_after = open.retry_after;
            ChatRefusal::from(&UpstreamError::CircuitOpen { provider: PROVIDER, retry_after })
        })
    }

    /// Puts the question on disk; the answer is the conversation as the model is to see it.
    async fn store_question(&self, ask: &Ask, now: Timestamp) -> Result<Vec<Message>, ChatRefusal> {
        let request = &ask.request;
        let message = |message: &wire::ChatMessage| Message {
            id: message.id.clone().unwrap_or_else(|| new_id("msg", self)),
            role: match message.role {
                wire::Role::User => Role::User,
                wire::Role::Assistant => Role::Assistant,
            },
            text: message.text.clone(),
            parts: Vec::new(),
            created_at: now,
            ending: Ending::Complete,
            metadata: None,
            code: None,
        };
        let trigger = match request.trigger {
            wire::Trigger::Submit if ask.on_known == OnKnown::Keep => Trigger::Deliver,
            wire::Trigger::Submit => Trigger::Submit { replaces: request.message_id.clone() },
            wire::Trigger::Regenerate => Trigger::Regenerate { answer: request.message_id.clone() },
        };
        let turn = BeginTurn {
            owner: ask.owner.clone(),
            thread_id: request.thread_id.as_str().to_owned(),
            trigger,
            messages: request.messages.iter().map(message).collect(),
            limits: ThreadLimits {
                threads: fixed::THREADS_PER_OWNER_MAX as u64,
                messages: fixed::MESSAGES_PER_THREAD_MAX as u64,
            },
        };
        let stored = self
            .parts
            .journal
            .transact(move |records| threads::begin_turn(records, now, &turn))
            .await?;
        Ok(stored?)
    }

    async fn start(
        &self,
        (ask, asking): (Ask, Option<Asking>),
        history: Vec<Message>,
        writer: AnswerWriter,
        slot: Slot,
    ) -> Result<AnswerReader, ChatRefusal> {
        let (id, thread_id) = (writer.id(), ask.request.thread_id.as_str());
        let reader = writer.reader();
        let opening = Opening {
            message_id: format!("msg_{id}"),
            messages: for_model(history),
            tools: self.tools.iter().map(|tool| tool.name.clone()).collect(),
            max_steps: self.parts.rules.max_steps,
        };
        let (started, begun) = oneshot::channel();
        let asked = Asked {
            owner: ask.owner,
            thread_id: thread_id.to_owned(),
            on_disconnect: ask.on_disconnect,
            trace: ask.trace,
            asking,
        };
        let driver = Driver::new(self.clone(), asked, opening, writer, started);
        tokio::spawn(driver.run(slot).in_current_span());
        match begun.await {
            Ok(Ok(())) => Ok(reader),
            Ok(Err(failure)) => Err(failure.into()),
            // The task panicked before any content.
            Err(_) => Err(ErrorCode::InternalError.into()),
        }
    }
}

/// The conversation as the model is to see it.
fn for_model(history: Vec<Message>) -> Vec<ModelMessage> {
    let said = history.into_iter().map(|message| match message.role {
        Role::User => ModelMessage::User(message.text),
        Role::Assistant => ModelMessage::Assistant(message.text),
    });
    std::iter::once(ModelMessage::System(SYSTEM.to_owned())).chain(said).collect()
}

fn new_id(kind: &str, engine: &Engine) -> String {
    let random = chance::number();
    format!("{kind}_{}", TimedId::new(engine.parts.clock.now(), random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_refuses_has_its_code() {
        let code = |refusal: ThreadRefusal| ChatRefusal::from(refusal).code;
        assert_eq!(code(ThreadRefusal::Forbidden), ErrorCode::Forbidden);
        assert_eq!(code(ThreadRefusal::NotFound("message")), ErrorCode::NotFound);
        assert_eq!(code(ThreadRefusal::Full("threads")), ErrorCode::Conflict);
        assert_eq!(code(ThreadRefusal::NothingToAnswer), ErrorCode::InvalidRequest);
        let full = ChatRefusal::from(ThreadRefusal::Full("messages"));
        let told = "There is no room for more messages; delete some first.";
        assert_eq!(full.sentence.as_deref(), Some(told));
    }
}
