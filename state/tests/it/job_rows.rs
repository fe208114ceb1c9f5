//! What the queue writes beside its changes: the rows that operators read and a restart trusts.

use sendcat_state::job::{
    AttemptOutcome, ClaimedJob, EventRow, EventStatus, JobKind, JobRules, NewJob, PartitionRules,
    QueueRules, write_body,
};
use sendcat_state::job_queue::{ClaimAnswer, Enqueued, JobQueue};
use sendcat_state::key::{InboxSource, TimedId, ToolKind};
use sendcat_state::machine::{RecordWrite, Table};
use sendcat_state::timestamp::Timestamp;

use crate::properties::{at, ms};

const EVENT: JobKind = JobKind::Inbox(InboxSource::Gmail);

fn rules() -> QueueRules {
    let job = JobRules {
        lease: ms(100),
        max_attempts: 2,
        retry_base: ms(10),
        retry_cap: ms(10),
        ttl: None,
    };
    let partition = PartitionRules { queued_max: 2, running_max: 2 };
    QueueRules { kinds: [(partition, job); JobKind::COUNT], claim_scan: 50 }
}

fn id() -> TimedId {
    TimedId::new(at(5), 7)
}

fn event() -> NewJob {
    NewJob { id: id(), kind: EVENT, key: "ann@x.org:77".into(), payload: None }
}

fn row(status: EventStatus, attempts: u32, done_at: Option<u64>, error: &str) -> RecordWrite {
    let row = EventRow {
        id: id(),
        source: InboxSource::Gmail,
        key: "ann@x.org:77".into(),
        status,
        attempts,
        accepted_at: at(10),
        done_at: done_at.map(at),
        error: (!error.is_empty()).then(|| error.to_owned()),
    };
    row.write()
}

fn accepted() -> JobQueue {
    let mut queue = JobQueue::default();
    let queued = queue.enqueue(at(10), &rules(), vec![event()], vec![]).settle(&mut queue);
    assert_eq!(queued, Enqueued::Queued);
    queue
}

fn claimed(queue: &mut JobQueue, now: Timestamp) -> ClaimedJob {
    match queue.claim(now, &rules(), "w").settle(queue) {
        ClaimAnswer::Claimed(job) => *job,
        ClaimAnswer::Nothing { due_in } => panic!("nothing for {due_in:?}"),
    }
}

#[test]
fn an_accepted_event_is_one_commit_of_its_row_its_body_and_its_claim() {
    let body = write_body(id(), b"{\"historyId\":77}");
    let decision = JobQueue::default().enqueue(at(10), &rules(), vec![event()], vec![body.clone()]);
    assert_eq!(decision.writes, [row(EventStatus::Pending, 0, None, ""), body.clone()]);
    assert_eq!(body.table, Table::EventBodies);
    // Handed in again, it is not queued twice; what came with it is still written.
    let again = accepted().enqueue(at(11), &rules(), vec![event()], vec![body.clone()]);
    assert_eq!((again.answer, again.change), (Enqueued::Queued, None));
    assert_eq!(again.writes, [body]);
}

#[test]
fn a_full_line_writes_nothing() {
    let another = |n: u64| NewJob { id: TimedId::new(at(6), n), key: n.to_string(), ..event() };
    let more: Vec<_> = (0..3).map(another).collect();
    let body = write_body(id(), b"{}");
    let decision = accepted().enqueue(at(10), &rules(), more, vec![body]);
    assert_eq!(decision.answer, Enqueued::Saturated(EVENT));
    assert_eq!((decision.change, decision.writes.len()), (None, 0));
}

#[test]
fn a_tools_job_has_no_row() {
    let mut queue = JobQueue::default();
    let job = NewJob { kind: JobKind::Tool(ToolKind::SearchWeb), ..event() };
    let decision = queue.enqueue(at(10), &rules(), vec![job], vec![]);
    assert_eq!(decision.writes, []);
    decision.settle(&mut queue);
    let held = claimed(&mut queue, at(20));
    let done = AttemptOutcome::Done { writes: vec![] };
    let ended = queue.report(at(30), &rules(), (held.id, held.lease), done, 0);
    assert_eq!(ended.writes, []);
}

#[test]
fn a_done_event_is_written_with_its_effect() {
    let mut queue = accepted();
    let held = claimed(&mut queue, at(20));
    let effect = RecordWrite::remove(Table::Evidence, b"e".as_slice());
    let done = AttemptOutcome::Done { writes: vec![effect.clone()] };
    let ended = queue.report(at(30), &rules(), (held.id, held.lease), done, 0);
    assert_eq!(ended.writes, [row(EventStatus::Done, 1, Some(30), ""), effect]);
}

#[test]
fn a_failed_attempt_says_why_until_the_event_is_a_dead_letter() {
    let mut queue = accepted();
    let retry = || AttemptOutcome::Retry { error: "no answer".into(), after: None };
    let held = claimed(&mut queue, at(20));
    let first = queue.report(at(30), &rules(), (held.id, held.lease), retry(), 0);
    assert_eq!(first.writes, [row(EventStatus::Pending, 1, None, "no answer")]);
    first.settle(&mut queue);
    let held = claimed(&mut queue, at(50));
    let second = queue.report(at(60), &rules(), (held.id, held.lease), retry(), 0);
    assert_eq!(second.writes, [row(EventStatus::Dead, 2, Some(60), "no answer")]);
    let dead = AttemptOutcome::Dead { error: "not ours".into() };
    let given_up = queue.report(at(60), &rules(), (held.id, held.lease), dead, 0);
    assert_eq!(given_up.writes, [row(EventStatus::Dead, 2, Some(60), "not ours")]);
}

