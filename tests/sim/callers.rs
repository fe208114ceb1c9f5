//! Callers of limits, circuits, bulkheads and claims.

use std::future::Future;
use std::time::Duration;

use sendcat_actors::rate_limiter::AllAdmission;
use sendcat_actors::{bulkhead, circuit_breaker, idempotency};
use sendcat_state::bulkhead::{Acquisition, Priority};
use sendcat_state::circuit_breaker::{CallOutcome, Gate};
use sendcat_state::idempotency::{Claim, Claimant};
use sendcat_state::key::{ClientKey, IdempotencyKey};
use sendcat_state::rate_window::{Admission, Limit};
use sendcat_state::timestamp::Timestamp;

use crate::model::Rule;
use crate::schedule::{Heard, Vanishes};
use crate::world::{CIRCUITS, LEASE, LEASED, LINED, PAIRED, PROBE, SINGLE, World, pair, single};

/// Starts a caller, who may vanish while it waits.
pub(crate) fn call(vanishes: Vanishes, caller: impl Future<Output = ()> + 'static) {
    let gone = async move {
        match vanishes {
            Vanishes::Never => std::future::pending().await,
            Vanishes::AfterTurns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Vanishes::After(ms) => pause(ms).await,
        }
    };
    tokio::task::spawn_local(async move {
        tokio::pin!(caller);
        // It asks; from then on it goes away also if its answer is there to be taken.
        if futures_util::poll!(caller.as_mut()).is_ready() {
            return;
        }
        tokio::select! {
            biased;
            () = gone => {}
            () = &mut caller => {}
        }
    });
}

pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn limit(rule: Rule) -> Limit {
    Limit { calls: rule.calls, per: Duration::from_millis(rule.per_ms) }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) async fn admit(world: World, key: usize) {
    let (name, caller) = single(key);
    let asked = world.now();
    world.model().limits.asked(&name, asked);
    let answer = world.tree.limiter.admit(caller, limit(SINGLE)).await;
    world.note(&format!("admit-{name}"), &answer);
    let answered = world.now();
    let mut model = world.model();
    let wrong = match answer {
        Ok(Admission::Admitted { left, .. }) => {
            model.limits.admitted(&name, SINGLE, (asked, answered), left)
        }
        Ok(Admission::Refused { .. }) => model.limits.refused(&name, SINGLE, asked),
        Err(_) => None,
    };
    model.check(wrong);
}

pub(crate) async fn admit_two(world: World, number: usize) {
    let keys = pair(number);
    let asked = world.now();
    for (name, _) in &keys {
        world.model().limits.asked(name, asked);
    }
    let policies: Vec<(ClientKey, Limit)> =
        keys.iter().zip(PAIRED).map(|((_, caller), rule)| (*caller, limit(rule))).collect();
    let answer = world.tree.limiter.admit_all(&policies).await;
    world.note(&format!("admit_two-{number}"), &answer);
    let answered = world.now();
    let mut model = world.model();
    match answer {
        Ok(AllAdmission::Admitted(left)) => {
            for ((left, (name, _)), rule) in left.iter().zip(&keys).zip(PAIRED) {
                let times = (asked, answered);
                let ends = millis(left.resets_in);
                let wrong = model.limits.admitted_until(name, rule, times, ends);
                model.check(wrong);
            }
        }
        Ok(AllAdmission::Refused { policy, .. }) => {
            let wrong = model.limits.refused(&keys[policy].0, PAIRED[policy], asked);
            model.check(wrong);
        }
        Err(_) => {}
    }
}

pub(crate) async fn through_circuit(world: World, circuit: usize, takes_ms: u64, heard: Heard) {
    let actor = world.tree.circuits.circuit(CIRCUITS[circuit]).clone();
    let asked = world.now();
    let answer = actor.ask(circuit_breaker::Command::Gate).await;
    world.note(&format!("gate-{circuit}"), &answer);
    let Ok(circuit_breaker::Answer::Gate(Gate::Allowed(permit))) = answer else { return };
    let answered = world.now();
    if let Some(probe) = permit.probe {
        let mut model = world.model();
        let wrong = model.probes.began(circuit, probe, (asked, answered), millis(PROBE));
        model.check(wrong);
    }
    pause(takes_ms).await;
    let outcome = match heard {
        Heard::Success => CallOutcome::Success,
        Heard::Failure => CallOutcome::Failure { retry_after: None },
        Heard::Slow => CallOutcome::Slow,
        Heard::Nothing => CallOutcome::Neutral,
    };
    if let Some(probe) = permit.probe {
        world.model().probes.ended(circuit, probe);
    }
    let random = world.model().number().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let recorded = actor.ask(circuit_breaker::Command::Record(permit, outcome, random)).await;
    world.note(&format!("record-{circuit}"), &recorded.is_ok());
}

