//! Every form that was ever saved still loads and decides as it did: one file a machine and version
//! in `data/`. A file there is never written again; a new version adds files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sendcat_state::alert_monitor::{AlertMonitor, MonitorRules};
use sendcat_state::alert_rules::{AlertRules, AlertSubject, Delivery};
use sendcat_state::bulkhead::{Acquisition, Bulkhead, BulkheadRules, LeaseState, Priority};
use sendcat_state::circuit_breaker::{
    CallOutcome, CircuitBreaker, CircuitRules, CircuitState, Gate, Permit,
};
use sendcat_state::events::{EventOutcome, EventRules, EventSource, Recorded, Refused};
use sendcat_state::idempotency::{Claim, Claimant, Claims, ScopeCount};
use sendcat_state::job::{JobKind, JobRules, NewJob, PartitionRules, QueueRules};
use sendcat_state::job_queue::{ClaimAnswer, JobQueue};
use sendcat_state::key::{
    Bucket, ClientKey, IdempotencyKey, InboxSource, LeaseId, ProviderId, TimedId, ToolKind,
};
use sendcat_state::rate_shard::RateShard;
use sendcat_state::rate_window::{Admission, Limit};
use sendcat_state::snapshot::{self, SnapshotError};
use sendcat_state::tool_cache::{CacheKey, CacheRules, Kept, Lookup, NewResult, ToolCache};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::properties::{at, ms};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data").join(name)
}

/// What version 1 saved of that machine, up to journal record 42.
fn saved<M: DeserializeOwned>(kind: &str) -> M {
    let sealed = std::fs::read(file(&format!("{kind}.v1.json"))).expect("the file is there");
    let (upto, machine) = snapshot::open(kind, &sealed).expect("version 1 loads for ever");
    assert_eq!(upto, 42);
    machine
}

const TWO: Limit = Limit { calls: 2, per: Duration::from_millis(1000) };

fn caller(name: &str) -> ClientKey {
    ClientKey::session(Bucket::ChatStream, name)
}

fn rate_shard() -> RateShard {
    let mut shard = RateShard::new(2);
    // Ann has spent one call, Bob two; Cid found no room and is counted in the overflow window.
    for (millis, name) in [(100, "ann"), (200, "bob"), (300, "bob"), (400, "cid")] {
        let _ = shard.admit(at(millis), caller(name), TWO).settle(&mut shard);
    }
    shard
}

#[test]
fn a_rate_shard_of_version_1_counts_on() {
    let shard: RateShard = saved("rate_shard");
    let admit = |millis, name| shard.admit(at(millis), caller(name), TWO).answer;
    let admitted = |left, millis| Admission::Admitted { left, resets_in: ms(millis) };
    assert_eq!(admit(500, "ann"), admitted(0, 600));
    assert_eq!(admit(500, "bob"), Admission::Refused { retry_after: ms(700) });
    assert_eq!(admit(500, "dan"), admitted(0, 900), "with Cid in the overflow window");
    assert_eq!(admit(1100, "dan"), admitted(1, 1000), "Ann's window has ended and makes room");
    assert_eq!(shard.view().capacity, 2);
}

const CIRCUIT: CircuitRules = CircuitRules {
    threshold: 1,
    cooldown: Duration::from_millis(100),
    slow: None,
    probe_deadline: Duration::from_millis(30),
};

fn circuit_breaker() -> CircuitBreaker {
    let mut circuit = CircuitBreaker::default();
    let call = Permit { generation: 0, probe: None };
    let failure = CallOutcome::Failure { retry_after: None };
    circuit.record(at(50), &CIRCUIT, (call, failure), 100).settle(&mut circuit);
    let _probe = circuit.gate(at(150), &CIRCUIT).settle(&mut circuit);
    circuit
}

#[test]
fn a_circuit_of_version_1_waits_for_its_probe() {
    let mut circuit: CircuitBreaker = saved("circuit_breaker");
    assert_eq!(circuit.view().opened_at, Some(at(50)));
    let refused = Gate::Refused { retry_after: ms(20) };
    assert_eq!(circuit.gate(at(160), &CIRCUIT).answer, refused);
    let next = Gate::Allowed(Permit { generation: 1, probe: Some(1) });
    assert_eq!(circuit.gate(at(180), &CIRCUIT).answer, next);
    let probe = Permit { generation: 1, probe: Some(0) };
    circuit.record(at(160), &CIRCUIT, (probe, CallOutcome::Success), 100).settle(&mut circuit);
    assert_eq!(circuit.view().state, CircuitState::Closed);
}

