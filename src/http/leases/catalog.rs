//! Every fault that can be leased, and what it does where it is armed (OPERATIONS.md §6).

use std::collections::BTreeMap;
use std::time::Duration;

use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_state::key::ProviderId;

use crate::contract::body::BodyError;

/// Numbers by name.
type Params = BTreeMap<String, i64>;

/// A leased fault's target where none was named.
enum Target {
    /// There is nothing to choose.
    Nothing,
    /// An actor, by its name.
    Actor,
    /// A provider; the model unless named.
    Provider,
    /// One of these words.
    One(&'static [&'static str]),
}

/// One fault: its name, what it is on, its numbers with default and range.
struct Row(&'static str, Target, &'static [Number]);

/// A number's name, default, and range.
struct Number(&'static str, i64, i64, i64);

/// What is done to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing: what does not change without a fault must not change with this one.
    Nothing,
    /// These faults on these boards.
    Boards(Vec<(String, Fault)>),
    /// So many messages to one actor.
    Flood {
        /// Which.
        actor: String,
        /// How many.
        messages: u64,
    },
    /// A stand-in fails.
    Provider {
        /// Which.
        provider: String,
        /// The stand-in's own word for it.
        fault: &'static str,
        /// So many requests, or all.
        times: Option<u64>,
        /// How much later its answers come.
        late_by: Duration,
        /// Of a hundred requests so many fail.
        percent: u64,
    },
    /// Deleting a lease does nothing any more: what a tool must notice.
    KeepLeases,
}

/// A wish for a fault, read from a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The fault's name.
    pub fault: String,
    /// What it is on.
    pub target: String,
    /// Its numbers, those that were not given too.
    pub params: BTreeMap<String, i64>,
    /// What that means here.
    pub act: Act,
}

const MS: Number = Number("ms", 50, 1, 10_000);

const GUARDS: &[&str] = &["breaker", "replay", "watchdog", "revert"];

const ROWS: &[Row] = &[
    Row("noop", Target::Nothing, &[]),
    Row("actor.kill", Target::Actor, &[]),
    Row("actor.panic", Target::Actor, &[Number("times", 1, 1, 10)]),
    Row("actor.hang", Target::Actor, &[]),
    Row("actor.slow", Target::Actor, &[MS]),
    Row("mailbox.flood", Target::Actor, &[Number("messages", 100_000, 1, 1_000_000)]),
    Row("disk.slow", Target::Nothing, &[Number("ms", 200, 1, 5_000)]),
    Row("disk.full", Target::Nothing, &[]),
    Row("clock.jump", Target::Nothing, &[Number("seconds", 3_600, -86_400, 86_400)]),
    Row("clock.freeze", Target::Nothing, &[]),
    Row("provider.latency", Target::Provider, &[Number("ms", 2_000, 1, 60_000)]),
    Row(
        "provider.brownout",
        Target::Provider,
        &[Number("percent", 30, 1, 100), Number("ms", 2_000, 0, 60_000)],
    ),
    Row("provider.429", Target::Provider, &[]),
    Row("provider.timeout", Target::Provider, &[]),
    Row("provider.midstream_cut", Target::Provider, &[]),
    Row("provider.slow_drip", Target::Provider, &[]),
    Row("provider.malformed_sse", Target::Provider, &[]),
    Row("provider.reset_peer", Target::Provider, &[]),
    Row("provider.fail_first_n", Target::Provider, &[Number("times", 3, 1, 1_000)]),
    Row("sentry.down", Target::Nothing, &[]),
    Row("queue.poison", Target::Nothing, &[]),
    Row("guard.off", Target::One(GUARDS), &[]),
];

impl Order {
    /// The order that a body's members make, at a wall's time in milliseconds since 1970.
    ///
    /// # Errors
    /// [`BodyError::Shape`] names what is wrong.
    pub fn read(
        fault: &str,
        target: Option<&str>,
        given: &serde_json::Map<String, serde_json::Value>,
        wall_ms: u64,
    ) -> Result<Self, BodyError> {
        let row = ROWS.iter().find(|row| row.0 == fault);
        let Row(_, on, numbers) = row.ok_or_else(|| BodyError::shape("fault", names()))?;
        let params = params_of(numbers, given)?;
        let target = match (on, target.unwrap_or_default()) {
            (Target::Nothing, "") => "",
            (Target::Nothing, _) => return Err(BodyError::shape("target", "no target")),
            (Target::Actor, "") => return Err(BodyError::shape("target", "an actor's name")),
            (Target::Provider, "") => "openrouter_chat",
            (Target::One(words), word) if !words.contains(&word) => {
                return Err(BodyError::shape("target", format!("one of {}", words.join(", "))));
            }
            (Target::Actor | Target::Provider | Target::One(_), target) => target,
        };
        let act = act(fault, target, &params, wall_ms);
        Ok(Self { fault: fault.to_owned(), target: target.to_owned(), params, act })
    }
}

/// Every name, for the sentence that refuses another.
fn names() -> String {
    let names: Vec<_> = ROWS.iter().map(|row| row.0).collect();
    format!("one of {}", names.join(", "))
}

fn params_of(
    numbers: &[Number],
    given: &serde_json::Map<String, serde_json::Value>,
) -> Result<Params, BodyError> {
    let mut params: Params = numbers.iter().map(|number| (number.0.to_owned(), number.1)).collect();
    for (name, value) in given {
        let path = format!("params.{name}");
        let Some(Number(_, _, low, high)) = numbers.iter().find(|number| number.0 == name) else {
            return Err(BodyError::shape(path, "no such number"));
        };
        let value = value.as_i64().filter(|value| (*low..=*high).contains(value));
        let value = value
            .ok_or_else(|| BodyError::shape(path, format!("a whole number of {low} to {high}")))?;
        params.insert(name.clone(), value);
    }
    Ok(params)
}

