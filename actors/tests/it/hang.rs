//! An actor that hangs is replaced within its limit, and what it still does is refused (L3).

use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_state::key::{Bucket, ClientKey, ProviderId};
use sendcat_state::rate_window::{Admission, Limit};

use crate::support::{Disk, in_virtual_time, pass, tree_on};

const TEN: Limit = Limit { calls: 10, per: Duration::from_secs(600) };

fn left(admission: Result<Admission, AskError>) -> u64 {
    match admission {
        Ok(Admission::Admitted { left, .. }) => left,
        other => panic!("not admitted: {other:?}"),
    }
}

fn deaf_for(span: Duration) -> Fault {
    Fault { kind: FaultKind::Deaf(span), after: 0, times: 1 }
}

#[test]
fn a_deaf_shard_is_replaced_with_its_counts_and_the_old_one_answers_nobody() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = ClientKey::session(Bucket::ChatStream, "a");
        let shard = format!("rate_limiter-{}", key.shard());
        assert!(tree.arm(&shard, deaf_for(Duration::from_secs(3))));
        assert_eq!(left(tree.limiter.admit(key, TEN).await), 9);
        assert_eq!(tree.limiter.admit(key, TEN).await, Err(AskError::Timeout));
        pass(Duration::from_millis(1500)).await;
        assert_eq!(left(tree.limiter.admit(key, TEN).await), 8, "what nobody took was not counted");
        let seen = tree.actors().into_iter().find(|view| view.name == shard).unwrap();
        let restarts: Vec<_> =
            seen.restarts.iter().map(|(cause, times)| (cause.as_str(), *times)).collect();
        assert_eq!(restarts, [("hang", 1)]);
        // The old one wakes with what was queued in it, and none of that happens.
        pass(Duration::from_secs(5)).await;
        assert_eq!(left(tree.limiter.admit(key, TEN).await), 7);
        let hung = tree.actors().iter().filter(|view| !view.restarts.is_empty()).count();
        assert_eq!(hung, 1, "its neighbours were left alone");
    });
}

#[test]
fn a_deaf_breaker_fails_as_published_until_it_is_replaced() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let provider = ProviderId::SerperSearch;
        assert!(tree.arm("circuit_breaker-serper_search", deaf_for(Duration::from_secs(60))));
        drop(tree.circuits.pass(provider).await.unwrap());
        drop(tree.circuits.pass(provider).await.unwrap());
        pass(Duration::from_millis(2500)).await;
        drop(tree.circuits.pass(provider).await.unwrap());
        pass(Duration::from_secs(20)).await;
        let name = "circuit_breaker-serper_search";
        let seen = tree.actors().into_iter().find(|view| view.name == name).unwrap();
        assert_eq!(seen.incarnation, 2);
        assert_eq!(seen.mailbox_depth, 0);
    });
}

#[test]
fn a_busy_tree_is_not_taken_for_a_hung_one() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        for round in 0..600 {
            let key = ClientKey::session(Bucket::ChatStream, &format!("{}", round % 7));
            let _ = tree.limiter.admit(key, TEN).await;
            pass(Duration::from_millis(100)).await;
        }
        assert!(tree.actors().iter().all(|view| view.restarts.is_empty()));
    });
}
