//! The parts of a configuration, each for the room that needs it.

use std::time::Duration;

use sendcat_state::job::{JobRules, PartitionRules};
use sendcat_state::key::ToolKind;

use super::fixed;
use super::knobs::tool_stem;
use super::secret::Secret;
use super::settled::Settled;

/// Where limiter shards run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardPlacement {
    /// On the threads that serve HTTP.
    Worker,
    /// On threads of their own.
    Dedicated,
}

/// Clocks and bounds of a chat answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRules {
    /// To a connection.
    pub connect: Duration,
    /// From the connection to the response's headers.
    pub headers: Duration,
    /// To the first content.
    pub first_content: Duration,
    /// Between two contents.
    pub idle: Duration,
    /// The whole answer.
    pub total: Duration,
    /// Characters that must come in each window.
    pub min_progress_chars: u32,
    /// That window.
    pub min_progress_window: Duration,
    /// Model calls that one answer may take.
    pub max_steps: u32,
}

impl ChatRules {
    pub(super) fn take(from: &mut Settled) -> Self {
        Self {
            connect: from.span("CHAT_CONNECT_TIMEOUT_MS"),
            headers: from.span("CHAT_HEADERS_TIMEOUT_MS"),
            first_content: from.span("CHAT_FIRST_CONTENT_TIMEOUT_MS"),
            idle: from.span("CHAT_IDLE_TIMEOUT_MS"),
            total: from.span("CHAT_TOTAL_TIMEOUT_MS"),
            min_progress_chars: from.count("CHAT_MIN_PROGRESS_CHARS"),
            min_progress_window: from.span("CHAT_MIN_PROGRESS_WINDOW_MS"),
            max_steps: from.count("CHAT_MAX_STEPS"),
        }
    }
}

/// The queue of tool calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolJobs {
    /// Tool calls that one answer may queue.
    pub max_per_run: u32,
    /// How long an answer waits for one.
    pub wait: Duration,
    /// The longest pause between two looks.
    pub poll: Duration,
    /// Waiting calls that are looked at for one that may run.
    pub claim_scan: usize,
    /// What holds for each call.
    pub rules: JobRules,
    /// Calls that run at once, all tools together.
    pub running_max: usize,
    /// How long a silent one keeps its place among them.
    pub running_lease: Duration,
    partitions: Vec<PartitionRules>,
}

impl ToolJobs {
    pub(super) fn take(from: &mut Settled) -> Self {
        let partition = |tool: &ToolKind| PartitionRules {
            queued_max: from.size(&format!("TOOL_JOB_QMAX_{}", tool_stem(*tool))),
            running_max: from.size(&format!("TOOL_JOB_RUNMAX_{}", tool_stem(*tool))),
        };
        let partitions = ToolKind::ALL.iter().map(partition).collect();
        Self {
            max_per_run: from.count("TOOL_JOB_MAX_PER_RUN"),
            wait: from.span("TOOL_JOB_WAIT_MS"),
            poll: from.span("TOOL_JOB_POLL_MS"),
            claim_scan: from.size("TOOL_JOB_CLAIM_SCAN"),
            rules: JobRules {
                lease: from.span("TOOL_JOB_LEASE_MS"),
                max_attempts: from.count("TOOL_JOB_MAX_ATTEMPTS"),
                retry_base: from.span("TOOL_JOB_RETRY_BASE_MS"),
                retry_cap: fixed::RETRY_CAP,
                ttl: Some(from.span("TOOL_JOB_TTL_MS")),
            },
            running_max: from.size("BULKHEAD_TOOL_JOB_MAX"),
            running_lease: from.span("BULKHEAD_TOOL_JOB_LEASE_MS"),
            partitions,
        }
    }

    /// The caps of one tool.
    pub fn partition(&self, tool: ToolKind) -> PartitionRules {
        self.partitions[tool.index()]
    }
}

/// What tools found before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCache {
    /// How long a web search's result is kept.
    pub web_search_ttl: Duration,
    /// How long a product search's result is kept.
    pub product_search_ttl: Duration,
    /// The version of the web searches' namespace.
    pub web_search_version: String,
    /// The version of the product searches' namespace.
    pub products_version: String,
}

