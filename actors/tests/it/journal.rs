//! The writer: one sync for all that waited, yes only after it, and a failure that heals itself.

use futures_util::future::join_all;
use sendcat_actors::failure::AskError;
use sendcat_actors::tree::Tree;
use sendcat_state::job::{PartitionRules, write_body};
use sendcat_state::job_queue::Enqueued;
use sendcat_state::key::TimedId;
use sendcat_state::machine::Table;
use sendcat_state::store::Store as _;
use sendcat_state::store::faulty::Times;
use sendcat_state::timestamp::Timestamp;

use crate::recovery::accept;
use crate::support::{
    Disk, Echo, INBOX, in_virtual_time, job, millis, pass, seen, tree_of, tree_without_workers,
};

fn id(number: u64) -> TimedId {
    TimedId::new(Timestamp::ZERO, number)
}

/// Adds one to the number under a record, as a read and a write.
async fn add_one(tree: &Tree) -> Result<Result<u8, ()>, AskError> {
    let rules = |records: &dyn sendcat_state::machine::Records| {
        let key = id(1).to_bytes();
        let old = records.get(Table::EventBodies, &key).map_err(|_| ())?;
        let new = old.map_or(1, |old| old[0].wrapping_add(1));
        Ok((new, vec![write_body(id(1), &[new])]))
    };
    tree.journal.transact(rules).await
}

async fn accept_all(tree: &Tree, numbers: std::ops::Range<u64>) {
    let accepted = join_all(numbers.map(|number| accept(tree, number))).await;
    assert!(accepted.iter().all(|answer| *answer == Ok(Enqueued::Queued)));
}

#[test]
fn commits_that_wait_together_share_one_write_and_one_sync() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        let before = (disk.syncs(), tree.journal.state().commits);
        let applied = disk.applied();
        let accepted = join_all((0..50).map(|number| accept(&tree, number))).await;
        assert!(accepted.iter().all(|answer| *answer == Ok(Enqueued::Queued)));
        assert_eq!(tree.journal.state().commits - before.1, 50);
        assert_eq!(disk.syncs() - before.0, 1);
        assert_eq!(disk.applied() - applied, 1);
    });
}

#[test]
fn waiting_for_what_is_on_disk_already_costs_no_sync() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        pass(millis(500)).await;
        let before = disk.syncs();
        let waits = (0..50).map(|_| tree.journal.transact(|_| Ok::<_, ()>(((), Vec::new()))));
        assert!(join_all(waits).await.into_iter().all(|waited| waited == Ok(Ok(()))));
        assert_eq!(disk.syncs(), before);
    });
}

#[test]
fn a_failed_sync_answers_its_whole_group_and_the_service_goes_on() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        pass(millis(500)).await;
        let opens = disk.opens();
        disk.faults.fail_syncs(Times::Next(1));
        let events = join_all((0..20).map(|number| accept(&tree, number)));
        let (events, sum) = tokio::join!(events, add_one(&tree));
        assert_eq!(events, vec![Err(AskError::NotDurable); 20]);
        assert_eq!(sum, Err(AskError::NotDurable));
        pass(millis(500)).await;
        assert_eq!(disk.opens(), opens + 1, "the store was opened anew, once");
        assert_eq!(seen(&tree, "job_queue").incarnation, 2);
        assert_eq!(accept(&tree, 99).await, Ok(Enqueued::Queued));
        assert_eq!(tree.journal.state().failing_since, None);
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_nothing_has_changed() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        pass(millis(500)).await;
        let flood = join_all((0..9000).map(|_| add_one(&tree)));
        let (event, flood) = tokio::join!(accept(&tree, 1), flood);
        assert_eq!(event, Err(AskError::Overloaded));
        let refused = flood.iter().filter(|sum| **sum == Err(AskError::Overloaded)).count();
        let last = flood.iter().filter_map(|sum| sum.ok()).map(Result::unwrap).next_back();
        assert_eq!((refused, last), (9000 - 8192, Some(0)), "8192 sums, modulo 256");
        pass(millis(300)).await;
        assert_eq!(disk.record(Table::Events, &job(INBOX, 1).id.to_bytes()), None);
        assert!(tree.jobs.view().partitions.iter().all(|(_, partition)| partition.queued == 0));
        assert_eq!(seen(&tree, "journal").mailbox_depth, 0);
    });
}

#[test]
fn transactions_see_the_earlier_ones_of_their_group() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        pass(millis(500)).await;
        let before = disk.syncs();
        let sums = join_all((0..10).map(|_| add_one(&tree))).await;
        let sums: Vec<u8> = sums.into_iter().map(|sum| sum.unwrap().unwrap()).collect();
        assert_eq!(sums, (1..=10).collect::<Vec<u8>>());
        assert_eq!(disk.syncs() - before, 1);
    });
}

#[test]
fn a_transaction_that_refuses_writes_nothing_and_one_that_panics_hurts_nobody() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let tree = tree_without_workers(&disk).await;
        let refusing = tree.journal.transact(|_| Err::<((), Vec<_>), _>("no"));
        let panicking = tree.journal.transact::<(), (), _>(|_| panic!("injected: rules panic"));
        let (before, refused, panicked, after) =
            tokio::join!(add_one(&tree), refusing, panicking, add_one(&tree));
        assert_eq!((before, after), (Ok(Ok(1)), Ok(Ok(2))));
        assert_eq!((refused, panicked), (Ok(Err("no")), Err(AskError::Crashed)));
        let panic = seen(&tree, "journal").last_panic.unwrap();
        assert_eq!((panic.step, panic.message.as_str()), ("transact", "injected: rules panic"));
    });
}

#[test]
fn the_journal_is_cut_behind_a_snapshot_and_nowhere_else() {
    let disk = Disk::default();
    let many = 2100;
    in_virtual_time(|| async {
        let tree = tree_of(&disk, std::sync::Arc::new(Echo), |options| {
            options.workers = 0;
            for (partition, _) in &mut options.jobs.kinds {
                *partition = PartitionRules { queued_max: 10_000, running_max: 1 };
            }
        })
        .await;
        accept_all(&tree, 0..2000).await;
        pass(millis(300)).await;
        assert_eq!(disk.store().journal_after(0).unwrap().len(), 2000, "no snapshot yet");
        assert_eq!(disk.store().snapshot("job_queue").unwrap(), None);
        accept_all(&tree, 2000..many).await;
        pass(millis(300)).await;
        assert_eq!(disk.store().journal_after(0).unwrap(), []);
        accept(&tree, many).await.unwrap();
        assert_eq!(disk.store().last_seq(), many + 1, "numbers go on where they were");
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        let tree = tree_without_workers(&disk).await;
        let queued: usize = tree.jobs.view().partitions.iter().map(|(_, it)| it.queued).sum();
        assert_eq!(queued as u64, many + 1);
    });
}

#[test]
fn the_queue_shows_how_long_its_oldest_work_has_waited() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let (_, view) = tokio::join!(add_one(&tree), async { seen(&tree, "journal") });
        assert_eq!((view.mailbox_depth, view.oldest_work), (1, Some(millis(0))));
    });
}
