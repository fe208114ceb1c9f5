//! A run as data: drawn from a seed, saved when it fails, and run again from the file.

use serde::{Deserialize, Serialize};

use crate::draws::Draws;

/// Keys of events in one run; few, so that deliveries meet.
pub(crate) const EVENTS: u64 = 12;

/// Everything one run does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// What it was drawn from, and what the product draws its own lots from.
    pub(crate) seed: u64,
    /// What the attempts at each event come to.
    pub(crate) events: Vec<Vec<Attempt>>,
    /// One process after another, on one disk.
    pub(crate) lives: Vec<Life>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
    /// How long nobody is there afterwards.
    pub(crate) down_ms: u64,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// As by `kill -9`.
    Killed,
    /// As by a power cut: what was not synced is gone.
    PowerCut,
    /// It drains.
    Drained,
}

/// Something happens, and then time passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) act: Act,
    /// How long until the next; zero is the same moment.
    pub(crate) then_ms: u64,
}

/// What an attempt at a job comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Attempt {
    Done,
    DoneAfter(u64),
    Fails,
    FailsAfter(u64),
    IsHopeless,
    Panics,
    NeverEnds,
}

/// What came of a call to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Heard {
    Success,
    Failure,
    Slow,
    Nothing,
}

/// Whether a caller goes away while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Vanishes {
    Never,
    /// After so many turns of the others, in the same moment: an answer may be on its way.
    AfterTurns(u64),
    /// After so many milliseconds.
    After(u64),
}

/// What happens in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// A call under one limit.
    Admit { key: usize, vanishes: Vanishes },
    /// A call under two.
    AdmitTwo { pair: usize, vanishes: Vanishes },
    /// A call to a provider, through its circuit.
    Call { circuit: usize, takes_ms: u64, heard: Heard, vanishes: Vanishes },
    /// A slot of the bulkhead that has a line.
    Slot { hold_ms: u64, vanishes: Vanishes },
    /// A lease of the bulkhead that has none, given back or left to lapse.
    Lease { hold_ms: u64, given_back: bool, vanishes: Vanishes },
    /// A claim of a key, settled or given back.
    Claim { key: u64, hold_ms: u64, settled: bool, vanishes: Vanishes },
    /// A webhook's delivery.
    Deliver { events: Vec<usize>, vanishes: Vanishes },
    /// A tool is run.
    Tool { attempts: Vec<Attempt>, wait_ms: u64, vanishes: Vanishes },
    /// An answer is written, and read by so many.
    Answer { thread: u64, parts: usize, every_ms: u64, readers: Vec<u64>, limit_bytes: usize },
    /// Somebody comes back to a thread's answer, and leaves after so long.
    Resume { thread: u64, leaves_ms: u64 },
    /// A transaction over records; one that refuses writes nothing.
    Count { counter: usize, refuses: bool, vanishes: Vanishes },
    /// More is asked at once than a mailbox holds.
    Flood { asks: usize },
    /// A fault is armed, as `SENDCAT_FAULTS` writes it.
    Fault { fault: String, times: u64 },
    /// The disk fails so many times.
    Disk { what: DiskTrouble, times: u32 },
    /// The disk fails until it is mended.
    DiskFails,
    /// The disk is mended.
    DiskMended,
}

/// What of the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DiskTrouble {
    Writes,
    Syncs,
    Opens,
}

impl Schedule {
    /// Draws a run.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut draws = Draws::of(seed);
        let events = (0..EVENTS).map(|_| attempts(&mut draws)).collect();
        let lives = (0..draws.between(1, 3)).map(|_| life(&mut draws)).collect();
        Self { seed, events, lives }
    }

    pub(crate) fn steps(&self) -> usize {
        self.lives.iter().map(|life| life.steps.len()).sum()
    }
}

fn attempts(draws: &mut Draws) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    loop {
        let ms = draws.between(1, 1400);
        let kinds = [
            (8, Attempt::Done),
            (4, Attempt::DoneAfter(ms)),
            (4, Attempt::Fails),
            (2, Attempt::FailsAfter(ms)),
            (3, Attempt::Panics),
            (1, Attempt::NeverEnds),
            (1, Attempt::IsHopeless),
        ];
        let attempt = *draws.weighted(&kinds);
        attempts.push(attempt);
        let ends = matches!(attempt, Attempt::Done | Attempt::DoneAfter(_) | Attempt::IsHopeless);
        if ends || attempts.len() == 5 {
            return attempts;
        }
    }
}

