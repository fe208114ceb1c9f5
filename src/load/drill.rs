//! A drill: scenarios under a profile's load, held against what is promised of them.
//!
//! # Invariants
//! - A scenario that was not run is a row that says so; one that was named and not run makes the
//!   drill inconclusive.
//! - Where the generator did not keep its schedule the drill says nothing of the server: INVALID.

mod growth;
pub mod profiles;
mod rows;
pub mod self_test;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::growth::Growth;
pub use self::profiles::Profile;
use super::generator::{Arm, Generator, Run};
use super::live::Live;
use super::plan::{Gaps, Model, Plan, StagePlan};
use super::scenarios::{CHAT, Chat, GMAIL, Webhook};
use super::traffic::{Target, Traffic};
use crate::config::Secret;
use crate::slo::gates;
use crate::slo::policy::slo::ScenarioSlo;
use crate::slo::policy::{Owners, SloBaseline};
use crate::slo::report::{Check, Scenario};
use crate::slo::verdict::Circumstance;

/// More requests than callers make in any time that a drill lasts.
const UNCOUNTED: u64 = 1 << 40;

/// What is asked of a drill.
pub struct Order {
    /// The server, as `http://127.0.0.1:8787`.
    pub base_url: String,
    /// The shape of load.
    pub profile: Profile,
    /// The scenarios that were named, and must therefore run; all of them, where they can, else.
    pub named: Option<Vec<String>>,
    /// Callers of the closed model; the open one else.
    pub concurrency: Option<u32>,
    /// In place of every stage's own.
    pub rate: Option<f64>,
    /// Of all stages together.
    pub lasting: Option<Duration>,
    /// Between arrivals.
    pub gaps: Gaps,
    /// Requests of a scenario without an answer at most.
    pub max_inflight: u32,
    /// Addresses that requests come from.
    pub client_ips: u16,
    /// Ends the drill once a gate is certainly broken, from so long after its start on.
    pub abort_on_fail: Option<Duration>,
    /// Of gaps and of names of threads.
    pub seed: u64,
    /// How long one answer may take.
    pub timeout: Duration,
    /// How long a chat's stream may take.
    pub chat_timeout: Duration,
    /// Whom chats are from.
    pub token: Option<Secret>,
    /// In which thread they are.
    pub thread: Option<String>,
    /// What is promised.
    pub baseline: SloBaseline,
    /// Who answers for it.
    pub owners: Owners,
}

/// What a drill found.
#[derive(Debug, Default)]
pub struct Drilled {
    /// Every row.
    pub checks: Vec<Check>,
    /// What was measured.
    pub scenarios: Vec<Scenario>,
    /// What happened beside the rows.
    pub beside: Vec<Circumstance>,
    /// A sentence for each of these.
    pub reasons: Vec<String>,
    /// Of the generator by scenario: its own lag, waits for slots, gaps of streams, processor time.
    pub generator: serde_json::Map<String, Value>,
}

/// Something to say on the way, a line at a time.
pub type Say<'a> = dyn Fn(String) + 'a;

/// A scenario that is about to run.
struct Ready<'a> {
    name: String,
    slo: &'a ScenarioSlo,
    plan: Plan,
    generator: Generator,
    live: Arc<Live>,
    cancel: CancellationToken,
}

impl Order {
    /// The stages of every scenario that would run, and what these sizes can prove.
    pub fn plan(&self, name: &str) -> Plan {
        let stages = self.profile.shaped(name, self.rate, self.lasting);
        let (model, stages) = match (self.concurrency, self.lasting) {
            (None, _) => (Model::Open, stages),
            (Some(concurrency), None) => (Model::Closed { concurrency, lasting: None }, stages),
            // How many requests so many callers make in that time is the server's to say.
            (Some(concurrency), lasting) => {
                let rate = stages.first().map_or(1.0, |stage| stage.rate);
                let stages = vec![StagePlan::of(UNCOUNTED, rate)];
                (Model::Closed { concurrency, lasting }, stages)
            }
        };
        let open = Plan::open(stages, self.seed);
        let (max_inflight, client_ips) = (self.max_inflight, self.client_ips);
        let timeout = if name == CHAT { self.chat_timeout } else { self.timeout };
        let gaps = self.gaps;
        Plan { model, gaps, max_inflight, client_ips, timeout, ..open }
    }