#[test]
fn an_event_that_takes_the_process_down_twice_is_a_dead_letter() {
    let mut queue = accepted();
    let why = "the worker's lease ended before it reported";
    let _held = claimed(&mut queue, at(20));
    queue.forget_leases(at(30));
    let first = queue.sweep(at(30), &rules());
    assert_eq!(first.writes, [row(EventStatus::Pending, 1, None, why)]);
    first.settle(&mut queue);
    assert_eq!(claimed(&mut queue, at(30)).attempt, 2);
    queue.forget_leases(at(40));
    let second = queue.sweep(at(40), &rules());
    assert_eq!(second.writes, [row(EventStatus::Dead, 2, Some(40), why)]);
    second.settle(&mut queue);
    assert_eq!(queue.view(EVENT).dead, 1);
}

#[test]
fn a_job_past_its_time_to_live_is_given_up_by_the_sweep_and_handed_to_nobody() {
    let mut rules = rules();
    for (_, job) in &mut rules.kinds {
        job.ttl = Some(ms(50));
    }
    let mut queue = accepted();
    assert_eq!(queue.sweep(at(59), &rules).change, None);
    let nothing = ClaimAnswer::Nothing { due_in: None };
    assert_eq!(queue.claim(at(60), &rules, "w").answer, nothing);
    let given_up = queue.sweep(at(60), &rules);
    let why = "it waited longer than its time to live";
    assert_eq!(given_up.writes, [row(EventStatus::Dead, 0, Some(60), why)]);
    given_up.settle(&mut queue);
    assert_eq!((queue.view(EVENT).queued, queue.view(EVENT).dead), (0, 1));
}

#[test]
fn a_claim_looks_at_so_many_waiting_jobs_and_no_more() {
    let mut rules = QueueRules { claim_scan: 1, ..rules() };
    for (_, job) in &mut rules.kinds {
        job.ttl = Some(ms(50));
    }
    let mut queue = accepted();
    let young = NewJob { id: TimedId::new(at(40), 8), key: "bob@x.org:78".into(), ..event() };
    let _ = queue.enqueue(at(40), &rules, vec![young], vec![]).settle(&mut queue);
    let nothing = ClaimAnswer::Nothing { due_in: None };
    assert_eq!(queue.claim(at(60), &rules, "w").answer, nothing, "the first is past its time");
    let two = QueueRules { claim_scan: 2, ..rules.clone() };
    assert!(matches!(queue.claim(at(60), &two, "w").answer, ClaimAnswer::Claimed(_)));
    queue.sweep(at(60), &rules).settle(&mut queue);
    assert!(matches!(queue.claim(at(60), &rules, "w").answer, ClaimAnswer::Claimed(_)));
}

#[test]
fn a_job_past_its_time_to_live_is_not_tried_again_when_its_lease_lapses() {
    let mut rules = rules();
    for (_, job) in &mut rules.kinds {
        job.ttl = Some(ms(50));
    }
    let mut queue = accepted();
    let held = claimed(&mut queue, at(20));
    assert_eq!(queue.sweep(at(119), &rules).change, None, "who works on it may finish");
    let given_up = queue.sweep(held.ends, &rules);
    let why = "the worker's lease ended before it reported";
    assert_eq!(given_up.writes, [row(EventStatus::Dead, 1, Some(120), why)]);
}

#[test]
fn a_job_given_back_by_a_draining_worker_costs_no_attempt() {
    let mut queue = accepted();
    let held = claimed(&mut queue, at(20));
    let back = queue.give_back(at(30), held.id, held.lease);
    assert_eq!(back.writes, [row(EventStatus::Pending, 1, None, "")]);
    back.settle(&mut queue);
    assert_eq!(claimed(&mut queue, at(30)).attempt, 1);
}

#[test]
fn an_event_is_taken_once_whatever_its_callers_believe() {
    let mut queue = accepted();
    let again = |queue: &JobQueue, now: u64| {
        let same_key = NewJob { id: TimedId::new(at(now), 8), ..event() };
        queue.enqueue(at(now), &rules(), vec![same_key], vec![]).change.is_some()
    };
    assert!(!again(&queue, 20), "it waits");
    let job = claimed(&mut queue, at(30));
    assert!(!again(&queue, 40), "it runs");
    let done = AttemptOutcome::Done { writes: vec![] };
    let _ = queue.report(at(50), &rules(), (job.id, job.lease), done, 0).settle(&mut queue);
    assert!(!again(&queue, 51), "it has just ended, and an accept may still be under way");
    let saved = serde_json::to_string(&queue).unwrap();
    let restored: JobQueue = serde_json::from_str(&saved).unwrap();
    assert!(!again(&restored, 52));
    // Long after that its row is what recognises it.
    let other = NewJob { id: TimedId::new(at(53), 9), key: "other".into(), ..event() };
    let _ = queue.enqueue(at(60_060), &rules(), vec![other], vec![]).settle(&mut queue);
    let job = claimed(&mut queue, at(60_061));
    let done = AttemptOutcome::Done { writes: vec![] };
    let _ = queue.report(at(60_062), &rules(), (job.id, job.lease), done, 0).settle(&mut queue);
    assert!(again(&queue, 60_063));
}

#[test]
fn a_queue_that_has_seen_nothing_has_one_form_before_and_after_it_was_read_back() {
    let fresh = serde_json::to_value(JobQueue::default()).unwrap();
    let again: JobQueue = serde_json::from_value(fresh.clone()).unwrap();
    assert_eq!(serde_json::to_value(again).unwrap(), fresh);
}
