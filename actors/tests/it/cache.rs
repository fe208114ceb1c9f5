//! The tool cache: a miss whatever it gives instead of an answer, and what outlives the process.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::ManualClock;
use sendcat_actors::failure::{AskError, Concern};
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::tool_cache::{self, Cached, Lookups};
use sendcat_actors::tree::Tree;
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::NewResult;

use crate::containment::{question, result};
use crate::failure_direction::{GIVEN, Provoke, meeting, times};
use crate::support::{
    Disk, Echo, in_virtual_time, millis, once, pass, tree_of, tree_without_workers,
};

fn of_cache(tree: &Tree) -> Provoke<'_> {
    let number = Cell::new(1000);
    Box::new(move || {
        number.set(number.get() + 1);
        let put = tool_cache::Command::Put(result(number.get()));
        Box::pin(async move {
            let _ = tree.cache.actor().ask(put).await;
        })
    })
}

#[test]
fn a_cache_without_an_answer_is_a_miss_that_fills_nothing() {
    for error in GIVEN {
        in_virtual_time(|| async {
            let tree = tree_without_workers(&Disk::default()).await;
            tree.cache.put(result(1)).await;
            let asked = question(1);
            assert_eq!(tree.cache.get(&asked).await, Cached::Hit("result 1".into()));
            let before = times(Concern::ToolCache, error);
            let ask = tree.cache.get(&asked);
            let actor = (&tree, "tool_cache");
            let found = if error == AskError::Timeout {
                // Its subtree bears fewer restarts than it takes to be away for so long.
                let deaf = FaultKind::Deaf(Duration::from_secs(3));
                assert!(tree.arm("tool_cache", once(deaf)));
                of_cache(&tree)().await;
                ask.await
            } else {
                meeting(error, actor, of_cache(&tree), ask).await
            };
            assert_eq!(found, Cached::Miss(None), "{}", error.as_str());
            assert_eq!(times(Concern::ToolCache, error) - before, 1, "{}", error.as_str());
            assert_eq!(tree.cache.lookups(), Lookups { hits: 1, misses: 1 });
        });
    }
}

#[test]
fn a_result_for_a_cache_that_is_gone_is_dropped_and_clearing_it_says_why() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        tree.arm("tool_cache", Fault { kind: FaultKind::PanicTimer, after: 0, times: 100 });
        pass(Duration::from_secs(3)).await;
        tree.cache.put(result(1)).await;
        assert_eq!(tree.cache.clear("search_web_json_v1").await, Err(AskError::Down));
    });
}

#[test]
fn what_was_under_way_while_its_namespace_was_cleared_does_not_come_back() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let asked = question(1);
        let Cached::Miss(Some(fill)) = tree.cache.get(&asked).await else { panic!("it is new") };
        assert_eq!(tree.cache.clear(asked.namespace()).await, Ok(0));
        tree.cache.put(NewResult { fill, ..result(1) }).await;
        assert!(matches!(tree.cache.get(&asked).await, Cached::Miss(Some(_))));
    });
}

#[test]
fn results_of_tools_outlive_an_orderly_end_and_not_their_own() {
    let (disk, clock) = (Disk::default(), ManualClock::at(Timestamp::from_millis(1000)));
    let start = async || {
        let clock = clock.clone();
        tree_of(&disk, Arc::new(Echo), |options| options.clock = clock).await
    };
    in_virtual_time(|| async {
        let tree = start().await;
        tree.cache.put(result(1)).await;
        tree.drain(Duration::from_secs(5)).await.unwrap();
    });
    clock.advance(Duration::from_secs(299));
    in_virtual_time(|| async {
        let tree = start().await;
        assert_eq!(tree.cache.get(&question(1)).await, Cached::Hit("result 1".into()));
        clock.advance(Duration::from_secs(1));
        assert!(matches!(tree.cache.get(&question(1)).await, Cached::Miss(Some(_))));
        pass(millis(300)).await;
        assert!(tree.cache.view().namespaces.is_empty(), "what has ended costs no room");
    });
}