const SLOTS: BulkheadRules =
    BulkheadRules { capacity: 2, lease_ttl: Duration::from_millis(100), wait: Duration::ZERO };

fn bulkhead() -> Bulkhead {
    let mut bulkhead = Bulkhead::default();
    for (millis, holder) in [(0, "gone"), (80, "turn-1"), (90, "turn-2")] {
        let _ =
            bulkhead.acquire(at(millis), &SLOTS, (holder, Priority::Tool)).settle(&mut bulkhead);
        if millis == 0 {
            let _ = bulkhead.give_back(at(80), &SLOTS, LeaseId(0)).settle(&mut bulkhead);
        }
    }
    bulkhead
}

#[test]
fn a_bulkhead_of_version_1_holds_its_leases() {
    let bulkhead: Bulkhead = saved("bulkhead");
    let late = ("late", Priority::Interactive);
    let full = Acquisition::Saturated { retry_after: Duration::from_secs(1) };
    assert_eq!(bulkhead.acquire(at(179), &SLOTS, late).answer, full);
    let Acquisition::Held(lease) = bulkhead.acquire(at(180), &SLOTS, late).answer else {
        panic!("the lease of turn-1 has run out")
    };
    assert_eq!((lease.id, lease.ends), (LeaseId(3), at(280)));
    assert_eq!(bulkhead.give_back(at(100), &SLOTS, LeaseId(2)).answer, LeaseState::Live);
    assert_eq!(bulkhead.give_back(at(100), &SLOTS, LeaseId(0)).answer, LeaseState::Gone);
    let holders: Vec<_> = bulkhead.view().leases.into_iter().map(|lease| lease.holder).collect();
    assert_eq!(holders, ["turn-1", "turn-2"]);
}

fn delivery(id: &str) -> IdempotencyKey {
    IdempotencyKey::webhook("shop", id)
}

fn claims() -> Claims {
    let mut claims = Claims::new(10);
    let both = [delivery("done"), delivery("leased")];
    let _ = claims.claim(at(0), Claimant(u64::MAX), &both, ms(100)).settle(&mut claims);
    claims.done(&[delivery("done")], at(5000)).settle(&mut claims);
    let _ = claims.claim(at(1), Claimant(8), &both[..1], ms(100)).settle(&mut claims);
    claims
}

#[test]
fn claims_of_version_1_know_what_was_done_and_who_works() {
    let mut claims: Claims = saved("idempotency");
    let both = [delivery("done"), delivery("leased")];
    let told =
        |claims: &Claims, by, millis| claims.claim(at(millis), Claimant(by), &both, ms(100)).answer;
    let duplicate = Claim::Duplicate { hits: 2 };
    let pending = Claim::Pending { retry_after: ms(10) };
    assert_eq!(told(&claims, 9, 90), [duplicate, pending]);
    assert_eq!(told(&claims, u64::MAX, 90), [duplicate, Claim::First], "it is its own");
    assert_eq!(told(&claims, 9, 5000), [Claim::First, Claim::First]);
    let count = ScopeCount { keys: 1, duplicates: 1 };
    assert_eq!(claims.by_scope().into_iter().collect::<Vec<_>>(), [("webhook:shop".into(), count)]);
    claims.sweep(at(5000)).settle(&mut claims);
    assert!(claims.is_empty());
}

fn queue_rules() -> QueueRules {
    let job = JobRules {
        lease: ms(100),
        max_attempts: 2,
        retry_base: ms(10),
        retry_cap: ms(10),
        ttl: None,
    };
    let partition = PartitionRules { queued_max: 2, running_max: 1 };
    QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 50 }
}

fn job(number: u64, kind: JobKind, payload: Option<&str>) -> NewJob {
    let payload = payload.map(str::to_owned);
    NewJob { id: TimedId::new(at(number), number), kind, key: format!("key {number}"), payload }
}

fn job_queue() -> JobQueue {
    let mut queue = JobQueue::default();
    let jobs = vec![
        job(1, JobKind::Tool(ToolKind::SearchWeb), Some("{\"q\":\"cats\"}")),
        job(2, JobKind::Inbox(InboxSource::Whatsapp), None),
        job(3, JobKind::Inbox(InboxSource::Whatsapp), None),
    ];
    let _ = queue.enqueue(at(10), &queue_rules(), jobs, vec![]).settle(&mut queue);
    let _ = queue.claim(at(20), &queue_rules(), "worker-1").settle(&mut queue);
    queue
}

