//! The rows of the knob table that belong to no provider, bucket or tool.
//!
//! A row is name, kind, default (`-` for none), what it does.

use super::kind::Kind::{
    self, Address, Bytes, Choice, Count, List, Minutes, Networks, Origins, Path, Secret, Secrets,
    Sources, Text, Url, Words,
};
use super::knobs::{COUNT, HEADER_FORMS, LONG, MANY, MILLIS, MILLIS_OR_NONE, PLACEMENTS};

/// One row.
pub(super) struct Row(
    pub(super) &'static str,
    pub(super) Kind,
    pub(super) &'static str,
    pub(super) &'static str,
);

/// Signatures that a public key checks.
const JWKS_ALGORITHMS: &[&str] = &["RS256", "ES256"];

/// 3 MiB: what Meta may send at most (WEBHOOKS.md §1.2).
const META_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// The process itself.
pub(super) const SERVER: &[Row] = &[
    Row("SENDCAT_BIND", Address, "127.0.0.1:8787", "Where to listen; port 0 picks a free one."),
    Row("SENDCAT_CONFIG", Path, "-", "A TOML file with the same names in lower case."),
    Row("SENDCAT_DATA_DIR", Path, "./data", "Where state is kept."),
    Row("SENDCAT_WORKERS", Count(1, 1024), "cores", "Threads that serve HTTP."),
    Row(
        "SENDCAT_SHARD_PLACEMENT",
        Choice(PLACEMENTS),
        "worker",
        "Whether limiter shards share the threads of HTTP or have their own.",
    ),
    Row("SENDCAT_SNAPSHOT_MS", MILLIS, "1000", "How often changed machines are snapshotted."),
    Row("SENDCAT_DRAIN_MS", MILLIS, "25000", "How long live streams may go on at shutdown."),
    Row(
        "SENDCAT_LAME_DUCK_MS",
        MILLIS_OR_NONE,
        "0",
        "How long readiness says 503 before the listener closes.",
    ),
    Row(
        "SENDCAT_BODY_TIMEOUT_MS",
        MILLIS,
        "10000",
        "How long a request's body may take to arrive.",
    ),
    Row("SENDCAT_FAULTS", Text, "-", "Faults to inject, read by builds with feature faults only."),
    Row("WEBHOOK_MAX_BYTES", Bytes(1, MANY), "262144", "The largest body of a webhook."),
    Row(
        "WHATSAPP_MAX_BYTES",
        Bytes(1, META_BYTES_MAX),
        "262144",
        "The largest body of a WhatsApp delivery; Meta sends up to 3 MiB.",
    ),
    Row(
        "WEBHOOK_BACKLOG_MAX",
        Count(1, MANY),
        "100000",
        "Accepted events of a kind that may wait: WhatsApp's, Gmail's, all other sources'.",
    ),
    Row(
        "WEBHOOK_SOURCES",
        Sources,
        "",
        "Configured webhook sources, each with WEBHOOK_SECRET_<NAME>.",
    ),
    Row("OTEL_EXPORTER_OTLP_ENDPOINT", Url, "-", "Where traces and metrics are sent, if anywhere."),
    Row("SENTRY_DSN", Secret, "-", "Where errors and alerts are reported, if anywhere."),
    Row(
        "RATE_LIMIT_SENTRY_DSN",
        Secret,
        "-",
        "Where alerts of the limiter go, if not to SENTRY_DSN.",
    ),
];

/// Limits and alerts, reloaded live.
pub(super) const LIMITS: &[Row] = &[
    Row(
        "RATE_LIMIT_HEADERS",
        Choice(HEADER_FORMS),
        "draft11",
        "In which form answers tell what is left of a limit.",
    ),
    Row(
        "ALERT_THRESHOLD",
        COUNT,
        "25",
        "Refusals of one kind in five minutes that raise an alert.",
    ),
    Row("ALERT_COOLDOWN_MS", MILLIS, "1800000", "How long the same alert is not raised again."),
    Row(
        "BULKHEAD_SENTRY_COOLDOWN_MS",
        MILLIS,
        "300000",
        "How long a full bulkhead is not reported again.",
    ),
    Row(
        "OPS_DEFAULT_WINDOW_MINUTES",
        Minutes(1, LONG / 60_000),
        "15",
        "How far back operators' counts reach unless asked otherwise.",
    ),
    Row(
        "OPS_MAX_ROWS_PER_SECTION",
        COUNT,
        "50",
        "Rows that one section of an operators' answer has.",
    ),
];

