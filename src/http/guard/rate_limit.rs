//! Counts callers and addresses, and refuses those over their limit.
//!
//! If a limiter's shard gives no answer the call is refused, for an abuser must not gain by
//! breaking the limiter (log 1.1).

use std::time::Duration;

use sendcat_actors::failure::{self, AskError, Concern};
use sendcat_state::key::{Bucket, ClientKey};
use sendcat_state::rate_window::{Admission, Limit};

use super::super::dispatch::Call;
use super::super::respond::Refusal;
use super::bearer::Caller;
use crate::contract::code::ErrorCode;
use crate::contract::headers::{PolicyName, Quota};

/// Counts the address in a bucket. What is left is not told, for nobody has said who they are.
pub(super) async fn by_address(call: &mut Call, bucket: Bucket) -> Result<(), Refusal> {
    // The address of a webhook's sender is checked by GET without being counted (log 1.1).
    let key = ClientKey::ip(bucket, call.client);
    let limit = call.shared().config.limit(bucket);
    let wait = |wait| Refusal::from(ErrorCode::RateLimited).retry_after(wait);
    match admit(call, key, limit).await {
        Admission::Admitted { .. } => Ok(()),
        Admission::Refused { retry_after } => Err(wait(retry_after)),
    }
}

/// Counts the caller, and an anonymous one by address before that.
pub(super) async fn by_caller(call: &mut Call) -> Result<(), Refusal> {
    let bucket = Bucket::ChatStream;
    let key = match call.caller()? {
        Caller::Anonymous { session_id } => {
            let key = ClientKey::session(bucket, session_id);
            by_address_of_caller(call).await?;
            key
        }
        Caller::User { subject } => ClientKey::user(bucket, subject),
    };
    let limit = call.shared().config.limit(bucket);
    let (left, resets_in, refused) = match admit(call, key, limit).await {
        Admission::Admitted { left, resets_in } => (left, resets_in, false),
        Admission::Refused { retry_after } => (0, retry_after, true),
    };
    let quota = quota(bucket, limit, left, resets_in);
    if refused {
        let refusal = Refusal::from(ErrorCode::RateLimited);
        return Err(refusal.retry_after(resets_in).hitting(quota));
    }
    call.quota = Some(quota);
    Ok(())
}

async fn by_address_of_caller(call: &mut Call) -> Result<(), Refusal> {
    let bucket = Bucket::AnonIp;
    let limit = call.shared().config.limit(bucket);
    match admit(call, ClientKey::ip(bucket, call.client), limit).await {
        Admission::Admitted { .. } => Ok(()),
        Admission::Refused { retry_after } => {
            let refusal = Refusal::from(ErrorCode::RateLimited).retry_after(retry_after);
            Err(refusal.hitting(quota(bucket, limit, 0, retry_after)))
        }
    }
}

fn quota(bucket: Bucket, limit: Limit, left: u64, resets_in: Duration) -> Quota {
    let name = PolicyName::new(bucket.as_str()).expect("a bucket's name is a policy's");
    Quota::Window { name, calls: limit.calls, per: limit.per, left, resets_in }
}

async fn admit(call: &Call, key: ClientKey, limit: Limit) -> Admission {
    match call.shared().tree.limiter.admit(key, limit).await {
        Ok(admission) => admission,
        Err(error) => {
            failure::failed(Concern::RateLimit, error);
            Admission::Refused { retry_after: until_back(error) }
        }
    }
}

/// How long a shard that gave no answer may take to be back.
fn until_back(error: AskError) -> Duration {
    match error {
        AskError::Restarting { retry_after } => retry_after,
        AskError::Overloaded
        | AskError::Down
        | AskError::Poisoned
        | AskError::Timeout
        | AskError::Crashed
        | AskError::NotDurable => Duration::from_secs(1),
    }
}
