//! What a decision of each machine costs, without its actor: one whole round of what a call asks of
//! it, decided and applied. The rate limiter has a file of its own (`rate_limit.rs`).
//!
//! Floor of each: two look-ups and two writes of one key in a hash map of as many entries, which is
//! the least that anything could do that remembers who holds what.

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use sendcat_state::bulkhead::{Acquisition, Bulkhead, BulkheadRules, Priority};
use sendcat_state::circuit_breaker::{CallOutcome, CircuitBreaker, CircuitRules, Gate};
use sendcat_state::idempotency::{Claimant, Claims};
use sendcat_state::job::{AttemptOutcome, JobKind, JobRules, NewJob, PartitionRules, QueueRules};
use sendcat_state::job_queue::{ClaimAnswer, Enqueued, JobQueue};
use sendcat_state::key::{IdempotencyKey, InboxSource, TimedId, ToolKind};
use sendcat_state::live_answers::LiveAnswers;
use sendcat_state::timestamp::Timestamp;

/// Calls that go on meanwhile, as on a busy day.
const AT_WORK: u64 = 64;

/// Keys that are remembered meanwhile.
const REMEMBERED: u64 = 100_000;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LATE: Timestamp = Timestamp::from_millis(u64::MAX);
const MINUTE: Duration = Duration::from_secs(60);

fn floor(group: &mut BenchmarkGroup<'_, WallTime>, entries: u64) {
    let mut map: HashMap<u64, Timestamp> = (0..entries).map(|key| (key, NOW)).collect();
    let mut key = entries;
    group.bench_function("floor: a hash map", |each| {
        each.iter(|| {
            key += 1;
            let known = map.get(&key).copied();
            map.insert(key, NOW);
            let held = map.get(&key).copied();
            map.remove(&key);
            black_box((known, held))
        });
    });
}

fn circuit(bench: &mut Criterion) {
    let rules =
        CircuitRules { threshold: 5, cooldown: MINUTE, slow: Some(MINUTE), probe_deadline: MINUTE };
    let mut group = bench.benchmark_group("decision/circuit breaker");
    floor(&mut group, 1);
    for (name, outcome) in [("success", CallOutcome::Success), ("slow", CallOutcome::Slow)] {
        let mut circuit = CircuitBreaker::default();
        group.bench_function(format!("gate and {name}"), |each| {
            each.iter(|| {
                let gate = circuit.gate(NOW, &rules).settle(&mut circuit);
                if let Gate::Allowed(permit) = gate {
                    circuit.record(NOW, &rules, (permit, outcome), 7).settle(&mut circuit);
                }
                black_box(gate)
            });
        });
    }
}

fn bulkhead(bench: &mut Criterion) {
    let capacity = usize::try_from(AT_WORK).expect("it fits") + 1;
    let rules = BulkheadRules { capacity, lease_ttl: MINUTE, wait: Duration::ZERO };
    let mut bulkhead = Bulkhead::default();
    let caller = ("thread", Priority::Interactive);
    for _ in 0..AT_WORK {
        let _ = bulkhead.acquire(NOW, &rules, caller).settle(&mut bulkhead);
    }
    let mut group = bench.benchmark_group("decision/bulkhead");
    floor(&mut group, AT_WORK);
    group.bench_function("acquire and give back", |each| {
        each.iter(|| {
            let acquired = bulkhead.acquire(NOW, &rules, caller).settle(&mut bulkhead);
            let Acquisition::Held(lease) = acquired else { panic!("{acquired:?}") };
            bulkhead.give_back(NOW, &rules, lease.id).settle(&mut bulkhead)
        });
    });
}

fn claims(bench: &mut Criterion) {
    let key = |number: u64| IdempotencyKey::whatsapp_message(&format!("wamid.{number:020}"));
    let mut claims = Claims::new(usize::try_from(REMEMBERED).expect("it fits"));
    for number in 0..REMEMBERED {
        let keys = [key(number)];
        let _ = claims.claim(NOW, Claimant(number), &keys, MINUTE).settle(&mut claims);
        claims.done(&keys, LATE).settle(&mut claims);
    }
    let mut number = REMEMBERED;
    let mut group = bench.benchmark_group("decision/idempotency");
    floor(&mut group, REMEMBERED);
    group.bench_function("claim and done", |each| {
        each.iter(|| {
            number += 1;
            let keys = [key(number)];
            let answer = claims.claim(NOW, Claimant(number), &keys, MINUTE).settle(&mut claims);
            claims.done(&keys, LATE).settle(&mut claims);
            black_box(answer)
        });
    });
    group.bench_function("a duplicate", |each| {
        let keys = [key(number)];
        each.iter(|| claims.claim(NOW, Claimant(1), &keys, MINUTE).settle(&mut claims));
    });
}

fn jobs(bench: &mut Criterion) {
    let job = JobRules {
        lease: MINUTE,
        max_attempts: 3,
        retry_base: MINUTE,
        retry_cap: MINUTE,
        ttl: None,
    };
    let partition = PartitionRules { queued_max: usize::MAX, running_max: usize::MAX };
    let rules = QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 50 };
    let new = |kind: JobKind, number: u64| NewJob {
        id: TimedId::new(NOW, number),
        kind,
        key: format!("wamid.{number:020}"),
        payload: None,
    };
    for (name, kind) in [
        ("a tool's job", JobKind::Tool(ToolKind::SearchWeb)),
        ("an event", JobKind::Inbox(InboxSource::Whatsapp)),
    ] {
        let mut queue = JobQueue::default();
        for number in 0..AT_WORK {
            let job = vec![new(kind, number)];
            let _ = queue.enqueue(NOW, &rules, job, Vec::new()).settle(&mut queue);
        }
        let mut number = AT_WORK;
        let mut group = bench.benchmark_group(format!("decision/job queue, {name}"));
        floor(&mut group, AT_WORK);
        group.bench_function("enqueue, claim and finish", |each| {
            each.iter(|| {
                number += 1;
                let job = vec![new(kind, number)];
                let queued = queue.enqueue(NOW, &rules, job, Vec::new()).settle(&mut queue);
                assert_eq!(queued, Enqueued::Queued);
                let claimed = queue.claim(NOW, &rules, "w").settle(&mut queue);
                let ClaimAnswer::Claimed(job) = claimed else { panic!("{claimed:?}") };
                let done = AttemptOutcome::Done { writes: Vec::new() };
                queue.report(NOW, &rules, (job.id, job.lease), done, 7).settle(&mut queue)
            });
        });
    }
}

fn answers(bench: &mut Criterion) {
    let mut live = LiveAnswers::default();
    for number in 0..AT_WORK {
        let answer = TimedId::new(NOW, number);
        let _ = live.open(&format!("thread-{number}"), answer).settle(&mut live);
    }
    let mut number = AT_WORK;
    let mut group = bench.benchmark_group("decision/stream log");
    floor(&mut group, AT_WORK);
    group.bench_function("open and close", |each| {
        each.iter(|| {
            number += 1;
            let answer = TimedId::new(NOW, number);
            let opened = live.open("thread", answer).settle(&mut live);
            live.close("thread", answer).settle(&mut live);
            black_box(opened)
        });
    });
}

criterion_group!(benches, circuit, bulkhead, claims, jobs, answers);
criterion_main!(benches);
