//! Concerns one by one: circuits, bulkheads, claims, queued tool calls, and what decides a limit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CircuitRow, answers};

answers! {
    /// `GET /ops/circuits`, and what a verb on one answers.
    CircuitsAnswer {
        /// When it was looked.
        generated_at: String,
        /// Every circuit.
        circuits: Vec<CircuitRow>,
    }

    /// `GET /ops/bulkheads`.
    BulkheadsAnswer {
        /// When it was looked.
        generated_at: String,
        /// By provider.
        bulkheads: BTreeMap<String, BulkheadDetail>,
    }

    /// One bulkhead with who holds it.
    BulkheadDetail {
        /// Calls in flight.
        in_flight: u64,
        /// Calls in flight at most.
        max: u64,
        /// Callers in line.
        waiting: u64,
        /// Leases that ran out while somebody still meant to hold them.
        overruns: u64,
        /// Live leases, oldest first.
        leases: Vec<LeaseRow>,
    }

    /// One lease of a bulkhead.
    LeaseRow {
        /// Its number; never given twice.
        id: u64,
        /// Who holds it: the thread of an answer, a tool, a kind of event.
        holder: String,
        /// For how long it is held, in milliseconds.
        age_ms: u64,
        /// How long until it runs out unless renewed, in milliseconds.
        ends_in_ms: u64,
    }

    /// `GET /ops/idempotency/{scope}`.
    IdempotencyAnswer {
        /// When it was looked.
        generated_at: String,
        /// Which scope.
        scope: String,
        /// Keys that became done since the process began.
        keys: u64,
        /// Deliveries since then that were duplicates.
        duplicates: u64,
        /// The newest claims that are done, newest first.
        claims: Vec<ClaimDetail>,
    }

    /// One claim that is done.
    ClaimDetail {
        /// The key within its scope.
        key: String,
        /// How often it came again.
        hits: u64,
        /// Until when a duplicate is recognised.
        until: String,
    }

    /// `GET /ops/jobs`.
    JobsAnswer {
        /// When it was looked.
        generated_at: String,
        /// Tool calls that wait or run, oldest first.
        items: Vec<JobRow>,
    }

    /// One queued tool call.
    JobRow {
        /// Its identifier.
        id: String,
        /// Which tool.
        tool: String,
        /// What it is about.
        key: String,
        /// `queued` or `running`.
        status: String,
        /// Attempts begun.
        attempts: u32,
        /// When it was handed in.
        queued_at: String,
        /// Since when it runs; `null` while it waits.
        running_since: Option<String>,
        /// In whose hands it is; `null` while it waits.
        worker: Option<String>,
        /// When it falls due; `null` while it runs.
        due_at: Option<String>,
    }

    /// `GET /ops/explain`.
    Explanation {
        /// When it was looked.
        generated_at: String,
        /// Which limit.
        bucket: String,
        /// Whose calls, as asked.
        key: String,
        /// Which actor decides them.
        actor: String,
        /// What decides: `window` of the key itself, or `overflow`, the window that keys share
        /// when there is no room for their own.
        rule: String,
        /// Whether the next call would be admitted.
        admitted: bool,
        /// Calls a window admits.
        max: u64,
        /// How long a window stays open, in milliseconds.
        window_ms: u64,
        /// Calls used.
        used: u64,
        /// Calls left.
        left: u64,
        /// When the window ends; `null` if none is open.
        resets_at: Option<String>,
    }
}