/// Takes a slot of the bulkhead that has a line, and renews it for as long as it is needed.
pub(crate) async fn slot(world: World, hold_ms: u64) {
    let taken = world.tree.bulkheads.acquire(LINED, "sim").await;
    let failed = taken.as_ref().err().copied();
    world.note("slot", &failed);
    let Ok(slot) = taken else { return };
    let number = world.model().number();
    // The lease began no later than now, so it is only sure to last while it is renewed.
    let mut left = hold_ms;
    let every = millis(slot.renew_every());
    // Given back also by a caller that vanishes while it holds it.
    let _held = Holding { world: world.clone(), number };
    world.model().slots.taken(number, u64::MAX);
    while left > every {
        pause(every).await;
        left -= every;
        if !slot.renew().await {
            world.model().slots.given_back(number);
            return;
        }
    }
    pause(left).await;
    world.model().slots.given_back(number);
}

struct Holding {
    world: World,
    number: u64,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.world.model().slots.given_back(self.number);
    }
}

pub(crate) async fn lease(world: World, hold_ms: u64, given_back: bool) {
    let actor = world.tree.bulkheads.bulkhead(LEASED).clone();
    let asked = world.now();
    let command = bulkhead::Command::Acquire("sim".to_owned(), Priority::Interactive);
    let answer = actor.ask(command).await;
    world.note("lease", &answer);
    let Ok(bulkhead::Answer::Acquired(Acquisition::Held(lease))) = answer else { return };
    {
        let mut model = world.model();
        let wrong = model.leases.taken(lease.id.0, asked + millis(LEASE));
        model.check(wrong);
    }
    pause(hold_ms).await;
    if given_back {
        world.model().leases.given_back(lease.id.0);
        let answer = actor.ask(bulkhead::Command::GiveBack(lease.id)).await;
        world.note("give_back", &answer);
    }
}

pub(crate) async fn claim(world: World, key: u64, hold_ms: u64, settled: bool) {
    let actor = world.tree.claims.actor().clone();
    let of = IdempotencyKey::webhook("sim", &format!("raw-{key}"));
    let by = 1_000_000 + world.model().number();
    let asked = world.now();
    let crowded = world.model().claims.asked(key, asked);
    let answer = actor.ask(idempotency::Command::Claim(Claimant(by), vec![of.clone()])).await;
    world.note(&format!("claim-{key}"), &answer);
    let Ok(idempotency::Answer::Claimed(_, claims)) = answer else { return };
    let answered = world.now();
    if claims.iter().all(|(_, claim)| *claim != Claim::First) {
        let pending = claims.iter().any(|(_, claim)| matches!(claim, Claim::Pending { .. }));
        let mut model = world.model();
        let nobodys = pending && !crowded && !model.claims.is_held(key, answered);
        if nobodys && !world.was_struck("idempotency") {
            model.wrong.push(format!("claim {key} is pending, and nobody works on it"));
        }
        return;
    }
    {
        let times = (asked, answered);
        let mut model = world.model();
        let wrong = model.claims.first(key, by, times, millis(idempotency::CLAIM_LEASE));
        model.check(wrong);
    }
    pause(hold_ms).await;
    world.model().claims.left(key, by);
    let until = world.now() + 1000;
    let command = if settled {
        idempotency::Command::Done(vec![of], Timestamp::from_millis(until))
    } else {
        idempotency::Command::GiveBack(Claimant(by), vec![of])
    };
    let answer = actor.ask(command).await;
    world.note(&format!("settle-{key}"), &answer);
    if settled && answer.is_ok() {
        world.model().claims.done(key, until);
    }
}

/// Asks more at once than a mailbox holds: what does not fit is refused by name. A second flood at
/// the same time finds no room at all, and proves nothing.
pub(crate) async fn flood(world: World, asks: usize) {
    let actor = world.tree.answers.actor().clone();
    let alone = world.trouble.borrow().floods == 0;
    world.trouble.borrow_mut().floods += 1;
    let ask = || {
        let newest = sendcat_actors::stream_log::Command::Newest("nobody".to_owned());
        let actor = actor.clone();
        async move { actor.ask(newest).await.err().map_or("answered", |error| error.as_str()) }
    };
    let answers = futures_util::future::join_all((0..asks).map(|_| ask())).await;
    world.trouble.borrow_mut().floods -= 1;
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    answers.into_iter().for_each(|answer| *counts.entry(answer).or_default() += 1);
    world.note("flood", &counts);
    // What others have in the mailbox takes room as well.
    let refused = counts.get("overloaded").copied().unwrap_or_default();
    let right = (asks - 4096..asks - 4096 + 16).contains(&refused);
    if alone && !world.was_struck("stream_log") && !right {
        world.model().wrong.push(format!("{asks} asks at once were answered {counts:?}"));
    }
}
