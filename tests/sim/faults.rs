//! Which faults a life meets. A new kind is a row of [`KINDS`].

use std::time::Duration;

use sendcat_actors::faults::ScheduledFault;
use sendcat_actors::observe::Cause;

use crate::draws::Draws;
use crate::schedule::Act;

/// A kind of fault, as it is drawn.
struct Kind {
    /// As `SENDCAT_FAULTS` writes it.
    name: &'static str,
    weight: u64,
    strikes: Strikes,
    /// Whether an actor bears it once in its life and loses nothing, but not twice in a row.
    once: bool,
    /// Shortest and longest, where it lasts.
    lasts_ms: Option<(u64, u64)>,
}

/// On whom a kind of fault strikes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strikes {
    Actors,
    ActorsAndWorkers,
    Journal,
}

const KINDS: &[Kind] = &[
    Kind { name: "panic_decide", weight: 4, strikes: Strikes::Actors, once: false, lasts_ms: None },
    Kind { name: "panic_apply", weight: 4, strikes: Strikes::Actors, once: false, lasts_ms: None },
    Kind {
        name: "panic_timer",
        weight: 3,
        strikes: Strikes::ActorsAndWorkers,
        once: false,
        lasts_ms: None,
    },
    Kind {
        name: "deaf",
        weight: 3,
        strikes: Strikes::Actors,
        once: false,
        lasts_ms: Some((50, 3500)),
    },
    Kind { name: "panic_restore", weight: 3, strikes: Strikes::Actors, once: true, lasts_ms: None },
    Kind { name: "drop_reply", weight: 3, strikes: Strikes::Actors, once: false, lasts_ms: None },
    Kind { name: "disk_full", weight: 1, strikes: Strikes::Journal, once: false, lasts_ms: None },
];

/// A subtree as the supervisor's table has it.
pub(crate) struct Subtree {
    pub(crate) name: &'static str,
    /// What the names of its actors begin with.
    pub(crate) actors: &'static [&'static str],
    /// Failures it bears in a period.
    pub(crate) bears: u64,
    pub(crate) period: Duration,
}

const fn subtree(
    name: &'static str,
    actors: &'static [&'static str],
    bears: u64,
    seconds: u64,
) -> Subtree {
    Subtree { name, actors, bears, period: Duration::from_secs(seconds) }
}

pub(crate) const SUBTREES: &[Subtree] = &[
    subtree("limits", &["rate_limiter-"], 5, 30),
    subtree("guards", &["circuit_breaker-", "bulkhead-"], 5, 30),
    subtree("replay", &["idempotency"], 5, 30),
    subtree("tools", &["job_queue", "tool_cache", "tool_worker-"], 5, 60),
    subtree("answers", &["stream_log"], 5, 30),
    subtree("monitoring", &["alert_monitor"], 5, 30),
];

/// What counts against a subtree.
pub(crate) const COUNTED: [Cause; 3] = [Cause::Apply, Cause::Death, Cause::Hang];

/// The actors that the work of a run meets, by subtree.
pub(crate) fn targets(subtree: usize) -> Vec<String> {
    let names: &[&str] = match subtree {
        0 => return crate::world::limiter_shards(),
        1 => &[
            "circuit_breaker-openrouter_chat",
            "circuit_breaker-serper_search",
            "bulkhead-openrouter_chat",
            "bulkhead-serper_search",
        ],
        2 => &["idempotency"],
        3 => &["job_queue", "job_queue", "tool_worker-0", "tool_worker-1", "tool_worker-2"],
        _ => &["stream_log"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The faults of one life: mostly fewer than any subtree gives up at, at times more.
pub(crate) fn drawn(draws: &mut Draws) -> Vec<Act> {
    let mut faults = Vec::new();
    for number in 0..SUBTREES.len() {
        let targets = targets(number);
        let mut target =
            || &targets[usize::try_from(draws.below(targets.len() as u64)).expect("fits")];
        let several: Vec<_> = (0..4).map(|_| target()).collect();
        if draws.one_in(30) {
            let kind = *draws.weighted(&[(1, "panic_timer"), (1, "panic_apply")]);
            let kind = if several[0].starts_with("tool_worker") { "panic_timer" } else { kind };
            faults.push(Act::Fault { fault: format!("{}:{kind}@0", several[0]), times: 9 });
        }
        for target in several.iter().take(usize::try_from(draws.below(4)).expect("fits")) {
            let wanted = if target.starts_with("tool_worker") {
                |kind: &&Kind| kind.strikes == Strikes::ActorsAndWorkers
            } else {
                |kind: &&Kind| kind.strikes != Strikes::Journal
            };
            let drawn = fault(draws, target, wanted);
            if !is_once(&drawn) || !faults.iter().any(|other| is_alike(other, &drawn)) {
                faults.push(drawn);
            }
        }
    }
    if draws.one_in(4) {
        faults.push(fault(draws, "journal", |kind| kind.strikes == Strikes::Journal));
    }
    faults
}

fn fault(draws: &mut Draws, target: &str, wanted: impl Fn(&&Kind) -> bool) -> Act {
    let kinds: Vec<_> = KINDS.iter().filter(wanted).map(|kind| (kind.weight, kind)).collect();
    let kind = *draws.weighted(&kinds);
    let after = draws.below(4);
    let span = kind.lasts_ms.map(|(low, high)| format!(":{}ms", draws.between(low, high)));
    let fault = format!("{target}:{}@{after}{}", kind.name, span.unwrap_or_default());
    let times = if kind.strikes == Strikes::Journal { draws.between(1, 4) } else { 1 };
    Act::Fault { fault, times }
}

/// Whether a fault is of a kind that an actor meets but once.
fn is_once(act: &Act) -> bool {
    let Act::Fault { fault, .. } = act else { return false };
    KINDS.iter().any(|kind| kind.once && kind.name == kind_of(fault))
}

/// Whether both are of one kind and strike the same actor.
fn is_alike(one: &Act, other: &Act) -> bool {
    let (Act::Fault { fault: one, .. }, Act::Fault { fault: other, .. }) = (one, other) else {
        return false;
    };
    one.split('@').next() == other.split('@').next()
}

/// Reads a fault of a schedule.
pub(crate) fn parse(fault: &str, times: u64) -> ScheduledFault {
    let mut parsed: ScheduledFault = fault.parse().expect("a schedule holds faults that read well");
    parsed.fault.times = times;
    parsed
}

/// The kind's name in a fault as it is written.
pub(crate) fn kind_of(fault: &str) -> &str {
    fault.split([':', '@']).nth(1).unwrap_or(fault)
}
