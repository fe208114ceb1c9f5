//! A tree on one thread, in virtual time, on a disk in memory.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::{SharedClock, SystemClock};
use sendcat_actors::ports::{Attempt, JobRunner, Running};
use sendcat_actors::tree::{Topology, Tree, TreeOptions};
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitRules;
use sendcat_state::job::{
    AttemptOutcome, ClaimedJob, JobKind, JobRules, PartitionRules, QueueRules,
};
use sendcat_state::store::Store;
use sendcat_state::store::faulty::{DiskFaults, FaultyStore};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use tokio::task::LocalSet;

/// What a test holds of its disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) contents: MemoryDisk,
    pub(crate) faults: DiskFaults,
}

/// Runs a test on one thread, its time moved by nothing but its own waits.
pub(crate) fn in_virtual_time<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime without threads always builds");
    LocalSet::new().block_on(&runtime, test());
}

/// A tree on that disk.
pub(crate) async fn tree_on(disk: &Disk) -> Tree {
    tree_with(disk, Arc::new(Echo)).await
}

/// A tree on that disk, whose jobs that runner runs.
pub(crate) async fn tree_with(disk: &Disk, runner: Arc<dyn JobRunner>) -> Tree {
    let clock: SharedClock = Arc::new(SystemClock::start());
    let disk = disk.clone();
    let factory = Box::new(move || {
        disk.faults.on_open()?;
        let store = FaultyStore::new(MemoryStore::open(&disk.contents), &disk.faults);
        Ok(Box::new(store) as Box<dyn Store>)
    });
    let options = TreeOptions {
        clock,
        topology: Topology::Here,
        snapshot_every: Duration::from_secs(1),
        circuit: Box::new(|_| CIRCUIT),
        bulkhead: Box::new(|_| BULKHEAD),
        jobs: job_rules(),
        workers: 4,
    };
    let (tree, root) =
        Tree::start(options, factory, |_| runner).await.expect("a store in memory opens");
    tokio::task::spawn_local(root.run());
    settle().await;
    tree
}

/// Lets everything that can run do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub(crate) const CIRCUIT: CircuitRules = CircuitRules {
    threshold: 2,
    cooldown: Duration::from_secs(10),
    slow: None,
    probe_deadline: Duration::from_secs(30),
};

pub(crate) const BULKHEAD: BulkheadRules =
    BulkheadRules { capacity: 3, lease_ttl: Duration::from_secs(30), wait: Duration::ZERO };

pub(crate) fn job_rules() -> QueueRules {
    let partition = PartitionRules { queued_max: 1000, running_max: 2 };
    let job = JobRules {
        lease: Duration::from_secs(30),
        max_attempts: 3,
        retry_base: Duration::from_millis(500),
        retry_cap: Duration::from_secs(60),
        ttl: None,
    };
    QueueRules { kinds: [(partition, job); JobKind::COUNT] }
}

/// Answers every job with what it is about.
pub(crate) struct Echo;

impl JobRunner for Echo {
    fn run(&self, job: ClaimedJob) -> Running {
        Box::pin(async move {
            let outcome = AttemptOutcome::Done { writes: Vec::new() };
            Attempt { outcome, result: Some(job.key) }
        })
    }

    fn deadline(&self, _: JobKind) -> Duration {
        Duration::from_secs(20)
    }
}
