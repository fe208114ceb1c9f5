//! What operators see of accepted events, and dead letters that they have redelivered.

use actix_web::HttpResponse;
use sendcat_actors::job_queue::{EventPage, NotRedelivered};
use sendcat_state::job::{EventRow, EventStatus};
use sendcat_state::key::{InboxSource, TimedId};
use sendcat_state::machine::ReadError;

use super::dispatch::Call;
use super::ops::now;
use super::pages::{limit_of, wrong};
use super::respond::{self, Refusal};
use crate::contract::code::ErrorCode;
use crate::contract::{ops, rfc3339};

/// Rows of one answer at most.
const MOST_ROWS: usize = 1000;

const STATUSES: [&str; 4] = ["pending", "running", "done", "dead"];

/// Accepted events, newest first.
pub(super) async fn inbox(call: Call) -> Result<HttpResponse, Refusal> {
    let (page, source) = (page_of(&call)?, source_of(&call)?);
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
    let page = call.shared().tree.jobs.events(page, fits).await;
    let EventPage { rows, next } = page.map_err(|error| unreadable(&error))?;
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
    let next_cursor = next.map(|id| id.to_string());
    let generated_at = now(call.shared());
    Ok(respond::json(&ops::InboxAnswer { generated_at, items, next_cursor }))
}

/// Events that were given up, newest first, and why.
pub(super) async fn dead_letters(call: Call) -> Result<HttpResponse, Refusal> {
    let (page, source) = (page_of(&call)?, source_of(&call)?);
    let fits = move |row: &EventRow| {
        row.status == EventStatus::Dead && source.is_none_or(|source| row.source == source)
    };
    let page = call.shared().tree.jobs.events(page, fits).await;
    let EventPage { rows, next } = page.map_err(|error| unreadable(&error))?;
    let on_the_wire = |row: EventRow| ops::DeadLetterRow {
        id: row.id.to_string(),
        source: row.source.to_string(),
        key: row.key,
        attempts: row.attempts,
        accepted_at: rfc3339(row.accepted_at.as_millis()),
        given_up_at: row.done_at.map(|at| rfc3339(at.as_millis())),
        error: row.error,
    };
    let items = rows.into_iter().map(on_the_wire).collect();
    let next_cursor = next.map(|id| id.to_string());
    let generated_at = now(call.shared());
    Ok(respond::json(&ops::DeadLettersAnswer { generated_at, items, next_cursor }))
}

/// Puts a dead letter back in line; `204` when that is on disk.
pub(super) async fn redeliver(call: Call) -> Result<HttpResponse, Refusal> {
    let id = call.path("id").parse::<TimedId>();
    let id = id.map_err(|()| Refusal::from(ErrorCode::NotFound))?;
    let redelivered = call.shared().inbox.redeliver(id).await;
    tracing::warn!(%id, ?redelivered, "an operator wants a dead letter redelivered");
    redelivered.map(|()| respond::no_content()).map_err(|error| match error {
        NotRedelivered::Unknown => ErrorCode::NotFound.into(),
        NotRedelivered::NotDead => Refusal::from(ErrorCode::Conflict)
            .saying("This event is no dead letter: it waits, runs, or is done."),
        NotRedelivered::Full => Refusal::from(ErrorCode::StorageUnavailable)
            .saying("The backlog of this event's kind is full; try again when it is shorter."),
        NotRedelivered::Unavailable(_) | NotRedelivered::Unreadable(_) => {
            ErrorCode::StorageUnavailable.into()
        }
    })
}

/// Where the page begins, and how many rows it has.
fn page_of(call: &Call) -> Result<(Option<TimedId>, usize), Refusal> {
    let limit = limit_of(call, call.shared().config().ops.max_rows_per_section, MOST_ROWS)?;
    let beyond = match call.query("cursor") {
        None => None,
        Some(cursor) => {
            let id = cursor.parse::<TimedId>();
            Some(id.map_err(|()| wrong("cursor", "the nextCursor of the page before"))?)
        }
    };
    Ok((beyond, limit))
}

fn source_of(call: &Call) -> Result<Option<InboxSource>, Refusal> {
    let Some(name) = call.query("source") else { return Ok(None) };
    let source = InboxSource::from_name(&name);
    source.map(Some).ok_or_else(|| wrong("source", "whatsapp, gmail or generic"))
}

fn unreadable(error: &ReadError) -> Refusal {
    tracing::error!(%error, "accepted events could not be read");
    ErrorCode::StorageUnavailable.into()
}
