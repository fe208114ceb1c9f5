//! Callers of the queue, of the records and of answers.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::idempotency::Claimed;
use sendcat_actors::job_queue::JobEnd;
use sendcat_actors::stream_log::AnswerReader;
use sendcat_state::idempotency::ClaimRow;
use sendcat_state::job::{JobKind, NewJob, write_body};
use sendcat_state::job_queue::Enqueued;
use sendcat_state::key::{IdempotencyKey, InboxSource, TimedId, ToolKind};
use sendcat_state::machine::{ReadError, RecordWrite, Records, Table};
use sendcat_state::stream_log::Append;
use sendcat_state::timestamp::Timestamp;

use crate::callers::pause;
use crate::schedule::Attempt;
use crate::world::{MOST_ATTEMPTS, World};

/// How long a delivery is recognised: longer than any run.
const REMEMBERED: Duration = Duration::from_secs(3600);

fn key_of(event: usize) -> IdempotencyKey {
    IdempotencyKey::webhook("sim", &format!("event-{event}"))
}

fn id(world: &World) -> TimedId {
    let (now, number) = (world.now(), world.model().number());
    TimedId::new(Timestamp::from_millis(now), number)
}

/// Events that a delivery was told to be the first of; ends before their claims do.
struct First {
    world: World,
    events: Vec<usize>,
}

impl First {
    fn of(world: &World, events: Vec<usize>) -> Self {
        let alone = !world.was_struck("idempotency");
        for event in &events {
            let mut model = world.model();
            let first = model.events.begin(*event);
            if first > 1 && alone {
                model.wrong.push(format!("{first} deliveries of event {event} are first at once"));
            }
        }
        Self { world: world.clone(), events }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.events.iter().for_each(|event| self.world.model().events.end(*event));
    }
}

/// A webhook's delivery: claim, then job, body and claim's row in one commit, then settle.
pub(crate) async fn deliver(world: World, mut events: Vec<usize>) {
    let all = events.iter().map(|event| key_of(*event)).collect();
    let claimed = world.tree.claims.claim(all).await;
    let (firsts, duplicates) = match &claimed {
        Ok(claimed) => (claimed.first.keys().to_vec(), claimed.duplicates.clone()),
        Err(_) => (Vec::new(), Vec::new()),
    };
    world.note(&format!("deliver-{events:?}"), &(claimed.is_ok(), &firsts, &duplicates));
    let Ok(Claimed { first, .. }) = claimed else { return };
    events.sort_unstable();
    events.dedup();
    for event in events.iter().filter(|event| duplicates.contains(&key_of(**event))) {
        acknowledge(&world, *event);
    }
    events.retain(|event| firsts.contains(&key_of(*event)));
    if events.is_empty() {
        return;
    }
    let working = First::of(&world, events.clone());
    let now = world.tree.clock.now();
    let (mut jobs, mut writes) = (Vec::new(), Vec::new());
    for event in &events {
        let (id, key) = (id(&world), format!("event-{event}"));
        writes.push(ClaimRow::write(&key_of(*event), now, now.after(REMEMBERED)));
        writes.push(write_body(id, key.as_bytes()));
        jobs.push(NewJob { id, kind: JobKind::Inbox(InboxSource::Whatsapp), key, payload: None });
        world.model().events.handed_in(*event);
    }
    let answer = world.tree.jobs.enqueue(jobs, writes).await;
    world.note(&format!("accept-{events:?}"), &answer);
    for event in events {
        match &answer {
            Ok(Enqueued::Queued) => acknowledge(&world, event),
            Ok(Enqueued::Saturated(_)) => world.model().events.surely_not(event),
            Err(error) if error.surely_not_executed() => world.model().events.surely_not(event),
            Err(_) => {}
        }
    }
    drop(working);
    if answer == Ok(Enqueued::Queued) {
        first.settle(now.after(REMEMBERED));
    }
}

fn acknowledge(world: &World, event: usize) {
    let mut model = world.model();
    if model.events.acknowledged(event) {
        model.stats.acknowledged += 1;
    }
}

/// Whether attempts like these end well.
fn ends_well(attempts: &[Attempt]) -> bool {
    let tried = attempts.iter().take(MOST_ATTEMPTS as usize);
    for attempt in tried {
        match attempt {
            Attempt::Done | Attempt::DoneAfter(_) => return true,
            Attempt::IsHopeless => return false,
            Attempt::Fails | Attempt::FailsAfter(_) | Attempt::Panics | Attempt::NeverEnds => {}
        }
    }
    // Whatever is not drawn is done.
    attempts.len() < MOST_ATTEMPTS as usize
}

pub(crate) async fn tool(world: World, attempts: Vec<Attempt>, wait_ms: u64) {
    let number = world.model().number();
    let payload = serde_json::to_string(&attempts).expect("attempts always encode");
    let key = format!("tool-{number}");
    let kind = JobKind::Tool(ToolKind::SearchWeb);
    let job = NewJob { id: id(&world), kind, key: key.clone(), payload: Some(payload) };
    let answer = world.tree.jobs.run(job, Duration::from_millis(wait_ms)).await;
    world.note(&key, &answer);
    let wanted = ends_well(&attempts);
    let right = match &answer {
        // An attempt whose worker or queue was struck counts, and comes to nothing.
        Ok(JobEnd::Done(result)) => {
            (wanted || world.queue_was_struck()) && *result == format!("result of {key}")
        }
        Ok(JobEnd::GivenUp(_)) => !wanted || world.queue_was_struck(),
        Err(_) => true,
    };
    if !right {
        world.model().wrong.push(format!("{key} of {attempts:?} was answered {answer:?}"));
    }
}

