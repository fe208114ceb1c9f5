//! What was answered is there again, whatever died: an actor, its task, the process, the disk.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::bulkhead::Slot;
use sendcat_actors::clock::ManualClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::idempotency::Claimed;
use sendcat_actors::tree::Tree;
use sendcat_state::idempotency::ClaimRow;
use sendcat_state::job::{EventRow, EventStatus, write_body};
use sendcat_state::job_queue::Enqueued;
use sendcat_state::key::{IdempotencyKey, ProviderId};
use sendcat_state::machine::Table;
use sendcat_state::store::faulty::Times;
use sendcat_state::store::{Commit, JournalledChange, Store as _};
use sendcat_state::timestamp::Timestamp;

use crate::containment::{TEN_PER_MINUTE, caller, left};
use crate::support::{
    Disk, Echo, INBOX, TOOL, in_virtual_time, job, millis, once, pass, restarts, seen, settle,
    tree_of, tree_on, tree_without_workers, unsupervised,
};

const LATE: Timestamp = Timestamp::from_millis(u64::MAX);

fn key(number: u64) -> IdempotencyKey {
    IdempotencyKey::whatsapp_message(&format!("wamid.{number}"))
}

/// Accepts a delivery as a webhook does: job, body and claim in one commit.
pub(crate) async fn accept(tree: &Tree, number: u64) -> Result<Enqueued, AskError> {
    let now = tree.clock.now();
    let event = job(INBOX, number);
    let writes = vec![write_body(event.id, b"body"), ClaimRow::write(&key(number), now, LATE)];
    tree.jobs.enqueue(vec![event], writes).await
}

/// How an event stands on the disk: its row, its body, its claim.
fn on_disk(disk: &Disk, number: u64) -> (Option<EventStatus>, bool, bool) {
    let id = job(INBOX, number).id.to_bytes();
    let row = disk.record(Table::Events, &id);
    let status = row.map(|row| serde_json::from_slice::<EventRow>(&row).unwrap().status);
    let body = disk.record(Table::EventBodies, &id).is_some();
    (status, body, disk.record(Table::Claims, &key(number).row()).is_some())
}

/// Waits until everything handed to the journal so far is on disk.
async fn on_disk_all(tree: &Tree) {
    let nothing = tree.journal.transact(|_| Ok::<_, ()>(((), Vec::new()))).await;
    assert_eq!(nothing, Ok(Ok(())));
}

const ALL_OF_IT: (Option<EventStatus>, bool, bool) = (Some(EventStatus::Pending), true, true);
const NOTHING: (Option<EventStatus>, bool, bool) = (None, false, false);

pub(crate) fn queued(tree: &Tree) -> usize {
    tree.jobs.view().partitions.iter().map(|(_, partition)| partition.queued).sum()
}

#[test]
fn an_event_whose_turn_crashed_after_it_was_journalled_is_accepted_all_the_same() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        tree.arm("job_queue", once(FaultKind::PanicApply));
        assert_eq!(accept(&tree, 1).await, Ok(Enqueued::Queued));
        pass(millis(300)).await;
        assert_eq!((queued(&tree), restarts(&tree, "job_queue")), (1, vec![("apply", 1)]));
    });
    disk.contents.cut_power();
    assert_eq!(on_disk(&disk, 1), ALL_OF_IT);
}

#[test]
fn what_the_queue_accepted_survives_the_death_of_its_task() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        for number in 0..10 {
            assert_eq!(accept(&tree, number).await, Ok(Enqueued::Queued));
        }
        tree.arm("job_queue", once(FaultKind::PanicTimer));
        pass(millis(600)).await;
        assert_eq!((queued(&tree), restarts(&tree, "job_queue")), (10, vec![("death", 1)]));
    });
}

#[test]
fn what_was_not_durable_may_come_true_or_not_but_never_half() {
    for (what, outcome) in [("write", NOTHING), ("sync", ALL_OF_IT)] {
        let disk = Disk::default();
        in_virtual_time(|| async {
            let tree = tree_without_workers(&disk).await;
            assert_eq!(accept(&tree, 1).await, Ok(Enqueued::Queued));
            match what {
                "write" => disk.faults.fail_writes(Times::Next(1)),
                _ => disk.faults.fail_syncs(Times::Next(1)),
            }
            assert_eq!(accept(&tree, 2).await, Err(AskError::NotDurable));
            pass(millis(500)).await;
            assert_eq!(accept(&tree, 3).await, Ok(Enqueued::Queued), "no restart was needed");
            // A store in memory keeps what a failed sync had applied; a disk may lose it.
            pass(millis(300)).await;
            let came_true = usize::from(outcome == ALL_OF_IT);
            assert_eq!(queued(&tree), 2 + came_true, "memory says what the disk says");
            assert_eq!(restarts(&tree, "job_queue"), [("not_durable", 1)]);
        });
        disk.contents.cut_power();
        let all: Vec<_> = (1..=3).map(|number| on_disk(&disk, number)).collect();
        assert_eq!(all, [ALL_OF_IT, outcome, ALL_OF_IT], "{what}");
    }
}

