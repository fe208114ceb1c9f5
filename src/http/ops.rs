//! What operators ask: actors, accepted events, injected faults.

use actix_web::HttpResponse;
use sendcat_actors::faults::{self, ScheduledFault};
use sendcat_actors::observe::ActorView;
use sendcat_state::job::{EventRow, EventStatus};
use sendcat_state::key::InboxSource;

use super::Shared;
use super::dispatch::Call;
use super::pages::{limit_of, wrong};
use super::respond::{self, Refusal};
use crate::contract::body::{BodyError, parse_object};
use crate::contract::code::ErrorCode;
use crate::contract::{ops, rfc3339};

/// The name that faults of handlers are armed by.
const HANDLERS: &str = "http";

/// Rows of one answer at most.
const MOST_ROWS: usize = 1000;

/// Every actor, seen without asking one.
pub(super) async fn actors(call: Call) -> Result<HttpResponse, Refusal> {
    let answer =
        ops::ActorsAnswer { generated_at: now(call.shared()), actors: actor_rows(call.shared()) };
    Ok(respond::json(&answer))
}

/// Accepted events, newest first.
pub(super) async fn inbox(call: Call) -> Result<HttpResponse, Refusal> {
    let limit = limit_of(&call, call.shared().config.ops.max_rows_per_section, MOST_ROWS)?;
    let source = match call.query("source") {
        None => None,
        Some(name) => Some(
            InboxSource::from_name(&name)
                .ok_or_else(|| wrong("source", "whatsapp, gmail or generic"))?,
        ),
    };
    let running = call.shared().tree.jobs.view().running.clone();
    let wanted = match call.query("status") {
        None => None,
        Some(name) if STATUSES.contains(&name.as_str()) => Some(name),
        Some(_) => return Err(wrong("status", "pending, running, done or dead")),
    };
    let status = move |row: &EventRow| match row.status {
        EventStatus::Pending if running.contains(&row.id) => "running",
        EventStatus::Pending => "pending",
        EventStatus::Done => "done",
        EventStatus::Dead => "dead",
    };
    let status_of = status.clone();
    let fits = move |row: &EventRow| {
        source.is_none_or(|source| row.source == source)
            && wanted.as_deref().is_none_or(|wanted| status_of(row) == wanted)
    };
    let rows = call.shared().tree.jobs.events(limit, fits).await.map_err(|error| {
        tracing::error!(%error, "accepted events could not be read");
        Refusal::from(ErrorCode::StorageUnavailable)
    })?;
    let on_the_wire = |row: EventRow| ops::InboxRow {
        id: row.id.to_string(),
        source: row.source.to_string(),
        status: status(&row).to_owned(),
        key: row.key,
        attempts: row.attempts,
        accepted_at: rfc3339(row.accepted_at.as_millis()),
        done_at: row.done_at.map(|at| rfc3339(at.as_millis())),
    };
    let items = rows.into_iter().map(on_the_wire).collect();
    Ok(respond::json(&ops::InboxAnswer { generated_at: now(call.shared()), items }))
}

const STATUSES: [&str; 4] = ["pending", "running", "done", "dead"];

pub(super) fn now(shared: &Shared) -> String {
    rfc3339(shared.tree.clock.now().as_millis())
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
        oldest_work_ms: view
            .oldest_work
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
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
