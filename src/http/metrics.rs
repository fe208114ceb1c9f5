//! `GET /metrics`: what is measured, in the text form that Prometheus reads.
//!
//! What is recorded when it happens is the telemetry room's. What actors and their handles show of
//! themselves is read here, each time that somebody looks; no actor is asked, so this answers while
//! every actor hangs. Nobody needs a token (INTERFACE.md §2): there is nothing of a caller in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_web::HttpResponse;
use sendcat_actors::failure;
use sendcat_actors::observe::{ActorView, Cause, Status};
use sendcat_state::job::JobKind;
use sendcat_state::key::{Bucket, InboxSource, ProviderId, ToolKind};
use sendcat_state::timestamp::Timestamp;

use super::Shared;
use super::dispatch::Call;
use super::respond::Refusal;
use crate::contract::code::ErrorCode;
use crate::telemetry::metrics::Seen;
use crate::telemetry::metrics::catalog::{self, Metric};

/// Version 0.0.4 of the text form: the one that every scraper reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Workers are many and alike: they are one name here.
const WORKERS: &str = "tool_worker";

/// What is measured.
pub(super) async fn get(call: Call) -> Result<HttpResponse, Refusal> {
    let text = call.shared().metrics.text().map_err(|error| {
        tracing::error!(%error, "metrics cannot be shown");
        Refusal::from(ErrorCode::InternalError)
    })?;
    Ok(HttpResponse::Ok().content_type(TEXT).body(text))
}

/// How a metric is read.
type Read = fn(&Shared, &mut Seen<'_>);

/// Has every metric that is read, not recorded, read from here.
pub fn watch(shared: &Arc<Shared>) {
    for (metric, read) in READ {
        let shared: Weak<Shared> = Arc::downgrade(shared);
        let metrics = shared.upgrade().map(|shared| shared.metrics.clone());
        let Some(metrics) = metrics else { return };
        metrics.watch(metric, move |seen| {
            if let Some(shared) = shared.upgrade() {
                read(&shared, seen);
            }
        });
    }
}

/// Which metric is read how.
const READ: &[(&Metric, Read)] = &[
    (&catalog::LIMITER_CALLS, limiter),
    (&catalog::BREAKER_STATE, breaker_states),
    (&catalog::BREAKER_TRANSITIONS, breaker_transitions),
    (&catalog::BULKHEAD_IN_FLIGHT, |shared, seen| {
        for (provider, bulkhead) in shared.tree.bulkheads.bulkheads() {
            seen.put(count(bulkhead.view().leases.len()), [provider.as_str()]);
        }
    }),
    (&catalog::BULKHEAD_MAX, |shared, seen| {
        for (provider, bulkhead) in shared.tree.bulkheads.bulkheads() {
            seen.put(count(bulkhead.rules().capacity), [provider.as_str()]);
        }
    }),
    (&catalog::BULKHEAD_WAITING, |shared, seen| {
        for (provider, bulkhead) in shared.tree.bulkheads.bulkheads() {
            seen.put(count(bulkhead.view().waiting), [provider.as_str()]);
        }
    }),
    (&catalog::BULKHEAD_REFUSED, |shared, seen| {
        for provider in ProviderId::ALL {
            seen.put(total(shared.tree.bulkheads.refused(*provider)), [provider.as_str()]);
        }
    }),
    (&catalog::DUPLICATES, |shared, seen| {
        for (scope, scoped) in shared.tree.claims.view().iter() {
            seen.put(total(scoped.duplicates), [scope]);
        }
    }),
    (&catalog::INBOX_EVENTS, inbox),
    (&catalog::INBOX_OLDEST, |shared, seen| {
        let now = shared.tree.clock.now();
        for (kind, partition) in &shared.tree.jobs.view().partitions {
            let JobKind::Inbox(source) = kind else { continue };
            let since = [partition.oldest_queued, partition.oldest_running];
            let oldest = since.into_iter().flatten().min();
            seen.put(age(oldest, now), [InboxSource::as_str(*source)]);
        }
    }),
    (&catalog::QUEUE_JOBS, queue),
    (&catalog::QUEUE_OLDEST, |shared, seen| {
        let now = shared.tree.clock.now();
        for (kind, partition) in &shared.tree.jobs.view().partitions {
            let JobKind::Tool(tool) = kind else { continue };
            seen.put(age(partition.oldest_queued, now), [ToolKind::as_str(*tool)]);
        }
    }),
    (&catalog::DEAD_LETTERS, |shared, seen| {
        for (kind, partition) in &shared.tree.jobs.view().partitions {
            let JobKind::Inbox(source) = kind else { continue };
            seen.put(total(partition.dead), [InboxSource::as_str(*source)]);
        }
    }),
    (&catalog::CACHE_LOOKUPS, |shared, seen| {
        let lookups = shared.tree.cache.lookups();
        seen.put(total(lookups.hits), ["hit"]);
        seen.put(total(lookups.misses), ["miss"]);
    }),
    (&catalog::CACHE_BYTES, |shared, seen| seen.put(count(shared.tree.cache.view().bytes), [])),
    (&catalog::ACTOR_UP, |shared, seen| {
        let up = |actor: &ActorView| f64::from(u8::from(actor.status == Status::Running));
        by_actor(shared, up).iter().for_each(|(actor, up)| seen.put(*up, [actor]));
    }),
    (&catalog::ACTOR_RESTARTS, restarts),
    (&catalog::MAILBOX_DEPTH, |shared, seen| {
        let depths = by_actor(shared, |actor| count(actor.mailbox_depth));
        depths.iter().for_each(|(actor, depth)| seen.put(*depth, [actor]));
    }),
    (&catalog::UNANSWERED, |_, seen| {
        for one in failure::unavailable() {
            seen.put(total(one.times), [one.concern.as_str(), one.error.as_str()]);
        }
    }),
    (&catalog::SNAPSHOT_AGE, |shared, seen| {
        let now = shared.tree.clock.now();
        for (actor, saved) in &shared.tree.journal.state().saved {
            seen.put(age(Some(*saved), now), [actor]);
        }
    }),
    (&catalog::JOURNAL_COMMITS, |shared, seen| {
        seen.put(total(shared.tree.journal.state().commits), []);
    }),
    (&catalog::JOURNAL_SYNCS, |shared, seen| {
        seen.put(total(shared.tree.journal.state().groups), []);
    }),
    (&catalog::JOURNAL_SYNC_TIME, |shared, seen| {
        seen.put(shared.tree.journal.state().syncing.as_secs_f64(), []);
    }),
    (&catalog::JOURNAL_DISK, |shared, seen| {
        seen.put(total(shared.tree.journal.state().size_on_disk), []);
    }),
    (&catalog::JOURNAL_FAILING, |shared, seen| {
        let since = shared.tree.journal.state().failing_since;
        seen.put(age(since, shared.tree.clock.now()), []);
    }),
    (&catalog::LIVE_STREAMS, |shared, seen| seen.put(count(shared.tree.answers.running()), [])),
    (&catalog::PROCESS_MEMORY, |_, seen| {
        if let Some(kib) = of_process("VmRSS:") {
            seen.put(kib * 1024.0, []);
        }
    }),
    (&catalog::PROCESS_FILES, |_, seen| {
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            seen.put(count(files.count()), []);
        }
    }),
    (&catalog::PROCESS_THREADS, |_, seen| {
        if let Some(threads) = of_process("Threads:") {
            seen.put(threads, []);
        }
    }),
];

