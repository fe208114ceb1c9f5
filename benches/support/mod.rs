//! What the benches share: a span that is measured, and a tree of actors to measure on.
//!
//! # Always
//! - Every figure has its floor beside it, measured in the same run: compare the two, never one
//!   figure with another day's.

#![allow(dead_code, reason = "every bench uses a part of it")]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sendcat_actors::clock::SystemClock;
use sendcat_actors::journal::StoreFactory;
use sendcat_actors::observe::Status;
use sendcat_actors::ports::{Attempt, JobRunner, Running};
use sendcat_actors::tree::{Topology, Tree, TreeOptions};
use sendcat_state::alert_monitor::MonitorRules;
use sendcat_state::alert_rules::AlertRules;
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitRules;
use sendcat_state::events::EventRules;
use sendcat_state::job::{
    AttemptOutcome, ClaimedJob, JobKind, JobRules, PartitionRules, QueueRules,
};
use sendcat_state::tool_cache::CacheRules;

/// How long something takes.
pub(crate) async fn timed(work: impl Future) -> Duration {
    let begun = now();
    work.await;
    begun.elapsed()
}

/// The moment it is.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs `callers` tasks that each do the work so often that `times` is reached together, and says
/// how long `times` take. A task does it at least so often that starting it does not count.
pub(crate) async fn together<W, F>(callers: u64, times: u64, work: impl Fn(u64) -> W) -> Duration
where
    W: Fn(u64) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    const LEAST: u64 = 8;
    let each = (times / callers).max(LEAST);
    let begun = now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let work = work(caller);
            actix_rt::spawn(async move {
                for turn in 0..each {
                    work(caller * each + turn).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no caller panics");
    }
    let all = begun.elapsed();
    all.mul_f64(times as f64 / (each * callers) as f64)
}

const MONITOR: MonitorRules = MonitorRules {
    events: EventRules {
        same_for: Duration::from_secs(5),
        kept_for: Duration::from_secs(86_400),
        rows_max: 2000,
        keys_max: 4096,
    },
    alerts: AlertRules {
        threshold: 25,
        window: Duration::from_secs(300),
        cooldown: Duration::from_secs(1800),
        bulkhead_cooldown: Duration::from_secs(300),
        kept_for: Duration::from_secs(86_400),
        alerts_max: 500,
    },
};

/// A tree whose every actor runs. Jobs wait without bound, for there are no workers.
pub(crate) async fn tree(topology: Topology, store: StoreFactory) -> Tree {
    let minute = Duration::from_secs(60);
    let job = JobRules {
        lease: minute,
        max_attempts: 1,
        retry_base: minute,
        retry_cap: minute,
        ttl: None,
    };
    let partition = PartitionRules { queued_max: usize::MAX, running_max: 1 };
    let options = TreeOptions {
        clock: Arc::new(SystemClock::start()),
        topology,
        snapshot_every: Duration::from_secs(1),
        circuit: Box::new(move |_| CircuitRules {
            threshold: 5,
            cooldown: minute,
            slow: None,
            probe_deadline: minute,
        }),
        bulkhead: Box::new(move |_| BulkheadRules {
            capacity: 64,
            lease_ttl: minute,
            wait: Duration::ZERO,
        }),
        jobs: QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 50 },
        cache: CacheRules { entries_max: 1024, bytes_max: 1 << 20, value_bytes_max: 1 << 16 },
        monitor: MONITOR,
        workers: 0,
        poll: minute,
    };
    let started = Tree::start(options, store, |_| Arc::new(Idle) as Arc<dyn JobRunner>);
    let (tree, root) = started.await.expect("the store opens");
    actix_rt::spawn(root.run());
    tree.adopt_worker();
    while tree.actors().iter().any(|actor| actor.status != Status::Running) {
        tokio::task::yield_now().await;
    }
    tree
}

/// Runs nothing.
struct Idle;

impl JobRunner for Idle {
    fn run(&self, _: ClaimedJob) -> Running {
        let outcome = AttemptOutcome::Done { writes: Vec::new() };
        Box::pin(async { Attempt { outcome, result: None } })
    }

    fn deadline(&self, _: JobKind) -> Duration {
        Duration::from_secs(1)
    }
}
