//! What is written back to whoever sends a text: an answer, that a number is linked, or how to
//! link one.
//!
//! A send has no key by which WhatsApp would know it again. So it is on disk that a message is
//! about to leave before it does, and one of which nobody knows whether it has left is never sent
//! again: an answer becomes a dead letter, which an operator may redeliver, and a notice is let go.

use sendcat_state::job::ClaimedJob;
use sendcat_state::whatsapp::{self as state, Link, Reply};
use serde_json::json;

use super::answers::{Answered, Question};
use super::whatsapp_work::{FUNCTION, sender_of};
use super::work::{Done, Failure, Handlers};
use crate::config::fixed;
use crate::contract::code::ErrorCode;
use crate::contract::function::FunctionError;
use crate::contract::whatsapp::{LinkCode, Message};
use crate::upstream::call::Upstream;
use crate::upstream::whatsapp::{MAX_TEXT_CHARS, SendError, SendTo, send_text};

/// What sends texts is called so in errors.
const SEND: &str = "whatsapp.sendText";

/// Attempts that a notice is worth.
const NOTICE_ATTEMPTS: u32 = 3;

/// The most messages that one answer becomes.
const MAX_PARTS: usize = 8;

const LINKED: &str = "This number is linked now. Write here, and you are answered here.";
const HINT: &str = "This number is not linked to an account yet. Sign in, ask for a linking code \
     in the settings, and send the code here.";

/// Works off a text.
pub(super) async fn run(
    handlers: &Handlers,
    job: &ClaimedJob,
    message: &Message,
    text: &str,
) -> Result<Done, Failure> {
    let id = job.id;
    let mut reply = handlers.read(FUNCTION, move |records| state::reply(records, id)).await?;
    if reply.parts.is_empty() {
        match compose(handlers, job, message, text, &reply).await? {
            Some(composed) => reply = composed,
            None => return Ok(Done::kept()),
        }
        keep(handlers, job, &reply).await?;
    }
    send_all(handlers, job, message, reply).await
}

/// What is to be written back, if anything.
async fn compose(
    handlers: &Handlers,
    job: &ClaimedJob,
    message: &Message,
    text: &str,
    reply: &Reply,
) -> Result<Option<Reply>, Failure> {
    let now = handlers.parts.clock.now();
    let notice = |text: &str| Reply { parts: vec![text.into()], notice: true, ..Reply::default() };
    if let Some(code) = LinkCode::within(text) {
        let (sender, digest) = (sender_of(message), code.digest());
        let link = handlers
            .transact("whatsapp.linkNumber", move |records| {
                state::link(records, now, &digest, &sender)
            })
            .await?;
        if link.is_some() {
            return Ok(can_send(handlers).then(|| notice(LINKED)));
        }
    }
    let sender = sender_of(message);
    let link = handlers.read(FUNCTION, move |records| state::link_of(records, &sender)).await?;
    if let Some(link) = link {
        return answer(handlers, job, message, text, (link, reply)).await.map(Some);
    }
    if !can_send(handlers) {
        return Ok(None);
    }
    let (sender, once) = (sender_of(message), (job.id, fixed::LINK_HINT_EVERY));
    let told = handlers
        .transact(FUNCTION, move |records| state::claim_hint(records, now, &sender, once))
        .await?;
    Ok(told.then(|| notice(HINT)))
}

fn can_send(handlers: &Handlers) -> bool {
    handlers.parts.upstream.is_some() && handlers.parts.whatsapp.access_token.is_some()
}

/// The answer of a turn in the sender's thread, in messages.
async fn answer(
    handlers: &Handlers,
    job: &ClaimedJob,
    message: &Message,
    text: &str,
    (link, reply): (Link, &Reply),
) -> Result<Reply, Failure> {
    const ANSWER: &str = "whatsapp.answer";
    let failed = |code: ErrorCode, why: &str| FunctionError::new(code.name(), ANSWER, why);
    let Some(answerer) = handlers.parts.answering.somebody().await else {
        let why = "nobody answers in this process";
        return Err(Failure::Again(failed(ErrorCode::InternalError, why), None));
    };
    let question = Question {
        owner: link.owner,
        thread_id: link.thread_id,
        message_id: message.id.clone(),
        text: text.to_owned(),
        attempt: reply.cut,
    };
    match answerer.answer(question).await {
        Answered::Whole(text) if text.trim().is_empty() => {
            Err(failed(ErrorCode::UpstreamError, "the answer has no text").into())
        }
        Answered::Whole(text) => Ok(Reply { parts: in_messages(&text), ..reply.clone() }),
        Answered::Cut => {
            keep(handlers, job, &Reply { cut: reply.cut + 1, ..reply.clone() }).await?;
            let why = "the answer ended in the middle";
            Err(Failure::Again(failed(ErrorCode::UpstreamCut, why), None))
        }
        Answered::Refused { code, retry_after } => {
            let error = failed(code, "there is no answer");
            Err(match may_ask_again(code) {
                true => Failure::Again(error, retry_after),
                false => Failure::Never(error),
            })
        }
    }
}

/// Whether a turn may be asked for again: what was sent to the model and timed out may have been
/// billed, and what it refuses it will refuse again.
fn may_ask_again(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Overloaded
            | ErrorCode::UpstreamUnavailable
            | ErrorCode::UpstreamRateLimited
            | ErrorCode::UpstreamConnectTimeout
            | ErrorCode::UpstreamError
            | ErrorCode::Misconfigured
            | ErrorCode::RateLimited
            | ErrorCode::StorageUnavailable
            | ErrorCode::InternalError
    )
}