#[test]
fn acknowledged_events_and_done_claims_survive_a_power_cut() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        for number in 0..20 {
            let claimed = tree.claims.claim(vec![key(number)]).await.unwrap();
            assert_eq!(claimed.first.keys(), [key(number)]);
            assert_eq!(accept(&tree, number).await, Ok(Enqueued::Queued));
            claimed.first.settle(LATE);
        }
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        assert_eq!(queued(&tree), 20);
        for number in 0..20 {
            let Claimed { first, duplicates } = tree.claims.claim(vec![key(number)]).await.unwrap();
            assert_eq!((first.keys(), duplicates), ([].as_slice(), vec![key(number)]));
        }
    });
}

#[test]
fn claims_and_slots_of_a_dead_process_are_free_in_the_next() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_on(&disk).await;
        let claimed = tree.claims.claim(vec![key(1)]).await.unwrap();
        let slot = tree.bulkheads.acquire(ProviderId::OpenrouterChat, "dies").await.unwrap();
        pass(millis(1500)).await;
        // Held to the end, and never given back.
        std::mem::forget((claimed, slot));
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let tree = tree_on(&disk).await;
        let claimed = tree.claims.claim(vec![key(1)]).await.unwrap();
        assert_eq!(claimed.first.keys(), [key(1)]);
        let slots = (0..3).map(|_| tree.bulkheads.acquire(ProviderId::OpenrouterChat, "lives"));
        let slots = futures_util::future::join_all(slots).await;
        assert!(slots.iter().all(Result::is_ok));
    });
}

#[test]
fn a_crash_of_the_process_loses_at_most_one_interval_of_counts() {
    let disk = Disk::default();
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let options = |options: &mut sendcat_actors::tree::TreeOptions| options.clock = clock.clone();
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), options).await;
        for _ in 0..5 {
            assert!(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await.is_ok());
        }
        clock.advance(millis(1250));
        pass(millis(1250)).await;
        for _ in 0..2 {
            assert!(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await.is_ok());
        }
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), options).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 4);
    });
}

#[test]
fn a_snapshot_that_met_a_failing_disk_is_written_once_the_disk_is_back() {
    let disk = Disk::default();
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let options = |options: &mut sendcat_actors::tree::TreeOptions| options.clock = clock.clone();
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), options).await;
        pass(millis(300)).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 9);
        disk.faults.fail_writes(Times::Next(1));
        for _ in 0..16 {
            clock.advance(millis(250));
            pass(millis(250)).await;
        }
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let tree = tree_of(&disk, Arc::new(Echo), options).await;
        assert_eq!(left(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await), 8);
    });
}

#[test]
fn the_clock_tells_no_time_before_the_last_commit_of_the_process_before() {
    let disk = Disk::default();
    let late = ManualClock::at(Timestamp::from_millis(5_000_000));
    in_virtual_time(|| async {
        let clock = late.clone();
        let tree = tree_of(&disk, Arc::new(Echo), |options| options.clock = clock).await;
        late.advance(Duration::from_secs(10));
        assert_eq!(accept(&tree, 1).await, Ok(Enqueued::Queued));
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let early = ManualClock::at(Timestamp::from_millis(1_000_000));
        let tree = tree_of(&disk, Arc::new(Echo), |options| options.clock = early).await;
        assert_eq!(tree.clock.now(), Timestamp::from_millis(5_010_000));
    });
}

#[test]
fn sn2_an_actor_rebuilt_inside_a_later_process_holds_no_job_for_the_dead() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        tree.jobs.enqueue(vec![job(TOOL, 1)], Vec::new()).await.unwrap();
        let claim = sendcat_actors::job_queue::Command::Claim("dies".into());
        tree.jobs.actor().ask(claim).await.unwrap();
        on_disk_all(&tree).await;
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        pass(millis(300)).await;
        assert_eq!(queued(&tree), 1, "the dead worker's job is in line again");
        tree.arm("job_queue", once(FaultKind::PanicTimer));
        pass(millis(600)).await;
        assert_eq!(seen(&tree, "job_queue").incarnation, 2);
        assert_eq!(queued(&tree), 1, "also for the second incarnation of this process");
    });
}

#[test]
fn jq4_a_job_that_takes_the_process_down_each_time_ends_as_a_dead_letter() {
    let disk = Disk::default();
    for _ in 0..3 {
        in_virtual_time(|| async {
            let tree = tree_without_workers(&disk).await;
            // Taken in once: later processes find it there.
            if on_disk(&disk, 1) == NOTHING {
                accept(&tree, 1).await.unwrap();
            }
            let claim = sendcat_actors::job_queue::Command::Claim("dies".into());
            let claimed = tree.jobs.actor().ask(claim).await.unwrap();
            assert!(format!("{claimed:?}").contains("Claimed"), "{claimed:?}");
            on_disk_all(&tree).await;
        });
        disk.contents.cut_power();
    }
    in_virtual_time(|| async {
        let _tree = tree_without_workers(&disk).await;
        pass(millis(600)).await;
    });
    assert_eq!(on_disk(&disk, 1).0, Some(EventStatus::Dead));
}

