//! Claims of deliveries: one is first, the others wait for it, and none waits for ever.

use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::idempotency::Claimed;
use sendcat_actors::tree::Tree;
use sendcat_state::idempotency::ClaimRow;
use sendcat_state::key::IdempotencyKey;
use sendcat_state::store::faulty::Times;
use sendcat_state::timestamp::Timestamp;

use crate::support::{
    Disk, in_virtual_time, millis, pass, settle, stopwatch, tree_without_workers,
};

const LATE: Timestamp = Timestamp::from_millis(u64::MAX);

fn key(number: u64) -> IdempotencyKey {
    IdempotencyKey::whatsapp_message(&format!("wamid.{number}"))
}

async fn claimed(tree: &Tree, keys: &[IdempotencyKey]) -> (Claimed, Vec<IdempotencyKey>) {
    let claimed = tree.claims.claim(keys.to_vec()).await.unwrap();
    let first = claimed.first.keys().to_vec();
    (claimed, first)
}

#[test]
fn a_key_that_stands_twice_in_one_delivery_is_worked_on_once() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let began = stopwatch();
        let (delivery, first) = claimed(&tree, &[key(1), key(2), key(1)]).await;
        assert_eq!((first, &delivery.duplicates), (vec![key(1), key(2)], &vec![]));
        assert_eq!(began.elapsed(), Duration::ZERO, "and waits for nobody");
    });
}

#[test]
fn whoever_waits_is_a_duplicate_when_the_work_is_done() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let (holder, _) = claimed(&tree, &[key(1)]).await;
        let waiting =
            futures_util::future::join_all((0..100).map(|_| tree.claims.claim(vec![key(1)])));
        let settling = async {
            pass(millis(10)).await;
            holder.first.settle(LATE);
        };
        let began = stopwatch();
        let (others, ()) = tokio::join!(waiting, settling);
        assert!(began.elapsed() < millis(20), "told at once, not by the clock");
        for other in others {
            assert_eq!(other.unwrap().duplicates, [key(1)]);
        }
    });
}

#[test]
fn id1_when_work_fails_exactly_one_of_those_who_wait_is_next() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let (holder, _) = claimed(&tree, &[key(1)]).await;
        // Each fails in its turn but the last, who settles.
        let attempts = std::cell::Cell::new(0);
        let working = |_| async {
            let Claimed { first, duplicates } = tree.claims.claim(vec![key(1)]).await.unwrap();
            if first.keys().is_empty() {
                return duplicates.len();
            }
            attempts.set(attempts.get() + 1);
            settle().await;
            if attempts.get() == 10 {
                first.settle(LATE);
            }
            0
        };
        drop(holder);
        let all = futures_util::future::join_all((0..30).map(working)).await;
        assert_eq!((attempts.get(), all.iter().sum::<usize>()), (10, 20));
    });
}

#[test]
fn a_holder_that_never_ends_costs_five_seconds_and_names_when_to_return() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let (_holder, _) = claimed(&tree, &[key(1)]).await;
        let began = stopwatch();
        let refused = tree.claims.claim(vec![key(2), key(1)]).await.err().unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        assert_eq!(refused.retry_after, Duration::from_secs(30), "as told when it asked");
        let (_, first) = claimed(&tree, &[key(2)]).await;
        assert_eq!(first, [key(2)], "what it held beside was given back");
    });
}

#[test]
fn a_claim_done_before_memory_reaches_is_found_on_disk() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        let row = ClaimRow::write(&key(1), Timestamp::ZERO, LATE);
        let written = tree.journal.transact(|_| Ok::<_, ()>(((), vec![row])));
        assert_eq!(written.await, Ok(Ok(())));
        for _ in 0..2 {
            let (delivery, first) = claimed(&tree, &[key(1), key(2)]).await;
            assert_eq!((first, &delivery.duplicates), (vec![key(2)], &vec![key(1)]));
        }
        pass(millis(300)).await;
        let scopes = tree.claims.view();
        assert_eq!(scopes[0].0, "whatsapp_message");
        assert_eq!((scopes[0].1.keys, scopes[0].1.duplicates), (1, 2));
    });
}

#[test]
fn a_row_that_no_sync_has_covered_makes_nobody_a_duplicate() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        pass(Duration::from_secs(3)).await;
        disk.faults.fail_syncs(Times::Always);
        let (vanishes, _) = claimed(&tree, &[key(1)]).await;
        let accepted = crate::recovery::accept(&tree, 1).await;
        assert_eq!(accepted, Err(AskError::NotDurable));
        drop(vanishes);
        for _ in 0..10 {
            let (again, first) = claimed(&tree, &[key(1)]).await;
            assert_eq!((first, &again.duplicates), (vec![key(1)], &vec![]));
            drop(again);
            pass(millis(130)).await;
        }
    });
}
