//! `/api/whatsapp/webhook`: Meta verifies the address, and delivers messages and statuses.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::dispatch::Call;
use super::guard::rate_limit;
use super::respond::Refusal;
use crate::contract::code::ErrorCode;
use crate::contract::{headers, signature, whatsapp};
use crate::inbox::{self, Accepted, NotAccepted};

/// Answers the challenge to whoever knows the token (WEBHOOKS.md §1.1).
pub(super) async fn verify(call: Call) -> Result<HttpResponse, Refusal> {
    let tokens = &call.shared().config().providers.whatsapp.verify_tokens;
    let query = call.request.query_string();
    let verification = whatsapp::Verification::read(query);
    let challenge = verification.and_then(|it| it.challenge(tokens).map(str::to_owned));
    let challenge = challenge.map_err(|_| Refusal::from(ErrorCode::Forbidden))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((headers::CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(challenge))
}

/// Accepts a signed delivery, each of its elements once.
pub(super) async fn post(call: Call) -> Result<HttpResponse, Refusal> {
    let secrets = &call.shared().config().providers.whatsapp.app_secrets;
    let signed = call.field(headers::HUB_SIGNATURE);
    signature::verify_meta(secrets, signed, &call.body)
        .map_err(|_| Refusal::from(ErrorCode::Forbidden))?;
    let elements = whatsapp::read(&call.body)?;
    let sender = elements.iter().find_map(|element| element.account()).unwrap_or("unnamed");
    rate_limit::by_sender(&call, "whatsapp", sender).await?;
    let events = elements.iter().map(inbox::whatsapp::event).collect();
    call.shared().inbox.accept(events).await.map(accepted).map_err(not_accepted)
}

/// The 200 of a webhook; it says so if everything in it was handled before.
pub(super) fn accepted(accepted: Accepted) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if accepted.is_replay() {
        response.insert_header((headers::IDEMPOTENT_REPLAY, headers::REPLAYED));
    }
    response.finish()
}

/// The 503 of a webhook that could not be made durable: its sender will come again.
pub(super) fn not_accepted(error: NotAccepted) -> Refusal {
    tracing::warn!(%error, "a delivery was not accepted");
    let refusal = Refusal::from(ErrorCode::StorageUnavailable);
    error.retry_after().map_or(refusal.clone(), |wait| refusal.retry_after(wait))
}