/// A figure that Linux keeps of this process; none elsewhere.
fn of_process(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn limiter(shared: &Shared, seen: &mut Seen<'_>) {
    for bucket in Bucket::ALL {
        let tally = shared.tree.limiter.tally(*bucket);
        seen.put(total(tally.admitted), [bucket.as_str(), "admitted"]);
        seen.put(total(tally.refused), [bucket.as_str(), "refused"]);
        seen.put(total(tally.unanswered), [bucket.as_str(), "unanswered"]);
    }
}

/// Every word that a circuit may show.
const STATES: [&str; 6] = ["closed", "open", "half_open", "forced_open", "disabled", "shadow"];

fn breaker_states(shared: &Shared, seen: &mut Seen<'_>) {
    for (provider, circuit) in shared.tree.circuits.circuits() {
        let view = circuit.view();
        let shown = view.as_ref().map_or("closed", |view| view.shown());
        for state in STATES {
            seen.put(f64::from(u8::from(state == shown)), [provider.as_str(), state]);
        }
    }
}

fn breaker_transitions(shared: &Shared, seen: &mut Seen<'_>) {
    for (provider, circuit) in shared.tree.circuits.circuits() {
        let turns = circuit.vitals().turns();
        for state in STATES {
            let times = turns.get(state).copied().unwrap_or(0);
            seen.put(total(times), [provider.as_str(), state]);
        }
    }
}

fn inbox(shared: &Shared, seen: &mut Seen<'_>) {
    for (kind, partition) in &shared.tree.jobs.view().partitions {
        let JobKind::Inbox(source) = kind else { continue };
        let source = InboxSource::as_str(*source);
        seen.put(count(partition.queued), [source, "pending"]);
        seen.put(count(partition.running), [source, "running"]);
        seen.put(total(partition.done), [source, "done"]);
        seen.put(total(partition.dead), [source, "dead"]);
    }
}

fn queue(shared: &Shared, seen: &mut Seen<'_>) {
    for (kind, partition) in &shared.tree.jobs.view().partitions {
        let JobKind::Tool(tool) = kind else { continue };
        let tool = ToolKind::as_str(*tool);
        seen.put(count(partition.queued), [tool, "queued"]);
        seen.put(count(partition.running), [tool, "running"]);
        seen.put(total(partition.done), [tool, "done"]);
        seen.put(total(partition.dead), [tool, "dead"]);
    }
}

fn restarts(shared: &Shared, seen: &mut Seen<'_>) {
    for cause in Cause::ALL {
        let times = |actor: &ActorView| {
            let counted = actor.restarts.iter().find(|(of, _)| *of == cause);
            total(counted.map_or(0, |(_, times)| *times))
        };
        for (actor, times) in by_actor(shared, times) {
            seen.put(times, [&actor, cause.as_str()]);
        }
    }
}

/// A figure of every actor, those of one name added up.
fn by_actor(shared: &Shared, figure: impl Fn(&ActorView) -> f64) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    for actor in shared.tree.actors() {
        let name = if actor.name.starts_with(WORKERS) { WORKERS } else { &actor.name };
        *figures.entry(name.to_owned()).or_default() += figure(&actor);
    }
    figures
}

/// Seconds since; 0 if there is no such time.
fn age(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(Duration::ZERO, |since| now.since(since)).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, more than is ever counted")]
fn total(count: u64) -> f64 {
    count as f64
}

fn count(count: usize) -> f64 {
    total(count as u64)
}
