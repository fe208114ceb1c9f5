//! A flood costs those who make it: the depth never passes its cap, and no neighbour starves.

use std::cell::Cell;

use futures_util::future::join_all;
use sendcat_actors::bulkhead::Command;
use sendcat_actors::circuit_breaker;
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_state::key::ProviderId;

use crate::containment::{TEN_PER_MINUTE, caller, callers, left};
use crate::support::{
    Disk, in_virtual_time, millis, once, pass, seen, settle, tree_on, tree_without_workers,
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
