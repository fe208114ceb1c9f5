//! Numbers that the interface promises and no knob changes (INTERFACE.md §3, §6).

use std::time::Duration;

use sendcat_state::job::JobRules;
use sendcat_state::tool_cache::CacheRules;

/// The largest body of a chat request, in bytes.
pub const CHAT_BODY_BYTES_MAX: usize = 64 * 1024;
/// How often a stream shows that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often the operators' stream tells what has changed.
pub const OPS_STREAM_EVERY: Duration = Duration::from_secs(1);
/// Readers of the operators' stream at once.
pub const OPS_STREAMS_MAX: usize = 16;
/// The most that one answer's stream log holds, in bytes.
pub const STREAM_LOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a probe of a half-open circuit may take before its place goes to another.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(30);
/// How often a call may be sent, the first time included.
pub const RETRY_ATTEMPTS: u32 = 3;
/// The delay before the second attempt, before jitter; it doubles.
pub const RETRY_BASE: Duration = Duration::from_millis(200);
/// The longest delay between attempts.
pub const RETRY_CAP: Duration = Duration::from_secs(5);
/// Answers after which a call may be sent again.
pub const RETRY_STATUSES: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];

/// What the tool cache holds at most. All of it is saved each second in which something changed,
/// so it stays small; a result of a search has a few KiB.
pub const TOOL_CACHE: CacheRules =
    CacheRules { entries_max: 1024, bytes_max: 4 << 20, value_bytes_max: 64 << 10 };

/// How long a webhook's key is known.
pub const WEBHOOK_KEY_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a chat request's key is known.
pub const CHAT_KEY_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a finished event is kept.
pub const DONE_EVENT_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Dead letters kept at most; beyond it the oldest goes.
pub const DEAD_LETTERS_MAX: usize = 10_000;

/// How long a code that links a number is good.
pub const LINK_CODE_TTL: Duration = Duration::from_secs(10 * 60);
/// How often a sender whom nobody has linked is told how that is done.
pub const LINK_HINT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest file of a message that is fetched, in bytes.
pub const WHATSAPP_MEDIA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Threads that one owner may have.
pub const THREADS_PER_OWNER_MAX: usize = 1000;
/// Evidence rows that one owner may have.
pub const EVIDENCE_PER_OWNER_MAX: usize = 10_000;
/// Favorites that one owner may have.
pub const FAVORITES_PER_OWNER_MAX: usize = 1000;
/// Packages that one owner may have.
pub const PACKAGES_PER_OWNER_MAX: usize = 1000;
/// Bytes of one record's data, or of one owner's preferences, as compact JSON.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Messages that one thread may have.
pub const MESSAGES_PER_THREAD_MAX: usize = 2000;
/// Items of a page unless asked otherwise.
pub const PAGE_DEFAULT: usize = 20;
/// Items of a page at most.
pub const PAGE_MAX: usize = 100;
/// Bytes of texts and parts after which a page of messages ends early.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// How long equal limiter events count as one.
pub const EVENT_DEDUPE: Duration = Duration::from_secs(5);
/// How long limiter events are kept.
pub const EVENT_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Over how long `ALERT_THRESHOLD` counts.
pub const ALERT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Accepted events of one source that run at once; the knobs leave it to us (INTERFACE.md §4,
/// PRIMITIVES.md §4).
pub const INBOX_RUNNING_MAX: usize = 8;

/// What holds for each of them.
pub const INBOX_JOB: JobRules = JobRules {
    lease: Duration::from_secs(60),
    max_attempts: 8,
    retry_base: Duration::from_secs(1),
    retry_cap: Duration::from_secs(300),
    ttl: None,
};
/// Limiter events that have a row; those of the day beyond it are only counted. All rows are saved
/// each second in which something changed.
pub const EVENT_ROWS_MAX: usize = 2000;
/// Refused callers that are told apart at once.
pub const EVENT_KEYS_MAX: usize = 4096;
/// Alerts kept at most.
pub const ALERTS_MAX: usize = 500;
