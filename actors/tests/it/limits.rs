//! The limiter as the HTTP room meets it: floods, and several limits at once.

use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::handle::Handle;
use sendcat_actors::rate_limiter::{AllAdmission, Left, Unanswered};
use sendcat_actors::tree::Tree;
use sendcat_state::key::{Bucket, ClientKey};
use sendcat_state::rate_shard::RateShard;
use sendcat_state::rate_window::{Admission, Limit};

use crate::support::{Disk, in_virtual_time, settle, tree_on};

const MINUTE: Duration = Duration::from_secs(60);
const TWO: Limit = Limit { calls: 2, per: MINUTE };
const TEN: Limit = Limit { calls: 10, per: MINUTE };

fn caller(number: usize) -> ClientKey {
    ClientKey::session(Bucket::ChatStream, &number.to_string())
}

/// Two keys, of one shard or of two.
fn two(of_one_shard: bool) -> [ClientKey; 2] {
    let first = caller(0);
    let second = (1..).map(caller).find(|key| (key.shard() == first.shard()) == of_one_shard);
    [first, second.expect("there are keys of every shard")]
}

fn handled(tree: &Tree) -> u64 {
    let now = tree.clock.now();
    let of = |shard: &Handle<RateShard>| shard.vitals().view(now).handled;
    tree.limiter.shards().iter().map(of).sum()
}

fn left(calls: [u64; 2]) -> Result<AllAdmission, Unanswered> {
    let of = |left| Left { left, resets_in: MINUTE };
    Ok(AllAdmission::Admitted(calls.map(of).to_vec()))
}

#[test]
fn a_flood_against_a_used_up_window_costs_the_shard_nothing_until_a_new_one() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller(0);
        for left in [1, 0] {
            let admitted = Admission::Admitted { left, resets_in: MINUTE };
            assert_eq!(tree.limiter.admit(key, TWO).await, Ok(admitted));
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let refused = |secs| Ok(Admission::Refused { retry_after: Duration::from_secs(secs) });
        assert_eq!(tree.limiter.admit(key, TWO).await, refused(40), "the machine's answer");
        let before = handled(&tree);
        for waited in 0..40 {
            for _ in 0..100 {
                assert_eq!(tree.limiter.admit(key, TWO).await, refused(40 - waited));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(handled(&tree), before);
        let admitted = Admission::Admitted { left: 1, resets_in: MINUTE };
        assert_eq!(tree.limiter.admit(key, TWO).await, Ok(admitted), "of a new window");
    });
}

#[test]
fn a_raised_limit_is_not_refused_by_memory() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller(0);
        for _ in 0..3 {
            tree.limiter.admit(key, TWO).await.expect("it answers");
        }
        let admitted = Admission::Admitted { left: 7, resets_in: MINUTE };
        assert_eq!(tree.limiter.admit(key, TEN).await, Ok(admitted));
    });
}

#[test]
fn a_call_that_one_of_two_limits_refuses_is_counted_under_neither() {
    for of_one_shard in [true, false] {
        in_virtual_time(|| async move {
            let tree = tree_on(&Disk::default()).await;
            let [wide, narrow] = two(of_one_shard);
            let both = [(wide, TEN), (narrow, TWO)];
            assert_eq!(tree.limiter.admit_all(&both).await, left([9, 1]));
            assert_eq!(tree.limiter.admit_all(&both).await, left([8, 0]));
            let refused = AllAdmission::Refused { policy: 1, retry_after: MINUTE };
            for _ in 0..100 {
                assert_eq!(tree.limiter.admit_all(&both).await, Ok(refused.clone()));
            }
            settle().await;
            let next = Admission::Admitted { left: 7, resets_in: MINUTE };
            assert_eq!(tree.limiter.admit(wide, TEN).await, Ok(next));
        });
    }
}

#[test]
fn a_limit_whose_shard_gives_no_answer_is_named_and_the_other_is_not_counted() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let [first, second] = two(false);
        let shard = format!("rate_limiter-{}", second.shard());
        tree.arm(&shard, Fault { kind: FaultKind::PanicDecide, after: 0, times: 1 });
        let both = [(first, TWO), (second, TWO)];
        let unanswered = Unanswered { policy: 1, error: AskError::Crashed };
        assert_eq!(tree.limiter.admit_all(&both).await, Err(unanswered));
        settle().await;
        assert_eq!(tree.limiter.admit_all(&both).await, left([1, 1]));
    });
}

#[test]
fn a_caller_that_goes_away_between_two_limits_is_counted_under_neither() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let both = two(false).map(|key| (key, TWO));
        for _ in 0..100 {
            let _ = tokio::time::timeout(Duration::ZERO, tree.limiter.admit_all(&both)).await;
            settle().await;
        }
        assert_eq!(tree.limiter.admit_all(&both).await, left([1, 1]));
    });
}
