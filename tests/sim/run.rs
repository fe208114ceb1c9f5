//! Runs a schedule: one process after another on one disk, checked at every step.

use std::cell::RefCell;
use std::future::Future;
use std::sync::{Arc, Once};
use std::time::Duration;

use sendcat_actors::circuit_breaker;
use sendcat_actors::supervisor::Ended;
use sendcat_state::circuit_breaker::Gate;
use sendcat_state::store::faulty::Times;
use tokio::task::{JoinHandle, LocalSet};

use crate::callers::{self, call, pause};
use crate::checks::{self, Watch};
use crate::faults::{kind_of, parse};
use crate::model::{Model, Stats};
use crate::schedule::{Act, DiskTrouble, End, Life, Schedule, Vanishes};
use crate::work::{self, Written};
use crate::world::{CIRCUITS, Disk, Shared, World, lock, pair, shard_of, single};

/// When the first process starts.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// How long everything may take to come to rest.
const REST: Duration = Duration::from_secs(40);

/// What did not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) life: usize,
    pub(crate) step: usize,
    pub(crate) check: String,
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) trace: Vec<String>,
    pub(crate) digest: u64,
    pub(crate) stats: Stats,
    pub(crate) failure: Option<Failure>,
}

thread_local! {
    /// A panic on this thread that nobody planned.
    static STRAY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Planned panics make no noise; any other fails the run it happens in.
fn expect_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if text.starts_with("injected: ") || text.starts_with("planned: ") {
                return;
            }
            let _ = STRAY.try_with(|stray| stray.replace(Some(info.to_string())));
            before(info);
        }));
    });
}

/// Runs what happens in one process; whatever still runs when it ends is lost.
fn in_virtual_time<T>(process: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads always builds");
    LocalSet::new().block_on(&runtime, process)
}

/// Runs a schedule from beginning to end, or to the first check that does not hold.
pub(crate) fn run(schedule: &Schedule) -> Outcome {
    expect_panics();
    STRAY.set(None);
    let mut run = Run {
        schedule: Arc::new(schedule.clone()),
        disk: Disk::default(),
        model: Shared::default(),
        now: EPOCH_MS,
    };
    let failure = run.all().err();
    lock(&run.model).stats.virtual_ms = run.now - EPOCH_MS;
    let model = std::mem::take(&mut *lock(&run.model));
    let digest = model.digest();
    let Model { trace, stats, .. } = model;
    Outcome { trace, digest, stats, failure }
}

struct Run {
    schedule: Arc<Schedule>,
    disk: Disk,
    model: Shared,
    now: u64,
}

/// How a process ended.
struct Ending {
    now: u64,
    /// When it began to drain, if it did.
    drained_at: Option<u64>,
    /// Keys whose shard was struck, or all if the disk was.
    unsaved: Vec<String>,
}

impl Run {
    fn all(&mut self) -> Result<(), Failure> {
        let lives = self.schedule.lives.clone();
        for (number, life) in lives.iter().enumerate() {
            let is_last = number + 1 == lives.len();
            let ending = in_virtual_time(self.live(number, life, is_last))?;
            self.end(life, ending);
            let rows = checks::rows(&self.disk, &lock(&self.model), &self.schedule);
            rows.map_err(|check| Failure { life: number, step: life.steps.len(), check })?;
            lock(&self.model).stats.lives += 1;
        }
        let failed = |check| Failure { life: lives.len(), step: 0, check };
        let before = in_virtual_time(self.heal(lives.len())).map_err(failed)?;
        let after = in_virtual_time(self.heal(lives.len() + 1)).map_err(failed)?;
        if before != after {
            let check = format!("after a restart the disk says {after}, before it was {before}");
            return Err(failed(check));
        }
        let mut model = lock(&self.model);
        model.trace.push(format!("in the end {after}"));
        Ok(())
    }

    fn end(&mut self, life: &Life, ending: Ending) {
        if life.end == End::PowerCut {
            self.disk.contents.cut_power();
        }
        self.mend();
        let cut = ending.drained_at.unwrap_or(ending.now);
        let drained = ending.drained_at.is_some();
        let saved = |key: &str| !ending.unsaved.iter().any(|unsaved| unsaved == key);
        lock(&self.model).process_ended(cut, drained, saved);
        self.now = ending.now + life.down_ms;
    }

    fn mend(&self) {
        self.disk.faults.fail_writes(Times::Never);
        self.disk.faults.fail_syncs(Times::Never);
        self.disk.faults.fail_opens(Times::Never);
    }