/// Clocks and bounds of a chat answer.
pub(super) const CHAT: &[Row] = &[
    Row("CHAT_CONNECT_TIMEOUT_MS", MILLIS, "5000", "How long connecting to the model may take."),
    Row("CHAT_HEADERS_TIMEOUT_MS", MILLIS, "20000", "How long the model may take to begin."),
    Row("CHAT_FIRST_CONTENT_TIMEOUT_MS", MILLIS, "30000", "How long the first content may take."),
    Row(
        "CHAT_IDLE_TIMEOUT_MS",
        MILLIS,
        "20000",
        "How long the model may be silent between contents.",
    ),
    Row("CHAT_TOTAL_TIMEOUT_MS", MILLIS, "300000", "How long a whole answer may take."),
    Row(
        "CHAT_MIN_PROGRESS_CHARS",
        COUNT,
        "20",
        "Characters that must come in each CHAT_MIN_PROGRESS_WINDOW_MS.",
    ),
    Row("CHAT_MIN_PROGRESS_WINDOW_MS", MILLIS, "30000", "The window of CHAT_MIN_PROGRESS_CHARS."),
    Row("CHAT_MAX_STEPS", Count(1, 100), "8", "Model calls that one answer may take."),
];

/// Queue and cache of tools, reloaded live.
pub(super) const TOOLS: &[Row] = &[
    Row(
        "TOOL_CACHE_WEB_SEARCH_TTL_MS",
        MILLIS,
        "300000",
        "How long a web search's result is kept.",
    ),
    Row(
        "TOOL_CACHE_PRODUCT_SEARCH_TTL_MS",
        MILLIS,
        "600000",
        "How long a product search's result is kept.",
    ),
    Row(
        "TOOL_CACHE_WEB_SEARCH_NAMESPACE_VERSION",
        Text,
        "v1",
        "Changing it forgets all kept web searches.",
    ),
    Row("TOOL_CACHE_PRODUCTS_NS_VER", Text, "v1", "Changing it forgets all kept product searches."),
    Row("TOOL_JOB_MAX_PER_RUN", COUNT, "8", "Tool calls that one answer may queue."),
    Row("TOOL_JOB_LEASE_MS", MILLIS, "30000", "How long a silent worker keeps its tool call."),
    Row("TOOL_JOB_WAIT_MS", MILLIS, "20000", "How long an answer waits for a tool call."),
    Row("TOOL_JOB_POLL_MS", MILLIS, "250", "The longest pause between two looks at the queue."),
    Row("TOOL_JOB_MAX_ATTEMPTS", COUNT, "3", "Attempts before a tool call is given up."),
    Row(
        "TOOL_JOB_RETRY_BASE_MS",
        MILLIS,
        "500",
        "The delay before the second attempt; it doubles.",
    ),
    Row("TOOL_JOB_TTL_MS", MILLIS, "3600000", "How long a tool call may wait in the queue."),
    Row(
        "TOOL_JOB_CLAIM_SCAN",
        COUNT,
        "50",
        "Waiting calls that are looked at for one that may run.",
    ),
    Row("BULKHEAD_TOOL_JOB_MAX", COUNT, "16", "Tool calls that run at once, all tools together."),
    Row(
        "BULKHEAD_TOOL_JOB_LEASE_MS",
        MILLIS,
        "60000",
        "How long a silent tool call keeps its place among them.",
    ),
];

/// Who may do what, and from where.
pub(super) const ACCESS: &[Row] = &[
    Row(
        "ALLOWED_ORIGINS",
        Origins,
        "https://www.sendcat.app,http://localhost:3000,http://localhost:3100,http://localhost:5173",
        "Origins whose pages may call the API.",
    ),
    Row(
        "TRUSTED_PROXIES",
        Networks,
        "",
        "Networks of proxies whose word on a client's address is taken; each of them must \
         overwrite or strip cf-connecting-ip, x-forwarded-for and x-real-ip.",
    ),
    Row("APP_BASE_URL", Url, "http://localhost:3000", "Where the front end is, for redirects."),
    Row("SESSION_SECRET", Secret, "-", "Signs the tokens of anonymous sessions."),
    Row("AUTH_JWT_SECRET", Secret, "-", "Checks users' tokens signed with HS256."),
    Row("AUTH_JWKS_URL", Url, "-", "Where the keys are that sign users' tokens."),
    Row(
        "AUTH_JWKS_ALGORITHMS",
        Words(JWKS_ALGORITHMS),
        "RS256,ES256",
        "How tokens may be signed that are checked by keys from AUTH_JWKS_URL.",
    ),
    Row("AUTH_ISSUER", Text, "-", "Who must have issued a user's token."),
    Row("AUTH_AUDIENCE", Text, "-", "Whom a user's token must be for."),
    Row("OPS_TOKEN", Secret, "-", "Opens the operators' routes; without it there are none."),
    Row("OPS_READ_TOKEN", Secret, "-", "Opens the operators' routes for reading only."),
];