    /// Chats that sessions are asked for ahead: those of the schedule. Callers that make more of
    /// them in their time take turns with the same sessions.
    fn chats(&self) -> u64 {
        let stages = self.profile.shaped(CHAT, self.rate, self.lasting);
        stages.iter().map(|stage| stage.requests).sum()
    }

    /// The scenarios in question, in the order they run.
    pub fn names(&self) -> Vec<String> {
        let all = super::scenarios::ALL.iter().map(ToString::to_string);
        self.named.clone().unwrap_or_else(|| all.collect())
    }

    /// What is promised of a scenario; a full bulkhead's 503 is what a burst is for.
    fn promised(&self) -> SloBaseline {
        let mut baseline = self.baseline.clone();
        if self.profile == Profile::Burst {
            for slo in baseline.scenarios.values_mut().filter_map(|it| it.slis.http5xx.as_mut()) {
                if !slo.exclude.contains(&503) {
                    slo.exclude.push(503);
                }
            }
        }
        baseline
    }
}

/// Runs a drill to its end, or until it is cancelled.
pub async fn run(order: &Order, cancel: &CancellationToken, say: &Say<'_>) -> Drilled {
    let mut found = Drilled::default();
    let (Ok(base), Ok(target)) = (Url::parse(&order.base_url), Target::parse(&order.base_url))
    else {
        found.beside(Circumstance::Misused, "there is no such address".to_owned());
        return found;
    };
    let client = Client::builder().timeout(order.timeout).no_proxy().build();
    let Ok(client) = client else {
        found.beside(Circumstance::Misused, "this machine has no TLS".to_owned());
        return found;
    };
    let health = base.join("/healthz").expect("a path of ours is one");
    if let Err(error) = client.get(health).send().await {
        let why = format!("{} is not reachable: {}", order.base_url, error.without_url());
        found.beside(Circumstance::Unreachable, why);
        return found;
    }
    let promised = order.promised();
    // A gate that is broken ends all scenarios, and whoever called is not cancelled by it.
    let cancel = &cancel.child_token();
    let mut ready = Vec::new();
    for name in order.names() {
        match prepare(order, &promised, (&base, &target), &name, cancel).await {
            Ok(one) => ready.push(one),
            Err(why) => found.skip(order, &name, &why),
        }
    }
    let growth = soak(order, (&client, &base), cancel);
    let ended = CancellationToken::new();
    let load = async {
        let (mut runs, mut left) = (Vec::new(), Vec::new());
        if order.profile.is_mixed() {
            let running = ready.into_iter().map(|one| one_run(order, one, say));
            runs = futures_util::future::join_all(running).await;
        } else {
            for one in ready {
                if cancel.is_cancelled() {
                    left.push(one.name);
                } else {
                    runs.push(one_run(order, one, say).await);
                }
            }
        }
        ended.cancel();
        (runs, left)
    };
    let ((runs, left), growth) = tokio::join!(load, growth(ended.clone()));
    for run in runs {
        rows::judge(order, run, &mut found);
    }
    for name in left {
        found.skip(order, &name, "the drill ended before its turn");
    }
    if let Some(growth) = growth {
        found.checks.extend(growth.rows(&order.owners));
    }
    found
}

