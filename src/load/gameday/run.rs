//! Runs a game day: looks once a second, and does what the machine says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::attack::Attack;
use super::catalog::{self, Maker};
use super::host;
use super::ordeal::Ordeal;
use super::own_server::OwnServer;
use super::phase::{Act, GameDay, Phase, Sight};
use super::plan::Plan;
use super::server::{Board, BoardError, Target};
use super::steady;
use super::tally::{Gauges, Tally};
use super::traffic::Traffic;
use crate::load::clock::Stopwatch;
use crate::slo::policy::SloBaseline;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// One second, as the timeline of a report has it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineRow {
    /// Milliseconds since the start.
    pub t_ms: u64,
    /// Where the game day stood.
    pub phase: Phase,
    /// Requests that ended, by scenario.
    pub scenarios: BTreeMap<String, Tally>,
    /// What operators saw.
    pub gauges: Option<Gauges>,
    /// How often the fault had bitten.
    pub witness: u64,
}

/// A game day that is over.
pub struct Played {
    /// What came of it.
    pub day: GameDay,
    /// Second by second.
    pub timeline: Vec<TimelineRow>,
    /// The lease, to be ended by hand if it has to be.
    pub lease: Option<String>,
}

/// What a game day is given beside its plan.
#[derive(Clone)]
pub struct Stage {
    /// The server.
    pub target: Target,
    /// Tells this run's deliveries from others'.
    pub run: String,
    /// Where reports go: its disk must not be full.
    pub out: PathBuf,
    /// What is promised: unrelated scenarios may be twice over it, and no more.
    pub promised: SloBaseline,
    /// Set on Ctrl-C and SIGTERM.
    pub interrupted: Arc<AtomicBool>,
}

/// The fault, in force or not.
enum InForce {
    Nothing,
    Leased(String),
    Made(Attack),
    Suffered(Ordeal),
}

struct Player {
    board: Board,
    traffic: Traffic,
    stage: Stage,
    in_force: InForce,
    /// What makes a fault of the server's bite.
    beside: Option<Attack>,
    /// A server of the tool's own, and whether it is still to be started anew after the fault.
    own: Option<(Arc<OwnServer>, bool)>,
    lease: Option<String>,
    witness: u64,
}

/// Plays a plan to its end; `tell` hears each second.
///
/// # Errors
/// [`BoardError`] if the server has no board, or does not take the fault; nothing is in force then.
pub async fn play(
    plan: Plan,
    mut stage: Stage,
    tell: impl FnMut(&TimelineRow),
) -> Result<Played, BoardError> {
    let own = if plan.needs_own_server() { Some(own_server().await?) } else { None };
    if let Some(target) = own.as_ref().and_then(|own| own.target()) {
        stage.target = target;
    }
    let played = play_on(plan, stage, own.clone(), tell).await;
    drop(tokio::task::spawn_blocking(move || own.inspect(|own| own.kill())).await);
    played
}

async fn own_server() -> Result<Arc<OwnServer>, BoardError> {
    let away = |why: String| BoardError::Unreachable(why);
    let started = tokio::task::spawn_blocking(OwnServer::start).await;
    let started = started.map_err(|error| away(error.to_string()))?;
    started.map(Arc::new).map_err(|error| away(error.to_string()))
}

async fn play_on(
    plan: Plan,
    stage: Stage,
    own: Option<Arc<OwnServer>>,
    mut tell: impl FnMut(&TimelineRow),
) -> Result<Played, BoardError> {
    let board = Board::of(&stage.target)?;
    board.list().await?;
    let away = |error: reqwest::Error| BoardError::Unreachable(error.to_string());
    let traffic = Traffic::towards(&stage.target, &stage.run).map_err(away)?;
    let (mut day, target) = (GameDay::new(plan, &stage.promised), stage.target.clone());
    let (in_force, own) = (InForce::Nothing, own.map(|own| (own, true)));
    let (beside, lease) = (None, None);
    let mut player = Player { board, traffic, stage, in_force, beside, own, lease, witness: 0 };
    let mut timeline = Vec::new();
    day.probed_before(&steady::failing(&target).await);
    let watch = Stopwatch::start();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for second in 0.. {
        if day.phase() == Phase::Over {
            break;
        }
        ticks.tick().await;
        let sight = player.look(second).await;
        let now = watch.read();
        let phase = day.phase();
        let act = day.step(now, &sight);
        let t_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let Sight { scenarios, gauges, witness, .. } = sight;
        let row = TimelineRow { t_ms, phase, scenarios, gauges, witness };
        tell(&row);
        timeline.push(row);
        player.act(act, day.plan()).await?;
    }
    player.end_quietly(&day).await;
    if day.unsteady.is_none() {
        day.probed_after(steady::failing(&target).await);
    }
    Ok(Played { day, timeline, lease: player.lease })
}

