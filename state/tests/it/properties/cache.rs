//! The tool cache against a list of all that was ever put in.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sendcat_state::key::ToolKind;
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::{
    CacheChange, CacheKey, CacheRules, Fill, Kept, Lookup, NewResult, ToolCache,
};

use super::{Driven, Timed, cases, ms, recent, timed};

/// What turns and operators do. Questions and namespaces are few, so that they meet.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Get {
        tool: u8,
        question: u8,
    },
    /// A result of a look-up some way back, live or long outdated.
    Put {
        tool: u8,
        question: u8,
        fill: usize,
        length: usize,
        ttl_ms: u64,
    },
    Clear {
        tool: u8,
    },
    Sweep,
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (0..3_u8, 0..4_u8).prop_map(|(tool, question)| Ask::Get { tool, question }),
        6 => (0..3_u8, 0..4_u8, 0..4_usize, 0..200_usize, 0..120_u64).prop_map(
            |(tool, question, fill, length, ttl_ms)| {
                Ask::Put { tool, question, fill, length, ttl_ms }
            }
        ),
        1 => (0..3_u8).prop_map(|tool| Ask::Clear { tool }),
        1 => Just(Ask::Sweep),
    ]
}

fn key(tool: u8, question: u8) -> CacheKey {
    CacheKey::of(ToolKind::ALL[usize::from(tool)], "v1", &[&question.to_string()])
}

/// A value of that length which no other command puts in.
fn value(length: usize, now: Timestamp, place: usize) -> String {
    let mut value = format!("{now} {place} ");
    value.extend(std::iter::repeat_n('x', length));
    value
}

const TIGHT: CacheRules = CacheRules { entries_max: 4, bytes_max: 700, value_bytes_max: 150 };
const ROOMY: CacheRules =
    CacheRules { entries_max: 1000, bytes_max: 1 << 20, value_bytes_max: 1 << 16 };

/// What look-ups gave, and how many values were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    fills: Vec<Fill>,
    values: usize,
}

impl Driven for ToolCache {
    type Command = Ask;
    type Change = CacheChange;
    type Memory = Given;

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ask>>> {
        timed(asks(), 60, 60)
    }

    fn decide(&self, given: &mut Given, timed: &Timed<Ask>) -> Decision<String, CacheChange> {
        let now = timed.now;
        match timed.what {
            Ask::Get { tool, question } => {
                let found = self.get(now, &key(tool, question));
                if let Lookup::Miss(fill) = &found.answer {
                    given.fills.push(*fill);
                }
                found.map(|found| format!("{found:?}"))
            }
            Ask::Put { tool, question, fill, length, ttl_ms } => {
                let Some(fill) = recent(&given.fills, fill) else {
                    return Decision::unchanged("nothing was asked for".into());
                };
                given.values += 1;
                let value = value(length, now, given.values);
                let key = key(tool, question);
                let result = NewResult { key, fill, value, ttl: ms(ttl_ms) };
                self.put(now, &TIGHT, result).map(|kept| format!("{kept:?}"))
            }
            Ask::Clear { tool } => {
                self.clear(now, key(tool, 0).namespace()).map(|held| held.to_string())
            }
            Ask::Sweep => self.sweep(now).map(|()| "swept".into()),
        }
    }
}

/// All that was ever put in, and when; nothing is ever taken out of it.
#[derive(Default)]
struct Plain {
    puts: Vec<(CacheKey, String, Timestamp, usize)>,
    /// Of each namespace: how many commands there had been when it was cleared.
    cleared: BTreeMap<String, usize>,
}

impl Plain {
    /// The newest result of a question, if it was put in after the clearing and has not ended.
    fn get(&self, now: Timestamp, key: &CacheKey) -> Option<&str> {
        let cleared = self.cleared.get(key.namespace()).copied().unwrap_or(0);
        let newest = self.puts.iter().rev().find(|(of, ..)| of == key)?;
        let (_, value, ends, place) = newest;
        (now < *ends && *place >= cleared).then_some(value)
    }
}

/// A cache and its model, with what look-ups gave and when.
struct Both {
    rules: CacheRules,
    cache: ToolCache,
    plain: Plain,
    fills: Vec<(Fill, usize)>,
}