fn life(draws: &mut Draws) -> Life {
    let mut steps = Vec::new();
    for _ in 0..draws.between(10, 40) {
        let act = act(draws);
        let pauses = [(5, (0, 0)), (10, (1, 30)), (4, (30, 200)), (1, (300, 900))];
        let (low, high) = *draws.weighted(&pauses);
        steps.push(Step { act, then_ms: draws.between(low, high) });
    }
    let faults = crate::faults::drawn(draws);
    for fault in faults {
        let place = usize::try_from(draws.below(steps.len() as u64)).expect("fits");
        steps.insert(place, Step { act: fault, then_ms: 0 });
    }
    disk_trouble(draws, &mut steps);
    let ends = [(3, End::Killed), (3, End::PowerCut), (2, End::Drained)];
    Life { steps, end: *draws.weighted(&ends), down_ms: draws.between(1, 2000) }
}

/// In every other life the disk fails, for so many times or for a while.
fn disk_trouble(draws: &mut Draws, steps: &mut Vec<Step>) {
    let mut put = |draws: &mut Draws, from: usize, act: Act| {
        let room = (steps.len() - from) as u64;
        let place = from + usize::try_from(draws.below(room)).expect("fits");
        steps.insert(place, Step { act, then_ms: 0 });
        place
    };
    match draws.below(6) {
        0 => {
            let place = put(draws, 0, Act::DiskFails);
            put(draws, place + 1, Act::DiskMended);
        }
        1 | 2 => {
            let kinds =
                [(2, DiskTrouble::Writes), (2, DiskTrouble::Syncs), (1, DiskTrouble::Opens)];
            for _ in 0..draws.between(1, 3) {
                let what = *draws.weighted(&kinds);
                let times = u32::try_from(draws.between(1, 3)).expect("fits");
                put(draws, 0, Act::Disk { what, times });
            }
        }
        _ => {}
    }
}

fn vanishes(draws: &mut Draws) -> Vanishes {
    if !draws.one_in(5) {
        return Vanishes::Never;
    }
    let turns = draws.below(8);
    let ms = draws.between(1, 40);
    *draws.weighted(&[(3, Vanishes::AfterTurns(turns)), (1, Vanishes::After(ms))])
}

fn act(draws: &mut Draws) -> Act {
    let vanishes = vanishes(draws);
    let place = |draws: &mut Draws, of: u64| usize::try_from(draws.below(of)).expect("fits");
    match draws.below(40) {
        0..6 => Act::Admit { key: place(draws, 4), vanishes },
        6..10 => Act::AdmitTwo { pair: place(draws, 2), vanishes },
        10..14 => {
            let heard =
                [(3, Heard::Success), (4, Heard::Failure), (1, Heard::Slow), (1, Heard::Nothing)];
            let heard = *draws.weighted(&heard);
            let takes_ms = *draws.weighted(&[(3, 1), (3, 60), (1, 2500)]);
            Act::Call { circuit: place(draws, 2), takes_ms, heard, vanishes }
        }
        14..18 => Act::Slot { hold_ms: draws.between(1, 2500), vanishes },
        18..21 => {
            Act::Lease { hold_ms: draws.between(1, 900), given_back: !draws.one_in(5), vanishes }
        }
        21..24 => {
            let (key, hold_ms) = (draws.below(3), draws.between(0, 400));
            Act::Claim { key, hold_ms, settled: draws.one_in(2), vanishes }
        }
        24..31 => {
            let count = *draws.weighted(&[(4, 1), (2, 2), (1, 4)]);
            let events = (0..count).map(|_| place(draws, EVENTS)).collect();
            Act::Deliver { events, vanishes }
        }
        31..34 => {
            Act::Tool { attempts: attempts(draws), wait_ms: draws.between(200, 4000), vanishes }
        }
        34..36 => Act::Answer {
            thread: draws.below(2),
            parts: place(draws, 12),
            every_ms: *draws.weighted(&[(2, 0), (2, 20), (1, 150)]),
            readers: (0..draws.below(3)).map(|_| draws.between(1, 600)).collect(),
            limit_bytes: *draws.weighted(&[(3, 4096), (1, 48)]),
        },
        36 => Act::Resume { thread: draws.below(2), leaves_ms: draws.between(1, 900) },
        37..39 => Act::Count { counter: place(draws, 2), refuses: draws.one_in(5), vanishes },
        _ if draws.one_in(12) => Act::Flood { asks: 4200 },
        _ => Act::Deliver { events: vec![place(draws, EVENTS)], vanishes: Vanishes::Never },
    }
}