impl Player {
    async fn look(&mut self, second: u64) -> Sight {
        let scenarios = self.traffic.ended();
        let port = self.stage.target.base.port_or_known_default().unwrap_or(80);
        let ((), list, gauges, rss_mb, free_disk_mb) = tokio::join!(
            self.traffic.send(second),
            self.board.list(),
            // In time also where nobody answers: what is sent each second is due each second.
            tokio::time::timeout(LOOK * 9 / 10, self.board.gauges()),
            host::rss_mb(port),
            host::free_disk_mb(&self.stage.out),
        );
        let mut contact = list.is_ok();
        let mut listed = false;
        if let Ok(list) = &list {
            let ours = |lease: &str| {
                let mut all = list.leases.iter().chain(&list.ended);
                all.find(|row| row.lease == lease).map(|row| row.witness)
            };
            if let Some(lease) = &self.lease {
                listed = list.leases.iter().any(|row| row.lease == *lease);
                self.witness = ours(lease).unwrap_or(self.witness);
            }
        }
        match &self.in_force {
            InForce::Nothing | InForce::Leased(_) => {}
            InForce::Made(attack) => (listed, self.witness) = (attack.goes_on(), attack.struck()),
            InForce::Suffered(ordeal) => {
                (listed, self.witness) = (ordeal.goes_on(), ordeal.struck());
                // The process is in the tool's hands, whether it answers or not.
                contact |= listed;
            }
        }
        Sight {
            contact,
            listed,
            witness: self.witness,
            scenarios,
            gauges: gauges.ok().flatten().map(|gauges| Gauges { rss_mb, ..gauges }),
            free_disk_mb,
            interrupted: self.stage.interrupted.load(Ordering::Acquire),
        }
    }

    async fn act(&mut self, act: Act, plan: &Plan) -> Result<(), BoardError> {
        match act {
            Act::Wait | Act::End => {}
            Act::BeginNoop => {
                let noop = Plan { fault: "noop".into(), target: String::new(), ..plan.clone() };
                let noop = Plan { params: BTreeMap::new(), ..noop };
                self.in_force = InForce::Leased(self.board.lease(&noop).await?.lease);
            }
            Act::Inject => {
                self.revert().await;
                self.inject(plan).await?;
            }
            Act::Revert => self.revert().await,
            Act::RevertAll => {
                self.revert().await;
                self.board.release_all().await;
            }
        }
        Ok(())
    }

    async fn inject(&mut self, plan: &Plan) -> Result<(), BoardError> {
        let maker = catalog::of(&plan.fault).map_or(Maker::Nobody, |kind| kind.maker);
        self.in_force = match maker {
            Maker::Server => {
                let lease = self.board.lease(plan).await?.lease;
                self.lease = Some(lease.clone());
                let Stage { target, run, .. } = &self.stage;
                self.beside = Attack::begin(&plan.fault, target, &self.traffic.ends, run);
                InForce::Leased(lease)
            }
            Maker::Own => {
                let Stage { target, run, .. } = &self.stage;
                let begun = self
                    .own
                    .as_ref()
                    .and_then(|(own, _)| Ordeal::begin(plan, own, target, &self.traffic.ends, run));
                begun.map_or(InForce::Nothing, InForce::Suffered)
            }
            Maker::Client => {
                let Stage { target, run, .. } = &self.stage;
                let attack = Attack::begin(&plan.fault, target, &self.traffic.ends, run);
                attack.map_or(InForce::Nothing, InForce::Made)
            }
            Maker::Nobody => InForce::Nothing,
        };
        Ok(())
    }

    async fn revert(&mut self) {
        if let Some(beside) = &self.beside {
            beside.end();
        }
        match &self.in_force {
            InForce::Nothing => {}
            InForce::Leased(lease) => {
                self.board.release(lease).await;
                if self.lease.as_ref() == Some(lease) {
                    self.start_anew().await;
                }
            }
            InForce::Made(attack) => attack.end(),
            InForce::Suffered(ordeal) => ordeal.end().await,
        }
    }

    /// Of a server of the tool's own: what was given up comes back by a restart, which is an
    /// operator's act.
    async fn start_anew(&mut self) {
        if let Some((own, wanted)) = &mut self.own
            && std::mem::take(wanted)
        {
            let own = Arc::clone(own);
            let again = tokio::task::spawn_blocking(move || {
                own.kill();
                own.launch()
            });
            drop(again.await);
        }
    }

    /// Leaves nothing in force behind a game day that could not begin.
    async fn end_quietly(&mut self, day: &GameDay) {
        if day.revert_verified.is_none() {
            self.revert().await;
        }
    }
}