impl ToolCache {
    pub(super) fn take(from: &mut Settled) -> Self {
        Self {
            web_search_ttl: from.span("TOOL_CACHE_WEB_SEARCH_TTL_MS"),
            product_search_ttl: from.span("TOOL_CACHE_PRODUCT_SEARCH_TTL_MS"),
            web_search_version: from.set_text("TOOL_CACHE_WEB_SEARCH_NAMESPACE_VERSION"),
            products_version: from.set_text("TOOL_CACHE_PRODUCTS_NS_VER"),
        }
    }

    /// The version of a tool's namespace, and how long its results are kept.
    pub fn space(&self, tool: ToolKind) -> (&str, Duration) {
        match tool {
            ToolKind::SearchWeb => (&self.web_search_version, self.web_search_ttl),
            ToolKind::SearchProducts | ToolKind::SearchGlobal => {
                (&self.products_version, self.product_search_ttl)
            }
        }
    }
}

/// Operators' answers and alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// Opens every route; without it there are none.
    pub token: Option<Secret>,
    /// Opens the reading routes.
    pub read_token: Option<Secret>,
    /// How far back counts reach unless asked otherwise, in minutes.
    pub default_window_minutes: u64,
    /// Rows of a section at most.
    pub max_rows_per_section: usize,
    /// Refusals of one kind that raise an alert.
    pub alert_threshold: u64,
    /// How long the same alert is not raised again.
    pub alert_cooldown: Duration,
    /// How long a full bulkhead is not reported again.
    pub bulkhead_report_cooldown: Duration,
    /// Where errors are reported.
    pub sentry_dsn: Option<Secret>,
    /// Where the limiter's alerts go; [`Self::sentry_dsn`] if nothing else is set.
    pub rate_limit_sentry_dsn: Option<Secret>,
    /// Where traces and metrics are sent.
    pub otlp_endpoint: Option<String>,
}

impl Ops {
    pub(super) fn take(from: &mut Settled) -> Self {
        let sentry_dsn = from.secret("SENTRY_DSN");
        Self {
            token: from.secret("OPS_TOKEN"),
            read_token: from.secret("OPS_READ_TOKEN"),
            default_window_minutes: from.number("OPS_DEFAULT_WINDOW_MINUTES"),
            max_rows_per_section: from.size("OPS_MAX_ROWS_PER_SECTION"),
            alert_threshold: from.number("ALERT_THRESHOLD"),
            alert_cooldown: from.span("ALERT_COOLDOWN_MS"),
            bulkhead_report_cooldown: from.span("BULKHEAD_SENTRY_COOLDOWN_MS"),
            rate_limit_sentry_dsn: from
                .secret("RATE_LIMIT_SENTRY_DSN")
                .or_else(|| sentry_dsn.clone()),
            sentry_dsn,
            otlp_endpoint: from.text("OTEL_EXPORTER_OTLP_ENDPOINT"),
        }
    }
}

/// How callers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Signs anonymous sessions.
    pub session_secret: Option<Secret>,
    /// Checks users' tokens of HS256.
    pub jwt_secret: Option<Secret>,
    /// Where the keys of users' tokens are.
    pub jwks_url: Option<String>,
    /// How such tokens may be signed: `RS256`, `ES256`.
    pub jwks_algorithms: Vec<String>,
    /// Who must have issued a user's token.
    pub issuer: Option<String>,
    /// Whom a user's token must be for.
    pub audience: Option<String>,
}

impl Auth {
    pub(super) fn take(from: &mut Settled) -> Self {
        Self {
            session_secret: from.secret("SESSION_SECRET"),
            jwt_secret: from.secret("AUTH_JWT_SECRET"),
            jwks_url: from.text("AUTH_JWKS_URL"),
            jwks_algorithms: from.list("AUTH_JWKS_ALGORITHMS"),
            issuer: from.text("AUTH_ISSUER"),
            audience: from.text("AUTH_AUDIENCE"),
        }
    }
}
