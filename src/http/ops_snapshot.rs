//! `GET /ops/snapshot`: everything of reliability in one answer, asked of no actor but the monitor,
//! which has a tenth of a second before what it last published has to do.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use sendcat_actors::handle::Handle;
use sendcat_actors::job_queue::View;
use sendcat_state::bulkhead::Bulkhead;
use sendcat_state::circuit_breaker::{CircuitBreaker, CircuitState};
use sendcat_state::job::JobKind;
use sendcat_state::key::{Bucket, InboxSource, ProviderId, ToolKind};
use sendcat_state::timestamp::Timestamp;

use super::dispatch::Call;
use super::ops::{actor_rows, millis, now};
use super::ops_alerts::Wanted;
use super::respond::{self, Refusal};
use super::{Shared, ops_alerts, ops_cache};
use crate::config::Config;
use crate::contract::ops::{self, Counts, Snapshot};
use crate::contract::rfc3339;

/// The snapshot.
pub(super) async fn get(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let wanted = Wanted::of(&call)?;
    Ok(respond::json(&taken(shared, &wanted).await))
}

/// The snapshot as it is now, with what is wanted of the limiter's refusals.
pub(super) async fn taken(shared: &Shared, wanted: &Wanted) -> Snapshot {
    let refused = shared.tree.monitor.look().await;
    let at = shared.tree.clock.now();
    let queue = shared.tree.jobs.view();
    Snapshot {
        generated_at: now(shared),
        window_minutes: wanted.window_minutes,
        config: rules(&shared.config()),
        rate_limit_pressure: ops_alerts::pressure(wanted, &refused, at),
        circuits: circuits(shared, at),
        bulkheads: bulkheads(shared),
        replay_protection: replay_protection(shared),
        tool_cache: ops_cache::section(shared),
        tool_jobs: tool_jobs(&shared.config(), &queue, at),
        inbox: inbox(&queue, at),
        actors: actor_rows(shared),
    }
}

fn rules(config: &Config) -> ops::ConfigSection {
    let tools = &config.tool_jobs;
    let per_tool = |of: fn(sendcat_state::job::PartitionRules) -> usize| {
        let count = |tool: &ToolKind| (tool.to_string(), of(tools.partition(*tool)) as u64);
        ToolKind::ALL.iter().map(count).collect::<Counts>()
    };
    ops::ConfigSection {
        rate_limits: named(Bucket::ALL, |bucket| {
            let limit = config.limit(bucket);
            ops::RateLimitRules { max: limit.calls, window_ms: millis(limit.per) }
        }),
        circuits: named(ProviderId::ALL, |provider| {
            let rules = config.circuit(provider);
            ops::CircuitRules {
                threshold: u64::from(rules.threshold),
                cooldown_ms: millis(rules.cooldown),
                slow_ms: rules.slow.map(millis),
            }
        }),
        bulkheads: named(ProviderId::ALL, |provider| {
            let rules = config.bulkhead(provider);
            ops::BulkheadRules {
                max_concurrent: rules.capacity as u64,
                lease_ttl_ms: millis(rules.lease_ttl),
                wait_ms: millis(rules.wait),
            }
        }),
        tool_cache: Counts::from([
            ("webSearchTtlMs".into(), millis(config.tool_cache.web_search_ttl)),
            ("productSearchTtlMs".into(), millis(config.tool_cache.product_search_ttl)),
        ]),
        tool_cache_namespaces: BTreeMap::from([
            ("webSearch".into(), config.tool_cache.web_search_version.clone()),
            ("products".into(), config.tool_cache.products_version.clone()),
        ]),
        tool_jobs: ops::ToolJobRules {
            max_per_run: u64::from(tools.max_per_run),
            lease_ms: millis(tools.rules.lease),
            wait_ms: millis(tools.wait),
            poll_ms: millis(tools.poll),
            max_attempts: u64::from(tools.rules.max_attempts),
            retry_base_ms: millis(tools.rules.retry_base),
            ttl_ms: tools.rules.ttl.map_or(0, millis),
            claim_scan: tools.claim_scan as u64,
            run_max: per_tool(|rules| rules.running_max),
            queue_max: per_tool(|rules| rules.queued_max),
            max_concurrent: tools.running_max as u64,
        },
        ops: ops::OpsRules {
            default_window_minutes: config.ops.default_window_minutes,
            max_rows_per_section: config.ops.max_rows_per_section as u64,
        },
    }
}