impl Both {
    fn new(rules: CacheRules) -> Self {
        Self { rules, cache: ToolCache::default(), plain: Plain::default(), fills: Vec::new() }
    }

    /// Tells both the command at this place; what a look-up found, and what should be known.
    fn tell(&mut self, place: usize, timed: &Timed<Ask>) -> Option<(Lookup, Option<String>)> {
        let now = timed.now;
        match timed.what {
            Ask::Get { tool, question } => {
                let key = key(tool, question);
                let found = self.cache.get(now, &key).answer;
                if let Lookup::Miss(fill) = &found {
                    self.fills.push((*fill, place));
                }
                return Some((found, self.plain.get(now, &key).map(str::to_owned)));
            }
            Ask::Put { tool, question, fill, length, ttl_ms } => {
                let (fill, asked) = recent(&self.fills, fill)?;
                let (key, value) = (key(tool, question), value(length, now, place));
                let ttl = ms(ttl_ms);
                let result = NewResult { key: key.clone(), fill, value: value.clone(), ttl };
                let kept = self.cache.put(now, &self.rules, result).settle(&mut self.cache);
                let cleared = self.plain.cleared.get(key.namespace()).copied().unwrap_or(0);
                assert_eq!(kept == Kept::Outdated, asked < cleared, "asked before the clearing");
                let too_long = value.len() > self.rules.value_bytes_max;
                assert_eq!(kept == Kept::TooLong, too_long && kept != Kept::Outdated);
                if kept == Kept::Kept {
                    self.plain.puts.push((key, value, now.after(ttl), place));
                }
            }
            Ask::Clear { tool } => {
                let namespace = key(tool, 0).namespace().to_owned();
                self.cache.clear(now, &namespace).settle(&mut self.cache);
                self.plain.cleared.insert(namespace, place);
            }
            Ask::Sweep => self.cache.sweep(now).settle(&mut self.cache),
        }
        None
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn tc1_an_expired_entry_is_never_served(commands in timed(asks(), 60, 80)) {
        let mut both = Both::new(ROOMY);
        for (place, timed) in commands.iter().enumerate() {
            let Some((found, known)) = both.tell(place, timed) else { continue };
            // With room for all of it, what is known is served and nothing else is.
            match found {
                Lookup::Hit(value) => prop_assert_eq!(Some(value), known),
                Lookup::Miss(_) => prop_assert_eq!(None, known),
            }
        }
    }

    #[test]
    fn tc2_clearing_a_namespace_hides_all_written_before(
        commands in timed(asks(), 5, 60),
        tool in 0..3_u8,
        after in timed(asks(), 5, 20),
    ) {
        let mut both = Both::new(ROOMY);
        let last = commands.last().map_or(Timestamp::ZERO, |timed| timed.now);
        for (place, timed) in commands.iter().enumerate() {
            both.tell(place, timed);
        }
        let cleared = Timed { now: last, what: Ask::Clear { tool } };
        both.tell(commands.len(), &cleared);
        let known = |both: &Both, question| both.cache.get(last, &key(tool, question)).answer;
        for question in 0..4 {
            prop_assert!(matches!(known(&both, question), Lookup::Miss(_)), "{}", question);
        }
        // What was asked for before does not come back after it; `tell` compares each outcome.
        for (place, timed) in after.iter().enumerate() {
            let now = Timestamp::from_millis(last.as_millis() + timed.now.as_millis());
            let timed = Timed { now, what: timed.what.clone() };
            both.tell(commands.len() + 1 + place, &timed);
        }
    }

    #[test]
    fn tc3_bytes_stay_bounded(commands in timed(asks(), 60, 80)) {
        let mut both = Both::new(TIGHT);
        for (place, timed) in commands.iter().enumerate() {
            if let Some((Lookup::Hit(value), known)) = both.tell(place, timed) {
                prop_assert_eq!(Some(value), known, "less is kept, but nothing else is served");
            }
            prop_assert!(both.cache.bytes() <= TIGHT.bytes_max);
            prop_assert!(both.cache.len() <= TIGHT.entries_max);
            let held: usize = both.cache.view(Timestamp::ZERO).values().map(|it| it.bytes).sum();
            prop_assert_eq!(held, both.cache.bytes(), "what is counted is what is there");
        }
    }
}
