//! One process: a tree on a disk in memory, in virtual time, and who runs its jobs.

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sendcat_actors::clock::SystemClock;
use sendcat_actors::job_queue::Jobs;
use sendcat_actors::ports::{Attempt as Ended, JobRunner, Running};
use sendcat_actors::tree::{Root, Topology, Tree, TreeOptions};
use sendcat_state::alert_monitor::MonitorRules;
use sendcat_state::alert_rules::AlertRules;
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitRules;
use sendcat_state::events::EventRules;
use sendcat_state::job::{
    AttemptOutcome, ClaimedJob, JobKind, JobRules, PartitionRules, QueueRules,
};
use sendcat_state::key::{Bucket, ClientKey, ProviderId};
use sendcat_state::machine::{RecordWrite, Table};
use sendcat_state::store::faulty::{DiskFaults, FaultyStore};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Store, StoreError};
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::CacheRules;

use crate::callers::pause;
use crate::model::{Model, Rule};
use crate::schedule::{Attempt, Schedule};

pub(crate) const CIRCUITS: [ProviderId; 2] = [ProviderId::OpenrouterChat, ProviderId::SerperSearch];
/// The bulkhead that has a line.
pub(crate) const LINED: ProviderId = ProviderId::OpenrouterChat;
/// The bulkhead whose leases are asked for by number.
pub(crate) const LEASED: ProviderId = ProviderId::SerperSearch;
pub(crate) const SLOTS: usize = 2;
pub(crate) const LEASE: Duration = Duration::from_millis(1500);
pub(crate) const PROBE: Duration = Duration::from_millis(1500);
const COOLDOWN: Duration = Duration::from_millis(600);
pub(crate) const MOST_ATTEMPTS: u32 = 4;
const WORKERS: usize = 3;

/// Keys asked for under one limit, then pairs asked for under two.
pub(crate) const SINGLE: Rule = Rule { calls: 4, per_ms: 1500 };
pub(crate) const PAIRED: [Rule; 2] =
    [Rule { calls: 3, per_ms: 1200 }, Rule { calls: 5, per_ms: 2500 }];

pub(crate) fn single(key: usize) -> (String, ClientKey) {
    let name = format!("single-{key}");
    let caller = ClientKey::session(Bucket::ChatStream, &name);
    (name, caller)
}

/// Two keys: of one shard in the first pair, of two in the second.
pub(crate) fn pair(pair: usize) -> [(String, ClientKey); 2] {
    let key = |bucket: Bucket, number: usize| {
        let name = format!("pair-{pair}-{bucket}-{number}");
        let caller = ClientKey::session(bucket, &name);
        (name, caller)
    };
    let first = key(Bucket::AnonIp, 0);
    let fits = |other: &(String, ClientKey)| (other.1.shard() == first.1.shard()) == (pair == 0);
    let second = (0..).map(|number| key(Bucket::ChatStream, number)).find(fits);
    [first, second.expect("some key lies in that shard")]
}

/// The actor of a key's shard.
pub(crate) fn shard_of(caller: ClientKey) -> String {
    format!("rate_limiter-{}", caller.shard())
}

/// The shards that the work of a run meets.
pub(crate) fn limiter_shards() -> Vec<String> {
    let mut keys: Vec<_> = (0..4).map(|key| single(key).1).collect();
    keys.extend((0..2).flat_map(|number| pair(number).map(|(_, caller)| caller)));
    keys.into_iter().map(shard_of).collect()
}

pub(crate) type Shared = Arc<Mutex<Model>>;

pub(crate) fn lock(model: &Shared) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What outlives a process.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) contents: MemoryDisk,
    pub(crate) faults: DiskFaults,
}

impl Disk {
    pub(crate) fn store(&self) -> MemoryStore {
        MemoryStore::open(&self.contents)
    }

    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        self.faults.on_open()?;
        Ok(Box::new(FaultyStore::new(self.store(), &self.faults)))
    }
}

/// What everything that happens in one process may use.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) tree: Tree,
    pub(crate) disk: Disk,
    pub(crate) model: Shared,
    pub(crate) trouble: Rc<std::cell::RefCell<Trouble>>,
}

/// What has gone wrong in this process on purpose, so that callers know what to bear.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Actors on which a fault was armed.
    pub(crate) armed: Vec<String>,
    /// Whether the disk has failed.
    pub(crate) disk: bool,
    /// Floods under way.
    pub(crate) floods: usize,
}

impl World {
    /// Starts a process.
    pub(crate) async fn start(
        disk: &Disk,
        model: &Shared,
        schedule: &Arc<Schedule>,
        now: u64,
    ) -> (Self, Root) {
        let on = disk.clone();
        let (events, tells) = (Arc::clone(schedule), Arc::clone(model));
        let runner = move |handles: &sendcat_actors::tree::Handles<'_>| {
            let runner = Runner { schedule: events, model: tells, jobs: handles.jobs.clone() };
            Arc::new(runner) as Arc<dyn JobRunner>
        };
        let clock = SystemClock::starting_at(Timestamp::from_millis(now));
        let factory = Box::new(move || on.open());
        let started = Tree::start(options(clock), factory, runner).await;
        let (tree, root) = started.expect("a disk without faults opens");
        let (disk, model) = (disk.clone(), Arc::clone(model));
        (Self { tree, disk, model, trouble: Rc::default() }, root)
    }

    pub(crate) fn now(&self) -> u64 {
        self.tree.clock.now().as_millis()
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    pub(crate) fn note(&self, what: &str, answer: &impl Debug) {
        let now = self.now();
        self.model().note(now, what, &format!("{answer:?}"));
    }

    /// Whether a fault was armed on this actor since the process started.
    pub(crate) fn was_struck(&self, actor: &str) -> bool {
        self.trouble.borrow().armed.iter().any(|armed| armed.starts_with(actor))
    }

    /// The same of the queue, its workers and the disk below them.
    pub(crate) fn queue_was_struck(&self) -> bool {
        let struck = ["job_queue", "tool_worker", "journal"].iter().any(|it| self.was_struck(it));
        struck || self.trouble.borrow().disk
    }
}