/// A text in messages that are not too long, cut at an end of a line or a word where there is one.
fn in_messages(text: &str) -> Vec<String> {
    let mut rest = text.trim();
    let mut messages = Vec::new();
    while !rest.is_empty() && messages.len() < MAX_PARTS {
        let most = rest.char_indices().nth(MAX_TEXT_CHARS).map_or(rest.len(), |(end, _)| end);
        let end = if most == rest.len() {
            most
        } else {
            let head = &rest[..most];
            let line = head.rfind('\n').filter(|end| *end > most / 2);
            line.or_else(|| head.rfind(' ').filter(|end| *end > most / 2)).unwrap_or(most)
        };
        messages.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    messages
}

async fn keep(handlers: &Handlers, job: &ClaimedJob, reply: &Reply) -> Result<(), Failure> {
    let write = state::keep_reply(job.id, reply);
    handlers.transact(SEND, move |_| Ok(((), vec![write]))).await
}

/// Sends what has not been sent; what came of it.
async fn send_all(
    handlers: &Handlers,
    job: &ClaimedJob,
    message: &Message,
    mut reply: Reply,
) -> Result<Done, Failure> {
    while let Some(part) = reply.parts.get(reply.sent.len()).cloned() {
        if reply.leaving {
            return let_go(
                job,
                &reply,
                "unknown",
                FunctionError::new(
                    ErrorCode::Conflict.name(),
                    SEND,
                    "an earlier attempt may have sent it, and it must not be sent twice",
                ),
            );
        }
        keep(handlers, job, &Reply { leaving: true, ..reply.clone() }).await?;
        match send(handlers, message, &part).await {
            Ok(id) => reply.sent.push(id),
            Err(SendError::NotSent(error)) => {
                keep(handlers, job, &reply).await?;
                let failed = FunctionError::new(error.code_name(), SEND, error.to_string());
                if reply.notice && job.attempt >= NOTICE_ATTEMPTS {
                    return let_go(job, &reply, "not_sent", failed);
                }
                return Err(Failure::Again(failed, error.retry_after()));
            }
            Err(SendError::Refused(error)) => {
                keep(handlers, job, &reply).await?;
                let failed = FunctionError::new(error.code_name(), SEND, error.to_string());
                return let_go(job, &reply, "refused", failed);
            }
            // It stays on disk that the message may have left.
            Err(unknown @ SendError::Unknown(_)) => {
                let code = ErrorCode::Conflict.name();
                let failed = FunctionError::new(code, SEND, unknown.to_string());
                return let_go(job, &reply, "unknown", failed);
            }
        }
        if reply.sent.len() < reply.parts.len() {
            keep(handlers, job, &reply).await?;
        }
    }
    let what = if reply.notice { "notice" } else { "reply" };
    let done = Done::with(json!({ what: reply.sent }));
    Ok(Done { writes: vec![state::forget_reply(job.id)], ..done })
}

/// The end of a reply that was not sent whole: an answer is a dead letter, a notice is done with.
fn let_go(
    job: &ClaimedJob,
    reply: &Reply,
    what: &str,
    why: FunctionError,
) -> Result<Done, Failure> {
    if !reply.notice {
        return Err(why.into());
    }
    let done = Done::with(json!({"notice": what}));
    Ok(Done { writes: vec![state::forget_reply(job.id)], ..done })
}

async fn send(handlers: &Handlers, message: &Message, text: &str) -> Result<String, SendError> {
    use crate::upstream::error::UpstreamError;
    use sendcat_state::key::ProviderId::WhatsappGraph;
    let parts = &handlers.parts;
    let no_key = || SendError::Refused(UpstreamError::NoKey { provider: WhatsappGraph });
    let upstream: &Upstream = parts.upstream.as_ref().ok_or_else(no_key)?;
    // The number that was written to answers, not another one of ours.
    let from = message.phone_number_id.as_ref().or(parts.whatsapp.phone_number_id.as_ref());
    let from = from.ok_or_else(no_key)?;
    let sender = &message.sender;
    let to = match (&sender.number, &sender.user_id) {
        (Some(number), _) => SendTo::Number(number),
        (None, Some(id)) => SendTo::UserId(id),
        (None, None) => return Err(no_key()),
    };
    let how = (SEND, parts.whatsapp_deadline);
    send_text(upstream, &parts.whatsapp, (from, to), text, how).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_cut_at_lines_and_words_into_messages_that_are_sent() {
        assert_eq!(in_messages("  short  "), ["short"]);
        let lines = format!("{}\n{}", "a".repeat(3000), "b".repeat(3000));
        assert_eq!(in_messages(&lines), ["a".repeat(3000), "b".repeat(3000)]);
        let words = "word ".repeat(2000);
        let messages = in_messages(&words);
        assert!(messages.iter().all(|message| message.chars().count() <= MAX_TEXT_CHARS));
        assert_eq!(messages.join(" "), words.trim());
        let unbroken = "ä".repeat(MAX_TEXT_CHARS + 1);
        assert_eq!(in_messages(&unbroken), ["ä".repeat(MAX_TEXT_CHARS), "ä".into()]);
        assert_eq!(in_messages(&"x".repeat(100_000)).len(), MAX_PARTS);
    }
}