#[test]
fn a_job_queue_of_version_1_goes_on_where_it_was() {
    let mut queue: JobQueue = saved("job_queue");
    let running: Vec<_> = queue.running_ids().collect();
    assert_eq!(running, [TimedId::new(at(1), 1)]);
    let claim = |queue: &mut JobQueue, millis| match queue
        .claim(at(millis), &queue_rules(), "worker-2")
        .settle(queue)
    {
        ClaimAnswer::Claimed(job) => (job.key, job.attempt, job.lease),
        ClaimAnswer::Nothing { due_in } => (format!("nothing for {due_in:?}"), 0, LeaseId(0)),
    };
    assert_eq!(claim(&mut queue, 30), ("key 2".into(), 1, LeaseId(30)));
    assert_eq!(claim(&mut queue, 30), ("nothing for None".into(), 0, LeaseId(0)));
    queue.sweep(at(120), &queue_rules()).settle(&mut queue);
    assert_eq!(claim(&mut queue, 120), ("key 1".into(), 2, LeaseId(120)));
    let inbox = queue.view(JobKind::Inbox(InboxSource::Whatsapp));
    assert_eq!((inbox.queued, inbox.running), (1, 1));
}

const ROOM: CacheRules = CacheRules { entries_max: 2, bytes_max: 1000, value_bytes_max: 100 };

fn question(text: &str) -> CacheKey {
    CacheKey::of(ToolKind::SearchWeb, "v1", &[text])
}

fn put(cache: &mut ToolCache, millis: u64, text: &str, ttl: Duration) -> Kept {
    let Lookup::Miss(fill) = cache.get(at(millis), &question(text)).answer else {
        panic!("{text} is known")
    };
    let result = NewResult { key: question(text), fill, value: format!("about {text}"), ttl };
    cache.put(at(millis), &ROOM, result).settle(cache)
}

fn tool_cache() -> ToolCache {
    let mut cache = ToolCache::default();
    assert_eq!(put(&mut cache, 0, "gone", ms(500)), Kept::Kept);
    cache.clear(at(1), "search_web_json_v1").settle(&mut cache);
    assert_eq!(put(&mut cache, 10, "cats", ms(100)), Kept::Kept);
    assert_eq!(put(&mut cache, 20, "dogs", ms(500)), Kept::Kept);
    cache
}

#[test]
fn a_tool_cache_of_version_1_serves_what_still_holds() {
    let mut cache: ToolCache = saved("tool_cache");
    let known =
        |cache: &ToolCache, millis, text| match cache.get(at(millis), &question(text)).answer {
            Lookup::Hit(value) => Some(value),
            Lookup::Miss(_) => None,
        };
    assert_eq!(known(&cache, 109, "cats").as_deref(), Some("about cats"));
    assert_eq!(known(&cache, 110, "cats"), None);
    assert_eq!(known(&cache, 110, "gone"), None, "its namespace was cleared");
    assert_eq!(put(&mut cache, 60, "birds", ms(500)), Kept::Kept);
    assert_eq!(known(&cache, 60, "cats"), None, "it was written first and made room");
    assert_eq!(known(&cache, 60, "dogs").as_deref(), Some("about dogs"));
    assert_eq!(cache.clear(at(60), "search_web_json_v1").settle(&mut cache), 2);
}

const MONITOR: MonitorRules = MonitorRules {
    events: EventRules {
        same_for: Duration::from_millis(50),
        kept_for: Duration::from_secs(3600),
        rows_max: 2,
        keys_max: 3,
    },
    alerts: AlertRules {
        threshold: 3,
        window: Duration::from_millis(500),
        cooldown: Duration::from_millis(1000),
        bulkhead_cooldown: Duration::from_millis(1000),
        kept_for: Duration::from_secs(3600),
        alerts_max: 2,
    },
};

fn refused(name: &str) -> Refused {
    Refused {
        source: EventSource::Chat,
        key: caller(name),
        outcome: EventOutcome::Blocked,
        retry_after: ms(100),
        path: "/api/chat".into(),
        method: "POST".into(),
    }
}

fn alert_monitor() -> AlertMonitor {
    let mut monitor = AlertMonitor::default();
    // Ann's row has made room, Dan is one too many; of two alerts one is delivered.
    for name in ["ann", "bob", "cid", "dan"] {
        let _ = monitor.record(at(100), &MONITOR, refused(name)).settle(&mut monitor);
    }
    let _ = monitor.evaluate(at(100), &MONITOR, 1).settle(&mut monitor);
    let _ = monitor.saturated(at(110), &MONITOR, 2, ProviderId::Jwks).settle(&mut monitor);
    monitor.settle(TimedId::new(at(100), 1), Delivery::Delivered(at(120))).settle(&mut monitor);
    monitor
}

