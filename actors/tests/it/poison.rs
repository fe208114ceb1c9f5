//! One hostile input cannot take an actor away from everybody else.

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::idempotency::{Answer, Command};
use sendcat_actors::observe::Status;
use sendcat_actors::tree::Tree;
use sendcat_state::idempotency::{Claim, Claimant};
use sendcat_state::key::{Bucket, ClientKey, IdempotencyKey};
use sendcat_state::rate_window::{Admission, Limit};
use std::time::Duration;

use crate::support::{Disk, in_virtual_time, millis, once, pass, tree_on};

const TEN: Limit = Limit { calls: 10, per: Duration::from_secs(600) };

/// Two callers of one shard.
fn neighbours() -> (ClientKey, ClientKey) {
    let key = |number: u32| ClientKey::session(Bucket::ChatStream, &number.to_string());
    let hostile = key(0);
    let other = (1..).map(key).find(|key| key.shard() == hostile.shard());
    (hostile, other.expect("sixteen shards are soon full"))
}

#[test]
fn a_poisonous_input_replayed_ten_thousand_times_is_refused_and_its_shard_serves_on() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let (hostile, other) = neighbours();
        let shard = format!("rate_limiter-{}", hostile.shard());
        for _ in 0..3 {
            tree.arm(&shard, Fault { kind: FaultKind::PanicDecide, after: 0, times: 1 });
            assert_eq!(tree.limiter.admit(hostile, TEN).await, Err(AskError::Crashed));
        }
        for _ in 0..10_000 {
            assert_eq!(tree.limiter.admit(hostile, TEN).await, Err(AskError::Poisoned));
        }
        let admitted = tree.limiter.admit(other, TEN).await;
        assert!(matches!(admitted, Ok(Admission::Admitted { left: 9, .. })), "{admitted:?}");
        let seen = tree.actors().into_iter().find(|view| view.name == shard).unwrap();
        assert_eq!((seen.status, seen.incarnation), (Status::Running, 1));
    });
}

async fn claims(tree: &Tree, by: u64, keys: &[&str]) -> Result<Vec<Claim>, AskError> {
    let keys = keys.iter().map(|key| IdempotencyKey::whatsapp_message(key)).collect();
    match tree.claims.actor().ask(Command::Claim(Claimant(by), keys)).await? {
        Answer::Claimed(_, claims) => Ok(claims.into_iter().map(|(_, claim)| claim).collect()),
        Answer::Recent(..) | Answer::Noted => panic!("a claim is answered key by key"),
    }
}

#[test]
fn what_the_last_panic_before_a_refusal_claimed_is_given_back_all_the_same() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        for _ in 0..3 {
            tree.arm("idempotency", once(FaultKind::PanicApply));
            assert_eq!(claims(&tree, 1, &["hostile"]).await, Err(AskError::Crashed));
            pass(millis(500)).await;
        }
        assert_eq!(claims(&tree, 1, &["hostile"]).await, Err(AskError::Poisoned));
        // Another command about the same key sees who holds it: nobody.
        let both = claims(&tree, 2, &["hostile", "other"]).await;
        assert_eq!(both, Ok(vec![Claim::First, Claim::First]));
    });
}

#[test]
fn a_poisonous_delivery_that_names_its_key_twice_is_taken_for_no_other_that_does() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        for _ in 0..3 {
            tree.arm("idempotency", once(FaultKind::PanicDecide));
            assert_eq!(claims(&tree, 1, &["a", "a"]).await, Err(AskError::Crashed));
        }
        assert_eq!(claims(&tree, 1, &["a", "a"]).await, Err(AskError::Poisoned));
        let other = claims(&tree, 2, &["b", "b"]).await;
        assert!(other.is_ok(), "{other:?}");
    });
}