/// The monitor is told of full bulkheads alone.
const MONITOR: MonitorRules = MonitorRules {
    events: EventRules {
        same_for: Duration::from_secs(5),
        kept_for: Duration::from_secs(600),
        rows_max: 64,
        keys_max: 64,
    },
    alerts: AlertRules {
        threshold: 25,
        window: Duration::from_secs(300),
        cooldown: Duration::from_secs(1800),
        bulkhead_cooldown: Duration::from_secs(60),
        kept_for: Duration::from_secs(600),
        alerts_max: 16,
    },
};

fn options(clock: SystemClock) -> TreeOptions {
    let partition = PartitionRules { queued_max: 25, running_max: 2 };
    let job = JobRules {
        lease: Duration::from_millis(700),
        max_attempts: MOST_ATTEMPTS,
        retry_base: Duration::from_millis(100),
        retry_cap: Duration::from_secs(1),
        ttl: None,
    };
    let circuit =
        CircuitRules { threshold: 2, cooldown: COOLDOWN, slow: None, probe_deadline: PROBE };
    TreeOptions {
        clock: Arc::new(clock),
        topology: Topology::Here,
        snapshot_every: Duration::from_secs(1),
        circuit: Box::new(move |_| circuit),
        bulkhead: Box::new(|provider| BulkheadRules {
            capacity: SLOTS,
            lease_ttl: LEASE,
            wait: if provider == LINED { Duration::from_millis(700) } else { Duration::ZERO },
        }),
        jobs: QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 50 },
        cache: CacheRules { entries_max: 16, bytes_max: 4096, value_bytes_max: 1024 },
        monitor: MONITOR,
        workers: WORKERS,
        poll: Duration::from_millis(250),
    }
}

/// Runs every job as the schedule says.
struct Runner {
    schedule: Arc<Schedule>,
    model: Shared,
    jobs: Jobs,
}

/// An attempt under way; one that is dropped has ended too.
struct UnderWay {
    model: Shared,
    key: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.model).runs.end(&self.key);
    }
}

impl Runner {
    fn attempt(&self, job: &ClaimedJob) -> Attempt {
        let number = usize::try_from(job.attempt - 1).unwrap_or(usize::MAX);
        let event = job.key.strip_prefix("event-").and_then(|it| it.parse::<usize>().ok());
        let drawn = match (event, &job.payload) {
            (Some(event), _) => self.schedule.events.get(event).cloned(),
            (None, Some(payload)) => serde_json::from_str(payload).ok(),
            (None, None) => None,
        };
        drawn.and_then(|drawn: Vec<Attempt>| drawn.get(number).copied()).unwrap_or(Attempt::Done)
    }
}

impl JobRunner for Runner {
    fn run(&self, job: ClaimedJob) -> Running {
        let attempt = self.attempt(&job);
        let mut model = lock(&self.model);
        if job.attempt > MOST_ATTEMPTS {
            model.wrong.push(format!("{} is attempted for the {}th time", job.key, job.attempt));
        }
        let under_way = UnderWay { model: Arc::clone(&self.model), key: job.key.clone() };
        if model.runs.begin(&job.key) > 1 {
            model.twice.push(format!("{} is worked on twice at once", job.key));
        }
        drop(model);
        let (jobs, model) = (self.jobs.clone(), Arc::clone(&self.model));
        Box::pin(async move {
            let _under_way = under_way;
            match attempt {
                Attempt::Done => done(&job, &jobs, &model).await,
                Attempt::DoneAfter(ms) => {
                    pause(ms).await;
                    done(&job, &jobs, &model).await
                }
                Attempt::Fails => failed(),
                Attempt::FailsAfter(ms) => {
                    pause(ms).await;
                    failed()
                }
                Attempt::IsHopeless => {
                    let error = "hopeless".to_owned();
                    Ended { outcome: AttemptOutcome::Dead { error }, result: None }
                }
                Attempt::Panics => panic!("planned: an attempt panics"),
                Attempt::NeverEnds => std::future::pending().await,
            }
        })
    }

    fn deadline(&self, _: JobKind) -> Duration {
        Duration::from_millis(1600)
    }
}

fn failed() -> Ended {
    let outcome = AttemptOutcome::Retry { error: "planned".to_owned(), after: None };
    Ended { outcome, result: None }
}

/// Done, with an effect of its own for each time: twice done is seen twice in the ledger.
async fn done(job: &ClaimedJob, jobs: &Jobs, model: &Shared) -> Ended {
    let mut writes = Vec::new();
    if matches!(job.kind, JobKind::Inbox(_)) {
        match jobs.event_body(job.id).await {
            Ok(Some(body)) if body == job.key.as_bytes() => {}
            Ok(body) => lock(model).wrong.push(format!("{} has the body {body:?}", job.key)),
            Err(_) => return failed(),
        }
        let entry = format!("ledger/{}/{}-{}", job.key, job.attempt, job.lease);
        writes.push(RecordWrite::put(Table::Evidence, entry, &job.id));
    }
    let result = Some(format!("result of {}", job.key));
    Ended { outcome: AttemptOutcome::Done { writes }, result }
}
