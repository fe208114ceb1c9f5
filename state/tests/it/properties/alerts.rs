//! The monitor against plain lists of what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sendcat_state::alert_monitor::{AlertMonitor, MonitorChange, MonitorRules};
use sendcat_state::alert_rules::{AlertRules, AlertSubject, Delivery};
use sendcat_state::events::{
    EventOutcome, EventRules, EventSource, Events, Recorded, Refused, Series,
};
use sendcat_state::key::{Bucket, ClientKey, ProviderId, TimedId};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use super::{Driven, Timed, cases, ms, recent, timed};

/// What guards, providers and the monitor's timer do. Kinds and callers are few, so that they meet.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Record { kind: u8, caller: u8 },
    Evaluate,
    Saturated { provider: u8 },
    Settle { back: usize, taken: bool },
    Sweep,
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        10 => (0..4_u8, 0..6_u8).prop_map(|(kind, caller)| Ask::Record { kind, caller }),
        3 => Just(Ask::Evaluate),
        2 => (0..2_u8).prop_map(|provider| Ask::Saturated { provider }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(back, taken)| Ask::Settle { back, taken }),
        2 => Just(Ask::Sweep),
    ]
}

fn refused(kind: u8, caller: u8) -> Refused {
    let bucket = if kind.is_multiple_of(2) { Bucket::WhatsappWebhook } else { Bucket::ChatStream };
    let outcome = if kind < 2 { EventOutcome::Blocked } else { EventOutcome::ContentionFallback };
    Refused {
        source: if kind == 3 { EventSource::Chat } else { EventSource::Http },
        key: ClientKey::session(bucket, &caller.to_string()),
        outcome,
        retry_after: Duration::from_secs(1),
        path: "/api/chat".into(),
        method: "POST".into(),
    }
}

const EVENTS: EventRules = EventRules {
    same_for: Duration::from_millis(50),
    kept_for: Duration::from_millis(400),
    rows_max: 1000,
    keys_max: 1000,
};
/// Rows and keys run out, and minutes pass.
const TIGHT: EventRules = EventRules {
    same_for: Duration::from_secs(5),
    kept_for: Duration::from_secs(600),
    rows_max: 4,
    keys_max: 6,
};
const ALERTS: AlertRules = AlertRules {
    threshold: 3,
    window: Duration::from_millis(150),
    cooldown: Duration::from_millis(300),
    bulkhead_cooldown: Duration::from_millis(100),
    kept_for: Duration::from_millis(700),
    alerts_max: 4,
};
const RULES: MonitorRules = MonitorRules { events: EVENTS, alerts: ALERTS };

fn provider(number: u8) -> ProviderId {
    ProviderId::ALL[usize::from(number)]
}

impl Driven for AlertMonitor {
    type Command = Ask;
    type Change = MonitorChange;
    type Memory = Vec<TimedId>;

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ask>>> {
        timed(asks(), 80, 60)
    }

    fn decide(
        &self,
        known: &mut Vec<TimedId>,
        timed: &Timed<Ask>,
    ) -> Decision<String, MonitorChange> {
        let now = timed.now;
        match timed.what {
            Ask::Record { kind, caller } => {
                let rules = MonitorRules { events: TIGHT, ..RULES };
                self.record(now, &rules, refused(kind, caller)).map(|it| format!("{it:?}"))
            }
            Ask::Evaluate => {
                let evaluated = self.evaluate(now, &RULES, 7);
                known.extend(self.pending(9).iter().map(|alert| alert.id));
                evaluated.map(|it| format!("{it:?}"))
            }
            Ask::Saturated { provider: number } => {
                self.saturated(now, &RULES, 9, provider(number)).map(|it| format!("{it:?}"))
            }
            Ask::Settle { back, taken } => {
                let Some(id) = recent(known, back) else {
                    return Decision::unchanged("there was no alert".into());
                };
                let delivery =
                    if taken { Delivery::Delivered(now) } else { Delivery::Refused(now) };
                self.settle(id, delivery).map(|()| format!("{:?}", self.pending(9)))
            }
            Ask::Sweep => self.sweep(now).map(|()| "swept".into()),
        }
    }
}