pub(super) fn circuits(shared: &Shared, at: Timestamp) -> Vec<ops::CircuitRow> {
    let row = |(provider, circuit): (ProviderId, &Handle<CircuitBreaker>)| {
        let view = *circuit.view();
        ops::CircuitRow {
            provider: provider.to_string(),
            state: view.map_or(CircuitState::Closed.as_str(), |view| view.shown()).to_owned(),
            failures: view.map_or(0, |view| u64::from(view.failures)),
            opened_at: view
                .and_then(|view| view.opened_at)
                .map(|opened| rfc3339(opened.as_millis())),
            retry_after_ms: view
                .and_then(|view| view.retry_at)
                .map(|retry| millis(at.until(retry))),
        }
    };
    shared.tree.circuits.circuits().map(row).collect()
}

fn bulkheads(shared: &Shared) -> BTreeMap<String, ops::BulkheadRow> {
    let row = |(provider, bulkhead): (ProviderId, &Handle<Bulkhead>)| {
        let view = bulkhead.view();
        let rules = shared.config().bulkhead(provider);
        let row = ops::BulkheadRow {
            in_flight: view.leases.len() as u64,
            max: rules.capacity as u64,
            waiting: view.waiting as u64,
        };
        (provider.to_string(), row)
    };
    shared.tree.bulkheads.bulkheads().map(row).collect()
}

fn replay_protection(shared: &Shared) -> ops::ReplayProtection {
    let scopes = shared.tree.claims.view();
    let row = |(scope, count): &(String, sendcat_state::idempotency::ScopeCount)| {
        (scope.clone(), ops::ScopeRow { keys: count.keys, duplicates: count.duplicates })
    };
    ops::ReplayProtection { by_scope: scopes.iter().map(row).collect() }
}

fn tool_jobs(config: &Config, queue: &View, at: Timestamp) -> ops::ToolJobsSection {
    let mut section = ops::ToolJobsSection::default();
    for (kind, partition) in &queue.partitions {
        let JobKind::Tool(tool) = kind else { continue };
        let counts = counts_of(partition);
        add(&mut section.by_status, &counts);
        section.by_tool.insert(tool.to_string(), counts);
        let rules = config.tool_jobs.partition(*tool);
        let pressure = ops::ToolPressure {
            queued: partition.queued as u64,
            queued_max: rules.queued_max as u64,
            running: partition.running as u64,
            running_max: rules.running_max as u64,
        };
        section.pressure_by_tool.insert(tool.to_string(), pressure);
        let queued = partition.oldest_queued.map(|since| millis(at.since(since)));
        let running = partition.oldest_running.map(|since| millis(at.since(since)));
        section.oldest_queued_age_ms = section.oldest_queued_age_ms.max(queued);
        section.oldest_running_age_ms = section.oldest_running_age_ms.max(running);
    }
    section
}

fn inbox(queue: &View, at: Timestamp) -> ops::InboxSection {
    let mut section = ops::InboxSection::default();
    for (kind, partition) in &queue.partitions {
        let JobKind::Inbox(source) = kind else { continue };
        let mut counts = counts_of(partition);
        if let Some(queued) = counts.remove("queued") {
            counts.insert("pending".into(), queued);
        }
        add(&mut section.by_status, &counts);
        section.by_source.insert(InboxSource::to_string(source), counts.values().sum());
        let oldest = partition.oldest_queued.min(partition.oldest_running);
        let oldest = oldest.or(partition.oldest_queued).or(partition.oldest_running);
        let age = oldest.map(|since| millis(at.since(since)));
        section.oldest_age_ms = section.oldest_age_ms.max(age);
    }
    section
}

fn counts_of(partition: &sendcat_state::job_queue::PartitionView) -> Counts {
    Counts::from([
        ("queued".into(), partition.queued as u64),
        ("running".into(), partition.running as u64),
        ("done".into(), partition.done),
        ("dead".into(), partition.dead),
    ])
}

fn add(to: &mut Counts, counts: &Counts) {
    for (name, count) in counts {
        *to.entry(name.clone()).or_default() += count;
    }
}

fn named<K: Copy + ToString, V>(all: &[K], of: impl Fn(K) -> V) -> BTreeMap<String, V> {
    all.iter().map(|key| (key.to_string(), of(*key))).collect()
}
