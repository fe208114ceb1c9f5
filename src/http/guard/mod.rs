//! What stands before a handler; each guard is a file, and the table says in which order.

pub mod bearer;
pub mod body;
pub mod client_ip;
pub mod keys;
pub mod origin;
pub mod push;
pub mod rate_limit;

use actix_web::dev::Payload;

pub use bearer::Caller;

use super::dispatch::Call;
use super::respond::Refusal;
use super::routes::Guard;
use crate::config::Secret;
use crate::contract::code::ErrorCode;
use crate::contract::signature::token_matches;

/// Asks one guard.
pub(super) async fn check(
    guard: Guard,
    call: &mut Call,
    payload: &mut Payload,
) -> Result<(), Refusal> {
    match guard {
        Guard::Origin => origin::check(&call.request, &call.shared().config()),
        // The dispatcher knows whether the path has the method.
        Guard::Method => Ok(()),
        Guard::IpLimit(bucket) => rate_limit::by_address(call, bucket).await,
        Guard::Bearer => {
            let (auth, keys) = (&call.shared().auth, call.worker.keys.as_deref());
            let caller = auth.caller(call.field("authorization"), keys).await?;
            call.caller = Some(caller);
            Ok(())
        }
        Guard::User => match call.caller()? {
            Caller::User { .. } => Ok(()),
            Caller::Anonymous { .. } => {
                let sentence = "This is for users who have signed in; sign in and try again.";
                Err(Refusal::from(ErrorCode::Forbidden).saying(sentence))
            }
        },
        Guard::ChatLimit => rate_limit::by_caller(call).await,
        Guard::Operator => operator(call),
        Guard::OperatorsExist => operators_exist(call),
        Guard::Json => body::declared_as_json(&call.request),
        Guard::JsonOrUnwrapped => body::declared_as_json_or_push(&call.request),
        Guard::Body(limit) => {
            call.body = body::read(call, payload, limit).await?;
            Ok(())
        }
    }
}

/// Lets operators in, and for GET those who may only read. Without a token set there is no such
/// route.
fn operator(call: &Call) -> Result<(), Refusal> {
    operators_exist(call)?;
    let config = call.shared().config();
    let reads = call.request.method() == actix_web::http::Method::GET;
    if may_change(call) || (reads && presents(call, config.ops.read_token.as_ref())) {
        return Ok(());
    }
    Err(ErrorCode::Unauthorized.into())
}

/// Without a token set there are no operators, and no page for them.
fn operators_exist(call: &Call) -> Result<(), Refusal> {
    let set = call.shared().config().ops.token.is_some();
    if set { Ok(()) } else { Err(ErrorCode::NotFound.into()) }
}

/// Whether an operator calls who may change things, not only read.
pub(super) fn may_change(call: &Call) -> bool {
    presents(call, call.shared().config().ops.token.as_ref())
}

fn presents(call: &Call, token: Option<&Secret>) -> bool {
    let presented = bearer::token_of(call.field("authorization")).unwrap_or_default();
    token.is_some_and(|token| token_matches(&[token], presented.as_bytes()))
}
