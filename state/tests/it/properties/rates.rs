//! Windows and shards against lists of admissions.

mod several;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use sendcat_state::key::{Bucket, ClientKey, SHARDS};
use sendcat_state::machine::Decision;
use sendcat_state::rate_shard::RateShard;
use sendcat_state::rate_window::{Admission, Counted, Limit, RateWindow};
use sendcat_state::timestamp::Timestamp;

use super::{Driven, Timed, at, cases, ms, timed};

const PER: Duration = ms_const(100);

const fn ms_const(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One call of one of a few callers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    bucket: Bucket,
    caller: u8,
    calls: u64,
}

impl Call {
    fn key(self) -> ClientKey {
        ClientKey::session(self.bucket, &self.caller.to_string())
    }

    /// Buckets differ in their span, as they do among the knobs.
    fn limit(self) -> Limit {
        let per = if self.bucket == Bucket::ChatStream { PER } else { PER * 2 };
        Limit { calls: self.calls, per }
    }
}

fn calls(callers: u8) -> impl Strategy<Value = Call> {
    let bucket = prop::sample::select(vec![Bucket::ChatStream, Bucket::AnonIp]);
    let limits = prop_oneof![4 => Just(2_u64), 1 => 0..5_u64];
    (bucket, 0..callers, limits).prop_map(|(bucket, caller, calls)| Call { bucket, caller, calls })
}

impl Driven for RateWindow {
    type Command = u64;
    type Change = Counted;
    type Memory = ();

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<u64>>> {
        timed(0..5_u64, 60, 60)
    }

    fn decide(&self, (): &mut (), command: &Timed<u64>) -> Decision<String, Counted> {
        let limit = Limit { calls: command.what, per: PER };
        self.admit(command.now, limit).map(|answer| format!("{answer:?}"))
    }
}

/// Every admission there was; a window is found by going through them all.
#[derive(Clone, Default)]
struct Admissions(Vec<Timestamp>);

impl Admissions {
    /// When the window that is open at `now` was opened, and what it has admitted.
    fn open_at(&self, now: Timestamp, per: Duration) -> Option<(Timestamp, u64)> {
        let mut window: Option<(Timestamp, u64)> = None;
        for when in &self.0 {
            window = match window {
                Some((opened, used)) if *when < opened.after(per) => Some((opened, used + 1)),
                Some(_) | None => Some((*when, 1)),
            };
        }
        window.filter(|(opened, _)| now < opened.after(per))
    }

    fn is_open(&self, now: Timestamp, per: Duration) -> bool {
        self.open_at(now, per).is_some()
    }

