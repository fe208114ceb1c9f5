//! Callers that go away, at every point of an ask, leave nothing behind.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sendcat_actors::job_queue::{Answer, Command};
use sendcat_actors::rate_limiter::AllAdmission;
use sendcat_actors::tree::Tree;
use sendcat_state::circuit_breaker::{CallOutcome, CircuitState};
use sendcat_state::job_queue::ClaimAnswer;
use sendcat_state::key::{Bucket, ClientKey, IdempotencyKey, ProviderId, TimedId};
use sendcat_state::rate_window::Limit;
use sendcat_state::timestamp::Timestamp;

use crate::support::{
    Disk, Echo, TOOL, in_virtual_time, job, millis, pass, seen, settle, tree_of, tree_on,
    tree_without_workers,
};

const PROVIDER: ProviderId = ProviderId::OpenrouterChat;

/// Polls an ask for so many turns of the others, then lets it go with whatever it was given.
async fn vanishing_after<T>(turns: u64, ask: impl Future<Output = T>) {
    let patience = async {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        given = ask => drop(given),
        () = patience => {}
    }
}

fn depths(tree: &Tree) -> usize {
    tree.actors().iter().map(|view| view.mailbox_depth).sum()
}

#[test]
fn a_hundred_thousand_vanished_callers_leak_no_slot_no_claim_and_no_answer() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        for round in 0..33_334_u64 {
            let turns = round % 6;
            vanishing_after(turns, tree.bulkheads.acquire(PROVIDER, "gone")).await;
            let key = IdempotencyKey::whatsapp_message(&(round % 7).to_string());
            vanishing_after(turns, tree.claims.claim(vec![key])).await;
            let id = TimedId::new(Timestamp::ZERO, round);
            vanishing_after(turns, tree.answers.open("thread", id, 1000)).await;
        }
        pass(millis(300)).await;
        assert_eq!(tree.bulkheads.bulkhead(PROVIDER).view().leases, []);
        assert_eq!(tree.answers.running(), 0);
        for number in 0..7 {
            let key = IdempotencyKey::whatsapp_message(&number.to_string());
            let claimed = tree.claims.claim(vec![key.clone()]).await.unwrap();
            assert_eq!(claimed.first.keys(), [key], "free at once");
        }
        settle().await;
        assert_eq!(depths(&tree), 0);
    });
}

/// How many may be inside of one actor.
const CAP: usize = 4096;

/// The deepest that any mailbox was seen during `work`, and how often they were looked at.
async fn watched<T>(tree: &Tree, work: impl Future<Output = T>) -> (usize, u64) {
    let (mut deepest, mut looks) = (0, 0);
    let watching = async {
        loop {
            let depths = tree.actors().into_iter().map(|view| view.mailbox_depth);
            deepest = depths.max().unwrap_or(0).max(deepest);
            looks += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = watching => unreachable!("it never ends"),
        _ = work => {}
    }
    (deepest, looks)
}

/// A caller of each concern, and how far it comes before it vanishes.
async fn one_of_each(tree: &Tree, number: u64, limits: &[(ClientKey, Limit); 2]) {
    let turns = number % 7;
    let key = IdempotencyKey::whatsapp_message(&(number % 7).to_string());
    let id = TimedId::new(Timestamp::ZERO, number);
    let thread = format!("thread-{}", number % 100);
    tokio::join!(
        vanishing_after(turns, tree.bulkheads.acquire(PROVIDER, "gone")),
        vanishing_after(turns, tree.claims.claim(vec![key])),
        vanishing_after(turns, tree.answers.open(&thread, id, 1000)),
        vanishing_after(turns, tree.limiter.admit_all(limits)),
        vanishing_after(turns, tree.jobs.run(job(TOOL, number), millis(500))),
    );
}

#[test]
fn a_hundred_thousand_callers_that_vanish_in_crowds_are_capped_and_leak_nothing() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let limit = Limit { calls: 1_000_000, per: Duration::from_secs(3600) };
        let keys = (0..).map(|number| ClientKey::session(Bucket::ChatStream, &number.to_string()));
        let keys: Vec<_> = keys.take(64).collect();
        let other = keys.iter().find(|key| key.shard() != keys[0].shard());
        let limits = [(keys[0], limit), (*other.expect("there are more shards"), limit)];
        let mut deepest = 0;
        for crowd in 0..4 {
            // More than any mailbox takes, all of them at once.
            let numbers = crowd * 5000..(crowd + 1) * 5000;
            let crowd = join_all(numbers.map(|number| one_of_each(&tree, number, &limits)));
            let (deep, looks) = watched(&tree, crowd).await;
            assert!(looks > 100, "it was looked at all along");
            deepest = deep.max(deepest);
            // What was queued and nobody waits for is worked off all the same.
            pass(Duration::from_secs(5)).await;
        }
        // What is asked stops at the cap; what then must be given back is told past it, and of that
        // there is no more than was let in.
        assert!((CAP..2 * CAP).contains(&deepest), "{deepest}");
        assert_eq!(tree.bulkheads.bulkhead(PROVIDER).view().leases, []);
        assert_eq!(tree.answers.running(), 0);
        let queue = tree.jobs.view();
        assert_eq!(queue.running, []);
        assert!(queue.partitions.iter().all(|(_, it)| it.queued == 0 && it.running == 0));
        let Ok(AllAdmission::Admitted(left)) = tree.limiter.admit_all(&limits).await else {
            panic!("a million are admitted")
        };
        assert_eq!(left[0].left, left[1].left, "counted under both limits or under none");
        let every = (0..7).map(|number| IdempotencyKey::whatsapp_message(&number.to_string()));
        let claimed = tree.claims.claim(every.collect()).await.unwrap();
        assert_eq!(claimed.first.keys().len(), 7, "each is free");
        drop(claimed);
        settle().await;
        assert_eq!(depths(&tree), 0);
    });
}

