//! `POST /api/chat`: begins an answer and streams it.

use actix_web::HttpResponse;

use super::dispatch::Call;
use super::respond::Refusal;
use super::sse;
use crate::chat::engine::{Ask, ChatRefusal, OnDisconnect};
use crate::contract::chat::ChatRequest;
use crate::contract::code::ErrorCode;
use crate::contract::headers::{self, PolicyName, Quota};
use sendcat_state::key::ProviderId;

/// Begins an answer. The 200 goes out with its first content.
pub(super) async fn post(call: Call) -> Result<HttpResponse, Refusal> {
    let request = ChatRequest::read(&call.body)?;
    let on_disconnect = match call.field(headers::ON_DISCONNECT) {
        Some(headers::ON_DISCONNECT_FINISH) => OnDisconnect::Finish,
        Some(_) | None => OnDisconnect::Cancel,
    };
    let ask = Ask { owner: call.caller()?.owner(), request, on_disconnect };
    let begun = call.worker.engine.begin(ask).await;
    let reader = begun.map_err(|refusal| refused(&call, refusal))?;
    Ok(sse::answer(reader))
}

fn refused(call: &Call, refusal: ChatRefusal) -> Refusal {
    let ChatRefusal { code, sentence, retry_after, issues } = refusal;
    let mut refused = Refusal::from(code).with_issues(issues);
    if let Some(wait) = retry_after {
        refused = refused.retry_after(wait);
    }
    // A code's own sentence has a place for the wait; others are told it at their end, for AI SDK
    // clients show the body and keep no header.
    if let Some(sentence) = sentence.filter(|sentence| sentence != code.sentence()) {
        let unsaid = code.default_retry_after().filter(|_| retry_after.is_none());
        let wait = unsaid.map(headers::retry_after_seconds);
        let wait = wait.map_or(String::new(), |seconds| format!(" Try again in {seconds} s."));
        refused = refused.saying(sentence + &wait);
    }
    if code == ErrorCode::Overloaded {
        let provider = ProviderId::OpenrouterChat;
        let calls = call.shared().config.bulkhead(provider).capacity as u64;
        let name = PolicyName::new(provider.as_str()).expect("a provider's name is a policy's");
        refused = refused.hitting(Quota::Concurrent { name, calls });
    }
    refused
}
