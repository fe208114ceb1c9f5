//! What can be counted of the concerns without asking them.

use std::collections::BTreeMap;
use std::time::Duration;

use sendcat_actors::faults::FaultKind;
use sendcat_actors::rate_limiter::Tally;
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitMode;
use sendcat_state::key::{Bucket, ClientKey, ProviderId};
use sendcat_state::rate_window::Limit;

use crate::support::{BULKHEAD, Disk, in_virtual_time, once, pass, settle, tree_on};

const PROVIDER: ProviderId = ProviderId::SerperSearch;

#[test]
fn a_bucket_tells_how_many_calls_it_let_in_turned_away_and_could_not_decide() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let limit = Limit { calls: 2, per: Duration::from_secs(60) };
        let key = ClientKey::session(Bucket::ChatStream, "a");
        for _ in 0..5 {
            let _ = tree.limiter.admit(key, limit).await;
        }
        let address = ClientKey::session(Bucket::AnonIp, "b");
        let _ = tree.limiter.admit_all(&[(address, limit), (key, limit)]).await;
        let other = ClientKey::session(Bucket::AnonIp, "c");
        let _ = tree.limiter.admit_all(&[(address, limit), (other, limit)]).await;
        tree.arm(&format!("rate_limiter-{}", other.shard()), once(FaultKind::PanicDecide));
        let _ = tree.limiter.admit(other, limit).await;
        let tally = |admitted, refused, unanswered| Tally { admitted, refused, unanswered };
        assert_eq!(tree.limiter.tally(Bucket::ChatStream), tally(2, 4, 0));
        assert_eq!(tree.limiter.tally(Bucket::AnonIp), tally(2, 0, 1));
        assert_eq!(tree.limiter.tally(Bucket::WhatsappWebhook), tally(0, 0, 0));
    });
}

#[test]
fn calls_without_a_slot_are_counted_by_provider() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let rules = BulkheadRules { capacity: 1, wait: Duration::ZERO, ..BULKHEAD };
        tree.bulkheads.bulkhead(PROVIDER).set_rules(rules);
        let _held = tree.bulkheads.acquire(PROVIDER, "first").await.expect("free");
        for _ in 0..3 {
            assert!(tree.bulkheads.acquire(PROVIDER, "later").await.is_err());
        }
        assert_eq!(tree.bulkheads.refused(PROVIDER), 3);
        assert_eq!(tree.bulkheads.refused(ProviderId::Jwks), 0);
    });
}

#[test]
fn a_circuit_counts_how_often_it_came_to_each_state() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        for mode in [CircuitMode::ForcedOpen, CircuitMode::ForcedOpen, CircuitMode::Normal] {
            tree.circuits.set_mode(PROVIDER, mode).await.expect("it answers");
            settle().await;
        }
        let turns = tree.circuits.circuit(PROVIDER).vitals().turns();
        assert_eq!(turns, BTreeMap::from([("forced_open", 1), ("closed", 1)]));
    });
}

#[test]
fn the_journal_tells_when_each_machine_was_last_saved() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = ClientKey::session(Bucket::ChatStream, "a");
        let _ = tree.limiter.admit(key, Limit { calls: 2, per: Duration::from_secs(60) }).await;
        pass(Duration::from_secs(2)).await;
        let shard = format!("rate_limiter-{}", key.shard());
        let saved = tree.journal.state().saved;
        let age = saved.get(shard.as_str()).map(|at| at.until(tree.clock.now()));
        assert!(age.is_some_and(|age| age <= Duration::from_secs(2)), "{age:?}");
    });
}
