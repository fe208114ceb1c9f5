//! Every metric there is, one row each: its OpenTelemetry name, what it counts, its labels.
//!
//! Instruments, `/metrics`, the dashboard and the alert rules are made from these rows. Names of
//! HTTP and of generative AI are OpenTelemetry's semantic conventions; all others begin with
//! `sendcat`. Labels take values from tables of ours alone, never from a caller.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Its values are counted by size, up to each of these bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// Its name in OpenTelemetry.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its unit in UCUM; empty for plain counts.
    pub unit: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// Its labels by their OpenTelemetry names.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// Its name at `/metrics`, as opentelemetry-prometheus makes it: dots are underscores, the unit
    /// is written out, a counter ends in `_total`.
    pub fn exposed(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }
}

/// Bounds that the conventions of HTTP advise, in seconds, and two for streams that begin late.
const REQUEST_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0];

/// Bounds that the conventions of generative AI advise, in seconds.
const MODEL_SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68,
];

/// Bounds that they advise for tokens.
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

/// Declares the rows, and all of them as one table.
macro_rules! metrics {
    ($(
        $row:ident = $kind:expr, $name:literal, $unit:literal, [$($label:literal),*], $help:literal;
    )+) => {
        $(
            #[doc = $help]
            pub const $row: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                help: $help,
                labels: &[$($label),*],
            };
        )+

        /// Every row.
        pub const METRICS: &[&Metric] = &[$(&$row),+];
    };
}

