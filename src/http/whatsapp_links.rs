//! `POST /api/whatsapp/link-code`: a code that a user sends by WhatsApp to link the number.

use actix_web::HttpResponse;
use sendcat_state::key::Bucket;
use sendcat_state::whatsapp as state;

use super::dispatch::Call;
use super::guard::{Caller, rate_limit};
use super::respond::{self, Refusal};
use crate::config::fixed;
use crate::contract::code::ErrorCode;
use crate::contract::rfc3339;
use crate::contract::whatsapp::{LinkCode, LinkCodeAnswer};

/// Makes a code; the one before is good no longer.
pub(super) async fn post(call: Call) -> Result<HttpResponse, Refusal> {
    let subject = match call.caller()? {
        Caller::User { subject } => subject.clone(),
        // The guard lets none in: a number that was linked to a session would be lost with it.
        Caller::Anonymous { .. } => return Err(ErrorCode::Forbidden.into()),
    };
    rate_limit::by_user(&call, Bucket::WaLinkCode, &subject).await?;
    let random = [(); 2].map(|()| getrandom::u64());
    let [Ok(one), Ok(two)] = random else { return Err(ErrorCode::InternalError.into()) };
    let code = LinkCode::of([one, two]);
    let expires_at = call.shared().tree.clock.now().after(fixed::LINK_CODE_TTL);
    let (owner, digest) = (call.caller()?.owner(), code.digest());
    let issued = call.shared().tree.journal.transact(move |records| {
        state::issue_code(records, &owner, &digest, expires_at).map(|writes| ((), writes))
    });
    match issued.await {
        Ok(Ok(())) => {
            let expires_at = rfc3339(expires_at.as_millis());
            Ok(respond::json(&LinkCodeAnswer { code: code.to_string(), expires_at }))
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a linking code was not stored");
            Err(ErrorCode::StorageUnavailable.into())
        }
        Err(error) => {
            tracing::error!(%error, "a linking code was not stored");
            Err(ErrorCode::StorageUnavailable.into())
        }
    }
}
