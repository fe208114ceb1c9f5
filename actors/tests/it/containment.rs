//! A panic in one actor costs that actor a restart at most, and its neighbours nothing.

use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_state::key::{Bucket, ClientKey, ProviderId};
use sendcat_state::rate_window::{Admission, Limit};

use crate::support::{Disk, in_virtual_time, settle, tree_on};

const TEN_PER_MINUTE: Limit = Limit { calls: 10, per: Duration::from_secs(60) };

fn caller(name: &str) -> ClientKey {
    ClientKey::session(Bucket::ChatStream, name)
}

fn left(admission: Result<Admission, AskError>) -> u64 {
    match admission {
        Ok(Admission::Admitted { left, .. }) => left,
        other => panic!("not admitted: {other:?}"),
    }
}

fn strike(kind: FaultKind) -> Fault {
    Fault { kind, after: 0, times: 1 }
}

#[test]
fn a_panic_while_applying_restores_the_counts_and_answers_what_was_queued() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller("a");
        let shard = format!("rate_limiter-{}", key.shard());
        assert_eq!(left(tree.limiter.admit(key, TEN_PER_MINUTE).await), 9);
        assert!(tree.arm(&shard, strike(FaultKind::PanicApply)));
        let (struck, queued) = tokio::join!(
            tree.limiter.admit(key, TEN_PER_MINUTE),
            tree.limiter.admit(key, TEN_PER_MINUTE),
        );
        assert_eq!(struck, Err(AskError::Crashed));
        assert_eq!(left(queued), 7, "the call whose turn crashed is counted, and none is lost");
        let seen = tree.actors().into_iter().find(|view| view.name == shard).unwrap();
        assert_eq!(seen.incarnation, 2);
        let names: Vec<_> =
            seen.restarts.iter().map(|(cause, times)| (cause.as_str(), *times)).collect();
        assert_eq!(names, [("apply", 1)]);
        assert_eq!(seen.last_panic.unwrap().message, "injected: apply panic");
    });
}

#[test]
fn a_panic_while_deciding_restarts_nothing() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller("a");
        let shard = format!("rate_limiter-{}", key.shard());
        assert_eq!(left(tree.limiter.admit(key, TEN_PER_MINUTE).await), 9);
        tree.arm(&shard, strike(FaultKind::PanicDecide));
        assert_eq!(tree.limiter.admit(key, TEN_PER_MINUTE).await, Err(AskError::Crashed));
        assert_eq!(left(tree.limiter.admit(key, TEN_PER_MINUTE).await), 8);
        let seen = tree.actors().into_iter().find(|view| view.name == shard).unwrap();
        assert_eq!(seen.incarnation, 1);
    });
}

#[test]
fn an_actor_whose_task_died_is_started_again_with_its_counts() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller("a");
        let shard = format!("rate_limiter-{}", key.shard());
        assert_eq!(left(tree.limiter.admit(key, TEN_PER_MINUTE).await), 9);
        tree.arm(&shard, strike(FaultKind::PanicTimer));
        tokio::time::advance(Duration::from_millis(300)).await;
        settle().await;
        assert_eq!(left(tree.limiter.admit(key, TEN_PER_MINUTE).await), 8);
        let seen = tree.actors().into_iter().find(|view| view.name == shard).unwrap();
        let names: Vec<_> =
            seen.restarts.iter().map(|(cause, times)| (cause.as_str(), *times)).collect();
        assert_eq!(names, [("death", 1)]);
    });
}

#[test]
fn a_slot_is_given_back_when_it_is_dropped_and_when_its_caller_vanished() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let provider = ProviderId::OpenrouterChat;
        for _ in 0..1000 {
            let asking = tree.bulkheads.acquire(provider, "vanishing");
            // Polled once: asked, and gone before the answer is taken.
            let gone = tokio::time::timeout(Duration::ZERO, asking).await;
            drop(gone);
        }
        settle().await;
        let slots: Vec<_> = futures_util::future::join_all(
            (0..4).map(|_| tree.bulkheads.acquire(provider, "staying")),
        )
        .await;
        assert_eq!(slots.iter().filter(|slot| slot.is_ok()).count(), 3);
        drop(slots);
        settle().await;
        assert_eq!(tree.bulkheads.bulkhead(provider).view().leases, []);
    });
}
