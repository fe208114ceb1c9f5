//! A tree on one thread, in virtual time, on a disk in memory.
//!
//! One call of [`in_virtual_time`] is one process: whatever still runs when its test ends is lost,
//! as by `kill -9`. What outlives it is the [`Disk`].

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sendcat_actors::clock::SystemClock;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::observe::ActorView;
use sendcat_actors::ports::{Attempt, JobRunner, Running};
use sendcat_actors::supervisor::Ended;
use sendcat_actors::tree::{Root, Topology, Tree, TreeOptions};
use sendcat_state::alert_monitor::MonitorRules;
use sendcat_state::alert_rules::AlertRules;
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitRules;
use sendcat_state::events::EventRules;
use sendcat_state::job::{
    AttemptOutcome, ClaimedJob, JobKind, JobRules, NewJob, PartitionRules, QueueRules,
};
use sendcat_state::key::{InboxSource, TimedId, ToolKind};
use sendcat_state::machine::{Records, Table};
use sendcat_state::store::faulty::{DiskFaults, FaultyStore};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, JournalRecord, Store, StoreError};
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::CacheRules;
use tokio::task::LocalSet;

pub(crate) const TOOL: JobKind = JobKind::Tool(ToolKind::SearchWeb);
pub(crate) const OTHER_TOOL: JobKind = JobKind::Tool(ToolKind::SearchGlobal);
pub(crate) const INBOX: JobKind = JobKind::Inbox(InboxSource::Whatsapp);

/// What a test holds of its disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) contents: MemoryDisk,
    pub(crate) faults: DiskFaults,
    pub(crate) counts: Arc<Counts>,
}

/// What was asked of a store.
#[derive(Default)]
pub(crate) struct Counts {
    opens: AtomicU64,
    applied: AtomicU64,
    syncs: AtomicU64,
}

impl Disk {
    pub(crate) fn syncs(&self) -> u64 {
        self.counts.syncs.load(Ordering::SeqCst)
    }

    /// How often commits were handed over, one or many at a time.
    pub(crate) fn applied(&self) -> u64 {
        self.counts.applied.load(Ordering::SeqCst)
    }

    pub(crate) fn opens(&self) -> u64 {
        self.counts.opens.load(Ordering::SeqCst)
    }

    /// What lies on it, read past every tree.
    pub(crate) fn store(&self) -> MemoryStore {
        MemoryStore::open(&self.contents)
    }

    pub(crate) fn record(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.store().reader().get(table, key).unwrap()
    }

    /// The saved form of a machine, without its envelope.
    pub(crate) fn form(&self, machine: &str) -> serde_json::Value {
        let sealed = self.store().snapshot(machine).unwrap().expect("a snapshot was written");
        let envelope: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        envelope["form"].clone()
    }

    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        self.faults.on_open()?;
        self.counts.opens.fetch_add(1, Ordering::SeqCst);
        let inner = FaultyStore::new(self.store(), &self.faults);
        Ok(Box::new(CountingStore { inner, counts: Arc::clone(&self.counts) }))
    }
}

struct CountingStore {
    inner: FaultyStore<MemoryStore>,
    counts: Arc<Counts>,
}

impl Store for CountingStore {
    fn apply(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        self.counts.applied.fetch_add(1, Ordering::SeqCst);
        self.inner.apply(commits)
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        self.counts.syncs.fetch_add(1, Ordering::SeqCst);
        self.inner.sync()
    }
    fn last_seq(&self) -> u64 {
        self.inner.last_seq()
    }
    fn journal_after(&self, after: u64) -> Result<Vec<JournalRecord>, StoreError> {
        self.inner.journal_after(after)
    }
    fn cut_journal(&mut self, upto: u64) -> Result<(), StoreError> {
        self.inner.cut_journal(upto)
    }
    fn put_snapshot(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.inner.put_snapshot(name, sealed)
    }
    fn snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.snapshot(name)
    }
    fn reader(&self) -> Arc<dyn Records + Send + Sync> {
        self.inner.reader()
    }
    fn size_on_disk(&self) -> u64 {
        self.inner.size_on_disk()
    }
}

/// Runs a test on one thread, its time moved by nothing but its own waits.
pub(crate) fn in_virtual_time<T, F: Future<Output = T>>(test: impl FnOnce() -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime without threads always builds");
    LocalSet::new().block_on(&runtime, test())
}

/// A tree on that disk.
pub(crate) async fn tree_on(disk: &Disk) -> Tree {
    tree_with(disk, Arc::new(Echo)).await
}

/// A tree on that disk, whose jobs that runner runs.
pub(crate) async fn tree_with(disk: &Disk, runner: Arc<dyn JobRunner>) -> Tree {
    tree_of(disk, runner, |_| {}).await
}

/// A tree on that disk whose queue nobody works off.
pub(crate) async fn tree_without_workers(disk: &Disk) -> Tree {
    tree_of(disk, Arc::new(Echo), |options| options.workers = 0).await
}

