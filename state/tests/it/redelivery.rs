//! Dead letters that are put back in line.

use std::time::Duration;

use sendcat_state::job::{
    AttemptOutcome, EventRow, EventStatus, JobKind, JobRules, NewJob, PartitionRules, QueueRules,
};
use sendcat_state::job_queue::{ClaimAnswer, Enqueued, JobQueue, Redelivery};
use sendcat_state::key::{InboxSource, TimedId};
use sendcat_state::machine::Table;

use crate::properties::at;

const KIND: JobKind = JobKind::Inbox(InboxSource::Whatsapp);

fn rules() -> QueueRules {
    let job = JobRules {
        lease: Duration::from_millis(30),
        max_attempts: 2,
        retry_base: Duration::from_millis(1),
        retry_cap: Duration::from_millis(1),
        ttl: None,
    };
    let partition = PartitionRules { queued_max: 1, running_max: 4 };
    QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 10 }
}

fn id(number: u64) -> TimedId {
    TimedId::new(at(1), number)
}

fn enqueue(queue: &mut JobQueue, number: u64) -> Enqueued {
    let job = NewJob { id: id(number), kind: KIND, key: format!("k{number}"), payload: None };
    queue.enqueue(at(1), &rules(), vec![job], Vec::new()).settle(queue)
}

fn claim(queue: &mut JobQueue, now: u64) -> Option<(TimedId, sendcat_state::key::LeaseId, u32)> {
    match queue.claim(at(now), &rules(), "w").settle(queue) {
        ClaimAnswer::Claimed(job) => Some((job.id, job.lease, job.attempt)),
        ClaimAnswer::Nothing { .. } => None,
    }
}

/// Gives up the next job; its row as it is on the disk then.
fn give_up(queue: &mut JobQueue, now: u64) -> EventRow {
    let (id, lease, _) = claim(queue, now).expect("there is one");
    let dead = AttemptOutcome::Dead { error: "no".to_owned() };
    let decision = queue.report(at(now), &rules(), (id, lease), dead, 0);
    let row = decision.writes.iter().find(|write| write.table == Table::Events).expect("a row");
    let row = serde_json::from_slice(row.value.as_deref().expect("a row")).expect("readable");
    decision.settle(queue);
    row
}

#[test]
fn a_dead_letter_begins_anew_once_and_keeps_the_time_it_came() {
    let mut queue = JobQueue::default();
    assert_eq!(enqueue(&mut queue, 1), Enqueued::Queued);
    let row = give_up(&mut queue, 2);
    assert_eq!((row.status, row.attempts, queue.view(KIND).dead), (EventStatus::Dead, 1, 1));
    let decision = queue.redeliver(at(5), &rules(), row.clone(), Vec::new());
    assert_eq!(decision.answer, Redelivery::Queued);
    let written: EventRow =
        serde_json::from_slice(decision.writes[0].value.as_deref().unwrap()).unwrap();
    let pending = EventStatus::Pending;
    let expected =
        EventRow { status: pending, attempts: 0, done_at: None, error: None, ..row.clone() };
    assert_eq!(written, expected);
    decision.settle(&mut queue);
    assert_eq!((queue.view(KIND).dead, queue.view(KIND).queued), (0, 1));
    let again = queue.redeliver(at(5), &rules(), row, Vec::new());
    assert_eq!((again.answer, again.change), (Redelivery::NotDead, None));
    assert_eq!(claim(&mut queue, 5).map(|(id, _, attempt)| (id, attempt)), Some((id(1), 1)));
}

#[test]
fn what_is_not_dead_and_what_has_no_room_changes_nothing() {
    let mut queue = JobQueue::default();
    enqueue(&mut queue, 1);
    let row = give_up(&mut queue, 2);
    let done = EventRow { status: EventStatus::Done, ..row.clone() };
    for (row, expected) in [(done, Redelivery::NotDead), (row, Redelivery::Full)] {
        enqueue(&mut queue, 2);
        let decision = queue.redeliver(at(3), &rules(), row, Vec::new());
        assert_eq!(decision.answer, expected);
        assert_eq!((decision.change, decision.writes.len()), (None, 0));
    }
}
