//! Faults of a whole process: it is killed, stopped, or its store is damaged while it is away.
//! Only a server that the tool has started itself suffers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;

use super::own_server::OwnServer;
use super::plan::Plan;
use super::server::Target;
use super::tally::Tally;
use super::traffic::{End, deliver, delivery};
use crate::load::clock::Stopwatch;

/// Deliveries that are acknowledged before and come again after.
const DELIVERIES: u64 = 20;

/// How long one look may take; longer is a stall.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks for the server's return, half a minute in all.
const LOOKS: u32 = 300;

/// A fault that the process of the tool's own server suffers.
pub struct Ordeal {
    own: Arc<OwnServer>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    struck: AtomicU64,
    over: AtomicBool,
    told_to_end: Notify,
}

/// What it is given.
struct Means {
    own: Arc<OwnServer>,
    state: Arc<State>,
    client: Client,
    target: Target,
    ends: mpsc::Sender<End>,
    run: String,
}

impl Ordeal {
    /// Begins a plan's fault; `None` if no process suffers such.
    pub fn begin(
        plan: &Plan,
        own: &Arc<OwnServer>,
        target: &Target,
        ends: &mpsc::Sender<End>,
        run: &str,
    ) -> Option<Self> {
        let state = Arc::<State>::default();
        let means = Means {
            own: Arc::clone(own),
            state: Arc::clone(&state),
            client: Client::builder().no_proxy().pool_max_idle_per_host(0).build().ok()?,
            target: target.clone(),
            ends: ends.clone(),
            run: run.to_owned(),
        };
        let seconds = plan.params.get("seconds").copied().unwrap_or(6);
        match plan.fault.as_str() {
            "process.sigkill" => drop(tokio::spawn(means.killed())),
            "process.sigstop" => {
                drop(tokio::spawn(means.stopped(u64::try_from(seconds).unwrap_or_default())));
            }
            "disk.corrupt" => drop(tokio::spawn(means.damaged())),
            _ => return None,
        }
        Some(Self { own: Arc::clone(own), state })
    }

    /// How often it has bitten.
    pub fn struck(&self) -> u64 {
        self.state.struck.load(Ordering::Acquire)
    }

    /// Whether the process is not yet as it was.
    pub fn goes_on(&self) -> bool {
        !self.state.over.load(Ordering::Acquire)
    }

    /// Takes it back: the process goes on, or is there again.
    pub async fn end(&self) {
        self.state.told_to_end.notify_one();
        let own = Arc::clone(&self.own);
        drop(spawn_blocking(move || own.signal("CONT")).await);
    }
}

impl State {
    fn strikes(&self) {
        self.struck.fetch_add(1, Ordering::AcqRel);
    }
}

impl Means {
    /// Dies at once, is started again, and must know what it had acknowledged.
    async fn killed(self) {
        let acknowledged = self.acknowledged().await;
        let before = self.own.pid();
        self.starts_again(OwnServer::kill).await;
        if self.own.pid() != before {
            self.state.strikes();
        }
        self.again(acknowledged).await;
        self.state.over.store(true, Ordering::Release);
    }

    /// The same, and meanwhile a byte of its store is damaged. It is in force until whoever
    /// operates it has looked and starts it anew.
    async fn damaged(self) {
        let acknowledged = self.acknowledged().await;
        let damaged = Arc::<AtomicBool>::default();
        let told = Arc::clone(&damaged);
        self.starts_again(move |own| {
            own.kill();
            told.store(own.damage().is_ok(), Ordering::Release);
        })
        .await;
        if damaged.load(Ordering::Acquire) {
            self.state.strikes();
        }
        self.again(acknowledged).await;
        self.state.told_to_end.notified().await;
        self.starts_again(OwnServer::kill).await;
        self.state.over.store(true, Ordering::Release);
    }

    /// Stands still for so long. The signal that lets it go on is sent by a process of its own,
    /// also if the tool is gone by then.
    async fn stopped(self, seconds: u64) {
        let own = Arc::clone(&self.own);
        let stopping = spawn_blocking(move || own.stop_for(seconds));
        while !stopping.is_finished() {
            if !self.answers().await && !stopping.is_finished() {
                self.state.strikes();
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.state.over.store(true, Ordering::Release);
    }

    /// Delivers some; those that were accepted.
    async fn acknowledged(&self) -> Vec<String> {
        let mut acknowledged = Vec::new();
        for nth in 0..DELIVERIES {
            let body = delivery(&format!("gameday-ordeal-{}-{nth}", self.run));
            if deliver(&self.client, &self.target, body.clone()).await.accepted {
                acknowledged.push(body);
            }
        }
        acknowledged
    }

    /// Delivers again what was accepted: each must be known.
    async fn again(&self, acknowledged: Vec<String>) {
        for body in acknowledged {
            let again = deliver(&self.client, &self.target, body).await;
            let unreplayed = u64::from(again.accepted && !again.replayed);
            self.count("attack", Tally { unreplayed, ..again.tally });
        }
    }

    /// Has it end, starts it, and waits until it is ready; how long that took is counted.
    async fn starts_again(&self, ends: impl FnOnce(&OwnServer) + Send + 'static) {
        let (own, watch) = (Arc::clone(&self.own), Stopwatch::start());
        let launched = spawn_blocking(move || {
            ends(&own);
            own.launch()
        });
        let mut there = launched.await.is_ok_and(|launched| launched.is_ok());
        for _ in 0..LOOKS {
            if !there || self.answers().await {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        there = there && self.answers().await;
        let max_ms = watch.read().as_secs_f64() * 1e3;
        let network = u64::from(!there);
        self.count("restart", Tally { total: 1, network, max_ms, ..Tally::default() });
    }

    async fn answers(&self) -> bool {
        let url = self.target.base.join("/readyz").expect("a path of ours is one");
        let answer = self.client.get(url).timeout(PATIENCE).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn count(&self, scenario: &'static str, tally: Tally) {
        drop(self.ends.try_send(End { scenario, tally }));
    }
}
