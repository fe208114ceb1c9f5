//! What operators ask of actors.

use std::time::Duration;

use actix_web::HttpResponse;
use sendcat_actors::observe::ActorView;

use super::Shared;
use super::dispatch::Call;
use super::respond::{self, Refusal};
use crate::contract::{ops, rfc3339};

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
