//! A flood costs those who make it: the depth never passes its cap, and no neighbour starves.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::System;
use futures_util::future::join_all;
use sendcat_actors::bulkhead::Command;
use sendcat_actors::circuit_breaker;
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_actors::observe::Status;
use sendcat_actors::tree::{ShardPlacement, Topology, Tree};
use sendcat_state::key::ProviderId;

use crate::containment::{TEN_PER_MINUTE, caller, callers, left};
use crate::placement::until;
use crate::support::{
    Disk, Echo, in_virtual_time, millis, once, pass, seen, settle, tree_on, tree_without_workers,
    unsupervised,
};

const CAP: usize = 4096;

#[test]
fn a_hundred_thousand_asks_never_pass_the_cap_and_the_rest_hears_no_at_once() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let shard = format!("rate_limiter-{}", caller("a").shard());
        let asks = join_all((0..100_000).map(|_| tree.limiter.admit(caller("a"), TEN_PER_MINUTE)));
        // Polled after all of them have asked, and before the actor had its first turn.
        let depth = async { seen(&tree, &shard).mailbox_depth };
        let (answers, depth) = tokio::join!(asks, depth);
        assert_eq!(depth, CAP);
        let overloaded = answers.iter().filter(|it| **it == Err(AskError::Overloaded)).count();
        assert_eq!(overloaded, 100_000 - CAP);
        assert_eq!(
            answers.iter().filter(|it| it.is_err()).count(),
            overloaded,
            "and no other error"
        );
        assert_eq!(seen(&tree, &shard).mailbox_depth, 0);
    });
}

#[test]
fn what_stood_in_line_before_a_deaf_actor_is_answered_or_times_out_and_leaves_no_depth() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let shard = format!("rate_limiter-{}", caller("a").shard());
        for other in callers(caller("a").shard()).take(4) {
            tree.arm(&shard, once(FaultKind::PanicApply));
            let struck = tree.limiter.admit(other, TEN_PER_MINUTE).await;
            assert_eq!(struck, Err(AskError::Crashed));
            pass(millis(500)).await;
        }
        // The fifth restart waits longer than a caller does.
        tree.arm(&shard, once(FaultKind::PanicApply));
        let asks = (0..1000).map(|_| tree.limiter.admit(caller("a"), TEN_PER_MINUTE));
        let mut answers = join_all(asks).await;
        assert_eq!(answers.remove(0), Err(AskError::Crashed));
        assert_eq!(answers, vec![Err(AskError::Timeout); 999]);
        pass(millis(500)).await;
        let view = seen(&tree, &shard);
        assert_eq!((view.mailbox_depth, view.incarnation), (0, 6));
        let admission = tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await;
        assert_eq!(left(admission), 8, "whom nobody waited for was not counted");
    });
}

#[test]
fn a_flood_of_one_actor_does_not_starve_another_on_its_thread() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let answered = Cell::new(0);
        let flooded = tree.bulkheads.bulkhead(ProviderId::OpenrouterChat);
        let flood = join_all((0..CAP).map(|_| async {
            let _ = flooded
                .ask(Command::Acquire(
                    "flood".into(),
                    sendcat_state::bulkhead::Priority::Interactive,
                ))
                .await;
            answered.set(answered.get() + 1);
        }));
        let neighbour = async {
            let circuit = tree.circuits.circuit(ProviderId::OpenrouterChat);
            circuit.ask(circuit_breaker::Command::Gate).await.unwrap();
            seen(&tree, flooded.vitals().name()).mailbox_depth
        };
        let (_, still_waiting) = tokio::join!(flood, neighbour);
        assert!(still_waiting > CAP - 200, "the neighbour waited for {}", CAP - still_waiting);
        settle().await;
        assert_eq!(seen(&tree, flooded.vitals().name()).mailbox_depth, 0);
    });
}

/// What this process has in RAM, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}

/// Half a million slots taken and given back by four threads: the asks and the
/// tells of that.
fn flood(tree: &Tree, deepest: &Arc<AtomicUsize>) -> Vec<std::thread::JoinHandle<()>> {
    const ASKS: u64 = 500_000;
    let left = Arc::new(AtomicU64::new(ASKS));
    let flooder = |number: u64| {
        let (tree, left, deepest) = (tree.clone(), Arc::clone(&left), Arc::clone(deepest));
        std::thread::Builder::new().name(format!("flooder-{number}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let one = || async {
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    drop(tree.bulkheads.acquire(ProviderId::OpenrouterChat, "flood").await);
                    let bulkhead = tree.bulkheads.bulkhead(ProviderId::OpenrouterChat);
                    deepest.fetch_max(bulkhead.vitals().depth(), Ordering::Relaxed);
                }
            };
            runtime.unwrap().block_on(join_all((0..1024).map(|_| one())));
        })
    };
    (0..4).map(|number| flooder(number).unwrap()).collect()
}

#[test]
fn a_million_asks_and_tells_on_real_threads_hang_nobody_and_cost_bounded_memory() {
    System::new().block_on(async {
        let (tree, root) = unsupervised(&Disk::default(), Arc::new(Echo), |options| {
            options.topology = Topology::Threads { shards: ShardPlacement::Dedicated };
        })
        .await;
        actix_rt::spawn(root.run());
        until("all run", || tree.actors().iter().all(|it| it.status == Status::Running)).await;
        let before = resident();
        let deepest = Arc::new(AtomicUsize::new(0));
        let flooders = flood(&tree, &deepest);
        // A neighbour on the same thread, asked all the while.
        let mut answered = 0;
        let circuit = tree.circuits.circuit(ProviderId::OpenrouterChat);
        while flooders.iter().any(|flooder| !flooder.is_finished()) {
            answered += u64::from(circuit.ask(circuit_breaker::Command::Gate).await.is_ok());
            tokio::task::yield_now().await;
        }
        flooders.into_iter().for_each(|flooder| flooder.join().unwrap());
        let (after, deepest) = (resident(), deepest.load(Ordering::Relaxed));
        eprintln!("the neighbour answered {answered} times; {before} KiB, then {after} KiB");
        // Four threads tell past the cap what they were admitted to hold.
        assert!(deepest <= CAP + 4096, "{deepest}");
        assert!(answered > 100, "{answered}");
        assert!(after < before + 64 * 1024, "{before} KiB, then {after} KiB");
        until("nothing is left inside", || {
            tree.actors().iter().all(|actor| actor.mailbox_depth == 0)
        })
        .await;
        for actor in tree.actors() {
            assert_eq!((actor.incarnation, actor.restarts), (1, Vec::new()), "{}", actor.name);
        }
        until("every slot is free", || {
            let view = tree.bulkheads.bulkhead(ProviderId::OpenrouterChat).view();
            view.leases.is_empty() && view.waiting == 0
        })
        .await;
        tree.drain(Duration::from_secs(5)).await.unwrap();
    });
}
