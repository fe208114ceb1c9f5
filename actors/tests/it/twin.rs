//! Machines that crash beside twins that never do: on every command that was acknowledged, both
//! gave the same answer, and in the end both are the same.
//!
//! A schedule is drawn from its seed. `SCHEDULES=10000 SEED=7` runs more of them, from there.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::chance::Draws;
use sendcat_actors::clock::{Clock as _, ManualClock};
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_actors::handle::Handle;
use sendcat_actors::machine::{Class, Machine};
use sendcat_actors::tree::Tree;
use sendcat_actors::{
    alert_monitor, bulkhead, circuit_breaker, idempotency, job_queue, rate_limiter, tool_cache,
};
use sendcat_state::alert_rules::Delivery;
use sendcat_state::circuit_breaker::{CallOutcome, Permit};
use sendcat_state::idempotency::Claimant;
use sendcat_state::job::AttemptOutcome;
use sendcat_state::key::{IdempotencyKey, LeaseId, ProviderId, TimedId};
use sendcat_state::rate_window::Limit;
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::NewResult;

use crate::containment::{callers, refused, result};
use crate::support::{
    Disk, Echo, INBOX, TOOL, in_virtual_time, job, millis, once, pass, seen, tree_of,
};

const STEPS: u64 = 40;

/// How long a command that crashed three times is refused.
const REFUSED: Duration = Duration::from_secs(600);

/// A machine in the tree and its twin.
struct Pair<M: Machine> {
    tree: Tree,
    actor: Handle<M>,
    twin: M,
    clock: Arc<ManualClock>,
    /// How often a command crashed, and when last.
    crashes: HashMap<u128, (u32, Timestamp)>,
}

impl<M: Machine<Answer: Debug>> Pair<M> {
    fn twin_takes(&mut self, command: M::Command) -> M::Answer {
        let decision = self.twin.decide(self.clock.now(), &self.actor.rules(), command);
        decision.settle(&mut self.twin)
    }

    /// Asks both; the actor may meet a fault at it.
    async fn ask(&mut self, fault: Option<FaultKind>, command: impl Fn() -> M::Command) -> String {
        let name = self.actor.vitals().name().to_owned();
        if let Some(kind) = fault {
            self.tree.arm(&name, once(kind));
        }
        let waits = M::CLASS == Class::Journalled && M::waits_for_disk(&command());
        let refused = self.is_refused(&command());
        let answer = self.actor.ask(command()).await;
        let told = format!("{answer:?}");
        let poisoned = matches!(answer, Err(AskError::Poisoned));
        assert_eq!(poisoned, refused, "{name} answered {told}");
        if matches!(answer, Err(AskError::Crashed)) {
            self.note_crash(&command());
        }
        match (answer, fault) {
            (Ok(answer), _) => {
                assert_eq!(format!("{answer:?}"), format!("{:?}", self.twin_takes(command())));
            }
            // What crashed while it was applied comes true, and is undone.
            (Err(AskError::Crashed), Some(FaultKind::PanicApply)) if !waits => {
                let answer = self.twin_takes(command());
                if let Some(undo) = M::undo(answer) {
                    let _ = self.twin_takes(undo);
                }
            }
            (Err(AskError::Crashed), Some(FaultKind::PanicDecide)) => {}
            // Surely not executed: the twin is not asked at all.
            (Err(AskError::Poisoned), _) => {}
            (error, fault) => panic!("{name} met {fault:?} and answered {error:?}"),
        }
        self.tree.clear_faults();
        self.keeps_house().await;
        told
    }

    /// Whether the actor has to refuse a command: three crashes, the last not ten minutes ago.
    fn is_refused(&self, command: &M::Command) -> bool {
        let crashes = M::fingerprint(command).and_then(|known_by| self.crashes.get(&known_by));
        crashes.is_some_and(|(times, last)| *times >= 3 && self.clock.now() < last.after(REFUSED))
    }

    fn note_crash(&mut self, command: &M::Command) {
        let now = self.clock.now();
        let Some(known_by) = M::fingerprint(command) else { return };
        let (times, last) = self.crashes.entry(known_by).or_insert((0, now));
        *times = if now < last.after(REFUSED) { *times + 1 } else { 1 };
        *last = now;
    }

