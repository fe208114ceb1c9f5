//! What an element of a WhatsApp delivery leads to (INTERFACE.md §4).
//!
//! A text of a linked number is answered, a text that is a live code links its sender, and whoever
//! is not linked is told once a day how that is done. Files of linked senders are fetched; of
//! others they are not, for anybody may send anything. All else is kept as it came.

use sendcat_state::job::ClaimedJob;
use sendcat_state::whatsapp as state;
use serde_json::{Value, json};

use super::whatsapp_replies;
use super::work::{Done, Failure, Handlers};
use crate::config::fixed;
use crate::contract::function::{self, Args, FunctionError, INVALID_ARGS};
use crate::contract::whatsapp::{Element, Message, Status};
use crate::upstream::classify::{self, Repeat};
use crate::upstream::error::UpstreamError;
use crate::upstream::whatsapp::{Media, MediaError, fetch};

/// What works elements off is called so in errors.
pub(super) const FUNCTION: &str = "whatsapp.processWebhook";

/// What fetches files is called so in errors.
const FETCH: &str = "whatsapp.fetchMedia";

/// Types of messages whose member of the same name is a file.
const FILES: [&str; 5] = ["image", "audio", "video", "document", "sticker"];

impl Args for Element {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let object = |raw: &Value| {
            if raw.is_object() { Ok(()) } else { Err(("raw", "the element as it came")) }
        };
        match self {
            Self::Message(message) if message.id.is_empty() => Err(("id", "a message's id")),
            Self::Status(status) if status.id.is_empty() => Err(("id", "a message's id")),
            Self::Status(status) if status.status.is_empty() => Err(("status", "a status")),
            Self::Message(message) => object(&message.raw),
            Self::Status(status) => object(&status.raw),
            Self::Change(change) => object(&change.raw),
            Self::Odd(_) => Ok(()),
        }
    }
}

/// Works off one element.
pub(super) async fn run(
    handlers: &Handlers,
    job: &ClaimedJob,
    body: &[u8],
) -> Result<Done, Failure> {
    match function::args::<Element>(FUNCTION, body)? {
        // An operator may look at it; it will never be read.
        Element::Odd(odd) => Err(FunctionError::new(INVALID_ARGS, FUNCTION, odd.why).into()),
        Element::Change(_) => Ok(Done::kept()),
        Element::Status(status) => advance(handlers, status).await,
        Element::Message(message) => match message.text() {
            Some(text) => whatsapp_replies::run(handlers, job, &message, text).await,
            None => file(handlers, &message).await,
        },
    }
}

/// Who a message is from.
pub(super) fn sender_of(message: &Message) -> state::Sender {
    let sender = message.sender.clone();
    state::Sender { number: sender.number, user_id: sender.user_id }
}

/// Notes how far one of our messages got, unless it had got farther.
async fn advance(handlers: &Handlers, status: Status) -> Result<Done, Failure> {
    let now = handlers.parts.clock.now();
    let Status { id, status, .. } = status;
    let moved = handlers
        .transact(FUNCTION, move |records| state::advance(records, now, &id, &status))
        .await?;
    Ok(Done::with(json!({"moved": moved})))
}

/// Fetches the file of a message, if there is one and its sender is linked.
async fn file(handlers: &Handlers, message: &Message) -> Result<Done, Failure> {
    let id = FILES.contains(&message.kind.as_str()).then(|| &message.raw[&message.kind]["id"]);
    let Some(id) = id.and_then(Value::as_str).filter(|id| !id.is_empty()) else {
        return Ok(Done::kept());
    };
    let sender = sender_of(message);
    let link = handlers.read(FETCH, move |records| state::link_of(records, &sender)).await?;
    let Some(link) = link else { return Ok(Done::kept()) };
    let settings = &handlers.parts.whatsapp;
    let Some(upstream) =
        handlers.parts.upstream.as_ref().filter(|_| settings.access_token.is_some())
    else {
        let why = "WHATSAPP_ACCESS_TOKEN is not set, and files cannot be had without";
        return Err(FunctionError::new("misconfigured", FETCH, why).into());
    };
    let most = fixed::WHATSAPP_MEDIA_BYTES_MAX;
    let how = (FETCH, handlers.parts.whatsapp_deadline);
    let of = (id, message.phone_number_id.as_deref());
    match fetch(upstream, settings, of, most, how).await {
        Ok(Media { mime_type, bytes }) => {
            let size = bytes.len();
            let kept = handlers.parts.media.keep(bytes).await.map_err(|error| {
                let why = format!("the file could not be kept: {error}");
                Failure::Again(FunctionError::new("storage_unavailable", FETCH, why), None)
            })?;
            let owner = link.owner;
            Ok(Done::with(json!({
                "owner": owner,
                "media": {"sha256": kept, "bytes": size, "mimeType": mime_type},
            })))
        }
        // It is as large as its sender made it; the message is kept without it.
        Err(MediaError::TooLarge(_)) => Ok(Done::with(json!({"media": "too_large"}))),
        Err(error) => Err(not_fetched(error)),
    }
}

fn not_fetched(error: MediaError) -> Failure {
    let of = |code, error: &MediaError| FunctionError::new(code, FETCH, error.to_string());
    match &error {
        MediaError::Upstream(why) => {
            let failed = of(why.code_name(), &error);
            match classify::repeat(why) {
                // To ask for a file again does nothing twice.
                _ if may_wait(why) => Failure::Again(failed, why.retry_after()),
                Repeat::After(wait) => Failure::Again(failed, Some(wait)),
                Repeat::Yes => Failure::Again(failed, None),
                Repeat::No => Failure::Never(failed),
            }
        }
        MediaError::Altered => Failure::Again(of("upstream_error", &error), None),
        MediaError::Elsewhere => Failure::Never(of("forbidden", &error)),
        MediaError::TooLarge(_) => Failure::Never(of("payload_too_large", &error)),
    }
}

/// Failures that a call that only reads may be made again after.
fn may_wait(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::TimedOut { .. }
            | UpstreamError::CircuitOpen { .. }
            | UpstreamError::Saturated { .. }
            | UpstreamError::Cut { .. }
    )
}
