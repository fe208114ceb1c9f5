//! `GET /api/threads/{id}/messages`: what was said in a thread, a page at a time.

use actix_web::HttpResponse;
use sendcat_state::threads::{self, Ending, Message, MessagePage, Role, ThreadRefusal};

use super::dispatch::Call;
use super::respond::{self, Refusal};
use crate::config::fixed;
use crate::contract::body::Issue;
use crate::contract::chat as wire;
use crate::contract::code::ErrorCode;
use crate::contract::rfc3339;

/// A page of a thread's messages, oldest first.
pub(super) async fn messages(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let thread_id: wire::ThreadId =
        call.path("id").parse().map_err(|_| Refusal::from(ErrorCode::NotFound))?;
    let limit = limit_of(&call, fixed::PAGE_DEFAULT, fixed::PAGE_MAX)?;
    let after = match call.query("cursor") {
        None => None,
        Some(cursor) => Some(
            cursor
                .parse::<u64>()
                .map_err(|_| wrong("cursor", "the nextCursor of the page before"))?,
        ),
    };
    let page = call.shared().tree.journal.read(move |records| {
        Ok(threads::message_page(records, &owner, thread_id.as_str(), after, limit))
    });
    let read = page.await.map_err(ThreadRefusal::Unreadable).and_then(|page| page);
    let MessagePage { items, next } = read.map_err(refused)?;
    let items = items.into_iter().map(on_the_wire).collect();
    let next_cursor = next.map(|next| next.to_string());
    Ok(respond::json(&wire::Page::<wire::StoredMessage> { items, next_cursor }))
}

/// How many rows a caller wants.
pub(super) fn limit_of(call: &Call, unless_asked: usize, most: usize) -> Result<usize, Refusal> {
    let Some(limit) = call.query("limit") else { return Ok(unless_asked) };
    let expected = format!("a number from 1 to {most}");
    let limit = limit.parse::<usize>().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| wrong("limit", expected))
}

/// A refusal of one parameter of the query.
pub(super) fn wrong(parameter: &str, expected: impl Into<String>) -> Refusal {
    let expected = expected.into();
    let sentence = format!("The parameter {parameter} must be {expected}.");
    let issue = Issue::new(parameter, expected);
    Refusal::from(ErrorCode::InvalidRequest).saying(sentence).with_issues(vec![issue])
}

fn on_the_wire(message: Message) -> wire::StoredMessage {
    let text = serde_json::json!({"type": "text", "text": message.text});
    wire::StoredMessage {
        id: message.id,
        role: match message.role {
            Role::User => wire::Role::User,
            Role::Assistant => wire::Role::Assistant,
        },
        parts: if message.parts.is_empty() { vec![text] } else { message.parts },
        created_at: rfc3339(message.created_at.as_millis()),
        status: match message.ending {
            Ending::Complete => wire::Ending::Complete,
            Ending::Cut => wire::Ending::Cut,
        },
        code: None,
    }
}

fn refused(refusal: ThreadRefusal) -> Refusal {
    match refusal {
        ThreadRefusal::Forbidden => ErrorCode::Forbidden.into(),
        ThreadRefusal::NotFound(_) => ErrorCode::NotFound.into(),
        ThreadRefusal::Full(_) => ErrorCode::Conflict.into(),
        ThreadRefusal::NothingToAnswer => ErrorCode::InvalidRequest.into(),
        ThreadRefusal::Unreadable(error) => {
            tracing::error!(%error, "a thread could not be read");
            ErrorCode::StorageUnavailable.into()
        }
    }
}