#[test]
fn a_monitor_of_version_1_knows_what_it_has_counted_and_said() {
    let mut monitor: AlertMonitor = saved("alert_monitor");
    let recorded = |millis, name| monitor.record(at(millis), &MONITOR, refused(name)).answer;
    assert_eq!((recorded(149, "ann"), recorded(149, "eve")), (Recorded::Same, Recorded::Dropped));
    let summary = monitor.events().summary(at(200), ms(500));
    assert_eq!(summary.into_iter().collect::<Vec<_>>(), [(refused("ann").series(), 3)]);
    assert_eq!((monitor.events().newest_first().count(), monitor.events().dropped()), (2, 1));
    assert_eq!(monitor.evaluate(at(200), &MONITOR, 3).answer.created, 0, "it was said before");
    let pending = monitor.pending(9);
    let [alert] = pending.as_slice() else { panic!("one waits: {pending:?}") };
    assert_eq!(alert.subject, AlertSubject::Bulkhead(ProviderId::Jwks));
    assert!(!monitor.saturated(at(1109), &MONITOR, 4, ProviderId::Jwks).settle(&mut monitor));
    assert!(monitor.saturated(at(1110), &MONITOR, 4, ProviderId::Jwks).settle(&mut monitor));
    assert_eq!(monitor.alerts().dropped(), 1);
}

#[test]
fn forms_saved_before_a_kind_or_a_bucket_was_added_keep_everything_in_its_place() {
    fn without<M: DeserializeOwned>(kind: &str, removed: &str) -> M {
        let sealed = std::fs::read_to_string(file(&format!("{kind}.v1.json"))).expect("there");
        assert!(sealed.contains(removed), "{removed} is not in the file");
        snapshot::open(kind, sealed.replacen(removed, "", 1).as_bytes()).expect("it loads").1
    }
    let removed = r#"[{"tool":"search_global"},{"queued":[],"running":0,"done":0,"dead":0}],"#;
    let queue: JobQueue = without("job_queue", removed);
    assert_eq!(queue, saved("job_queue"));
    let shard: RateShard = without("rate_shard", r#"["anon_ip",{"opened":0,"used":0}],"#);
    let whole: RateShard = saved("rate_shard");
    let encoded = |shard: &RateShard| serde_json::to_string(shard).expect("encodes");
    assert_eq!(encoded(&shard), encoded(&whole));
}

#[test]
fn foreign_torn_and_future_files_are_refused_by_name() {
    let open = |kind: &str, name: &str| {
        let sealed = std::fs::read(file(name)).expect("the file is there");
        snapshot::open::<Bulkhead>(kind, &sealed).map(|_| ()).unwrap_err()
    };
    let foreign = open("bulkhead", "circuit_breaker.v1.json");
    assert_eq!(foreign.to_string(), "snapshot is of circuit_breaker, not of bulkhead");
    let future = open("bulkhead", "bulkhead.v2-from-the-future.json");
    let told = "snapshot of bulkhead has version 2, this build knows up to 1";
    assert_eq!(future.to_string(), told);
    let torn = open("bulkhead", "bulkhead.v1-torn.json");
    assert!(torn.to_string().starts_with("snapshot is not readable: EOF"), "{torn}");
    let mislabelled = open("bulkhead", "bulkhead.v1-of-another-form.json");
    assert!(matches!(mislabelled, SnapshotError::Unreadable(_)), "{mislabelled}");
}

/// Writes the files that a version has not yet, once, before it is released; then never again.
#[test]
#[ignore = "run by hand when a new version is made"]
fn write_the_files_of_this_version() {
    fn write(kind: &str, machine: &impl Serialize) {
        let name = format!("{kind}.v{}.json", snapshot::VERSION);
        // What was written once stays: a machine that is new in this version adds its own.
        let mut new = match std::fs::File::create_new(file(&name)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return,
            new => new.expect("the folder is there"),
        };
        std::io::Write::write_all(&mut new, &snapshot::seal(kind, 42, machine)).expect("written");
    }
    write("rate_shard", &rate_shard());
    write("circuit_breaker", &circuit_breaker());
    write("bulkhead", &bulkhead());
    write("idempotency", &claims());
    write("job_queue", &job_queue());
    write("tool_cache", &tool_cache());
    write("alert_monitor", &alert_monitor());
}