/// Why a transaction writes nothing.
#[derive(Debug)]
enum Refusal {
    Asked,
    Unreadable,
    Half(u64, u64),
}

impl From<ReadError> for Refusal {
    fn from(_: ReadError) -> Self {
        Self::Unreadable
    }
}

/// The tables that a counter stands in, always with the same count.
const COUNTED_IN: [Table; 2] = [Table::Owners, Table::Threads];

pub(crate) fn counter(
    records: &dyn Records,
    table: Table,
    counter: usize,
) -> Result<u64, ReadError> {
    let row = records.get(table, format!("counter-{counter}").as_bytes())?;
    Ok(row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default())
}

/// Both counts of a counter; they are equal unless a commit was written by halves.
pub(crate) fn both(records: &dyn Records, number: usize) -> Result<(u64, u64), ReadError> {
    let [first, second] = COUNTED_IN;
    Ok((counter(records, first, number)?, counter(records, second, number)?))
}

pub(crate) async fn count(world: World, number: usize, refuses: bool) {
    let above = if refuses { 0 } else { world.model().counters.asked(number) };
    let rules = move |records: &dyn Records| {
        let (count, twin) = both(records, number)?;
        match (count == twin, refuses) {
            (false, _) => Err(Refusal::Half(count, twin)),
            (true, true) => Err(Refusal::Asked),
            (true, false) => {
                let next = count + 1;
                let key = format!("counter-{number}");
                let put = |table| RecordWrite::put(table, key.clone(), &next);
                Ok((next, COUNTED_IN.map(put).to_vec()))
            }
        }
    };
    let answer = world.tree.journal.transact(rules).await;
    world.note(&format!("count-{number}"), &answer);
    let mut model = world.model();
    match answer {
        Ok(Ok(count)) => {
            let wrong = model.counters.told(number, above, count);
            model.check(wrong);
        }
        Ok(Err(Refusal::Half(count, twin))) => {
            model.wrong.push(format!("counter {number} says {count} and {twin}"));
        }
        _ if refuses => {}
        Ok(Err(Refusal::Asked | Refusal::Unreadable)) => model.counters.surely_not(number),
        Err(error) if error.surely_not_executed() => model.counters.surely_not(number),
        Err(_) => {}
    }
}

/// An answer: how it is written.
pub(crate) struct Written {
    pub(crate) thread: u64,
    pub(crate) parts: usize,
    pub(crate) every_ms: u64,
    /// When each of its readers leaves.
    pub(crate) readers: Vec<u64>,
    pub(crate) limit_bytes: usize,
}

pub(crate) async fn answer(world: World, of: Written) {
    let number = world.model().number();
    let id = TimedId::new(world.tree.clock.now(), number);
    let thread = format!("thread-{}", of.thread);
    let opened = world.tree.answers.open(&thread, id, of.limit_bytes).await;
    world.note(&format!("open-{}", of.thread), &opened.as_ref().err());
    let Ok(writer) = opened else { return };
    world.model().answers.opened(number, of.thread);
    let watched = !of.readers.is_empty();
    for leaves_ms in of.readers {
        let reader = writer.reader();
        tokio::task::spawn_local(read(world.clone(), of.thread, reader, leaves_ms));
    }
    for part in 0..of.parts {
        let part: Arc<str> = format!("{number}:{part}").into();
        if writer.write([part]) != Append::Kept {
            break;
        }
        world.model().answers.kept(number);
        tokio::select! {
            biased;
            () = writer.abandoned(), if watched => break,
            () = pause(of.every_ms) => {}
        }
    }
    world.model().answers.ended(number);
}

pub(crate) async fn resume(world: World, thread: u64, leaves_ms: u64) {
    let resumed = world.tree.answers.resume(&format!("thread-{thread}")).await;
    let told = resumed.as_ref().map(Option::is_some);
    world.note(&format!("resume-{thread}"), &told);
    if let Ok(Some(reader)) = resumed {
        read(world, thread, reader, leaves_ms).await;
    }
}

/// Reads until the answer ends or the reader leaves; what it has is a prefix of what was kept.
async fn read(world: World, thread: u64, mut reader: AnswerReader, leaves_ms: u64) {
    let mut parts: Vec<String> = Vec::new();
    let reading = async {
        while let Some(more) = reader.next(16).await {
            parts.extend(more.iter().map(|part| part.to_string()));
        }
    };
    let ended = tokio::time::timeout(Duration::from_millis(leaves_ms), reading).await.is_ok();
    world.note(&format!("read-{thread}"), &(parts.len(), ended));
    let mut model = world.model();
    let wrong = model.answers.read(thread, &parts, ended);
    model.check(wrong);
}