#[test]
fn workers_that_vanish_at_a_claim_hold_no_job_and_cost_it_no_attempt() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        for number in 0..4 {
            tree.jobs.enqueue(vec![job(TOOL, number)], Vec::new()).await.unwrap();
        }
        for round in 0..1000 {
            let claim = tree.jobs.actor().ask(Command::Claim("gone".into()));
            tokio::select! {
                biased;
                given = claim => give_back(&tree, given.unwrap()).await,
                () = tokio::task::yield_now(), if round % 2 == 0 => {}
                () = std::future::ready(()), if round % 2 == 1 => {}
            }
            settle_a_little().await;
        }
        settle().await;
        pass(millis(300)).await;
        assert_eq!(tree.jobs.view().running, []);
        let claimed = tree.jobs.actor().ask(Command::Claim("stays".into())).await.unwrap();
        assert!(format!("{claimed:?}").contains("attempt: 1,"), "{claimed:?}");
    });
}

async fn give_back(tree: &Tree, answer: Answer) {
    if let Answer::Claim(ClaimAnswer::Claimed(job)) = answer {
        tree.jobs.actor().ask(Command::GiveBack(job.id, job.lease)).await.unwrap();
    }
}

async fn settle_a_little() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn callers_that_vanish_from_a_running_tool_leave_no_job_and_no_worker_waiting() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        for round in 0..600 {
            let run = tree.jobs.run(job(TOOL, round), millis(500));
            vanishing_after(round % 12, run).await;
        }
        pass(millis(600)).await;
        let view = tree.jobs.view();
        assert_eq!(view.running, []);
        assert!(view.partitions.iter().all(|(_, it)| it.queued == 0 && it.running == 0));
        assert_eq!(depths(&tree), 0);
    });
}

#[test]
fn a_probe_that_vanishes_leaves_its_place_to_the_next() {
    in_virtual_time(|| async {
        let tree = tree_of(&Disk::default(), Arc::new(Echo), |options| options.workers = 0).await;
        for _ in 0..2 {
            let permit = tree.circuits.pass(PROVIDER).await.unwrap();
            permit.record(CallOutcome::Failure { retry_after: None });
        }
        pass(Duration::from_secs(11)).await;
        for round in 0..2000 {
            vanishing_after(round % 6, tree.circuits.pass(PROVIDER)).await;
        }
        settle().await;
        let probe = tree.circuits.pass(PROVIDER).await.unwrap();
        assert!(tree.circuits.pass(PROVIDER).await.is_err(), "one probe at a time");
        probe.record(CallOutcome::Success);
        settle().await;
        let circuit = tree.circuits.circuit(PROVIDER);
        assert_eq!(circuit.view().unwrap().state, CircuitState::Closed);
        assert_eq!(seen(&tree, circuit.vitals().name()).mailbox_depth, 0);
    });
}
