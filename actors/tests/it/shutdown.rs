//! A drain: what was answered before it is on disk, and one actor that hangs costs no other.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::ManualClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_actors::observe::Status;
use sendcat_actors::supervisor::Ended;
use sendcat_actors::tree::Overran;
use sendcat_actors::{bulkhead, tree::Tree};
use sendcat_state::key::{IdempotencyKey, ProviderId};
use sendcat_state::store::Store as _;
use sendcat_state::timestamp::Timestamp;

use crate::containment::{TEN_PER_MINUTE, caller, left};
use crate::recovery::accept;
use crate::support::{
    Disk, Echo, Runs, TOOL, in_virtual_time, job, millis, once, pass, stopwatch, supervise,
    tree_of, unsupervised,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const DEADLINE: Duration = Duration::from_secs(3);

async fn frozen_tree(disk: &Disk) -> Tree {
    tree_of(disk, Arc::new(Echo), |options| {
        options.clock = ManualClock::at(NOW);
        options.workers = 0;
    })
    .await
}

#[test]
fn everything_answered_before_a_drain_is_on_disk_after_it() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let (tree, root) = unsupervised(&disk, Arc::new(Echo), |options| {
            options.clock = ManualClock::at(NOW);
            options.workers = 0;
        })
        .await;
        let ended = supervise(root);
        pass(millis(1)).await;
        for number in 0..7 {
            assert!(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await.is_ok());
            accept(&tree, number).await.unwrap();
        }
        tree.drain(DEADLINE).await.unwrap();
        assert_eq!(ended.await.unwrap(), Ended::Stopped);
        let statuses = tree.actors().into_iter().filter(|view| view.name != "journal");
        assert!(statuses.into_iter().all(|view| view.status == Status::Stopped));
        let refused = tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await;
        assert_eq!(refused, Err(AskError::Down));
    });
    disk.contents.cut_power();
    let store = disk.store();
    let sealed = store.snapshot("job_queue").unwrap().unwrap();
    let sealed: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
    assert_eq!((sealed["seq"].as_u64(), store.last_seq()), (Some(7), 7));
    assert_eq!(store.journal_after(0).unwrap(), [], "all of it is in the snapshot");
    in_virtual_time(|| async {
        let tree = frozen_tree(&disk).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 2);
        let queued: usize = tree.jobs.view().partitions.iter().map(|(_, it)| it.queued).sum();
        assert_eq!(queued, 7);
    });
}

#[test]
fn an_actor_that_does_not_answer_costs_the_others_no_snapshot() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let clock = ManualClock::at(NOW);
        let moved = clock.clone();
        let tree = tree_of(&disk, Arc::new(Echo), |options| {
            options.clock = moved;
            options.workers = 0;
        })
        .await;
        let acquire = || {
            bulkhead::Command::Acquire(
                "deaf".into(),
                sendcat_state::bulkhead::Priority::Interactive,
            )
        };
        let deaf = tree.bulkheads.bulkhead(ProviderId::OpenrouterChat);
        // Ten restarts in a row, each waited for longer than the one before: now it waits for 5 s.
        for _ in 0..10 {
            tree.arm(deaf.vitals().name(), once(FaultKind::PanicApply));
            assert!(deaf.ask(acquire()).await.is_err());
            clock.advance(Duration::from_secs(10));
            if deaf.vitals().incarnation() < 11 {
                pass(Duration::from_secs(10)).await;
            }
        }
        // Saved a moment ago: what is counted from here on is saved by the drain or not at all.
        pass(millis(600)).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 9);
        // Saved a moment ago: what is counted from here on is saved by the drain or not at all.
        pass(millis(600)).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 8);
        let began = stopwatch();
        let overran = tree.drain(DEADLINE).await;
        assert_eq!(overran, Err(Overran(vec![deaf.vitals().name().to_owned()])));
        assert!(began.elapsed() <= DEADLINE);
        assert_eq!(deaf.vitals().status(), Status::Restarting);
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let clock = ManualClock::at(NOW);
        let tree = tree_of(&disk, Arc::new(Echo), |options| options.clock = clock).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 7);
    });
}

#[test]
fn jobs_at_work_are_given_back_and_lose_no_attempt() {
    let disk = Disk::default();
    for process in 1..=5 {
        in_virtual_time(|| async {
            let runner = Arc::new(Runs(|_| std::future::pending()));
            let tree = tree_of(&disk, runner, |_| {}).await;
            if process == 1 {
                tree.jobs.enqueue(vec![job(TOOL, 1)], Vec::new()).await.unwrap();
            }
            pass(Duration::from_secs(2)).await;
            assert_eq!(tree.jobs.view().running, [job(TOOL, 1).id], "process {process}");
            tree.drain(DEADLINE).await.unwrap();
        });
        disk.contents.cut_power();
        let queue = disk.form("job_queue");
        let (_, kept) = queue["jobs"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(kept["attempts"], 0, "process {process}");
    }
}

#[test]
fn a_drain_of_the_shards_alone_leaves_the_rest_serving() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = frozen_tree(&disk).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 9);
        tree.drain_shards(DEADLINE).await.unwrap();
        let refused = tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await;
        assert_eq!(refused, Err(AskError::Down));
        accept(&tree, 1).await.unwrap();
        tree.drain(DEADLINE).await.unwrap();
        let shard = format!("rate_limiter-{}", caller("a").shard());
        let form = disk.form(&shard).to_string();
        assert!(form.contains("\"used\":1"), "{form}");
    });
}

#[test]
fn what_does_not_finish_in_time_is_named() {
    in_virtual_time(|| async {
        let tree = frozen_tree(&Disk::default()).await;
        tree.arm("idempotency", once(FaultKind::Deaf(Duration::from_secs(3600))));
        let key = IdempotencyKey::whatsapp_message("m1");
        drop(tree.claims.claim(vec![key]).await);
        let overran = tree.drain(DEADLINE).await;
        assert_eq!(overran, Err(Overran(vec!["idempotency".to_owned()])));
    });
}
