//! Shards on the threads of HTTP workers: each worker adopts its share, and what a worker leaves
//! behind when its thread ends is served elsewhere, with its counts.
//!
//! Real threads and real time; nothing sleeps, what is waited for is asked again and again.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, System};
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_actors::observe::Status;
use sendcat_actors::tree::{ShardPlacement, Topology, Tree};
use sendcat_state::key::{ClientKey, SHARDS};
use sendcat_state::rate_window::{Admission, Limit};

use crate::containment::caller;
use crate::recovery::accept;
use crate::support::{Disk, Echo, TOOL, job, once, restarts, unsupervised};

const LIMIT: Limit = Limit { calls: 100, per: Duration::from_secs(3600) };

/// Asks until there is an answer, which must say that `used` calls were counted by then. An ask
/// that a busy machine let time out may have been counted or not.
async fn admitted(tree: &Tree, key: ClientKey, used: u64, unsure: &mut u64) {
    loop {
        match tree.limiter.admit(key, LIMIT).await {
            Ok(Admission::Admitted { left, .. }) => {
                let counted = LIMIT.calls - left;
                let fits = (used..=used + *unsure).contains(&counted);
                assert!(fits, "shard {}: {counted}, not {used} + {unsure}", key.shard());
                return;
            }
            Err(AskError::Restarting { .. }) => tokio::task::yield_now().await,
            Err(AskError::Timeout) => *unsure += 1,
            other => panic!("shard {}: {other:?}", key.shard()),
        }
    }
}

fn one_key_a_shard() -> Vec<ClientKey> {
    let keys: Vec<_> = (0..1000).map(|number| caller(&number.to_string())).collect();
    (0..SHARDS).map(|shard| *keys.iter().find(|key| key.shard() == shard).unwrap()).collect()
}

fn running(tree: &Tree) -> usize {
    let shards = tree.limiter.shards().iter();
    shards.filter(|shard| shard.vitals().status() == Status::Running).count()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience).await.expect(what);
}

async fn tree_for_workers(disk: &Disk, workers: usize) -> Tree {
    let (tree, root) = unsupervised(disk, Arc::new(Echo), |options| {
        options.topology = Topology::Threads { shards: ShardPlacement::Workers(workers) };
    })
    .await;
    actix_rt::spawn(root.run());
    tree
}

/// A thread that adopts its share, as an HTTP worker does.
fn worker(tree: &Tree) -> Arbiter {
    let arbiter = Arbiter::new();
    let adopting = tree.clone();
    assert!(arbiter.spawn_fn(move || adopting.adopt_worker()));
    arbiter
}

#[test]
fn workers_adopt_all_shards_between_them_and_none_twice() {
    System::new().block_on(async {
        let mut unsure = 0;
        let tree = tree_for_workers(&Disk::default(), 3).await;
        let refused = tree.limiter.admit(caller("a"), LIMIT).await;
        assert!(matches!(refused, Err(AskError::Restarting { .. })), "no thread, no answer");
        let workers: Vec<_> = (0..3).map(|_| worker(&tree)).collect();
        until("all shards run", || running(&tree) == SHARDS).await;
        for key in one_key_a_shard() {
            admitted(&tree, key, 1, &mut unsure).await;
        }
        let incarnations = tree.limiter.shards().iter().map(|shard| shard.vitals().incarnation());
        assert_eq!(incarnations.collect::<Vec<_>>(), [1; SHARDS]);
        tree.drain(Duration::from_secs(5)).await.unwrap();
        workers.iter().for_each(|worker| assert!(worker.stop()));
    });
}

#[test]
fn shards_of_a_worker_whose_thread_ended_are_served_elsewhere_with_their_counts() {
    System::new().block_on(async {
        let mut unsure = 0;
        let tree = tree_for_workers(&Disk::default(), 1).await;
        let first = worker(&tree);
        until("all shards run", || running(&tree) == SHARDS).await;
        let keys = one_key_a_shard();
        for key in &keys {
            admitted(&tree, *key, 1, &mut unsure).await;
        }
        // All sixteen at once: their thread's end is no failure of theirs, and none is given up.
        first.stop();
        first.join().unwrap();
        let adopted_by = worker(&tree);
        for key in &keys {
            admitted(&tree, *key, 2, &mut unsure).await;
        }
        until("all shards run", || running(&tree) == SHARDS).await;
        let incarnations = tree.limiter.shards().iter().map(|shard| shard.vitals().incarnation());
        let incarnations: Vec<_> = incarnations.collect();
        assert!(incarnations.iter().all(|it| *it == 2), "each was started once: {incarnations:?}");
        tree.drain(Duration::from_secs(5)).await.unwrap();
        adopted_by.stop();
    });
}

#[test]
fn on_real_threads_a_panic_a_commit_and_a_job_go_as_in_virtual_time() {
    let disk = Disk::default();
    System::new().block_on(async {
        let mut unsure = 0;
        let tree = tree_for_workers(&disk, 2).await;
        let workers = [worker(&tree), worker(&tree)];
        until("all shards run", || running(&tree) == SHARDS).await;
        let key = caller("a");
        let shard = format!("rate_limiter-{}", key.shard());
        admitted(&tree, key, 1, &mut unsure).await;
        tree.arm(&shard, once(FaultKind::PanicApply));
        let struck = tree.limiter.admit(key, LIMIT).await;
        assert!(matches!(struck, Err(AskError::Crashed | AskError::Timeout)), "{struck:?}");
        admitted(&tree, key, 3, &mut unsure).await;
        tree.arm(&shard, once(FaultKind::PanicTimer));
        until("its task died", || restarts(&tree, &shard).contains(&("death", 1))).await;
        admitted(&tree, key, 4, &mut unsure).await;
        until("the queue runs", || tree.jobs.actor().vitals().status() == Status::Running).await;
        let ended = tree.jobs.run(job(TOOL, 1), Duration::from_secs(20)).await;
        assert!(ended.is_ok(), "{ended:?}");
        accept(&tree, 2).await.unwrap();
        tree.drain(Duration::from_secs(5)).await.unwrap();
        workers.iter().for_each(|worker| assert!(worker.stop()));
    });
    disk.contents.cut_power();
    assert!(disk.form("rate_limiter-0").is_object());
}

#[test]
fn a_thread_that_ends_is_replaced_and_its_actors_are_not_blamed() {
    let disk = Disk::default();
    System::new().block_on(async {
        let tree = tree_for_workers(&disk, 1).await;
        let worker = worker(&tree);
        until("all shards run", || running(&tree) == SHARDS).await;
        let everyone = || tree.actors().into_iter().filter(|it| it.status == Status::Running);
        until("all run", || everyone().count() == tree.actors().len()).await;
        for (stopped, neighbour) in [
            ("circuit_breaker-openrouter_chat", "bulkhead-serper_search"),
            ("idempotency", "idempotency"),
            ("job_queue", "tool_worker-1"),
        ] {
            // More often than a subtree bears: the end of a thread is no failure of theirs.
            for time in 1..=8 {
                tree.arm(stopped, once(FaultKind::StopArbiter));
                until("it was started elsewhere", || {
                    let died = |actor| restarts(&tree, actor).contains(&("death", time));
                    died(stopped) && died(neighbour)
                })
                .await;
                until("all run", || everyone().count() == tree.actors().len()).await;
            }
        }
        let ended = tree.jobs.run(job(TOOL, 1), Duration::from_secs(20)).await;
        assert!(ended.is_ok(), "{ended:?}");
        accept(&tree, 2).await.unwrap();
        tree.drain(Duration::from_secs(5)).await.unwrap();
        assert!(worker.stop());
    });
}
