//! What becomes of a machine whose saved form cannot be read: its records know, or it is careful.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::ManualClock;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::tree::TreeOptions;
use sendcat_state::job::{EventRow, EventStatus};
use sendcat_state::machine::Table;
use sendcat_state::rate_window::Admission;
use sendcat_state::store::Store as _;
use sendcat_state::timestamp::Timestamp;

use crate::containment::{TEN_PER_MINUTE, caller, left};
use crate::recovery::{accept, queued};
use crate::support::{
    Disk, Echo, INBOX, in_virtual_time, job, millis, once, pass, seen, tree_of, tree_on,
    tree_without_workers,
};

const TORN: &[u8] = b"{\"kind\":\"job_qu";

fn make_unreadable(disk: &Disk, machine: &str) {
    let mut store = disk.store();
    store.put_snapshot(machine, TORN).unwrap();
    store.sync().unwrap();
}

fn row(disk: &Disk, number: u64) -> EventRow {
    let row = disk.record(Table::Events, &job(INBOX, number).id.to_bytes()).unwrap();
    serde_json::from_slice(&row).unwrap()
}

#[test]
fn events_accepted_before_the_queues_snapshot_became_unreadable_are_worked_off_once() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_on(&disk).await;
        for number in 0..5 {
            accept(&tree, number).await.unwrap();
        }
        pass(Duration::from_secs(1)).await;
        tree.drain(Duration::from_secs(5)).await.unwrap();
    });
    let done: Vec<_> = (0..5).map(|number| row(&disk, number)).collect();
    assert!(done.iter().all(|row| row.status == EventStatus::Done), "{done:?}");
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        for number in 5..10 {
            accept(&tree, number).await.unwrap();
        }
    });
    disk.contents.cut_power();
    make_unreadable(&disk, "job_queue");
    in_virtual_time(|| async {
        let tree = tree_on(&disk).await;
        pass(Duration::from_secs(2)).await;
        tree.drain(Duration::from_secs(5)).await.unwrap();
    });
    for (number, done) in (0..5).zip(done) {
        assert_eq!(row(&disk, number), done, "not done again");
    }
    for number in 5..10 {
        let row = row(&disk, number);
        assert_eq!((row.status, row.attempts), (EventStatus::Done, 1), "{row:?}");
    }
}

#[test]
fn all_rows_are_read_however_many_there_are_and_a_sender_that_repeats_itself_is_known() {
    let disk = Disk::default();
    let roomy = |options: &mut TreeOptions| {
        options.workers = 0;
        options.jobs.kinds[INBOX.index()].0.queued_max = 1005;
    };
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), roomy).await;
        let accepted = (0..1005).map(|number| accept(&tree, number));
        let accepted = futures_util::future::join_all(accepted).await;
        assert!(accepted.iter().all(Result::is_ok));
    });
    disk.contents.cut_power();
    make_unreadable(&disk, "job_queue");
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), roomy).await;
        pass(millis(300)).await;
        assert_eq!(queued(&tree), 1005);
        accept(&tree, 7).await.unwrap();
        pass(millis(300)).await;
        assert_eq!(queued(&tree), 1005);
    });
}

#[test]
fn a_queue_that_no_replay_can_restore_takes_up_its_events_from_their_rows() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        for number in 0..3 {
            accept(&tree, number).await.unwrap();
        }
        tree.arm("job_queue", once(FaultKind::PanicApply));
        tree.arm("job_queue", Fault { kind: FaultKind::PanicRestore, after: 0, times: 2 });
        // Its own turn panics; the commit was handed over before, so it comes true.
        accept(&tree, 3).await.unwrap();
        pass(millis(300)).await;
        assert_eq!((queued(&tree), seen(&tree, "job_queue").incarnation), (4, 2));
    });
}

#[test]
fn a_shard_whose_counts_are_lost_admits_nobody_until_every_window_has_ended() {
    let disk = Disk::default();
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let options = |options: &mut TreeOptions| options.clock = clock.clone();
    let key = caller("a");
    make_unreadable(&disk, &format!("rate_limiter-{}", key.shard()));
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), options).await;
        let refused = tree.limiter.admit(key, TEN_PER_MINUTE).await;
        let retry_after = Duration::from_secs(60);
        assert_eq!(refused, Ok(Admission::Refused { retry_after }));
        pass(Duration::from_secs(2)).await;
        clock.advance(Duration::from_secs(2));
        pass(Duration::from_secs(2)).await;
    });
    disk.contents.cut_power();
    clock.advance(Duration::from_secs(57));
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), options).await;
        let refused = tree.limiter.admit(key, TEN_PER_MINUTE).await;
        let retry_after = Duration::from_secs(1);
        assert_eq!(refused, Ok(Admission::Refused { retry_after }), "the next process knows");
        clock.advance(Duration::from_secs(1));
        assert_eq!(left(tree.limiter.admit(key, TEN_PER_MINUTE).await), 9);
    });
}

#[test]
fn a_first_start_admits_at_once() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 9);
    });
}