/// Every event that counts, in the order of time: none that is equal to one shortly before it.
#[derive(Default)]
struct Plain {
    counted: Vec<(Timestamp, Refused)>,
}

impl Plain {
    fn record(&mut self, now: Timestamp, rules: &EventRules, refused: Refused) -> bool {
        let same = |(at, other): &&(Timestamp, Refused)| {
            *other == refused && now < at.after(rules.same_for)
        };
        let is_new = !self.counted.iter().any(|it| same(&it));
        if is_new {
            self.counted.push((now, refused));
        }
        is_new
    }

    fn since(&self, from: Timestamp) -> BTreeMap<Series, u64> {
        let mut counts = BTreeMap::new();
        for (_, refused) in self.counted.iter().filter(|(at, _)| *at > from) {
            *counts.entry(refused.series()).or_default() += 1;
        }
        counts
    }
}

/// When an alert is to be raised, told from the plain lists alone.
#[derive(Default)]
struct PlainAlerts {
    raised: Vec<(AlertSubject, Timestamp)>,
}

impl PlainAlerts {
    fn raise(&mut self, now: Timestamp, subject: AlertSubject, cooldown: Duration) -> bool {
        let cools =
            |(other, at): &(AlertSubject, Timestamp)| *other == subject && now < at.after(cooldown);
        let due = !self.raised.iter().any(cools);
        if due {
            self.raised.push((subject, now));
        }
        due
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn al1_one_alert_per_rule_per_cooldown(commands in timed(asks(), 80, 80)) {
        let (mut monitor, mut plain, mut alerts) =
            (AlertMonitor::default(), Plain::default(), PlainAlerts::default());
        let mut settled = Vec::new();
        for (place, Timed { now, what }) in commands.iter().enumerate() {
            let (now, random) = (*now, place as u64 * 100);
            let before = alerts.raised.len();
            match *what {
                Ask::Record { kind, caller } => {
                    plain.record(now, &EVENTS, refused(kind, caller));
                    let recorded = monitor.record(now, &RULES, refused(kind, caller));
                    recorded.settle(&mut monitor);
                }
                Ask::Evaluate => {
                    let counts = plain.since(now.before(ALERTS.window));
                    for (series, _) in counts.iter().filter(|(_, count)| **count >= 3) {
                        alerts.raise(now, AlertSubject::Refusals(*series), ALERTS.cooldown);
                    }
                    let evaluated = monitor.evaluate(now, &RULES, random).settle(&mut monitor);
                    prop_assert_eq!(evaluated.created, alerts.raised.len() - before);
                }
                Ask::Saturated { provider: number } => {
                    let subject = AlertSubject::Bulkhead(provider(number));
                    let due = alerts.raise(now, subject, ALERTS.bulkhead_cooldown);
                    let raised = monitor.saturated(now, &RULES, random, provider(number));
                    prop_assert_eq!(raised.settle(&mut monitor), due);
                }
                Ask::Settle { back, taken } => {
                    let pending: Vec<_> = monitor.pending(9).iter().map(|it| it.id).collect();
                    let Some(id) = recent(&pending, back) else { continue };
                    let delivery =
                        if taken { Delivery::Delivered(now) } else { Delivery::Refused(now) };
                    monitor.settle(id, delivery).settle(&mut monitor);
                    settled.push(id);
                }
                Ask::Sweep => monitor.sweep(now).settle(&mut monitor),
            }
            let newest = monitor.alerts().newest_first().map(|it| (it.subject, it.created));
            let wanted = alerts.raised.iter().rev().copied();
            let wanted = wanted.zip(newest.collect::<Vec<_>>());
            prop_assert!(wanted.into_iter().all(|(wanted, kept)| wanted == kept));
            prop_assert!(monitor.alerts().newest_first().count() <= ALERTS.alerts_max);
            prop_assert!(monitor.pending(9).iter().all(|alert| !settled.contains(&alert.id)));
        }
    }

    #[test]
    fn al2_an_event_counts_once_in_a_summary(
        commands in timed(asks(), 80, 80),
        window in 1..500_u64,
    ) {
        let (mut events, mut plain) = (Events::default(), Plain::default());
        for Timed { now, what } in &commands {
            let now = *now;
            match *what {
                Ask::Record { kind, caller } => {
                    let counts = plain.record(now, &EVENTS, refused(kind, caller));
                    let recorded =
                        events.record(now, &EVENTS, refused(kind, caller)).settle(&mut events);
                    let wanted = if counts { Recorded::Kept } else { Recorded::Same };
                    prop_assert_eq!(recorded, wanted);
                }
                Ask::Sweep => events.sweep(now).settle(&mut events),
                Ask::Evaluate | Ask::Saturated { .. } | Ask::Settle { .. } => {}
            }
            // Rows that are kept long enough: a window reaches back no further than they do.
            let window = ms(window.min(400));
            prop_assert_eq!(events.summary(now, window), plain.since(now.before(window)));
        }
    }

    #[test]
    fn al2_an_event_whose_row_made_room_counts_once_all_the_same(
        commands in timed(asks(), 20_000, 80),
        window in 1..300_000_u64,
    ) {
        let (mut events, mut kept, mut dropped) = (Events::default(), Plain::default(), 0);
        for Timed { now, what } in &commands {
            let now = *now;
            match *what {
                Ask::Record { kind, caller } => {
                    let refused = refused(kind, caller);
                    match events.record(now, &TIGHT, refused.clone()).settle(&mut events) {
                        Recorded::Kept => kept.counted.push((now, refused)),
                        Recorded::Same => {}
                        Recorded::Dropped => dropped += 1,
                    }
                }
                Ask::Sweep => events.sweep(now).settle(&mut events),
                Ask::Evaluate | Ask::Saturated { .. } | Ask::Settle { .. } => {}
            }
            prop_assert!(events.newest_first().count() <= TIGHT.rows_max);
            prop_assert!(events.keys() <= TIGHT.keys_max);
            prop_assert_eq!(events.dropped(), dropped);
            let from = now.before(ms(window));
            let minute = Timestamp::from_millis(from.as_millis() - from.as_millis() % 60_000);
            // Whole minutes of those without a row: at least the window, at most a minute more.
            let (least, most) = (kept.since(from), kept.since(minute.before(ms(1))));
            let told = events.summary(now, ms(window));
            let of = |counts: &BTreeMap<Series, u64>, series| counts.get(series).copied();
            for (series, count) in &least {
                prop_assert!(of(&told, series) >= Some(*count), "{} of {}", count, series);
            }
            for (series, count) in &told {
                prop_assert!(Some(*count) <= of(&most, series), "{} of {}", count, series);
            }
        }
    }
}

#[test]
fn a_flood_of_one_kind_takes_no_row_of_a_quiet_one() {
    let rules = EventRules { rows_max: 4, keys_max: 1000, ..TIGHT };
    let mut events = Events::default();
    let now = Timestamp::from_millis(60_000);
    let _ = events.record(now, &rules, refused(1, 0)).settle(&mut events);
    for caller in 0..100 {
        let _ = events.record(now, &rules, refused(0, caller)).settle(&mut events);
    }
    let counts: Vec<_> = events.summary(now, ms(1000)).into_values().collect();
    assert_eq!(counts, [1, 100]);
    let quiet = events.newest_first().filter(|it| it.refused == refused(1, 0));
    assert_eq!(quiet.count(), 1);
}
