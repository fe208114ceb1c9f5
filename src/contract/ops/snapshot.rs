//! Everything of reliability in one answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ActorRow, Counts, answers};

answers! {
    /// `GET /ops/snapshot`.
    Snapshot {
        /// When it was looked.
        generated_at: String,
        /// How far back counts reach.
        window_minutes: u64,
        /// The rules in force.
        config: ConfigSection,
        /// What the limiter refused.
        rate_limit_pressure: RateLimitPressure,
        /// Every circuit.
        circuits: Vec<CircuitRow>,
        /// Every bulkhead, by provider.
        bulkheads: BTreeMap<String, BulkheadRow>,
        /// What was claimed, and what came again.
        replay_protection: ReplayProtection,
        /// What tools found before.
        tool_cache: ToolCacheSection,
        /// Queued tool calls.
        tool_jobs: ToolJobsSection,
        /// Accepted events.
        inbox: InboxSection,
        /// Every actor.
        actors: Vec<ActorRow>,
    }

    /// The rules in force, as the knobs name them.
    ConfigSection {
        /// By bucket.
        rate_limits: BTreeMap<String, RateLimitRules>,
        /// By provider.
        circuits: BTreeMap<String, CircuitRules>,
        /// By provider.
        bulkheads: BTreeMap<String, BulkheadRules>,
        /// How long results of tools are kept, in milliseconds, by kind.
        tool_cache: BTreeMap<String, u64>,
        /// The version of each kind's namespace.
        tool_cache_namespaces: BTreeMap<String, String>,
        /// Of the queue of tool calls.
        tool_jobs: ToolJobRules,
        /// Of these answers themselves.
        ops: OpsRules,
    }

    /// A rate limit.
    RateLimitRules {
        /// Calls a window admits.
        max: u64,
        /// How long a window stays open.
        window_ms: u64,
    }

    /// A circuit's rules.
    CircuitRules {
        /// Failures in a row that open it.
        threshold: u64,
        /// How long it stays open.
        cooldown_ms: u64,
        /// From when a call counts as slow; `null` counts none.
        slow_ms: Option<u64>,
    }

    /// A bulkhead's rules.
    BulkheadRules {
        /// Calls in flight at most.
        max_concurrent: u64,
        /// How long a silent holder keeps its slot.
        lease_ttl_ms: u64,
        /// How long a call may wait for a slot.
        wait_ms: u64,
    }

    /// Rules of the queue of tool calls.
    ToolJobRules {
        /// Calls that one answer may queue.
        max_per_run: u64,
        /// How long a silent worker keeps its call.
        lease_ms: u64,
        /// How long an answer waits for a call.
        wait_ms: u64,
        /// The longest pause between two looks.
        poll_ms: u64,
        /// Attempts before a call is given up.
        max_attempts: u64,
        /// The first delay between attempts.
        retry_base_ms: u64,
        /// How long a call may wait.
        ttl_ms: u64,
        /// How many waiting calls are looked at for one that may run.
        claim_scan: u64,
        /// Running at once, by tool.
        run_max: BTreeMap<String, u64>,
        /// Waiting, by tool.
        queue_max: BTreeMap<String, u64>,
        /// Running at once, all tools together.
        max_concurrent: u64,
    }

    /// Rules of the operators' answers.
    OpsRules {
        /// How far back counts reach unless asked otherwise.
        default_window_minutes: u64,
        /// Rows of a section at most.
        max_rows_per_section: u64,
    }

    /// What the limiter refused of late.
    RateLimitPressure {
        /// By `source:bucket:outcome`.
        summary: BTreeMap<String, u64>,
        /// The last events.
        recent_events: Vec<RateLimitEventRow>,
        /// The last alerts.
        recent_alerts: Vec<AlertRow>,
    }

    /// One refusal.
    RateLimitEventRow {
        /// Where it happened, such as `http`.
        source: String,
        /// Which limit.
        bucket: String,
        /// Who, as the limiter knows the caller.
        key: String,
        /// `blocked` or `contention_fallback`.
        outcome: String,
        /// What wait was named.
        retry_after_ms: u64,
        /// Which route.
        path: Option<String>,
        /// Which method.
        method: Option<String>,
        /// When.
        created_at: String,
    }

    /// One alert.
    AlertRow {
        /// What it is about: `source:bucket:outcome`.
        alert_key: String,
        /// Events that raised it.
        count: u64,
        /// From how many on it is raised.
        threshold: u64,
        /// Over how many minutes.
        window_minutes: u64,
        /// When.
        created_at: String,
    }

    /// One circuit.
    CircuitRow {
        /// Whose.
        provider: String,
        /// `closed`, `open`, `half_open`, or `forced_open` by an operator.
        state: String,
        /// Failures in a row.
        failures: u64,
        /// When it opened, if it is not closed.
        opened_at: Option<String>,
        /// How long until a probe may pass; `null` while it is closed.
        retry_after_ms: Option<u64>,
    }

    /// One bulkhead.
    BulkheadRow {
        /// Calls in flight.
        in_flight: u64,
        /// Calls in flight at most.
        max: u64,
        /// Calls in line.
        waiting: u64,
    }

    /// Claims, by scope.
    ReplayProtection {
        /// Each scope.
        by_scope: BTreeMap<String, ScopeRow>,
    }

    /// Claims of one scope.
    ScopeRow {
        /// Keys held.
        keys: u64,
        /// Times that one came again.
        duplicates: u64,
    }

    /// Kept results of tools.
    ToolCacheSection {
        /// Results that hold.
        sampled_active_entries: u64,
        /// The same by namespace; one that holds nothing is left out.
        by_namespace: Counts,
    }

    /// Queued tool calls.
    ToolJobsSection {
        /// By status.
        by_status: BTreeMap<String, u64>,
        /// By tool, then by status.
        by_tool: BTreeMap<String, BTreeMap<String, u64>>,
        /// How full each tool is.
        pressure_by_tool: BTreeMap<String, ToolPressure>,
        /// Age of the oldest waiting call; `null` if none waits.
        oldest_queued_age_ms: Option<u64>,
        /// Age of the oldest running call; `null` if none runs.
        oldest_running_age_ms: Option<u64>,
    }

    /// How full one tool is.
    ToolPressure {
        /// Waiting.
        queued: u64,
        /// Waiting at most.
        queued_max: u64,
        /// Running.
        running: u64,
        /// Running at most.
        running_max: u64,
    }

    /// Accepted events.
    InboxSection {
        /// By status.
        by_status: BTreeMap<String, u64>,
        /// By source.
        by_source: BTreeMap<String, u64>,
        /// Age of the oldest event that is not done; `null` if all are.
        oldest_age_ms: Option<u64>,
    }
}