metrics! {
    HTTP_DURATION = Kind::Histogram(REQUEST_SECONDS), "http.server.request.duration", "s",
        ["http.route", "http.request.method", "http.response.status_code", "error.type"],
        "Time from a request's head to its answer's head; a stream goes on after it.";
    CHAT_DURATION = Kind::Histogram(MODEL_SECONDS), "gen_ai.client.operation.duration", "s",
        ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"],
        "Time that a call of the model took, from the request to the end of its stream.";
    FIRST_CHUNK = Kind::Histogram(MODEL_SECONDS), "gen_ai.client.operation.time_to_first_chunk",
        "s", ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"],
        "Time until the first content of a call of the model.";
    TOKEN_USAGE = Kind::Histogram(TOKENS), "gen_ai.client.token.usage", "{token}",
        ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model",
         "gen_ai.token.type"],
        "Tokens of a call of the model, as the provider counted them.";
    TOOL_DURATION = Kind::Histogram(MODEL_SECONDS), "gen_ai.execute_tool.duration", "s",
        ["gen_ai.operation.name", "gen_ai.tool.name", "error.type"],
        "Time that a tool took as the answer saw it, waiting in line included.";
    LIMITER_CALLS = Kind::Counter, "sendcat.limiter.calls", "", ["bucket", "outcome"],
        "Calls under a rate limit: admitted, refused, or unanswered by the limiter.";
    BREAKER_STATE = Kind::Gauge, "sendcat.breaker.state", "", ["provider", "state"],
        "1 for the state that a provider's circuit is in, 0 for the others.";
    BREAKER_TRANSITIONS = Kind::Counter, "sendcat.breaker.transitions", "", ["provider", "state"],
        "How often a provider's circuit came to a state.";
    BULKHEAD_IN_FLIGHT = Kind::Gauge, "sendcat.bulkhead.in_flight", "", ["provider"],
        "Calls to a provider in flight.";
    BULKHEAD_MAX = Kind::Gauge, "sendcat.bulkhead.max", "", ["provider"],
        "Calls to a provider that may be in flight.";
    BULKHEAD_WAITING = Kind::Gauge, "sendcat.bulkhead.waiting", "", ["provider"],
        "Calls to a provider that wait for a slot.";
    BULKHEAD_REFUSED = Kind::Counter, "sendcat.bulkhead.refused", "", ["provider"],
        "Calls to a provider that got no slot.";
    DUPLICATES = Kind::Counter, "sendcat.idempotency.duplicates", "", ["scope"],
        "Deliveries that had come before.";
    INBOX_EVENTS = Kind::Gauge, "sendcat.inbox.events", "", ["source", "status"],
        "Accepted events; done and dead since the store was made.";
    INBOX_OLDEST = Kind::Gauge, "sendcat.inbox.oldest_age", "s", ["source"],
        "Age of the oldest accepted event that is not done; 0 if all are.";
    QUEUE_JOBS = Kind::Gauge, "sendcat.queue.jobs", "", ["tool", "status"],
        "Queued tool calls; done and dead since the store was made.";
    QUEUE_OLDEST = Kind::Gauge, "sendcat.queue.oldest_age", "s", ["tool"],
        "Age of the oldest waiting tool call; 0 if none waits.";
    DEAD_LETTERS = Kind::Counter, "sendcat.dead_letters", "", ["source"],
        "Accepted events that were given up since the store was made.";
    CACHE_LOOKUPS = Kind::Counter, "sendcat.tool_cache.lookups", "", ["outcome"],
        "Look-ups of tools' results: hit or miss.";
    CACHE_BYTES = Kind::Gauge, "sendcat.tool_cache.size", "By", [],
        "What kept results of tools cost in memory.";
    ACTOR_UP = Kind::Gauge, "sendcat.actor.up", "", ["actor"],
        "How many of the actors of that name answer.";
    ACTOR_RESTARTS = Kind::Counter, "sendcat.actor.restarts", "", ["actor", "cause"],
        "Restarts of an actor; a panic while deciding restarts nothing and counts too.";
    MAILBOX_DEPTH = Kind::Gauge, "sendcat.actor.mailbox_depth", "", ["actor"],
        "Commands inside an actor, queued or at work.";
    UNANSWERED = Kind::Counter, "sendcat.actor.unanswered", "", ["concern", "error"],
        "How often a concern went its failure direction, for its actor gave no answer.";
    SNAPSHOT_AGE = Kind::Gauge, "sendcat.snapshot.age", "s", ["actor"],
        "Age of an actor's newest snapshot; one whose state does not change takes none.";
    JOURNAL_COMMITS = Kind::Counter, "sendcat.journal.commits", "", [],
        "Commits made durable.";
    JOURNAL_SYNCS = Kind::Counter, "sendcat.journal.syncs", "", [],
        "Groups of commits made durable, each by one fsync.";
    JOURNAL_SYNC_TIME = Kind::Counter, "sendcat.journal.sync_time", "s", [],
        "Time that making groups durable has taken in all.";
    JOURNAL_DISK = Kind::Gauge, "sendcat.journal.disk_size", "By", [],
        "Bytes on disk after the last snapshot.";
    JOURNAL_FAILING = Kind::Gauge, "sendcat.journal.failing_age", "s", [],
        "For how long nothing could be written; 0 while all is well.";
    LIVE_STREAMS = Kind::Gauge, "sendcat.streams.live", "", [],
        "Answers that are running.";
    PROCESS_MEMORY = Kind::Gauge, "sendcat.process.resident_memory", "By", [],
        "Memory of the process that is not paged out; absent where the system does not tell.";
    PROCESS_FILES = Kind::Gauge, "sendcat.process.open_files", "", [],
        "Files and connections that the process has open.";
    PROCESS_THREADS = Kind::Gauge, "sendcat.process.threads", "", [],
        "Threads of the process.";
    EXPORTS = Kind::Counter, "sendcat.otlp.exports", "", ["outcome"],
        "Requests to the OTLP endpoint: sent or failed.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_says_what_it_tells() {
        let mut names = HashSet::new();
        for metric in METRICS {
            assert!(names.insert(metric.exposed()), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            let own = metric.name.starts_with("sendcat.");
            let convention = ["http.server.", "gen_ai."];
            assert!(own || convention.iter().any(|it| metric.name.starts_with(it)));
        }
    }

    #[test]
    fn the_exposed_name_is_written_as_prometheus_wants_it() {
        assert_eq!(HTTP_DURATION.exposed(), "http_server_request_duration_seconds");
        assert_eq!(TOKEN_USAGE.exposed(), "gen_ai_client_token_usage");
        assert_eq!(JOURNAL_SYNC_TIME.exposed(), "sendcat_journal_sync_time_seconds_total");
        assert_eq!(CACHE_BYTES.exposed(), "sendcat_tool_cache_size_bytes");
    }
}
