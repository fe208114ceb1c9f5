//! One hostile input cannot take an actor away from everybody else.

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::observe::Status;
use sendcat_state::key::{Bucket, ClientKey};
use sendcat_state::rate_window::{Admission, Limit};
use std::time::Duration;

use crate::support::{Disk, in_virtual_time, tree_on};

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
