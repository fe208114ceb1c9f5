//! What operators ask: actors, injected faults.

use std::time::Duration;

use actix_web::HttpResponse;
use sendcat_actors::faults::{self, ScheduledFault};
use sendcat_actors::observe::ActorView;

use super::Shared;
use super::dispatch::Call;
use super::respond::{self, Refusal};
use crate::contract::body::{BodyError, parse_object};
use crate::contract::code::ErrorCode;
use crate::contract::{ops, rfc3339};

/// The name that faults of handlers are armed by.
const HANDLERS: &str = "http";

/// Every actor, seen without asking one.
pub(super) async fn actors(call: Call) -> Result<HttpResponse, Refusal> {
    let answer =
        ops::ActorsAnswer { generated_at: now(call.shared()), actors: actor_rows(call.shared()) };
    Ok(respond::json(&answer))
}

pub(super) fn now(shared: &Shared) -> String {
    rfc3339(shared.tree.clock.now().as_millis())
}

/// A span in milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn actor_rows(shared: &Shared) -> Vec<ops::ActorRow> {
    shared.tree.actors().into_iter().map(actor_row).collect()
}

fn actor_row(view: ActorView) -> ops::ActorRow {
    let by_cause = view.restarts.iter().map(|(cause, times)| (cause.as_str().into(), *times));
    ops::ActorRow {
        name: view.name,
        status: view.status.as_str().to_owned(),
        incarnation: view.incarnation,
        restarts: ops::Restarts { by_cause: by_cause.collect() },
        last_panic: view.last_panic.map(|panic| ops::LastPanic {
            at: rfc3339(panic.at.as_millis()),
            message: panic.message,
            location: panic.location,
        }),
        mailbox_depth: view.mailbox_depth as u64,
        oldest_work_ms: view.oldest_work.map(millis),
        handled: view.handled,
    }
}

/// The faults that are armed.
pub(super) async fn faults(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    let armed = call.shared().tree.armed();
    let rows = armed.iter().map(
        |(actor, fault)| serde_json::json!({"actor": actor, "fault": format!("{:?}", fault.kind)}),
    );
    Ok(respond::json(&serde_json::json!({"faults": rows.collect::<Vec<_>>()})))
}

/// Arms a fault, written as in `SENDCAT_FAULTS`: `{"fault": "actor:kind@n[:1500ms]"}`.
pub(super) async fn arm_fault(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    let body = parse_object(&call.body)?;
    let text = body.get("fault").and_then(serde_json::Value::as_str).unwrap_or_default();
    let scheduled: ScheduledFault =
        text.parse().map_err(|expected: String| BodyError::shape("fault", expected))?;
    let ScheduledFault { actor, fault } = scheduled;
    tracing::warn!(%actor, ?fault, "an operator armed a fault");
    if actor == HANDLERS {
        call.shared().faults.arm(fault);
    } else if !call.shared().tree.arm(&actor, fault) {
        return Err(BodyError::shape("fault", "the name of an actor").into());
    }
    Ok(respond::no_content())
}

/// Disarms every fault.
pub(super) async fn clear_faults(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    tracing::warn!("an operator disarmed every fault");
    call.shared().tree.clear_faults();
    call.shared().faults.clear();
    Ok(respond::no_content())
}

/// A build without faults has no such route.
fn built_with_faults() -> Result<(), Refusal> {
    if faults::COMPILED { Ok(()) } else { Err(ErrorCode::NotFound.into()) }
}