    /// One process, up to its end.
    async fn live(&self, number: usize, life: &Life, is_last: bool) -> Result<Ending, Failure> {
        sendcat_actors::chance::seed(self.schedule.seed ^ number as u64);
        let (world, root) = World::start(&self.disk, &self.model, &self.schedule, self.now).await;
        let root = tokio::task::spawn_local(root.run());
        pause(1).await;
        let mut watch = Watch::default();
        for (place, step) in life.steps.iter().enumerate() {
            let failed = |check| Failure { life: number, step: place, check };
            world.model().stats.steps += 1;
            self.act(&world, &step.act);
            if step.then_ms > 0 {
                pause(step.then_ms).await;
            }
            watch.check(&world, &self.schedule).map_err(failed)?;
            if step.then_ms > 0 {
                checks::settled(&world).map_err(failed)?;
            }
            strays().map_err(failed)?;
            if root.is_finished() {
                gave_up(&world, root).await.map_err(failed)?;
                return Ok(ending(&world, None));
            }
        }
        let failed = |check| Failure { life: number, step: life.steps.len(), check };
        note_struck(&world);
        world.model().stats.given_up += checks::down(&world) as u64;
        if life.end != End::Drained && !is_last {
            return Ok(ending(&world, None));
        }
        world.tree.clear_faults();
        self.mend();
        if is_last && checks::down(&world) == 0 {
            // A fault that was due may still give an actor up: then there is no rest to wait for.
            self.rest(&world, &mut watch).await.map_err(failed)?;
        }
        let drained_at = world.now();
        let drained = world.tree.drain(Duration::from_secs(20)).await;
        // A disk that has just come back may not be open again; then the drain says so.
        let may_be_late = checks::down(&world) > 0 || world.trouble.borrow().disk;
        if let Err(late) = drained
            && !may_be_late
        {
            return Err(failed(late.to_string()));
        }
        pause(1).await;
        strays().map_err(failed)?;
        Ok(ending(&world, Some(drained_at)))
    }

    /// Waits until nothing is under way any more.
    async fn rest(&self, world: &World, watch: &mut Watch) -> Result<(), String> {
        let by = world.now() + u64::try_from(REST.as_millis()).expect("fits");
        loop {
            pause(500).await;
            watch.check(world, &self.schedule)?;
            strays()?;
            match checks::unrest(world) {
                None => {
                    let closed = circuits_close(world).await;
                    // A fault that had struck may give an actor up even now.
                    return if checks::down(world) > 0 { Ok(()) } else { closed };
                }
                Some(_) if checks::down(world) > 0 => return Ok(()),
                Some(unrest) if world.now() > by => {
                    return Err(format!("no rest after {REST:?}: {unrest}"));
                }
                Some(_) => {}
            }
        }
    }

    /// A process without trouble: all comes to rest. What it looks like then.
    async fn heal(&mut self, number: usize) -> Result<String, String> {
        sendcat_actors::chance::seed(self.schedule.seed ^ number as u64);
        let (world, root) = World::start(&self.disk, &self.model, &self.schedule, self.now).await;
        tokio::task::spawn_local(root.run());
        pause(1).await;
        let mut watch = Watch::default();
        self.rest(&world, &mut watch).await?;
        if checks::down(&world) > 0 {
            return Err("an actor was given up though nothing struck it".to_owned());
        }
        let put_aside = world.tree.put_aside();
        if !put_aside.is_empty() {
            return Err(format!("a saved state was put aside: {put_aside:?}"));
        }
        let dead = checks::events(&self.disk).into_values().filter(|(_, effects)| *effects == 0);
        world.model().stats.dead_letters = dead.count() as u64;
        let seen = seen(&world);
        world.tree.drain(Duration::from_secs(5)).await.map_err(|late| late.to_string())?;
        pause(1).await;
        self.now = world.now() + 1;
        Ok(seen)
    }

    /// Starts what happens in a step.
    fn act(&self, world: &World, act: &Act) {
        let world = world.clone();
        match act.clone() {
            Act::Admit { key, vanishes } => call(vanishes, callers::admit(world, key)),
            Act::AdmitTwo { pair, vanishes } => call(vanishes, callers::admit_two(world, pair)),
            Act::Call { circuit, takes_ms, heard, vanishes } => {
                call(vanishes, callers::through_circuit(world, circuit, takes_ms, heard));
            }
            Act::Slot { hold_ms, vanishes } => call(vanishes, callers::slot(world, hold_ms)),
            Act::Lease { hold_ms, given_back, vanishes } => {
                call(vanishes, callers::lease(world, hold_ms, given_back));
            }
            Act::Claim { key, hold_ms, settled, vanishes } => {
                call(vanishes, callers::claim(world, key, hold_ms, settled));
            }
            Act::Deliver { events, vanishes } => call(vanishes, work::deliver(world, events)),
            Act::Tool { attempts, wait_ms, vanishes } => {
                call(vanishes, work::tool(world, attempts, wait_ms));
            }
            Act::Answer { thread, parts, every_ms, readers, limit_bytes } => {
                let written = Written { thread, parts, every_ms, readers, limit_bytes };
                call(Vanishes::Never, work::answer(world, written));
            }
            Act::Resume { thread, leaves_ms } => {
                call(Vanishes::Never, work::resume(world, thread, leaves_ms));
            }
            Act::Count { counter, refuses, vanishes } => {
                call(vanishes, work::count(world, counter, refuses));
            }
            Act::Flood { asks } => call(Vanishes::Never, callers::flood(world, asks)),
            Act::Fault { fault, times } => arm(&world, &fault, times),
            Act::Disk { what, times } => self.trouble(&world, what, Times::Next(times)),
            Act::DiskFails => self.trouble(&world, DiskTrouble::Writes, Times::Always),
            Act::DiskMended => self.disk.faults.fail_writes(Times::Never),
        }
    }