/// A scenario with its traffic; why it cannot run else.
async fn prepare<'a>(
    order: &Order,
    promised: &'a SloBaseline,
    (base, target): (&Url, &Target),
    name: &str,
    cancel: &CancellationToken,
) -> Result<Ready<'a>, String> {
    let Some(slo) = promised.scenarios.get(name) else {
        return Err("nothing is promised of it in the SLO file".to_owned());
    };
    let plan = order.plan(name);
    let traffic: Arc<dyn Traffic> = match (name, &order.token) {
        (CHAT, Some(token)) => Chat::as_user(token, order.thread.clone(), order.seed)
            .map_err(|error| error.to_string())?
            .shared(),
        (CHAT, None) => Chat::anonymous(base, order.chats(), order.seed, order.timeout)
            .await
            .map_err(|error| error.to_string())?
            .shared(),
        (GMAIL, _) => Arc::new(Webhook::gmail()),
        _ => Arc::new(Webhook::whatsapp()),
    };
    let arm = Arm { name: name.to_owned(), target: target.clone(), traffic };
    let cancel = cancel.clone();
    let generator = Generator::new(plan.clone(), vec![arm]).cancelled_by(cancel.clone());
    let live = generator.live();
    Ok(Ready { name: name.to_owned(), slo, plan, generator, live, cancel })
}

/// What came of a scenario.
struct Ran<'a> {
    name: String,
    slo: &'a ScenarioSlo,
    run: Result<Run, super::generator::NotStarted>,
    /// The gate that ended it, if one did.
    aborted: Option<String>,
}

async fn one_run<'a>(order: &Order, ready: Ready<'a>, say: &Say<'_>) -> Ran<'a> {
    let Ready { name, slo, plan, generator, live, cancel } = ready;
    let called = name.clone();
    let watch = watch::Watch { order, name: &called, slo, plan: &plan, live: &live };
    let looking = watch.look(cancel, say);
    let running = generator.run();
    tokio::pin!(looking, running);
    let mut aborted = None;
    let run = loop {
        tokio::select! {
            run = &mut running => break run,
            why = &mut looking, if aborted.is_none() => aborted = Some(why),
        }
    };
    Ran { name, slo, run, aborted }
}

/// Watches what grows while a soak goes on.
fn soak<'a>(
    order: &Order,
    (client, base): (&'a Client, &'a Url),
    cancel: &'a CancellationToken,
) -> impl FnOnce(CancellationToken) -> futures_util::future::LocalBoxFuture<'a, Option<Growth>> {
    let soaks = order.profile == Profile::Soak;
    let lasting = order.lasting.unwrap_or(Duration::from_secs(30 * 60));
    let every = (lasting / 60).clamp(Duration::from_millis(500), Duration::from_secs(10));
    move |ended| {
        Box::pin(async move {
            if !soaks {
                return None;
            }
            let mut growth = Growth::default();
            let mut ticks = tokio::time::interval(every);
            let mut at = Duration::ZERO;
            loop {
                tokio::select! {
                    () = ended.cancelled() => return Some(growth),
                    () = cancel.cancelled() => return Some(growth),
                    _ = ticks.tick() => {}
                }
                growth.look(client, base, at).await;
                at += every;
            }
        })
    }
}

impl Drilled {
    fn beside(&mut self, circumstance: Circumstance, why: String) {
        self.beside.push(circumstance);
        self.reasons.push(why);
    }

    fn skip(&mut self, order: &Order, name: &str, why: &str) {
        let mut row = gates::skipped(name, why);
        if let Some(slo) = order.baseline.scenarios.get(name) {
            let (owner, runbook) = order.owners.of(&slo.subject());
            row.owner = owner.clone();
            row.runbook = runbook.map(str::to_owned);
        }
        self.checks.push(row);
        if order.named.is_some() {
            let why = format!("{name} was asked for and could not run: {why}");
            self.beside(Circumstance::Inconclusive, why);
        }
    }

    /// What only a drill has to say, for the report.
    pub fn details(&self) -> Value {
        json!({ "generator": self.generator })
    }
}
