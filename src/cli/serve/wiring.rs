//! Puts the rooms together: actors on a store, engines on a way out, routes on an app.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use jsonwebtoken::DecodingKey;
use sendcat_actors::clock::SharedClock;
use sendcat_actors::faults::ScheduledFault;
use sendcat_actors::journal::StoreFactory;
use sendcat_actors::observe::Status;
use sendcat_actors::ports::{Attempt, JobRunner, Running};
use sendcat_actors::tree::{Handles, Root, ShardPlacement, Topology, Tree, TreeOptions};
use sendcat_state::job::{ClaimedJob, JobKind};
use sendcat_state::key::ProviderId;
use sendcat_state::store::sled::SledStore;
use sendcat_state::store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{ServeError, alerts, answers};
use crate::chat::cut::CutAnswers;
use crate::chat::engine::{Engine, Parts};
use crate::chat::once::Once;
use crate::chat::tools::{Desk, ToolRunner, Wanted};
use crate::config::{self, Config, Live, fixed};
use crate::http::guard::bearer::Auth;
use crate::http::guard::keys::{KeySource, NoKey};
use crate::http::leases::{Leases, StandIns};
use crate::http::ops_feed::OpsFeed;
use crate::http::{self, Shared, Worker};
use crate::inbox::answers::{Answering, Appoint};
use crate::inbox::gmail::{self, Mailboxes};
use crate::inbox::media_store::MediaStore;
use crate::inbox::work::{self, Handlers};
use crate::inbox::{Inbox, tidying};
use crate::telemetry::metrics::Metrics;
use crate::upstream::call::Upstream;
use crate::upstream::jwks::{self, Jwks};
use crate::upstream::retry::RetryBudget;

/// The longest an attempt at an accepted event may take.
const INBOX_DEADLINE: Duration = Duration::from_secs(120);

/// How long the process waits for its shards to start before it says that it listens.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Starts the actors on the store in the data directory.
pub(super) async fn tree(
    live: &Live,
    clock: SharedClock,
    wanted: &Wanted,
    answering: Answering,
) -> Result<(Tree, Root, Arc<gmail::Shared>), ServeError> {
    let config = &*live.now();
    std::fs::create_dir_all(&config.data_dir).map_err(ServeError::DataDir)?;
    let jobs = config.queue_rules();
    let workers = jobs.kinds.iter().map(|(partition, _)| partition.running_max).sum();
    let placed = match config.placement {
        config::ShardPlacement::Worker => ShardPlacement::Workers(config.workers),
        config::ShardPlacement::Dedicated => ShardPlacement::Dedicated,
    };
    let (circuits, bulkheads) = (config.clone(), config.clone());
    let options = TreeOptions {
        clock,
        topology: Topology::Threads { shards: placed },
        snapshot_every: config.snapshot_every,
        circuit: Box::new(move |provider| circuits.circuit(provider)),
        bulkhead: Box::new(move |provider| bulkheads.bulkhead(provider)),
        jobs,
        cache: fixed::TOOL_CACHE,
        monitor: config.monitor_rules(),
        workers,
        poll: config.tool_jobs.poll,
    };
    let store = store_in(&config.data_dir.join("state"));
    let connect = config.chat.connect;
    let deadlines = (config.tool_jobs.wait, INBOX_DEADLINE);
    let (mut no_client, mut mailboxes) = (None, None);
    let started = Tree::start(options, store, |handles| {
        let upstream = Upstream::new(handles.circuits.clone(), handles.bulkheads.clone(), connect);
        let runner = |upstream| {
            let (clock, wanted) = (handles.clock.clone(), wanted.clone());
            Arc::new(ToolRunner::new(upstream, live.clone(), clock, wanted))
        };
        let outwards = upstream.as_ref().ok().cloned();
        let tools = upstream.map(runner);
        let tools = tools.map_err(|error| no_client = Some(error)).ok();
        let shared = gmail::Shared::new(config, handles.journal.clone(), handles.clock.clone());
        let inbox = handlers(handles, config, (outwards, Arc::clone(&shared)), answering);
        mailboxes = Some(shared);
        Arc::new(Runner { tools, inbox, deadlines }) as Arc<dyn JobRunner>
    });
    let (tree, root) = started.await?;
    match (no_client, mailboxes) {
        (Some(error), _) => Err(error.into()),
        (None, mailboxes) => {
            Ok((tree, root, mailboxes.expect("the tree was started with its runner")))
        }
    }
}

