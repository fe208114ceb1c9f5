//! `POST /api/sessions/anonymous`: a session for whoever has no account.

use actix_web::HttpResponse;

use super::dispatch::Call;
use super::respond::{self, Refusal};
use crate::contract::code::ErrorCode;

/// Mints a session; the identifier is ours, so nobody gets a fresh limit by inventing one.
pub(super) async fn post(call: Call) -> Result<HttpResponse, Refusal> {
    let now = call.shared().tree.clock.wall();
    match call.shared().auth.mint(now) {
        Ok(session) => Ok(respond::json(&session)),
        Err(error) => {
            tracing::error!(%error, "no session can be minted");
            Err(ErrorCode::Misconfigured.into())
        }
    }
}
