//! Builds the actors in order, and hands out their threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_rt::Arbiter;
use sendcat_state::key::{ProviderId, SHARDS};
use sendcat_state::store::StoreError;

use tokio::sync::{mpsc, oneshot};

use super::{Handles, Inner, ShardPlacement, Topology, Tree, TreeOptions};
use crate::bulkhead::{self, Bulkheads};
use crate::circuit_breaker::{self, CircuitBreakers};
use crate::handle::Around;
use crate::idempotency::Idempotency;
use crate::job_queue::Jobs;
use crate::journal::{Journal, LoadError};
use crate::machine::Machine;
use crate::ports::JobRunner;
use crate::rate_limiter::{self, RateLimiter};
use crate::stream_log::Answers;
use crate::supervisor::{Escalation, Place, Report, Subtree, Supervised, Supervisor};
use crate::tool_cache::Cache;
use crate::tool_worker::Worker;

pub(super) struct Build {
    pub(super) around: Around,
    /// What ends the supervisor.
    pub(super) stop: oneshot::Sender<()>,
}

impl Build {
    pub(super) async fn all(
        self,
        options: TreeOptions,
        journal: Journal,
        reports: mpsc::UnboundedReceiver<Report>,
        runner: impl FnOnce(&Handles<'_>) -> Arc<dyn JobRunner>,
    ) -> Result<(Tree, Supervisor), StoreError> {
        let around = self.around.clone();
        let seconds = Duration::from_secs;
        let counts = Escalation::CountsAtTheRoot;
        let limits = Subtree::new("limits", 5, seconds(30), counts);
        let guards = Subtree::new("guards", 5, seconds(30), counts);
        let replay = Subtree::new("replay", 5, seconds(30), counts);
        let tools = Subtree::new("tools", 5, seconds(60), counts);
        let answering = Subtree::new("answers", 5, seconds(30), counts);

        let mut saved = self.read_back((0..SHARDS).map(rate_limiter::name_of)).await?;
        let limiter = RateLimiter::new(&limits, &around, |name| take(&mut saved, name));
        let mut saved = self.read_back(providers().map(circuit_breaker::name_of)).await?;
        let circuits =
            CircuitBreakers::new(&guards, &around, options.circuit, |name| take(&mut saved, name));
        let mut saved = self.read_back(providers().map(bulkhead::name_of)).await?;
        let bulkheads =
            Bulkheads::new(&guards, &around, options.bulkhead, |name| take(&mut saved, name));
        let claims = Idempotency::new(&replay, &around, self.read_one("idempotency").await?);
        let jobs = Jobs::new(&tools, &around, (options.jobs, options.poll));
        let cache = Cache::new(&tools, &around, options.cache, self.read_one("tool_cache").await?);
        let answers = Answers::new(&answering, &around);
        let clock = around.clock.clone();
        let runner = runner(&Handles {
            circuits: &circuits,
            bulkheads: &bulkheads,
            jobs: &jobs,
            answers: &answers,
            journal: &journal,
            clock: &clock,
        });
        let worker = |number| Worker::new(number, &tools, &around, &jobs, &runner);
        let workers = (0..options.workers).map(worker);

        let shards = limiter.shards().iter().map(|shard| shard.supervised()).collect();
        let guards = circuits.circuits().map(|(_, circuit)| circuit.supervised());
        let guards = guards.chain(bulkheads.bulkheads().map(|(_, it)| it.supervised()));
        let mut of_tools = vec![jobs.actor().supervised(), cache.actor().supervised()];
        of_tools.extend(workers.map(|worker| worker as Arc<dyn Supervised>));
        of_tools.push(answers.actor().supervised());
        let groups = [guards.collect(), vec![claims.actor().supervised()], of_tools];
        let started = started(options.topology, shards, groups);
        let supervisor =
            Supervisor::new(&started.0, reports, clock.clone(), options.topology, journal.clone());
        let inner = Arc::new(Inner::new(started, &supervisor, self.stop));
        let tree = Tree {
            limiter,
            circuits,
            bulkheads,
            claims,
            jobs,
            cache,
            answers,
            journal,
            clock,
            inner,
        };
        Ok((tree, supervisor))
    }

    async fn read_one<M: Machine>(&self, name: &str) -> Result<M, StoreError> {
        let mut saved = self.read_back([name.to_owned()]).await?;
        Ok(take(&mut saved, name))
    }

    /// Reads back the snapshots of these machines. One that cannot be read is put aside: the
    /// machine starts anew, and readiness names it. A disk that fails is another matter: starting
    /// anew would write over what is on it.
    async fn read_back<M: Machine>(
        &self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<HashMap<String, M>, StoreError> {
        let mut machines = HashMap::new();
        for name in names {
            let built = self.around.journal.load::<M>(&name, 0).await;
            let built = built.map_err(|error| match error {
                LoadError::Store(error) => error,
                LoadError::Unavailable => StoreError::Io(error.to_string()),
            })?;
            let now = self.around.clock.now();
            let machine = match built.base {
                Some(mut machine) => {
                    machine.reopened(now);
                    Some(machine)
                }
                None if built.unreadable => {
                    let salvaged = self.around.journal.read(move |it| M::salvage(now, it)).await;
                    Some(salvaged.map_err(|error| StoreError::Io(error.0))?)
                }
                None => None,
            };
            machines.extend(machine.map(|machine| (name, machine)));
        }
        Ok(machines)
    }
}

/// Starts the shards where they live and each other group on a thread of its own, in order.
fn started(
    topology: Topology,
    shards: Vec<Arc<dyn Supervised>>,
    groups: [Vec<Arc<dyn Supervised>>; 3],
) -> (Vec<Arc<dyn Supervised>>, Vec<Arbiter>) {
    let mut places = Places::new(topology);
    let mut actors = Vec::new();
    places.start_shards(shards, &mut actors);
    for group in groups {
        places.start(group, &mut actors);
    }
    (actors, places.arbiters)
}

fn take<M: Machine>(saved: &mut HashMap<String, M>, name: &str) -> M {
    saved.remove(name).unwrap_or_else(M::fresh)
}

fn providers() -> impl Iterator<Item = ProviderId> {
    ProviderId::ALL.iter().copied()
}

impl Inner {
    fn new(
        (actors, arbiters): (Vec<Arc<dyn Supervised>>, Vec<Arbiter>),
        supervisor: &Supervisor,
        stop: oneshot::Sender<()>,
    ) -> Self {
        Self {
            actors,
            placing: Arc::clone(&supervisor.placing),
            arbiters: Mutex::new(arbiters),
            topology: supervisor.topology,
            stop: Mutex::new(Some(stop)),
            beat: Arc::clone(&supervisor.beat),
        }
    }
}

/// Hands out threads.
struct Places {
    topology: Topology,
    arbiters: Vec<Arbiter>,
}

impl Places {
    fn new(topology: Topology) -> Self {
        Self { topology, arbiters: Vec::new() }
    }

    /// Starts a group on a thread of its own.
    fn start(&mut self, group: Vec<Arc<dyn Supervised>>, actors: &mut Vec<Arc<dyn Supervised>>) {
        let place = self.own_thread();
        for actor in group {
            Arc::clone(&actor).start(place.clone());
            actors.push(actor);
        }
    }

    fn start_shards(
        &mut self,
        shards: Vec<Arc<dyn Supervised>>,
        actors: &mut Vec<Arc<dyn Supervised>>,
    ) {
        match self.topology {
            Topology::Threads { shards: ShardPlacement::Workers(_) } => actors.extend(shards),
            Topology::Threads { shards: ShardPlacement::Dedicated } | Topology::Here => {
                self.start(shards, actors);
            }
        }
    }

    fn own_thread(&mut self) -> Place {
        match self.topology {
            Topology::Here => Place::Here,
            Topology::Threads { .. } => {
                let arbiter = Arbiter::new();
                let place = Place::on(arbiter.handle());
                self.arbiters.push(arbiter);
                place
            }
        }
    }
}