    /// Lets time pass for both.
    async fn time_passes(&mut self, span: Duration, fault: Option<FaultKind>) {
        if let Some(kind) = fault {
            self.tree.arm(self.actor.vitals().name(), once(kind));
        }
        self.clock.advance(span);
        self.keeps_house().await;
        self.tree.clear_faults();
    }

    /// Waits until the actor is back and has been told the time, and tells it to the twin.
    async fn keeps_house(&mut self) {
        pass(millis(260)).await;
        self.comes_back().await;
        loop {
            let decision = self.twin.housekeep(self.clock.now(), &self.actor.rules());
            if decision.change.is_none() {
                return;
            }
            decision.settle(&mut self.twin);
        }
    }

    async fn comes_back(&self) {
        while seen(&self.tree, self.actor.vitals().name()).status.as_str() == "restarting" {
            pass(millis(260)).await;
        }
    }
}

/// Runs one schedule and compares. How many faults struck.
async fn schedule<M: Machine<Answer: Debug>>(
    seed: u64,
    of: impl Fn(&Tree) -> Handle<M>,
    command: impl Fn(u64) -> M::Command,
) -> u64 {
    let mut draws = Draws::of(seed);
    let disk = Disk::default();
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let shared = clock.clone();
    let tree = tree_of(&disk, Arc::new(Echo), |options| {
        options.clock = shared;
        options.workers = 0;
    })
    .await;
    let actor = of(&tree);
    let name = actor.vitals().name().to_owned();
    let mut pair = Pair { tree, actor, twin: M::fresh(), clock, crashes: HashMap::new() };
    let mut restarts = 0;
    for _ in 0..STEPS {
        let strikes = draws.below(4) == 0;
        let kind = match draws.below(3) {
            0 => FaultKind::PanicDecide,
            1 => FaultKind::PanicApply,
            _ => FaultKind::PanicTimer,
        };
        // More in a row would give the actor up, as they should.
        let fault = Some(kind).filter(|_| strikes && restarts < 5);
        restarts += u64::from(fault.is_some_and(|kind| kind != FaultKind::PanicDecide));
        if draws.below(5) == 0 || kind == FaultKind::PanicTimer {
            let timer = fault.filter(|kind| *kind == FaultKind::PanicTimer);
            pair.time_passes(millis(draws.below(20_000)), timer).await;
        } else {
            let drawn = draws.next();
            pair.ask(fault, || command(drawn)).await;
        }
    }
    pair.tree.drain(Duration::from_secs(5)).await.unwrap();
    // By way of the text, as what is on disk: maps compare in whatever order they are written.
    let twin = serde_json::to_string(&pair.twin).unwrap();
    let twin: serde_json::Value = serde_json::from_str(&twin).unwrap();
    assert_eq!(disk.form(&name), twin, "{name}");
    restarts
}

fn admit(drawn: u64) -> rate_limiter::Command {
    let key = callers(0).nth(usize::try_from(drawn % 3).unwrap()).unwrap();
    rate_limiter::Command::Admit { key, limit: Limit { calls: 3, per: Duration::from_secs(15) } }
}

fn call(drawn: u64) -> circuit_breaker::Command {
    let permit = Permit {
        generation: (drawn >> 8) % 4,
        probe: (!drawn.is_multiple_of(3)).then_some((drawn >> 16) % 3),
    };
    match drawn % 5 {
        0 | 1 => circuit_breaker::Command::Gate,
        2 => circuit_breaker::Command::Record(permit, CallOutcome::Success, drawn),
        3 => circuit_breaker::Command::Record(permit, CallOutcome::Neutral, drawn),
        _ => circuit_breaker::Command::Record(
            permit,
            CallOutcome::Failure { retry_after: None },
            drawn,
        ),
    }
}

fn slot(drawn: u64) -> bulkhead::Command {
    let lease = LeaseId((drawn >> 8) % 12);
    match drawn % 4 {
        0 => bulkhead::Command::GiveBack(lease),
        1 => bulkhead::Command::Renew(lease),
        _ => bulkhead::Command::Acquire(
            format!("holder-{}", drawn >> 60),
            sendcat_state::bulkhead::Priority::Interactive,
        ),
    }
}