/// Keys and addresses of providers.
pub(super) const PROVIDERS: &[Row] = &[
    Row("OPENROUTER_API_KEY", Secret, "-", "The key for chat completions."),
    Row(
        "OPENROUTER_BASE_URL",
        Url,
        "https://openrouter.ai/api/v1",
        "A server that speaks the OpenAI chat-completions stream.",
    ),
    Row("OPENROUTER_MODEL", Text, "openai/gpt-4.1-mini", "The model that answers."),
    Row("OPENROUTER_FALLBACK_MODELS", List, "", "Models to try when that one is not available."),
    Row("SERPER_API_KEY", Secret, "-", "The key for web search."),
    Row("SERPER_BASE_URL", Url, "https://google.serper.dev", "Where web search is."),
    Row("SERPAPI_API_KEY", Secret, "-", "The key for shopping search."),
    Row("SERPAPI_BASE_URL", Url, "https://serpapi.com", "Where shopping search is."),
    Row("EBAY_CLIENT_ID", Text, "-", "Our name at eBay."),
    Row("EBAY_CLIENT_SECRET", Secret, "-", "Our password at eBay."),
    Row("EBAY_BASE_URL", Url, "https://api.ebay.com", "Where eBay is."),
    Row("GOOGLE_CLIENT_ID", Text, "-", "Our name at Google."),
    Row("GOOGLE_CLIENT_SECRET", Secret, "-", "Our password at Google."),
    Row(
        "GOOGLE_AUTH_URL",
        Url,
        "https://accounts.google.com/o/oauth2/v2/auth",
        "Where a user is asked to connect a mailbox.",
    ),
    Row("GOOGLE_TOKEN_URL", Url, "https://oauth2.googleapis.com/token", "Where tokens are had."),
    Row("GMAIL_BASE_URL", Url, "https://gmail.googleapis.com", "Where mailboxes are read."),
    Row(
        "GOOGLE_JWKS_URL",
        Url,
        "https://www.googleapis.com/oauth2/v3/certs",
        "Where the keys are that sign Google's pushes.",
    ),
    Row("GMAIL_REDIRECT_URL", Url, "-", "Where Google sends users back, as registered there."),
    Row("GMAIL_PUSH_TOPIC", Text, "-", "The Pub/Sub topic of pushes; without it mail is polled."),
    Row("GMAIL_PUSH_AUDIENCE", Text, "-", "Whom the token of a push must be for."),
    Row("GMAIL_PUSH_SERVICE_ACCOUNT", Text, "-", "Who must have signed the token of a push."),
    Row(
        "GMAIL_PUSH_SUBSCRIPTIONS",
        List,
        "",
        "The Pub/Sub subscriptions whose pushes are taken; without them those of any.",
    ),
    Row("GMAIL_PUSH_TOKEN", Secrets, "-", "The shared token of a push, in ?token=."),
    Row("WHATSAPP_VERIFY_TOKEN", Secrets, "-", "What Meta must know to set the callback address."),
    Row("WHATSAPP_APP_SECRET", Secrets, "-", "Signs deliveries; new and old during a rotation."),
    Row("WHATSAPP_ACCESS_TOKEN", Secret, "-", "The key for sending and for media."),
    Row("WHATSAPP_PHONE_NUMBER_ID", Text, "-", "The number that answers are sent from."),
    Row(
        "WHATSAPP_GRAPH_BASE_URL",
        Url,
        "https://graph.facebook.com/v25.0",
        "Where WhatsApp is, version included.",
    ),
    Row("RESEND_API_KEY", Secret, "-", "The key for outgoing mail."),
    Row("RESEND_BASE_URL", Url, "https://api.resend.com", "Where outgoing mail is handed in."),
    Row("RESEND_FROM", Text, "-", "The sender of outgoing mail."),
];
