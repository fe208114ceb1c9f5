//! `POST /api/chat` begins an answer and streams it, `GET …/{chatId}/stream` takes one up, and
//! `POST …/{chatId}/stop` ends one.

use actix_web::HttpResponse;

use super::dispatch::Call;
use super::respond::{self, Refusal};
use super::sse;
use crate::chat::engine::{Ask, Begun, ChatRefusal, OnDisconnect, OnKnown};
use crate::chat::resume::Resumed;
use crate::contract::body::Issue;
use crate::contract::chat::{ChatRequest, StopRequest, ThreadId};
use crate::contract::code::ErrorCode;
use crate::contract::headers::{self, PolicyName, Quota};
use sendcat_state::key::{IdempotencyKey, ProviderId};
use sendcat_state::saved_answers::KeyedBody;
use sha2::{Digest as _, Sha256};

/// Begins an answer. The 200 goes out with its first content.
pub(super) async fn post(call: Call) -> Result<HttpResponse, Refusal> {
    let request = ChatRequest::read(&call.body)?;
    let on_disconnect = match call.field(headers::ON_DISCONNECT) {
        Some(headers::ON_DISCONNECT_FINISH) => OnDisconnect::Finish,
        Some(_) | None => OnDisconnect::Cancel,
    };
    let owner = call.caller()?.owner();
    let keys: Vec<_> = call.fields(headers::IDEMPOTENCY_KEY).collect();
    let key = match keys.as_slice() {
        [] => None,
        [Some(key)] => Some(keyed(&owner, key, &call.body)?),
        _ => return Err(wrong_key()),
    };
    let (on_known, trace) = (OnKnown::Replace, call.trace.clone());
    let ask = Ask { owner, request, on_disconnect, on_known, trace, key };
    let begun = call.worker.engine.begin(ask).await;
    let Begun { reader, replayed } = begun.map_err(|refusal| refused(&call, refusal))?;
    let mut response = sse::answer(reader, || {});
    if replayed {
        let replayed = (headers::IDEMPOTENT_REPLAY, headers::REPLAYED.to_owned());
        respond::add_fields(&mut response, [replayed]);
    }
    Ok(response)
}

/// The longest key that is taken.
const KEY_CHARS_MAX: usize = 255;

/// The key of a request and its body: a key is good for one body only.
fn keyed(owner: &str, key: &str, body: &[u8]) -> Result<KeyedBody, Refusal> {
    let printable = key.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if !printable || !(1..=KEY_CHARS_MAX).contains(&key.len()) {
        return Err(wrong_key());
    }
    let digest = hex::encode(Sha256::digest(body));
    Ok(KeyedBody { key: IdempotencyKey::chat(owner, key), digest })
}

fn wrong_key() -> Refusal {
    let expected = "1 to 255 printable characters without blanks, once";
    let sentence = format!("The header {} must be {expected}.", headers::IDEMPOTENCY_KEY);
    let issue = Issue::new(headers::IDEMPOTENCY_KEY, expected);
    Refusal::from(ErrorCode::InvalidRequest).saying(sentence).with_issues(vec![issue])
}

/// Takes up the answer that runs in a thread, from its start; 204 if none does.
pub(super) async fn stream(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    // A name that no thread can have has no answer either.
    let Ok(thread_id) = call.path("chatId").parse::<ThreadId>() else {
        return Ok(respond::no_content());
    };
    let engine = call.worker.engine.clone();
    let resumed = engine.resume(&owner, thread_id.as_str()).await;
    let resumed = resumed.map_err(|refusal| refused(&call, refusal))?;
    let Some(Resumed { reader, is_cut }) = resumed else { return Ok(respond::no_content()) };
    Ok(sse::answer(reader, move || {
        if is_cut {
            engine.was_read(thread_id.as_str());
        }
    }))
}

/// Ends an answer: the newest of a thread, or the one that the body names.
pub(super) async fn stop(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let thread_id = call.path("chatId").parse::<ThreadId>();
    let thread_id = thread_id.map_err(|_| Refusal::from(ErrorCode::NotFound))?;
    let stream_id = StopRequest::read(&call.body)?.stream_id;
    let engine = &call.worker.engine;
    let stopped = engine.stop(&owner, thread_id.as_str(), stream_id.as_deref()).await;
    stopped.map_err(|refusal| refused(&call, refusal))?;
    Ok(respond::no_content())
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
        let calls = call.shared().config().bulkhead(provider).capacity as u64;
        let name = PolicyName::new(provider.as_str()).expect("a provider's name is a policy's");
        refused = refused.hitting(Quota::Concurrent { name, calls });
    }
    refused
}