    fn trouble(&self, world: &World, what: DiskTrouble, times: Times) {
        world.trouble.borrow_mut().disk = true;
        let name = match what {
            DiskTrouble::Writes => "disk writes",
            DiskTrouble::Syncs => "disk syncs",
            DiskTrouble::Opens => "disk opens",
        };
        world.model().stats.struck(name, 1);
        match what {
            DiskTrouble::Writes => self.disk.faults.fail_writes(times),
            DiskTrouble::Syncs => self.disk.faults.fail_syncs(times),
            DiskTrouble::Opens => self.disk.faults.fail_opens(times),
        }
    }
}

fn arm(world: &World, fault: &str, times: u64) {
    let parsed = parse(fault, times);
    let there = world.tree.arm(&parsed.actor, parsed.fault);
    assert!(there, "there is no actor for {fault}");
    let mut trouble = world.trouble.borrow_mut();
    trouble.disk |= parsed.actor == "journal";
    trouble.armed.push(fault.to_owned());
}

/// Counts what was armed and is not any more.
fn note_struck(world: &World) {
    let mut left = world.tree.armed();
    for fault in world.trouble.borrow().armed.iter() {
        let parsed = parse(fault, 1);
        let same = |(actor, armed): &(String, sendcat_actors::faults::Fault)| {
            *actor == parsed.actor && armed.kind == parsed.fault.kind
        };
        match left.iter().position(same) {
            Some(place) => drop(left.swap_remove(place)),
            None => world.model().stats.struck(kind_of(fault), 1),
        }
    }
}

fn ending(world: &World, drained_at: Option<u64>) -> Ending {
    let callers = (0..4).map(single).chain((0..2).flat_map(pair));
    let disk = world.trouble.borrow().disk;
    let struck = callers.filter(|(_, caller)| disk || world.was_struck(&shard_of(*caller)));
    let unsaved = struck.map(|(name, _)| name).collect();
    Ending { now: world.now(), drained_at, unsaved }
}

/// The root may give up only after more than three actors were.
async fn gave_up(world: &World, root: JoinHandle<Ended>) -> Result<(), String> {
    note_struck(world);
    let ended = root.await.map_err(|error| error.to_string())?;
    let down = checks::down(world);
    world.model().stats.given_up += down as u64;
    world.model().note(world.now(), "root", &format!("{ended:?}"));
    if !matches!(ended, Ended::GaveUp { .. }) || down < 4 {
        return Err(format!("the root ended with {ended:?}, {down} actors are down"));
    }
    Ok(())
}

fn strays() -> Result<(), String> {
    STRAY.take().map_or(Ok(()), |stray| Err(format!("an unplanned panic: {stray}")))
}

/// No circuit stays half open, and none open for ever.
async fn circuits_close(world: &World) -> Result<(), String> {
    for provider in CIRCUITS {
        let circuit = world.tree.circuits.circuit(provider);
        let mut last = None;
        // What was told while the actor heard nothing may still open it meanwhile (seed 89).
        for _ in 0..8 {
            let answer = circuit.ask(circuit_breaker::Command::Gate).await;
            if let Ok(circuit_breaker::Answer::Gate(Gate::Allowed(permit))) = answer {
                let outcome = sendcat_state::circuit_breaker::CallOutcome::Success;
                let record = circuit_breaker::Command::Record(permit, outcome, 0);
                circuit.ask(record).await.map_err(|error| error.to_string())?;
                last = None;
                break;
            }
            if let Ok(circuit_breaker::Answer::Gate(Gate::Refused { retry_after })) = answer {
                pause(callers::millis(retry_after) + 1).await;
            }
            last = Some(answer);
        }
        if let Some(answer) = last {
            return Err(format!("{provider} is not called any more: {answer:?}"));
        }
    }
    Ok(())
}

/// What a restart must leave as it is.
fn seen(world: &World) -> String {
    let jobs = &world.tree.jobs.view().partitions;
    let jobs = jobs.iter().map(|(kind, it)| format!("{kind}: {} done {} dead", it.done, it.dead));
    let circuits = CIRCUITS.map(|provider| *world.tree.circuits.circuit(provider).view());
    let jobs = jobs.collect::<Vec<_>>().join(", ");
    format!("{jobs}; {circuits:?}; {:?}", checks::events(&world.disk))
}
