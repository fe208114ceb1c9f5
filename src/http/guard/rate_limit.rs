//! Counts callers and addresses, and refuses those over their limit.
//!
//! If a limiter's shard gives no answer the call is refused, for an abuser must not gain by
//! breaking the limiter (log 1.1).

use std::time::Duration;

use sendcat_actors::failure::{self, AskError, Concern};
use sendcat_actors::rate_limiter::{AllAdmission, Unanswered};
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
    let limit = call.shared().config().limit(bucket);
    let wait = |wait| Refusal::from(ErrorCode::RateLimited).retry_after(wait);
    match admit(call, key, limit).await {
        Admission::Admitted { .. } => Ok(()),
        Admission::Refused { retry_after } => Err(wait(retry_after)),
    }
}

/// Counts a sender whose signature was checked, beside the address it comes from: providers send
/// for all their customers from few addresses. What is left is not told.
pub async fn by_sender(call: &Call, source: &str, sender: &str) -> Result<(), Refusal> {
    let key = ClientKey::sender(Bucket::WebhookSender, source, sender);
    let limit = call.shared().config().limit(Bucket::WebhookSender);
    match admit(call, key, limit).await {
        Admission::Admitted { .. } => Ok(()),
        Admission::Refused { retry_after } => {
            tracing::warn!(source, sender, "a verified sender is over its limit");
            Err(Refusal::from(ErrorCode::RateLimited).retry_after(retry_after))
        }
    }
}

/// Counts the caller; an anonymous one by address too, under both limits or under neither.
pub(super) async fn by_caller(call: &mut Call) -> Result<(), Refusal> {
    let limit = |bucket| call.shared().config().limit(bucket);
    let policies = match call.caller()? {
        Caller::Anonymous { session_id } => {
            let address = ClientKey::ip(Bucket::AnonIp, call.client);
            let session = ClientKey::session(Bucket::ChatStream, session_id);
            vec![(address, limit(Bucket::AnonIp)), (session, limit(Bucket::ChatStream))]
        }
        Caller::User { subject } => {
            vec![(ClientKey::user(Bucket::ChatStream, subject), limit(Bucket::ChatStream))]
        }
    };
    let (policy, retry_after) = match call.shared().tree.limiter.admit_all(&policies).await {
        Ok(AllAdmission::Admitted(left)) => {
            // The caller's own limit is the last, and the one that is told.
            if let (Some((key, limit)), Some(left)) = (policies.last(), left.last()) {
                call.quota = Some(quota(key.bucket, *limit, left.left, left.resets_in));
            }
            return Ok(());
        }
        Ok(AllAdmission::Refused { policy, retry_after }) => (policy, retry_after),
        Err(Unanswered { policy, error }) => {
            failure::failed(Concern::RateLimit, error);
            (policy, until_back(error))
        }
    };
    let (key, limit) = policies[policy];
    let refusal = Refusal::from(ErrorCode::RateLimited).retry_after(retry_after);
    Err(refusal.hitting(quota(key.bucket, limit, 0, retry_after)))
}

/// Counts a user in a bucket; what is left is told.
pub async fn by_user(call: &Call, bucket: Bucket, subject: &str) -> Result<(), Refusal> {
    let limit = call.shared().config().limit(bucket);
    match admit(call, ClientKey::user(bucket, subject), limit).await {
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
