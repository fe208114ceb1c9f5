//! The supervision tree: builds it in order, hands out handles, drains it in reverse.
//!
//! ```text
//! root            gives up after more than 3 subtrees in 300 s: exit 70
//! ├ journal       a thread of its own; opens the store anew after each failure
//! ├ limits        5 in 30 s; 16 shards, on the HTTP workers' threads or on one of their own
//! ├ guards        5 in 30 s; a circuit breaker and a bulkhead a provider
//! ├ replay        5 in 30 s; idempotency
//! ├ tools         5 in 60 s; job queue, tool cache, then the queue's workers
//! ├ answers       5 in 30 s; stream log
//! └ monitoring    5 in 30 s, then it rests and nothing else does; alert monitor
//! ```
//! The tree stands before the HTTP workers do: shards placed on them start when each worker asks
//! for its share ([`Tree::adopt_worker`]).

mod build;
mod faults;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_rt::Arbiter;
use futures_util::future::join_all;
use sendcat_state::alert_monitor::MonitorRules;
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitRules;
use sendcat_state::job::QueueRules;
use sendcat_state::key::{ProviderId, SHARDS};
use sendcat_state::store::StoreError;
use sendcat_state::tool_cache::CacheRules;
use tokio::sync::oneshot;

use crate::alert_monitor::Monitor;
use crate::bulkhead::Bulkheads;
use crate::circuit_breaker::CircuitBreakers;
use crate::clock::SharedClock;
use crate::handle::Around;
use crate::idempotency::Idempotency;
use crate::job_queue::Jobs;
use crate::journal::{Journal, StoreFactory};
use crate::observe::{ActorView, Status};
use crate::ports::JobRunner;
use crate::rate_limiter::RateLimiter;
use crate::stream_log::Answers;
use crate::supervisor::{Beat, Place, Reports, Supervised, Supervisor};
use crate::tool_cache::Cache;
use crate::tool_worker::WORKER;
use build::Build;

/// Machines whose changes the journal holds.
const JOURNALLED: &[&str] = &["job_queue"];

/// Where actors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// On arbiters of their own; limiter shards as said.
    Threads {
        /// Where the shards live.
        shards: ShardPlacement,
    },
    /// All of it, the journal too, on the thread that starts it: a test in virtual time.
    Here,
}

/// Where limiter shards live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardPlacement {
    /// Dealt to so many HTTP workers.
    Workers(usize),
    /// On an arbiter that holds nothing else.
    Dedicated,
}

/// What a tree is built from.
pub struct TreeOptions {
    /// The time.
    pub clock: SharedClock,
    /// Where actors live.
    pub topology: Topology,
    /// How often a changed state is saved.
    pub snapshot_every: Duration,
    /// The rules of every provider's circuit.
    pub circuit: Box<dyn Fn(ProviderId) -> CircuitRules + Send>,
    /// The rules of every provider's bulkhead.
    pub bulkhead: Box<dyn Fn(ProviderId) -> BulkheadRules + Send>,
    /// The rules of the queue.
    pub jobs: QueueRules,
    /// The bounds of the tool cache.
    pub cache: CacheRules,
    /// What counts as one event, and when there is an alert.
    pub monitor: MonitorRules,
    /// How many workers there are: at least as many as all kinds may run together, so that no kind
    /// waits for a worker that another holds.
    pub workers: usize,
    /// The longest that a worker goes without looking for work.
    pub poll: Duration,
}

/// The handles on every concern.
#[derive(Clone)]
pub struct Tree {
    /// Rate limits.
    pub limiter: RateLimiter,
    /// Circuits.
    pub circuits: CircuitBreakers,
    /// Bulkheads.
    pub bulkheads: Bulkheads,
    /// Claims of idempotency keys.
    pub claims: Idempotency,
    /// Tools and accepted events.
    pub jobs: Jobs,
    /// What tools found before.
    pub cache: Cache,
    /// Running answers.
    pub answers: Answers,
    /// Limiter events and alerts.
    pub monitor: Monitor,
    /// Records and the disk.
    pub journal: Journal,
    /// The time.
    pub clock: SharedClock,
    inner: Arc<Inner>,
}

struct Inner {
    /// In the order they were started; workers last.
    actors: Vec<Arc<dyn Supervised>>,
    /// Held by whoever gives an actor a thread.
    placing: Arc<Mutex<()>>,
    arbiters: Mutex<Vec<Arbiter>>,
    topology: Topology,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    beat: Arc<Beat>,
}

/// What runs beside the handles: the supervisor, and what ends it.
pub struct Root {
    pub(crate) supervisor: Supervisor,
    pub(crate) stop: oneshot::Receiver<()>,
}

impl Root {
    /// Supervises until the tree is drained or too much has failed.
    pub async fn run(self) -> crate::supervisor::Ended {
        self.supervisor.run(self.stop).await
    }
}