/// What works off accepted events.
fn handlers(
    handles: &Handles<'_>,
    config: &Config,
    (upstream, mailboxes): (Option<Upstream>, Arc<gmail::Shared>),
    answering: Answering,
) -> Arc<Handlers> {
    let mailboxes = upstream.clone().map(|upstream| Mailboxes::new(mailboxes, upstream));
    Handlers::new(work::Parts {
        jobs: handles.jobs.clone(),
        journal: handles.journal.clone(),
        clock: handles.clock.clone(),
        upstream,
        whatsapp: config.providers.whatsapp.clone(),
        whatsapp_deadline: config.deadline(ProviderId::WhatsappGraph),
        answering,
        media: MediaStore::at(config.data_dir.join("media")),
        mailboxes,
    })
}

/// Opens the store there; files that make no sense are put aside under a name that says so.
fn store_in(directory: &Path) -> StoreFactory {
    let directory = directory.to_owned();
    Box::new(move || {
        let opened = SledStore::open(&directory);
        let opened = match opened {
            Err(StoreError::Corrupt(why)) => {
                let aside = put_aside(&directory)?;
                tracing::error!(%why, aside = %aside.display(), "the state was put aside");
                let empty = format!("{why}; its files are in {}", aside.display());
                SledStore::open(&directory).map(|store| store.in_place_of(empty))
            }
            opened => opened,
        };
        opened.map(|store| Box::new(store) as Box<dyn Store>)
    })
}

/// Renames a directory to the first free name beside it.
fn put_aside(directory: &Path) -> Result<PathBuf, StoreError> {
    let free = (1..).map(|number| directory.with_extension(format!("corrupt-{number}")));
    let free = free.into_iter().find(|path| !path.exists()).unwrap_or_default();
    std::fs::rename(directory, &free)
        .map_err(|error| StoreError::Io(format!("{}: {error}", directory.display())))?;
    Ok(free)
}

/// Runs jobs: tools for chat turns, handlers for accepted events.
struct Runner {
    tools: Option<Arc<ToolRunner>>,
    inbox: Arc<Handlers>,
    deadlines: (Duration, Duration),
}

impl JobRunner for Runner {
    fn run(&self, job: ClaimedJob) -> Running {
        match job.kind {
            JobKind::Tool(tool) => {
                let tools = self.tools.clone();
                let input = job.payload.unwrap_or_default();
                Box::pin(async move {
                    match tools {
                        Some(tools) => tools.run(job.id, tool, input).await,
                        None => Attempt {
                            outcome: sendcat_state::job::AttemptOutcome::Dead {
                                error: "no call can leave this process".to_owned(),
                            },
                            result: None,
                        },
                    }
                })
            }
            JobKind::Inbox(source) => Box::pin(Arc::clone(&self.inbox).run(source, job)),
        }
    }

    fn deadline(&self, kind: JobKind) -> Duration {
        match kind {
            JobKind::Tool(_) => self.deadlines.0,
            JobKind::Inbox(_) => self.deadlines.1,
        }
    }
}

/// Stand-ins that faults may be armed on.
pub(super) type Breakable = Box<dyn StandIns>;

/// What every HTTP worker shares. Where there is a chat page, its session begins then.
pub(super) fn shared(
    live: Live,
    tree: Tree,
    (page_begun_at, stand_ins, metrics): (Option<SystemTime>, Option<Breakable>, Metrics),
) -> Arc<Shared> {
    let auth = Auth::new(&live.now().auth);
    let page_token = page_begun_at.and_then(|now| auth.mint(now).ok());
    let page_token = page_token.map(|session| session.token);
    let inbox = Inbox::new(tree.claims.clone(), tree.jobs.clone(), tree.clock.clone());
    let draining = AtomicBool::new(false);
    let faults = Default::default();
    let feed = OpsFeed::since(tree.clock.now());
    let leases = Leases::new(tree.clone(), stand_ins);
    let shared = Arc::new(Shared {
        live,
        tree,
        inbox,
        auth,
        page_token,
        feed,
        metrics,
        draining,
        faults,
        leases,
    });
    http::metrics::watch(&shared);
    shared
}

/// Makes each worker its engine.
#[derive(Clone)]
pub(super) struct Engines {
    shared: Arc<Shared>,
    parts: Arc<Parts>,
    keys: Option<Jwks>,
    push_keys: Option<Jwks>,
    mailboxes: Arc<gmail::Shared>,
}

/// Keys of tokens, by one thread's way out.
struct Keys {
    jwks: Jwks,
    upstream: Upstream,
}

impl KeySource for Keys {
    fn key(&self, kid: Option<String>) -> BoxFuture<'static, Result<DecodingKey, NoKey>> {
        let (jwks, upstream) = (self.jwks.clone(), self.upstream.clone());
        Box::pin(async move {
            jwks.key(&upstream, kid.as_deref()).await.map_err(|error| match error {
                jwks::NoKey::Unknown => NoKey::Unknown,
                jwks::NoKey::Unavailable => NoKey::Unavailable,
            })
        })
    }
}

