//! Claims against a map of who works on what, and what was done.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sendcat_state::idempotency::{Claim, Claimant, Claims, ClaimsChange};
use sendcat_state::key::IdempotencyKey;
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use super::{Driven, Timed, at, cases, ms, timed};

/// What requests do.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Claim { by: u64, keys: Vec<u8> },
    Done { key: u8, life_ms: u64 },
    GiveBack { by: u64, keys: Vec<u8> },
    Sweep,
}

fn asks(names: u8) -> impl Strategy<Value = Ask> {
    let keys = || prop::collection::vec(0..names, 1..4);
    let life_ms = prop::sample::select(vec![10_u64, 60, 200]);
    prop_oneof![
        6 => (0..3_u64, keys()).prop_map(|(by, keys)| Ask::Claim { by, keys }),
        4 => (0..names, life_ms).prop_map(|(key, life_ms)| Ask::Done { key, life_ms }),
        2 => (0..3_u64, keys()).prop_map(|(by, keys)| Ask::GiveBack { by, keys }),
        2 => Just(Ask::Sweep),
    ]
}

fn key(name: u8) -> IdempotencyKey {
    let id = name.to_string();
    // Two scopes with the same keys in them: they must not be mistaken for each other.
    if name.is_multiple_of(2) {
        IdempotencyKey::whatsapp_message(&(name / 2).to_string())
    } else {
        IdempotencyKey::webhook("shop", &id)
    }
}

fn keys(names: &[u8]) -> Vec<IdempotencyKey> {
    names.iter().map(|name| key(*name)).collect()
}

impl Driven for Claims {
    type Command = Ask;
    type Change = ClaimsChange;
    type Memory = ();

    fn fresh() -> Self {
        Self::new(3)
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ask>>> {
        timed(asks(6), 25, 80)
    }

    fn decide(&self, (): &mut (), command: &Timed<Ask>) -> Decision<String, ClaimsChange> {
        let now = command.now;
        match &command.what {
            Ask::Claim { by, keys: names } => {
                let decision = self.claim(now, Claimant(*by), &keys(names), ms(30));
                decision.map(|answer| format!("{answer:?}"))
            }
            Ask::Done { key: name, life_ms } => {
                self.done(&[key(*name)], now.after(ms(*life_ms))).map(|()| "done".into())
            }
            Ask::GiveBack { by, keys: names } => {
                self.give_back(Claimant(*by), &keys(names)).map(|()| "given back".into())
            }
            Ask::Sweep => self.sweep(now).map(|()| "swept".into()),
        }
    }
}

/// How a key stands.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Leased { by: u64, ends: Timestamp },
    Done { until: Timestamp, hits: u64 },
}

/// The claims as one would explain them.
#[derive(Debug, Default)]
struct Ledger(BTreeMap<u8, Stands>);

impl Ledger {
    fn forget_ended(&mut self, now: Timestamp) {
        self.0.retain(|_, stands| match stands {
            Stands::Leased { ends: end, .. } | Stands::Done { until: end, .. } => now < *end,
        });
    }

    fn claim(&mut self, now: Timestamp, by: u64, names: &[u8]) -> Vec<Claim> {
        let mut taken = Vec::new();
        let mut one = |name: &u8| {
            if taken.contains(name) {
                return Claim::Pending { retry_after: ms(30) };
            }
            match self.0.get_mut(name) {
                Some(Stands::Done { hits, .. }) => {
                    *hits += 1;
                    Claim::Duplicate { hits: *hits }
                }
                Some(Stands::Leased { by: holder, ends }) if *holder != by => {
                    Claim::Pending { retry_after: now.until(*ends) }
                }
                Some(Stands::Leased { .. }) | None => {
                    taken.push(*name);
                    self.0.insert(*name, Stands::Leased { by, ends: now.after(ms(30)) });
                    Claim::First
                }
            }
        };
        names.iter().map(&mut one).collect()
    }