impl Tree {
    /// Opens the store and starts every actor but those that wait for an HTTP worker.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be opened.
    pub async fn start(
        options: TreeOptions,
        store: StoreFactory,
        runner: impl FnOnce(&Handles<'_>) -> Arc<dyn JobRunner>,
    ) -> Result<(Self, Root), StoreError> {
        let (journal, mut writer) = Journal::new(store, options.clock.clone(), JOURNALLED);
        writer.open()?;
        let in_place = options.topology == Topology::Here;
        if in_place {
            actix_rt::spawn(writer.run_local());
        } else {
            let thread = std::thread::Builder::new().name("journal".into());
            let spawned = thread.spawn(move || writer.run());
            spawned.map_err(|error| StoreError::Io(format!("the journal's thread: {error}")))?;
        }
        let (reports, from_actors) = Reports::channel();
        let around = Around {
            clock: options.clock.clone(),
            journal: journal.clone(),
            reports,
            snapshot_every: options.snapshot_every,
        };
        let (stop, stopped) = oneshot::channel();
        let build = Build { around, stop };
        let (tree, supervisor) = build.all(options, journal, from_actors, runner).await?;
        Ok((tree, Root { supervisor, stop: stopped }))
    }

    /// Starts, on the HTTP worker's thread that calls it, the shards dealt to one worker: those
    /// that have no thread, or whose thread is gone.
    pub fn adopt_worker(&self) {
        let Topology::Threads { shards: ShardPlacement::Workers(workers) } = self.inner.topology
        else {
            return;
        };
        let share = SHARDS.div_ceil(workers.max(1));
        let here = Place::on(Arbiter::current());
        let _placing = self.inner.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let homeless = self
            .limiter
            .shards()
            .iter()
            .map(|shard| shard.supervised())
            .filter(|shard| !shard.place().is_some_and(|place| place.is_there()));
        for shard in homeless.take(share) {
            shard.start(here.clone());
        }
    }

    /// What is seen of every actor, without asking any.
    pub fn actors(&self) -> Vec<ActorView> {
        let now = self.clock.now();
        let mut views: Vec<_> =
            self.inner.actors.iter().map(|actor| actor.vitals().view(now)).collect();
        views.push(self.journal.vitals().view(now));
        views
    }

    /// The pulse of the supervisor itself.
    pub fn beat(&self) -> &Arc<Beat> {
        &self.inner.beat
    }

    /// Machines of whose saved state something could not be read back, with the reason.
    pub fn put_aside(&self) -> Vec<(String, String)> {
        self.journal.put_aside()
    }

    /// Asks shards on HTTP workers for their last snapshot: their threads end before the rest.
    ///
    /// # Errors
    /// [`Overran`] names those that did not finish in time.
    pub async fn drain_shards(&self, deadline: Duration) -> Result<(), Overran> {
        let shards = self.limiter.shards().iter().map(|shard| shard.supervised());
        Overran::of(drain(shards.collect(), deadline).await)
    }

    /// Finishes every actor, workers first, within `deadline` in all; what was asked before is done
    /// and saved. The journal's last commit is on disk when this returns.
    ///
    /// # Errors
    /// [`Overran`] names what did not finish in time.
    pub async fn drain(&self, deadline: Duration) -> Result<(), Overran> {
        let late = tokio::time::timeout(deadline, self.drain_in_order(deadline)).await;
        let late = late.unwrap_or_else(|_| vec!["the drain as a whole".to_owned()]);
        if let Some(stop) = self.inner.stop.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stop.send(());
        }
        let arbiters = std::mem::take(
            &mut *self.inner.arbiters.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for arbiter in &arbiters {
            arbiter.stop();
        }
        Overran::of(late)
    }

    /// Who did not finish in time.
    async fn drain_in_order(&self, deadline: Duration) -> Vec<String> {
        // Workers first, for they give back what others hold; then all others at once, so that
        // one that hangs costs no other its last snapshot, and the journal still has its turn.
        let is_worker = |actor: &&Arc<dyn Supervised>| actor.vitals().name().starts_with(WORKER);
        let (workers, others): (Vec<_>, Vec<_>) =
            self.inner.actors.iter().cloned().partition(|actor| is_worker(&actor));
        let mut late = drain(workers, deadline / 3).await;
        late.extend(drain(others, deadline / 3).await);
        // A transaction behind everything that was saved: its answer says it is on disk.
        let nothing = self.journal.transact(|_| Ok::<_, ()>(((), Vec::new()))).await;
        if let Err(error) = nothing {
            tracing::error!(%error, "the last snapshots may not be on disk");
            late.push(self.journal.vitals().name().to_owned());
        }
        late
    }
}

/// Has actors finish; the names of those that did not within `deadline`.
async fn drain(actors: Vec<Arc<dyn Supervised>>, deadline: Duration) -> Vec<String> {
    let answering = |actor: &Arc<dyn Supervised>| {
        matches!(actor.vitals().status(), Status::Running | Status::Restarting)
    };
    let drained = actors.into_iter().rev().filter(answering).map(|actor| async move {
        let drained = tokio::time::timeout(deadline, actor.drain()).await;
        drained.is_err().then(|| actor.vitals().name().to_owned())
    });
    join_all(drained).await.into_iter().flatten().collect()
}

/// What did not finish when the tree was drained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not finished in time: {}", .0.join(", "))]
pub struct Overran(pub Vec<String>);

impl Overran {
    fn of(late: Vec<String>) -> Result<(), Self> {
        if late.is_empty() { Ok(()) } else { Err(Self(late)) }
    }
}

/// The handles that a runner of jobs may use.
pub struct Handles<'a> {
    /// Circuits.
    pub circuits: &'a CircuitBreakers,
    /// Bulkheads.
    pub bulkheads: &'a Bulkheads,
    /// Tools and accepted events.
    pub jobs: &'a Jobs,
    /// Running answers.
    pub answers: &'a Answers,
    /// Records and the disk.
    pub journal: &'a Journal,
    /// The time.
    pub clock: &'a SharedClock,
}
