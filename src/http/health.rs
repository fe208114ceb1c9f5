//! `/livez` and `/readyz`: whether the process lives, and whether it can do its work.
//!
//! Both are answered from what actors have left to be seen; no actor is asked.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use sendcat_actors::observe::Status;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::dispatch::Call;
use super::respond::Refusal;
use crate::contract::code::ErrorCode;

/// How long the disk may fail before traffic should go elsewhere: shorter faults pass unseen by
/// load balancers anyway.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a limiter's shard may take to come back before traffic should go elsewhere.
const SHARD_PATIENCE: Duration = Duration::from_secs(5);

/// How long the supervisor may be silent: longer than any pause of a busy machine.
const BEAT_PATIENCE: Duration = Duration::from_secs(5);

/// It answers and its supervisor goes round, so it lives.
pub(super) async fn livez(call: Call) -> Result<HttpResponse, Refusal> {
    let tree = &call.shared().tree;
    if tree.beat().age(tree.clock.now()) >= BEAT_PATIENCE {
        return Err(ErrorCode::InternalError.into());
    }
    Ok(HttpResponse::Ok().json(Liveness { status: "ok" }))
}

/// What `/livez` says.
#[derive(Serialize, ToSchema)]
pub(super) struct Liveness {
    /// `ok`.
    #[schema(value_type = String)]
    status: &'static str,
}

/// What `/readyz` says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Readiness {
    /// `ok`, `degraded` or `unready`.
    #[schema(value_type = String)]
    status: &'static str,
    /// What is wrong, if anything is.
    reasons: Vec<String>,
}

/// 200 if work can be done, also badly; 503 if traffic should go elsewhere.
pub(super) async fn readyz(call: Call) -> Result<HttpResponse, Refusal> {
    let (status, reasons) = readiness(call.shared());
    let code = if status == UNREADY { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok(HttpResponse::build(code).json(Readiness { status, reasons }))
}

const UNREADY: &str = "unready";

/// `ok`, `degraded` or `unready`, and why it is not `ok`, worst first.
pub(super) fn readiness(shared: &Shared) -> (&'static str, Vec<String>) {
    let (unready, degraded) = reasons(shared);
    let status = match (unready.is_empty(), degraded.is_empty()) {
        (false, _) => UNREADY,
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    (status, unready.into_iter().chain(degraded).collect())
}

/// What keeps the process from its work, and what makes it do it badly.
fn reasons(shared: &Shared) -> (Vec<String>, Vec<String>) {
    let (mut unready, mut degraded) = (Vec::new(), Vec::new());
    if shared.is_draining() {
        unready.push("draining".to_owned());
    }
    for actor in shared.tree.actors() {
        let limiter = actor.name.starts_with("rate_limiter-");
        match actor.status {
            Status::Running => {}
            // Without a limiter's shard its callers are refused.
            Status::Down if limiter => unready.push(format!("{} is down", actor.name)),
            Status::Restarting
                if limiter && actor.restarting_for.is_some_and(|it| it >= SHARD_PATIENCE) =>
            {
                unready.push(format!("{} is restarting", actor.name));
            }
            Status::Starting | Status::Restarting | Status::Down | Status::Stopped => {
                degraded.push(format!("{} is {}", actor.name, actor.status.as_str()));
            }
        }
    }
    let journal = shared.tree.journal.state();
    if let Some(since) = journal.failing_since {
        let age = shared.tree.clock.now().since(since);
        let reasons = if age >= DISK_PATIENCE { &mut unready } else { &mut degraded };
        reasons.push(format!("the disk has failed for {} ms", age.as_millis()));
    }
    for (machine, _) in shared.tree.put_aside() {
        degraded.push(format!("the saved state of {machine} was put aside"));
    }
    (unready, degraded)
}
