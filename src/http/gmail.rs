//! `POST /api/gmail/push`: Pub/Sub tells that a mailbox has changed.

use actix_web::HttpResponse;

use super::dispatch::Call;
use super::respond::Refusal;
use super::whatsapp::{accepted, not_accepted};
use crate::contract::code::ErrorCode;
use crate::contract::{gmail, signature};
use crate::inbox;

/// Accepts a push whose shared token is right.
pub(super) async fn push(call: Call) -> Result<HttpResponse, Refusal> {
    let tokens = &call.shared().config.providers.google.push_tokens;
    let presented = call.query("token").unwrap_or_default();
    if !signature::token_matches(tokens, presented.as_bytes()) {
        return Err(ErrorCode::Forbidden.into());
    }
    let push = gmail::read(&call.body)?;
    let outcome = call.shared().inbox.accept(vec![inbox::gmail::event(&push)]).await;
    outcome.map(accepted).map_err(not_accepted)
}
