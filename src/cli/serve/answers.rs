//! Answers people who write by WhatsApp, with the engine that answers chats.

use std::sync::{Arc, OnceLock};

use sendcat_state::key::IdempotencyKey;
use sendcat_state::saved_answers::KeyedBody;

use super::wiring::Engines;
use crate::chat::engine::{Ask, ChatRefusal, Engine, OnDisconnect, OnKnown};
use crate::chat::whole::Whole;
use crate::contract::chat::{ChatMessage, ChatRequest, Role, ThreadId, Trigger};
use crate::contract::code::ErrorCode;
use crate::contract::signature::digest;
use crate::inbox::answers::{Answer, Answered, Answerer, Appoint, Question};
use crate::telemetry::traces;

/// Has those who wrote answered from here on.
pub(super) fn begin(engines: &Engines, appoint: &Appoint) {
    appoint.fill(Arc::new(ByEngine::new(engines.clone())));
}

/// See the module.
struct ByEngine {
    engines: Engines,
    /// Made by the first question, on a thread that serves them.
    engine: OnceLock<Engine>,
}

impl ByEngine {
    fn new(engines: Engines) -> Self {
        Self { engines, engine: OnceLock::new() }
    }

    fn engine(&self) -> Option<Engine> {
        if let Some(engine) = self.engine.get() {
            return Some(engine.clone());
        }
        let engine = self.engines.engine().ok()?;
        Some(self.engine.get_or_init(|| engine).clone())
    }
}

impl Answerer for ByEngine {
    fn answer(&self, question: Question) -> Answer {
        let engine = self.engine();
        Box::pin(async move {
            let (Some(engine), Some(ask)) = (engine, ask_of(question)) else {
                return Answered::Refused { code: ErrorCode::InternalError, retry_after: None };
            };
            match engine.answer_whole(ask).await {
                Ok(Whole::Finished(text)) => Answered::Whole(text),
                Ok(Whole::Cut) => Answered::Cut,
                Err(ChatRefusal { code, retry_after, .. }) => {
                    Answered::Refused { code, retry_after }
                }
            }
        })
    }
}

/// The question as a chat asks it; `None` if its thread's name is none.
fn ask_of(question: Question) -> Option<Ask> {
    let Question { owner, thread_id, message_id, text, attempt } = question;
    let thread_id = thread_id.parse::<ThreadId>().ok()?;
    let key = KeyedBody {
        key: IdempotencyKey::chat(&owner, &format!("whatsapp:{message_id}:{attempt}")),
        digest: digest(text.as_bytes()),
    };
    let message = ChatMessage { id: Some(message_id), role: Role::User, text };
    let trigger = Trigger::Submit;
    let request = ChatRequest { thread_id, trigger, message_id: None, messages: vec![message] };
    let drawn = || getrandom::u64().unwrap_or_default();
    let trace = traces::begun_here([drawn(), drawn(), drawn()]);
    Some(Ask {
        owner,
        request,
        on_disconnect: OnDisconnect::Finish,
        on_known: OnKnown::Keep,
        trace,
        key: Some(key),
    })
}