fn claim(drawn: u64) -> idempotency::Command {
    let key = |number: u64| IdempotencyKey::whatsapp_message(&(number % 6).to_string());
    let keys = vec![key(drawn >> 8), key(drawn >> 16)];
    let by = Claimant((drawn >> 24) % 3);
    match drawn % 4 {
        0 => {
            let until = 1_000_000 + (drawn >> 32) % 300_000;
            idempotency::Command::Done(keys, Timestamp::from_millis(until))
        }
        1 => idempotency::Command::GiveBack(by, keys),
        _ => idempotency::Command::Claim(by, keys),
    }
}

fn work(drawn: u64) -> job_queue::Command {
    let number = (drawn >> 8) % 12;
    let kind = if number.is_multiple_of(2) { TOOL } else { INBOX };
    let held = (job(kind, number).id, LeaseId((drawn >> 16) % 12));
    let tried = |outcome| job_queue::Command::Report { kind, held, outcome, random: drawn };
    match drawn % 8 {
        0 | 1 => job_queue::Command::Enqueue(vec![job(kind, number)], Vec::new()),
        2 => job_queue::Command::Renew(held.0, held.1),
        3 => job_queue::Command::GiveBack(held.0, held.1),
        4 => tried(AttemptOutcome::Done { writes: Vec::new() }),
        5 => tried(AttemptOutcome::Retry { error: "drawn".into(), after: None }),
        _ => job_queue::Command::Claim("twin".into()),
    }
}

fn find(drawn: u64) -> tool_cache::Command {
    let number = (drawn >> 8) % 6;
    match drawn % 8 {
        0 => tool_cache::Command::Clear("search_web_json_v1".into()),
        1..4 => tool_cache::Command::Get(crate::containment::question(number)),
        _ => {
            let ttl = millis((drawn >> 16) % 60_000);
            tool_cache::Command::Put(NewResult { ttl, ..result(number) })
        }
    }
}

fn watch(drawn: u64) -> alert_monitor::Command {
    match drawn % 8 {
        0 => alert_monitor::Command::Evaluate(drawn),
        1 => alert_monitor::Command::Saturated(ProviderId::Jwks, drawn),
        2 => alert_monitor::Command::Pending,
        3 => {
            let now = Timestamp::from_millis(1_000_000 + (drawn >> 8) % 20_000);
            alert_monitor::Command::Settle(TimedId::new(now, drawn), Delivery::Delivered(now))
        }
        _ => alert_monitor::Command::Record(refused((drawn >> 8) % 6)),
    }
}

/// A number from the environment, or what CI runs.
#[expect(clippy::disallowed_methods, reason = "more schedules are asked for by hand")]
fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Runs schedules for one machine, naming the seed that fails.
#[expect(clippy::print_stdout, reason = "a random run prints its seed")]
fn schedules<M: Machine<Answer: Debug>>(
    of: impl Fn(&Tree) -> Handle<M>,
    command: impl Fn(u64) -> M::Command,
) {
    let (first, count) = (asked("SEED", 1), asked("SCHEDULES", 200) / 5);
    let mut faults = 0;
    for seed in first..first + count.max(1) {
        println!("SEED={seed} SCHEDULES=5 runs this schedule alone");
        faults += in_virtual_time(|| schedule(seed, &of, &command));
    }
    println!("{count} schedules of {STEPS} steps, {faults} restarts, 0 differences");
}

#[test]
fn sn2_a_shard_that_crashes_equals_its_twin_that_never_did() {
    schedules(|tree| tree.limiter.shards()[0].clone(), admit);
}

#[test]
fn sn2_a_circuit_that_crashes_equals_its_twin_that_never_did() {
    schedules(|tree| tree.circuits.circuit(ProviderId::Jwks).clone(), call);
}

#[test]
fn sn2_a_bulkhead_that_crashes_equals_its_twin_that_never_did() {
    schedules(|tree| tree.bulkheads.bulkhead(ProviderId::Jwks).clone(), slot);
}

#[test]
fn sn2_claims_that_crash_equal_their_twin_that_never_did() {
    schedules(|tree| tree.claims.actor().clone(), claim);
}

#[test]
fn sn2_a_cache_that_crashes_equals_its_twin_that_never_did() {
    schedules(|tree| tree.cache.actor().clone(), find);
}

#[test]
fn sn2_a_monitor_that_crashes_equals_its_twin_that_never_did() {
    schedules(|tree| tree.monitor.actor().clone(), watch);
}

#[test]
fn sn2_a_queue_that_crashes_equals_its_twin_that_never_did() {
    schedules(|tree| tree.jobs.actor().clone(), work);
}