fn act(fault: &str, target: &str, params: &Params, wall_ms: u64) -> Act {
    let number = |name: &str| params.get(name).copied().unwrap_or_default();
    let count = |name: &str| u64::try_from(number(name)).unwrap_or_default();
    let millis = |name: &str| Duration::from_millis(count(name));
    let on = |board: &str, fault| Act::Boards(vec![(board.to_owned(), fault)]);
    let lasting = |board: &str, kind| on(board, Fault::lasting(kind));
    let so_often = |kind, times| on(target, Fault { kind, after: 0, times });
    let provider = |word: &'static str, times, late_by, percent| Act::Provider {
        provider: target.to_owned(),
        fault: word,
        times,
        late_by,
        percent,
    };
    let fails = |word| provider(word, None, Duration::ZERO, 100);
    match fault {
        "actor.kill" => so_often(FaultKind::Kill, 1),
        "actor.panic" => so_often(FaultKind::PanicTimer, count("times")),
        "actor.hang" => so_often(FaultKind::Hang(Duration::MAX), 1),
        "actor.slow" => lasting(target, FaultKind::Deaf(millis("ms"))),
        "mailbox.flood" => Act::Flood { actor: target.to_owned(), messages: count("messages") },
        "disk.slow" => lasting("journal", FaultKind::DiskSlow(millis("ms"))),
        "disk.full" => lasting("journal", FaultKind::DiskFull),
        "clock.jump" => lasting("clock", FaultKind::WallOff(number("seconds") * 1_000)),
        "clock.freeze" => lasting("clock", FaultKind::WallAt(wall_ms)),
        "provider.latency" => provider("late", None, millis("ms"), 100),
        "provider.brownout" => provider("503", None, millis("ms"), count("percent")),
        "provider.429" => fails("429"),
        "provider.timeout" => fails("stall_headers"),
        "provider.midstream_cut" => fails("cut"),
        "provider.slow_drip" => fails("drip"),
        "provider.malformed_sse" => fails("malformed"),
        "provider.reset_peer" => fails("reset"),
        "provider.fail_first_n" => provider("500", Some(count("times")), Duration::ZERO, 100),
        "sentry.down" => Act::Provider {
            provider: "sentry_ingest".to_owned(),
            fault: "503",
            times: None,
            late_by: Duration::ZERO,
            percent: 100,
        },
        "queue.poison" => lasting("job_queue", FaultKind::PoisonJob),
        "guard.off" => switch_off(target),
        _ => Act::Nothing,
    }
}

/// Switches a guard off, everywhere it stands.
fn switch_off(guard: &str) -> Act {
    let bypass = |board: String| (board, Fault::lasting(FaultKind::Bypass));
    match guard {
        "breaker" => {
            let of = |provider: &ProviderId| bypass(format!("circuit_breaker-{provider}"));
            Act::Boards(ProviderId::ALL.iter().map(of).collect())
        }
        "replay" => Act::Boards(vec![bypass("idempotency".to_owned())]),
        "watchdog" => Act::Boards(vec![bypass("root".to_owned())]),
        _ => Act::KeepLeases,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        fault: &str,
        target: Option<&str>,
        params: &serde_json::Value,
    ) -> Result<Order, String> {
        let params = params.as_object().cloned().unwrap_or_default();
        Order::read(fault, target, &params, 7).map_err(|error| error.sentence())
    }

    #[test]
    fn every_fault_but_the_noop_does_something() {
        for Row(name, on, _) in ROWS {
            let target = match on {
                Target::Nothing => None,
                Target::Actor => Some("job_queue"),
                Target::Provider => Some("serper_search"),
                Target::One(words) => words.first().copied(),
            };
            let order = read(name, target, &serde_json::Value::Null).unwrap();
            assert_eq!(order.act == Act::Nothing, *name == "noop", "{name}");
        }
    }

    #[test]
    fn a_number_that_was_not_given_has_its_default_and_one_out_of_range_is_refused() {
        let order = read("disk.slow", None, &serde_json::json!({})).unwrap();
        let kind = FaultKind::DiskSlow(Duration::from_millis(200));
        assert_eq!(order.act, Act::Boards(vec![("journal".into(), Fault::lasting(kind))]));
        let slow = |params| read("disk.slow", None, &params).unwrap_err();
        let shape = "The request is not valid: params.";
        let expected = format!("{shape}ms: expected a whole number of 1 to 5000.");
        assert_eq!(slow(serde_json::json!({"ms": 0})), expected);
        assert_eq!(slow(serde_json::json!({"ms": "2"})), expected);
        let expected = format!("{shape}msec: expected no such number.");
        assert_eq!(slow(serde_json::json!({"msec": 2})), expected);
    }

    #[test]
    fn a_target_is_named_where_there_is_one_to_choose_and_nowhere_else() {
        let none = serde_json::Value::Null;
        let refused = |fault, target| read(fault, target, &none).unwrap_err();
        let shape = "The request is not valid: target: expected ";
        assert_eq!(refused("actor.kill", None), format!("{shape}an actor's name."));
        assert_eq!(refused("noop", Some("x")), format!("{shape}no target."));
        let guards = format!("{shape}one of breaker, replay, watchdog, revert.");
        assert_eq!(refused("guard.off", Some("x")), guards);
        assert_eq!(read("provider.429", None, &none).unwrap().target, "openrouter_chat");
    }
}
