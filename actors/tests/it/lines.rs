//! Callers in line for a slot: who is served, who is refused, who goes away.

use std::time::Duration;

use sendcat_actors::bulkhead::{Saturated, Slot};
use sendcat_actors::tree::Tree;
use sendcat_state::bulkhead::{BulkheadRules, Priority};
use sendcat_state::key::ProviderId;

use crate::support::{BULKHEAD, Disk, in_virtual_time, settle, tree_on};

const PROVIDER: ProviderId = ProviderId::OpenrouterChat;
const WAIT: Duration = Duration::from_secs(5);

/// A tree with one slot, for which callers may wait.
async fn lined() -> Tree {
    let tree = tree_on(&Disk::default()).await;
    let rules = BulkheadRules { capacity: 1, wait: WAIT, ..BULKHEAD };
    tree.bulkheads.bulkhead(PROVIDER).set_rules(rules);
    tree
}

fn waits(
    tree: &Tree,
    holder: &'static str,
    priority: Priority,
) -> tokio::task::JoinHandle<Result<Slot, Saturated>> {
    let bulkheads = tree.bulkheads.clone();
    tokio::task::spawn_local(async move { bulkheads.acquire_as(PROVIDER, holder, priority).await })
}

fn waiting(tree: &Tree) -> usize {
    tree.bulkheads.bulkhead(PROVIDER).view().waiting
}

fn holders(tree: &Tree) -> Vec<String> {
    let view = tree.bulkheads.bulkhead(PROVIDER).view();
    view.leases.iter().map(|lease| lease.holder.clone()).collect()
}

#[test]
fn a_slot_given_back_goes_to_the_one_who_waits_at_once() {
    in_virtual_time(|| async {
        let tree = lined().await;
        let held = tree.bulkheads.acquire(PROVIDER, "first").await.expect("free");
        let tool = waits(&tree, "tool", Priority::Tool);
        let screen = waits(&tree, "screen", Priority::Interactive);
        settle().await;
        assert_eq!(waiting(&tree), 2);
        let before = tree.clock.now();
        drop(held);
        let slot = screen.await.expect("it ran").expect("its turn");
        assert_eq!((holders(&tree), waiting(&tree)), (vec!["screen".to_owned()], 1));
        drop(slot);
        let _slot = tool.await.expect("it ran").expect("its turn");
        assert_eq!(tree.clock.now(), before, "nobody waited for a clock");
    });
}

#[test]
fn a_caller_whose_turn_does_not_come_is_refused_at_its_deadline() {
    in_virtual_time(|| async {
        let tree = lined().await;
        let _held = tree.bulkheads.acquire(PROVIDER, "first").await.expect("free");
        let before = tree.clock.now();
        let refused = tree.bulkheads.acquire(PROVIDER, "second").await.err();
        let retry_after = Duration::from_secs(1);
        assert_eq!(refused, Some(Saturated { provider: PROVIDER, retry_after }));
        let waited = tree.clock.now().since(before);
        assert!((WAIT..WAIT + Duration::from_millis(2)).contains(&waited), "{waited:?}");
        settle().await;
        assert_eq!(waiting(&tree), 0);
    });
}

#[test]
fn a_thousand_callers_that_go_away_leave_neither_line_nor_slot_behind() {
    in_virtual_time(|| async {
        let tree = lined().await;
        for _ in 0..1000 {
            let held = tree.bulkheads.acquire(PROVIDER, "holds").await.expect("free");
            let gone = waits(&tree, "vanishing", Priority::Interactive);
            let stays = waits(&tree, "staying", Priority::Tool);
            settle().await;
            gone.abort();
            drop(held);
            let slot = stays.await.expect("it ran").expect("its turn");
            drop(slot);
            settle().await;
            assert_eq!((holders(&tree).len(), waiting(&tree)), (0, 0));
        }
    });
}

#[test]
fn a_slot_whose_lease_lapsed_goes_to_the_line() {
    in_virtual_time(|| async {
        let tree = lined().await;
        let held = tree.bulkheads.acquire(PROVIDER, "vanished").await.expect("free");
        tokio::time::sleep(BULKHEAD.lease_ttl - Duration::from_secs(3)).await;
        let slot = tree.bulkheads.acquire(PROVIDER, "waits").await;
        assert_eq!(holders(&tree), ["waits"]);
        drop((slot.expect("within its deadline"), held));
    });
}
