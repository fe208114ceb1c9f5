//! Queued tool calls, and claims of idempotency keys, as operators see them.

use actix_web::HttpResponse;
use sendcat_state::idempotency::{RecentClaim, ScopeCount};
use sendcat_state::job::JobKind;
use sendcat_state::job_queue::JobView;
use sendcat_state::key::ToolKind;

use super::dispatch::Call;
use super::ops::now;
use super::ops_guards::unanswered;
use super::pages::{limit_of, wrong};
use super::respond::{self, Refusal};
use crate::contract::code::ErrorCode;
use crate::contract::{ops, rfc3339};

/// Rows of one answer at most.
const MOST_ROWS: usize = 1000;

/// Jobs that the queue is asked for, before those of another status are left out.
const MOST_LOOKED_AT: usize = 10_000;

/// Tool calls that wait or run, oldest first.
pub(super) async fn jobs(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let limit = limit_of(&call, shared.config().ops.max_rows_per_section, MOST_ROWS)?;
    let tools = match call.query("tool") {
        None => ToolKind::ALL.to_vec(),
        Some(name) => vec![ToolKind::from_name(&name).ok_or_else(|| wrong("tool", tool_names()))?],
    };
    let running = match call.query("status").as_deref() {
        None => None,
        Some("running") => Some(true),
        Some("queued") => Some(false),
        Some(_) => return Err(wrong("status", "queued or running")),
    };
    let kinds = tools.into_iter().map(JobKind::Tool).collect();
    let listed = shared.tree.jobs.list(kinds, MOST_LOOKED_AT).await;
    let listed = listed.map_err(|error| unanswered(&error))?;
    let fits = |job: &JobView| running.is_none_or(|running| running == job.running.is_some());
    let items = listed.into_iter().filter(fits).take(limit).map(job_row).collect();
    Ok(respond::json(&ops::JobsAnswer { generated_at: now(shared), items }))
}

fn job_row(job: JobView) -> ops::JobRow {
    let running = job.running;
    ops::JobRow {
        id: job.id.to_string(),
        tool: job.kind.to_string(),
        key: job.key,
        status: if running.is_some() { "running" } else { "queued" }.to_owned(),
        attempts: job.attempts,
        queued_at: rfc3339(job.enqueued_at.as_millis()),
        running_since: running.as_ref().map(|(since, _)| rfc3339(since.as_millis())),
        worker: running.map(|(_, worker)| worker),
        due_at: job.due.map(|due| rfc3339(due.as_millis())),
    }
}

fn tool_names() -> String {
    let names: Vec<_> = ToolKind::ALL.iter().map(|tool| tool.as_str()).collect();
    format!("one of {}", names.join(", "))
}

/// The newest claims of a scope, and how often each came again.
pub(super) async fn claims(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let limit = limit_of(&call, shared.config().ops.max_rows_per_section, MOST_ROWS)?;
    let scope = call.path("scope");
    let recent = shared.tree.claims.recent(scope).await;
    let (ScopeCount { keys, duplicates }, claims) = recent.map_err(|error| unanswered(&error))?;
    // A scope of which nothing is known is a slip, and must not look like one that rests.
    if keys + duplicates == 0 && claims.is_empty() {
        return Err(ErrorCode::NotFound.into());
    }
    Ok(respond::json(&ops::IdempotencyAnswer {
        generated_at: now(shared),
        scope: scope.to_owned(),
        keys,
        duplicates,
        claims: claims.into_iter().take(limit).map(claim_row).collect(),
    }))
}

fn claim_row(claim: RecentClaim) -> ops::ClaimDetail {
    ops::ClaimDetail { key: claim.key, hits: claim.hits, until: rfc3339(claim.until.as_millis()) }
}