    fn give_back(&mut self, by: u64, names: &[u8]) {
        for name in names {
            if matches!(self.0.get(name), Some(Stands::Leased { by: holder, .. }) if *holder == by)
            {
                self.0.remove(name);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn id1_among_claims_of_one_key_exactly_one_is_first(asks in Claims::commands()) {
        let (mut claims, mut ledger) = (Claims::new(1000), Ledger::default());
        for Timed { now, what } in asks {
            ledger.forget_ended(now);
            match what {
                Ask::Claim { by, keys: names } => {
                    let answer = claims.claim(now, Claimant(by), &keys(&names), ms(30));
                    let answer = answer.settle(&mut claims);
                    prop_assert_eq!(answer, ledger.claim(now, by, &names));
                }
                Ask::Done { key: name, life_ms } => {
                    // Only what somebody works on, or worked on before, becomes done.
                    let Some(stands) = ledger.0.get(&name).copied() else { continue };
                    let until = now.after(ms(life_ms));
                    let hits = match stands {
                        Stands::Leased { .. } => 0,
                        Stands::Done { hits, .. } => hits,
                    };
                    ledger.0.insert(name, Stands::Done { until, hits });
                    claims.done(&[key(name)], until).settle(&mut claims);
                }
                Ask::GiveBack { by, keys: names } => {
                    ledger.give_back(by, &names);
                    claims.give_back(Claimant(by), &keys(&names)).settle(&mut claims);
                }
                Ask::Sweep => claims.sweep(now).settle(&mut claims),
            }
        }
    }

    #[test]
    fn id1_a_full_memory_takes_no_ones_lease_away(asks in timed(asks(6), 25, 120)) {
        let mut claims = Claims::new(2);
        // Who was told to work on what, until when.
        let mut first: BTreeMap<u8, (u64, Timestamp)> = BTreeMap::new();
        for ask in asks {
            let now = ask.now;
            match &ask.what {
                Ask::Claim { by, keys: names } => {
                    let answers = claims.claim(now, Claimant(*by), &keys(names), ms(30));
                    for (name, answer) in names.iter().zip(answers.settle(&mut claims)) {
                        if answer == Claim::First {
                            let holder = first.insert(*name, (*by, now.after(ms(30))));
                            let alone = holder.is_none_or(|(at, ends)| at == *by || ends <= now);
                            prop_assert!(alone, "{} was first, but {:?} works on it", by, holder);
                        }
                    }
                }
                Ask::Done { key: name, .. } => {
                    if first.remove(name).is_some() {
                        claims.turn(&mut (), &ask);
                    }
                }
                Ask::GiveBack { by, keys: names } => {
                    claims.turn(&mut (), &ask);
                    first.retain(|name, (holder, _)| holder != by || !names.contains(name));
                }
                Ask::Sweep => { claims.turn(&mut (), &ask); }
            }
        }
    }

    #[test]
    fn id1_what_has_ended_leaves_no_trace_in_memory(asks in Claims::commands()) {
        let mut claims = Claims::new(1000);
        let mut now = at(0);
        for ask in asks {
            claims.turn(&mut (), &ask);
            now = ask.now;
        }
        // Longer than any lease or life: holders that vanished cost nothing for ever either.
        claims.sweep(now.after(ms(1000))).settle(&mut claims);
        prop_assert_eq!(claims.len(), 0);
    }

    #[test]
    fn id2_work_that_failed_or_was_lost_gives_its_claim_back(
        asks in Claims::commands(),
        name in 0..6_u8,
    ) {
        let (mut claims, mut now) = (Claims::new(1000), at(0));
        for ask in asks {
            claims.turn(&mut (), &ask);
            now = ask.now;
        }
        let (one, other) = (Claimant(90), Claimant(91));
        let claim = |claims: &Claims, now, by| claims.claim(now, by, &[key(name)], ms(30));
        let told = |claims: &Claims, now, by| claim(claims, now, by).answer[0];
        let now = now.after(ms(30));
        match claim(&claims, now, one).settle(&mut claims)[0] {
            // It was done: neither a failure nor a crash forgets that.
            Claim::Duplicate { hits } => {
                claims.give_back(one, &[key(name)]).settle(&mut claims);
                claims.forget_leases();
                prop_assert_eq!(told(&claims, now, other), Claim::Duplicate { hits: hits + 1 });
            }
            Claim::First => {
                let wait = Claim::Pending { retry_after: ms(30) };
                prop_assert_eq!(told(&claims, now, other), wait);
                prop_assert_eq!(told(&claims, now.after(ms(30)), other), Claim::First, "lost");
                let (mut failed, mut crashed) = (claims.clone(), claims);
                failed.give_back(other, &[key(name)]).settle(&mut failed);
                prop_assert_eq!(told(&failed, now, other), wait, "not OTHER's to give");
                failed.give_back(one, &[key(name)]).settle(&mut failed);
                prop_assert_eq!(told(&failed, now, other), Claim::First, "failed");
                crashed.forget_leases();
                prop_assert_eq!(told(&crashed, now, other), Claim::First, "crashed");
            }
            Claim::Pending { retry_after } => {
                prop_assert!(false, "a lease of 30 ms still has {retry_after:?} after 30 ms");
            }
        }
    }
}