impl Engines {
    /// Reads back what the process before left of its answers; what nobody reads is stored in
    /// time.
    pub(super) async fn new(
        shared: &Arc<Shared>,
        stop: &CancellationToken,
        wanted: Wanted,
        mailboxes: Arc<gmail::Shared>,
    ) -> Self {
        let (tree, config) = (&shared.tree, &shared.config());
        let queues = (tree.jobs.clone(), tree.cache.clone());
        let desk = Desk::new(queues, wanted, tree.clock.clone(), shared.live.clone());
        let cut = CutAnswers::load(tree.journal.clone(), tree.clock.clone()).await;
        actix::spawn(cut.clone().store_in_time());
        actix::spawn(tidying::sweep_hourly(tree.journal.clone(), tree.clock.clone()));
        let parts = Parts {
            answers: tree.answers.clone(),
            tools: Arc::new(desk),
            journal: tree.journal.clone(),
            clock: tree.clock.clone(),
            rules: config.chat.clone(),
            openrouter: config.providers.openrouter.clone(),
            stop: stop.clone(),
            retries: RetryBudget::default(),
            once: Once::default(),
            cut,
        };
        let deadline = config.deadline(ProviderId::Jwks);
        let jwks = |url: String| Jwks::new(url, deadline, tree.clock.clone());
        let google = &config.providers.google;
        let believed = google.push_audience.is_some() && google.push_service_account.is_some();
        let push_keys = believed.then(|| jwks(google.jwks_url.clone()));
        let keys = config.auth.jwks_url.clone().map(jwks);
        let (shared, parts) = (Arc::clone(shared), Arc::new(parts));
        Self { shared, parts, keys, push_keys, mailboxes }
    }

    /// Mailboxes, with connections of their own.
    pub(super) fn mailboxes(&self) -> Result<Mailboxes, crate::upstream::call::NoClient> {
        Ok(Mailboxes::new(Arc::clone(&self.mailboxes), self.upstream()?))
    }

    /// Makes one of each for its error, for the workers make their own; has those who wrote
    /// answered from here on, alerts raised, and mailboxes looked after until `stop`.
    pub(super) fn begin(
        &self,
        stop: &CancellationToken,
        appoint: &Appoint,
    ) -> Result<(), crate::upstream::call::NoClient> {
        drop(self.engine()?);
        actix::spawn(self.mailboxes()?.look_after(stop.clone()));
        alerts::begin(&self.shared, self.upstream()?);
        answers::begin(self, appoint);
        Ok(())
    }

    /// An engine with connections of its own.
    pub(super) fn engine(&self) -> Result<Engine, crate::upstream::call::NoClient> {
        Ok(Engine::new(Arc::clone(&self.parts), self.upstream()?))
    }

    /// A way out with connections of its own.
    fn upstream(&self) -> Result<Upstream, crate::upstream::call::NoClient> {
        let tree = &self.shared.tree;
        let connect = self.shared.config().chat.connect;
        Upstream::new(tree.circuits.clone(), tree.bulkheads.clone(), connect)
    }
}

/// What one HTTP worker has. Called on its thread: it takes over its share of the shards.
pub(super) fn worker(shared: &Arc<Shared>, engines: &Engines) -> Worker {
    shared.tree.adopt_worker();
    let made = "one like it was made before the server started";
    let engine = engines.engine().expect(made);
    let mailboxes = engines.mailboxes().expect(made);
    let keys_of = |jwks: &Option<Jwks>| {
        jwks.clone().map(|jwks| {
            let upstream = engines.upstream().expect(made);
            Arc::new(Keys { jwks, upstream }) as Arc<dyn KeySource>
        })
    };
    let (keys, push_keys) = (keys_of(&engines.keys), keys_of(&engines.push_keys));
    Worker { shared: Arc::clone(shared), engine, keys, push_keys, mailboxes }
}

/// Waits until every actor runs: the line that says so must not come before.
pub(super) async fn until_started(shared: &Shared) {
    let started = async {
        while shared.tree.actors().iter().any(|actor| actor.status != Status::Running) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(START_DEADLINE, started).await.is_err() {
        tracing::error!("not every actor has started; see /ops/actors");
    }
}

/// Arms the faults that `SENDCAT_FAULTS` schedules.
pub(super) fn arm_faults(tree: &Tree, scheduled: Option<&str>) -> Result<(), String> {
    let Some(scheduled) = scheduled else { return Ok(()) };
    if !sendcat_actors::faults::COMPILED {
        return Err("this build injects no faults; build it with --features faults".to_owned());
    }
    for text in scheduled.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let ScheduledFault { actor, fault } = text.parse()?;
        if !tree.arm(&actor, fault) {
            return Err(format!("fault {text:?}: there is no actor {actor}"));
        }
    }
    Ok(())
}