#[test]
fn an_unreadable_snapshot_is_put_aside_by_name_and_what_it_said_is_kept() {
    let disk = Disk::default();
    let torn = b"{\"kind\":\"job_qu";
    for machine in ["job_queue", "rate_limiter-3", "idempotency"] {
        disk.store().put_snapshot(machine, torn).unwrap();
    }
    disk.store().sync().unwrap();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        assert_eq!(accept(&tree, 1).await, Ok(Enqueued::Queued), "the queue serves");
        assert!(tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await.is_ok());
        let mut aside: Vec<_> = tree.put_aside().into_iter().map(|(machine, _)| machine).collect();
        aside.sort();
        assert_eq!(aside, ["idempotency", "job_queue", "rate_limiter-3"]);
    });
    disk.contents.cut_power();
    let kept = disk.store().snapshot("job_queue.aside").unwrap();
    assert_eq!(kept.as_deref(), Some(torn.as_slice()));
}

#[test]
fn a_journal_record_that_makes_no_sense_is_put_aside_and_the_rest_is_read() {
    let disk = Disk::default();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        accept(&tree, 1).await.unwrap();
    });
    let change = JournalledChange {
        machine: "job_queue".into(),
        incarnation: 1,
        change: b"{\"Danced\":{}}".to_vec(),
    };
    disk.store().apply(&[Commit { change: Some(change), writes: Vec::new() }]).unwrap();
    disk.store().sync().unwrap();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        assert_eq!(queued(&tree), 1);
        let aside = tree.put_aside();
        assert_eq!(aside.len(), 1);
        assert!(aside[0].1.starts_with("journal record 2: "), "{aside:?}");
    });
}

#[test]
fn what_was_told_to_a_dead_actor_is_heard_by_its_successor() {
    in_virtual_time(|| async {
        let (tree, root) = unsupervised(&Disk::default(), Arc::new(Echo), |_| {}).await;
        settle().await;
        let provider = ProviderId::OpenrouterChat;
        let slots: Vec<Slot> = vec![
            tree.bulkheads.acquire(provider, "a").await.unwrap(),
            tree.bulkheads.acquire(provider, "b").await.unwrap(),
        ];
        let name = format!("bulkhead-{provider}");
        tree.arm(&name, once(FaultKind::PanicTimer));
        // Polled once, the supervisor tells the time; its actor dies of it while nobody looks.
        let mut run = Box::pin(root.run());
        tokio::select! {
            biased;
            ended = run.as_mut() => panic!("{ended:?}"),
            () = std::future::ready(()) => {}
        }
        settle().await;
        assert_eq!(tree.bulkheads.bulkhead(provider).view().leases.len(), 2);
        drop(slots);
        settle().await;
        assert_eq!(tree.bulkheads.bulkhead(provider).view().leases.len(), 2, "nobody is there");
        tokio::task::spawn_local(run);
        pass(millis(300)).await;
        assert_eq!(restarts(&tree, &name), [("death", 1)]);
        assert_eq!(tree.bulkheads.bulkhead(provider).view().leases, []);
    });
}

#[test]
fn a_disk_that_comes_back_is_found_by_a_process_that_nobody_asks() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        pass(Duration::from_secs(3)).await;
        disk.faults.fail_writes(Times::Always);
        disk.faults.fail_opens(Times::Always);
        let refused = tree.journal.transact(|_| {
            let write = write_body(job(INBOX, 1).id, b"body");
            Ok::<_, ()>(((), vec![write]))
        });
        assert_eq!(refused.await, Err(AskError::NotDurable));
        let failing_since = tree.journal.state().failing_since.unwrap();
        pass(Duration::from_secs(60)).await;
        let still = tree.journal.state().failing_since;
        assert_eq!(still, Some(failing_since), "an outage has one beginning");
        disk.faults.fail_opens(Times::Never);
        pass(Duration::from_secs(1)).await;
        assert_eq!(tree.journal.state().failing_since, Some(failing_since), "still read-only");
        assert!(tree.journal.read(|_| Ok(())).await.is_ok() || disk.opens() > 1);
        disk.faults.fail_writes(Times::Never);
        pass(Duration::from_secs(1)).await;
        assert_eq!(tree.journal.state().failing_since, None);
        assert!(tree.journal.read(|_| Ok(())).await.is_ok());
    });
}

#[test]
fn a_deaf_actor_is_not_told_the_time_over_and_over() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        disk.faults.fail_writes(Times::Always);
        disk.faults.fail_opens(Times::Always);
        assert_eq!(accept(&tree, 1).await, Err(AskError::NotDurable));
        settle().await;
        let counted = 1_000_000;
        tree.arm("job_queue", Fault { kind: FaultKind::PanicTimer, after: counted, times: 1 });
        pass(Duration::from_secs(600)).await;
        disk.faults.fail_opens(Times::Never);
        disk.faults.fail_writes(Times::Never);
        pass(Duration::from_secs(2)).await;
        assert_eq!(accept(&tree, 2).await, Ok(Enqueued::Queued));
        let ticks = counted - tree.armed()[0].1.after;
        assert!(ticks < 20, "{ticks} ticks were waiting");
    });
}
