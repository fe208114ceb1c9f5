//! What must hold after every step, and what must hold when all has come to rest.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use sendcat_actors::observe::{ActorView, Status};
use sendcat_state::job::{EventRow, EventStatus};
use sendcat_state::machine::{Order, Scan, Table};
use sendcat_state::store::Store as _;

use crate::faults::{COUNTED, SUBTREES, Subtree};
use crate::model::Model;
use crate::schedule::{Attempt, Schedule};
use crate::work::both;
use crate::world::{Disk, LEASED, LINED, MOST_ATTEMPTS, SLOTS, World, lock};

/// The most that a mailbox holds, what is told included.
const MOST_DEPTH: usize = 4096 + 64;

/// What was seen at the steps before.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    actors: usize,
    seen_at: u64,
    /// Failures of each subtree, each with the time since when it may have been.
    failures: BTreeMap<&'static str, Vec<u64>>,
}

impl Watch {
    /// Everything that must hold at any moment.
    pub(crate) fn check(&mut self, world: &World, schedule: &Schedule) -> Result<(), String> {
        {
            let mut model = world.model();
            let twice = std::mem::take(&mut model.twice);
            if !world.queue_was_struck() {
                model.wrong.extend(twice);
            }
            if let Some(wrong) = model.wrong.first() {
                return Err(wrong.clone());
            }
        }
        let views = world.tree.actors();
        self.supervised(world.now(), &views)?;
        bulkheads(world)?;
        rows(&world.disk, &lock(&world.model), schedule)
    }

    /// Every actor shows itself, its mailbox is bounded, and it is down if its subtree gave up.
    fn supervised(&mut self, now: u64, views: &[ActorView]) -> Result<(), String> {
        if self.actors != 0 && views.len() != self.actors {
            return Err(format!("{} actors of {} show themselves", views.len(), self.actors));
        }
        self.actors = views.len();
        if let Some(view) = views.iter().find(|view| view.mailbox_depth > MOST_DEPTH) {
            return Err(format!("the mailbox of {} holds {}", view.name, view.mailbox_depth));
        }
        for subtree in SUBTREES {
            self.intensity(now, subtree, views)?;
        }
        self.seen_at = now;
        Ok(())
    }

    fn intensity(
        &mut self,
        now: u64,
        subtree: &Subtree,
        views: &[ActorView],
    ) -> Result<(), String> {
        let of = |view: &&ActorView| subtree.actors.iter().any(|it| view.name.starts_with(it));
        let actors = views.iter().filter(of);
        let counted = actors.clone().flat_map(|view| &view.restarts);
        let counted = counted.filter(|(cause, _)| COUNTED.contains(cause));
        let total: u64 = counted.map(|(_, times)| times).sum();
        let down = actors.filter(|view| view.status == Status::Down).count();
        let failures = self.failures.entry(subtree.name).or_default();
        let known = usize::try_from(total).expect("fits");
        failures.resize(known.max(failures.len()), self.seen_at);
        let period = u64::try_from(subtree.period.as_millis()).expect("fits");
        let recent = failures.iter().filter(|since| **since + period > now).count() as u64;
        if down > 0 && total <= subtree.bears {
            return Err(format!("{}: {down} down after {total} failures", subtree.name));
        }
        if down == 0 && recent > subtree.bears {
            return Err(format!("{}: none is down after {recent} failures", subtree.name));
        }
        Ok(())
    }
}

/// Actors that were given up.
pub(crate) fn down(world: &World) -> usize {
    world.tree.actors().iter().filter(|view| view.status == Status::Down).count()
}

/// No more slots than there are, and every lease that cannot have lapsed is there.
fn bulkheads(world: &World) -> Result<(), String> {
    let now = world.now();
    for provider in [LINED, LEASED] {
        let view = world.tree.bulkheads.bulkhead(provider).view();
        if view.leases.len() > SLOTS {
            return Err(format!("{provider} has {} leases out", view.leases.len()));
        }
    }
    let model = world.model();
    let leased = world.tree.bulkheads.bulkhead(LEASED).view();
    let known = |id: u64| leased.leases.iter().any(|lease| lease.id.0 == id);
    if let Some(lost) = model.leases.held(now).find(|id| !known(*id)) {
        return Err(format!("lease {lost} is held and the bulkhead knows nothing of it"));
    }
    let slots = model.slots.held(now).count();
    if slots > SLOTS && !world.was_struck(&format!("bulkhead-{LINED}")) {
        return Err(format!("{slots} slots of {SLOTS} are held"));
    }
    Ok(())
}

/// No lease is out that nobody was told of: an answer that nobody took was undone.
pub(crate) fn settled(world: &World) -> Result<(), String> {
    if world.was_struck(&format!("bulkhead-{LEASED}")) {
        return Ok(());
    }
    let view = world.tree.bulkheads.bulkhead(LEASED).view();
    let model = world.model();
    let leaked = view.leases.iter().find(|lease| !model.leases.was_told(lease.id.0));
    leaked.map_or(Ok(()), |lease| Err(format!("nobody was told of lease {}", lease.id)))
}