/// A tree on that disk, built as `adjust` says.
pub(crate) async fn tree_of(
    disk: &Disk,
    runner: Arc<dyn JobRunner>,
    adjust: impl FnOnce(&mut TreeOptions),
) -> Tree {
    let (tree, root) = unsupervised(disk, runner, adjust).await;
    tokio::task::spawn_local(root.run());
    settle().await;
    tree
}

/// A tree and its supervisor, which the test has to run.
pub(crate) async fn unsupervised(
    disk: &Disk,
    runner: Arc<dyn JobRunner>,
    adjust: impl FnOnce(&mut TreeOptions),
) -> (Tree, Root) {
    let mut options = options();
    adjust(&mut options);
    let disk = disk.clone();
    let factory = Box::new(move || disk.open());
    let built = Tree::start(options, factory, |_| runner).await;
    built.expect("a store in memory opens")
}

pub(crate) fn options() -> TreeOptions {
    TreeOptions {
        clock: Arc::new(SystemClock::start()),
        topology: Topology::Here,
        snapshot_every: Duration::from_secs(1),
        circuit: Box::new(|_| CIRCUIT),
        bulkhead: Box::new(|_| BULKHEAD),
        jobs: job_rules(),
        cache: CACHE,
        monitor: MONITOR,
        workers: 4,
        poll: millis(250),
    }
}

/// Supervises beside the test; the answer is how that ended.
pub(crate) fn supervise(root: Root) -> tokio::task::JoinHandle<Ended> {
    tokio::task::spawn_local(root.run())
}

/// Lets everything that can run do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass, and with it everything that is due.
pub(crate) async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
    settle().await;
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A fault that strikes once, at the next step of its sort.
pub(crate) fn once(kind: FaultKind) -> Fault {
    Fault { kind, after: 0, times: 1 }
}

/// What is seen of an actor.
pub(crate) fn seen(tree: &Tree, actor: &str) -> ActorView {
    let views = tree.actors().into_iter();
    views.into_iter().find(|view| view.name == actor).expect("the tree has such an actor")
}

/// Its restarts by cause.
pub(crate) fn restarts(tree: &Tree, actor: &str) -> Vec<(&'static str, u64)> {
    let restarts = seen(tree, actor).restarts.into_iter();
    restarts.map(|(cause, times)| (cause.as_str(), times)).collect()
}

pub(crate) fn job(kind: JobKind, number: u64) -> NewJob {
    let id = TimedId::new(Timestamp::from_millis(1), number);
    NewJob { id, kind, key: format!("job-{number}"), payload: None }
}

pub(crate) const CIRCUIT: CircuitRules = CircuitRules {
    threshold: 2,
    cooldown: Duration::from_secs(10),
    slow: None,
    probe_deadline: Duration::from_secs(30),
};

pub(crate) const BULKHEAD: BulkheadRules =
    BulkheadRules { capacity: 3, lease_ttl: Duration::from_secs(30), wait: Duration::ZERO };

pub(crate) const CACHE: CacheRules =
    CacheRules { entries_max: 4, bytes_max: 2000, value_bytes_max: 1000 };

pub(crate) const MONITOR: MonitorRules = MonitorRules {
    events: EventRules {
        same_for: Duration::from_secs(5),
        kept_for: Duration::from_secs(60),
        rows_max: 8,
        keys_max: 16,
    },
    alerts: AlertRules {
        threshold: 3,
        window: Duration::from_secs(30),
        cooldown: Duration::from_secs(60),
        bulkhead_cooldown: Duration::from_secs(10),
        kept_for: Duration::from_secs(120),
        alerts_max: 4,
    },
};

pub(crate) fn job_rules() -> QueueRules {
    let partition = PartitionRules { queued_max: 1000, running_max: 2 };
    let job = JobRules {
        lease: Duration::from_secs(30),
        max_attempts: 3,
        retry_base: Duration::from_millis(500),
        retry_cap: Duration::from_secs(60),
        ttl: None,
    };
    QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 50 }
}

/// Answers every job with what it is about.
pub(crate) struct Echo;

impl JobRunner for Echo {
    fn run(&self, job: ClaimedJob) -> Running {
        Box::pin(async move { done(job.key) })
    }

    fn deadline(&self, _: JobKind) -> Duration {
        Duration::from_secs(20)
    }
}

/// Runs every job by a function.
pub(crate) struct Runs<F>(pub(crate) F);

impl<F, R> JobRunner for Runs<F>
where
    F: Fn(ClaimedJob) -> R + Send + Sync + 'static,
    R: Future<Output = Attempt> + Send + 'static,
{
    fn run(&self, job: ClaimedJob) -> Running {
        Box::pin((self.0)(job))
    }

    fn deadline(&self, _: JobKind) -> Duration {
        Duration::from_secs(120)
    }
}

pub(crate) fn done(result: String) -> Attempt {
    Attempt { outcome: AttemptOutcome::Done { writes: Vec::new() }, result: Some(result) }
}

/// The virtual time now, to measure waits by.
#[expect(clippy::disallowed_methods, reason = "a test measures virtual time, and decides nothing")]
pub(crate) fn stopwatch() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