    fn admit(&mut self, now: Timestamp, limit: Limit) -> Admission {
        let (opened, used) = self.open_at(now, limit.per).unwrap_or((now, 0));
        let left_open = now.until(opened.after(limit.per));
        if used >= limit.calls {
            return Admission::Refused { retry_after: left_open };
        }
        self.0.push(now);
        Admission::Admitted { left: limit.calls - used - 1, resets_in: left_open }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn rw1_a_window_never_admits_more_than_its_limit(calls in RateWindow::commands()) {
        let (mut window, mut admissions) = (RateWindow::default(), Admissions::default());
        for Timed { now, what } in calls {
            let limit = Limit { calls: what, per: PER };
            let answer = window.admit(now, limit).settle(&mut window);
            prop_assert_eq!(answer, admissions.admit(now, limit));
            if let Admission::Admitted { .. } = answer {
                let (_, used) = admissions.open_at(now, PER).expect("it just admitted");
                prop_assert!(used <= limit.calls);
            }
        }
    }

    #[test]
    fn rw1_whoever_waits_as_told_is_admitted(calls in RateWindow::commands()) {
        let mut window = RateWindow::default();
        for Timed { now, what } in calls {
            let limit = Limit { calls: what, per: PER };
            let answer = window.admit(now, limit).settle(&mut window);
            if let Admission::Refused { retry_after } = answer {
                prop_assert!(retry_after > Duration::ZERO);
                let then = window.admit(now.after(retry_after), limit).answer;
                let admitted = matches!(then, Admission::Admitted { .. });
                prop_assert_eq!(admitted, limit.calls > 0);
            }
        }
    }

    #[test]
    fn rw2_a_refusal_changes_nothing(calls in timed(calls(6), 80, 80)) {
        let mut shard = RateShard::new(3);
        for call in calls {
            let (key, limit) = (call.what.key(), call.what.limit());
            let decision = shard.admit(call.now, key, limit);
            prop_assert_eq!(decision.writes.len(), 0, "a rate check never touches the disk");
            if let Admission::Refused { .. } = decision.answer {
                prop_assert_eq!(decision.change, None);
            } else {
                decision.settle(&mut shard);
            }
        }
    }

    #[test]
    fn rw3_a_key_lives_in_one_shard(calls in timed(calls(40), 40, 120)) {
        let mut shards = vec![RateShard::new(1000); SHARDS];
        let mut each: BTreeMap<(Bucket, u8), Admissions> = BTreeMap::new();
        for Timed { now, what } in calls {
            let shard = &mut shards[what.key().shard()];
            let answer = shard.admit(now, what.key(), what.limit()).settle(shard);
            let admissions = each.entry((what.bucket, what.caller)).or_default();
            prop_assert_eq!(answer, admissions.admit(now, what.limit()));
        }
    }

    #[test]
    fn rw3_the_way_a_key_is_made_does_not_move_it(
        name in ".{0,40}",
        network in any::<[u16; 4]>(),
        hosts in any::<[[u16; 4]; 2]>(),
    ) {
        let address = |[e, f, g, h]: [u16; 4]| {
            let [a, b, c, d] = network;
            IpAddr::V6(Ipv6Addr::new(a | 0x2000, b, c, d, e, f, g, h))
        };
        for bucket in Bucket::ALL {
            let [one, two] = hosts.map(|host| ClientKey::ip(*bucket, address(host)));
            prop_assert_eq!(one, two, "one /64 is one subscriber");
            let key = ClientKey::session(*bucket, &name);
            prop_assert!(key.shard() < SHARDS);
            let saved = serde_json::to_string(&key).expect("a key encodes");
            let restored: ClientKey = serde_json::from_str(&saved).expect("and decodes");
            prop_assert_eq!(restored.shard(), key.shard());
            prop_assert_ne!(key, ClientKey::user(*bucket, &name), "a user is not a session");
        }
    }

    #[test]
    fn rw4_memory_is_bounded_and_no_live_window_is_dropped(
        capacity in 1..4_usize,
        calls in timed(calls(6), 80, 80),
    ) {
        let mut shard = RateShard::new(capacity);
        let mut own: BTreeMap<(Bucket, u8), (Limit, Admissions)> = BTreeMap::new();
        let mut overflow: BTreeMap<Bucket, Admissions> = BTreeMap::new();
        for Timed { now, what } in calls {
            let (name, limit) = ((what.bucket, what.caller), what.limit());
            own.retain(|_, (limit, admissions)| admissions.is_open(now, limit.per));
            let has_room = own.contains_key(&name) || own.len() < capacity;
            let explained = shard.explain(now, what.key(), limit);
            let admissions = if has_room {
                &mut own.entry(name).or_insert_with(|| (limit, Admissions::default())).1
            } else {
                overflow.entry(what.bucket).or_default()
            };
            let open = admissions.open_at(now, limit.per);
            prop_assert_eq!(explained.used, open.map_or(0, |(_, used)| used));
            let ends = open.map(|(opened, _)| now.until(opened.after(limit.per)));
            prop_assert_eq!(explained.resets_in, ends);
            prop_assert_eq!(explained.overflow, !has_room);
            let answer = shard.admit(now, what.key(), limit).settle(&mut shard);
            prop_assert_eq!(answer, admissions.admit(now, limit));
            prop_assert!(shard.view().windows <= capacity);
        }
    }
}

#[test]
fn a_shard_without_room_for_one_window_keeps_one() {
    assert_eq!(RateShard::new(0).view().capacity, 1);
    let never = Limit { calls: 0, per: ms(100) };
    let refused = Admission::Refused { retry_after: ms(100) };
    let key = ClientKey::sender(Bucket::WebhookSender, "shop", "a");
    assert_eq!(RateShard::new(0).admit(at(5), key, never).answer, refused);
}