fn all<'a>(prefix: &'a [u8]) -> Scan<'a> {
    Scan { prefix, beyond: None, order: Order::Ascending, limit: usize::MAX }
}

/// An event's rows, each with how it stands and its attempts, and how many effects it has had.
type Stands = (Vec<(EventStatus, u32)>, u64);

thread_local! {
    /// What rows say, as most are read again and again.
    static READ: RefCell<HashMap<Vec<u8>, (usize, EventStatus, u32)>> = RefCell::default();
}

fn read(row: Vec<u8>) -> (usize, EventStatus, u32) {
    READ.with_borrow_mut(|read| {
        if let Some(known) = read.get(&row) {
            return *known;
        }
        if read.len() > 10_000 {
            read.clear();
        }
        let parsed: EventRow = serde_json::from_slice(&row).expect("a row of the product reads");
        let event = number_of(&parsed.key).expect("every event is one of ours");
        *read.entry(row).or_insert((event, parsed.status, parsed.attempts))
    })
}

fn number_of(key: &str) -> Option<usize> {
    key.strip_prefix("event-").and_then(|it| it.parse().ok())
}

/// Every event as it lies on the disk, by its number.
pub(crate) fn events(disk: &Disk) -> BTreeMap<usize, Stands> {
    let mut events: BTreeMap<usize, Stands> = BTreeMap::new();
    let records = disk.store().reader();
    for (_, row) in records.scan(Table::Events, all(b"")).expect("memory is readable") {
        let (event, status, attempts) = read(row);
        events.entry(event).or_default().0.push((status, attempts));
    }
    for (key, _) in records.scan(Table::Evidence, all(b"ledger/")).expect("memory is readable") {
        let key = String::from_utf8(key).expect("the ledger's keys are text");
        let event = key.split('/').nth(1).and_then(number_of).expect("the ledger is ours");
        events.entry(event).or_default().1 += 1;
    }
    events
}

/// Acknowledged and lost: none. Done twice: none. Done by halves: none.
pub(crate) fn rows(disk: &Disk, model: &Model, schedule: &Schedule) -> Result<(), String> {
    let events = events(disk);
    for (event, told) in &model.events.told {
        if told.acknowledged && !events.contains_key(event) {
            return Err(format!("event {event} was acknowledged and is lost"));
        }
    }
    for (event, (rows, effects)) in &events {
        let told = model.events.told.get(event).copied().unwrap_or_default();
        let [(status, attempts)] = rows[..] else {
            return Err(format!("event {event} was taken {} times: {rows:?}", rows.len()));
        };
        if !told.acknowledged && told.unknown == 0 {
            return Err(format!("event {event} was surely not taken, and is there"));
        }
        let wanted = u64::from(status == EventStatus::Done);
        if *effects != wanted {
            return Err(format!("event {event} is {status:?} with {effects} effects"));
        }
        let hopeless = schedule.events[*event].contains(&Attempt::IsHopeless);
        if status == EventStatus::Dead && attempts < MOST_ATTEMPTS && !hopeless {
            return Err(format!("event {event} was given up after {attempts} attempts"));
        }
    }
    let records = disk.store().reader();
    for counter in 0..2 {
        let (count, twin) = both(records.as_ref(), counter).expect("memory is readable");
        if count != twin || !model.counters.permits(counter, count) {
            return Err(format!("counter {counter} says {count} and {twin}: {:?}", model.counters));
        }
    }
    Ok(())
}

/// What is still under way; nothing when all has come to rest.
pub(crate) fn unrest(world: &World) -> Option<String> {
    for view in world.tree.actors() {
        if view.status != Status::Running || view.mailbox_depth > 0 {
            return Some(format!("{} is {:?}", view.name, view));
        }
    }
    let jobs = world.tree.jobs.view();
    if !jobs.running.is_empty() {
        return Some(format!("jobs at work: {:?}", jobs.running));
    }
    let waiting = jobs.partitions.iter().find(|(_, partition)| partition.queued > 0);
    if let Some((kind, partition)) = waiting {
        return Some(format!("{} jobs of {kind} wait", partition.queued));
    }
    for (provider, bulkhead) in world.tree.bulkheads.bulkheads() {
        let view = bulkhead.view();
        if !view.leases.is_empty() || view.waiting > 0 {
            return Some(format!("{provider}: {view:?}"));
        }
    }
    let running = world.tree.answers.running();
    if running > 0 {
        return Some(format!("{running} answers run"));
    }
    let state = world.tree.journal.state();
    if state.failing_since.is_some() {
        return Some(format!("the disk fails: {state:?}"));
    }
    let pending = events(&world.disk)
        .into_iter()
        .find(|(_, (rows, _))| rows.iter().any(|(status, _)| *status == EventStatus::Pending));
    pending.map(|(event, rows)| format!("event {event} stands at {rows:?}"))
}
