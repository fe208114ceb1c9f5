//! Calls under several limits, and calls given back, against windows that list their calls.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sendcat_state::key::{Bucket, ClientKey};
use sendcat_state::machine::Decision;
use sendcat_state::rate_shard::{RateShard, Receipt, ShardAdmission, ShardChange};
use sendcat_state::rate_window::Limit;
use sendcat_state::timestamp::Timestamp;

use super::super::{Driven, Timed, cases, timed};
use super::{Call, calls};

/// What callers do.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// One call, under all of these.
    Admit(Vec<Call>),
    /// Gives back a call, counted back from the newest; each is given back once.
    GiveBack { back: usize },
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => prop::collection::vec(calls(5), 1..4).prop_map(Ask::Admit),
        2 => (0..4_usize).prop_map(|back| Ask::GiveBack { back }),
    ]
}

fn policies(calls: &[Call]) -> Vec<(ClientKey, Limit)> {
    calls.iter().map(|call| (call.key(), call.limit())).collect()
}

/// Takes one of them out.
fn take<T>(from: &mut Vec<T>, back: usize) -> Option<T> {
    let place = from.len().checked_sub(1 + back % from.len().max(1))?;
    Some(from.remove(place))
}

impl Driven for RateShard {
    type Command = Ask;
    type Change = ShardChange;
    type Memory = Vec<Receipt>;

    fn fresh() -> Self {
        Self::new(3)
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ask>>> {
        timed(asks(), 80, 80)
    }

    fn decide(
        &self,
        receipts: &mut Vec<Receipt>,
        command: &Timed<Ask>,
    ) -> Decision<String, ShardChange> {
        match &command.what {
            Ask::Admit(calls) => {
                let decision = self.admit_all(command.now, &policies(calls));
                if let ShardAdmission::Admitted(counted) = &decision.answer {
                    receipts.extend(counted.iter().map(|call| call.receipt));
                }
                decision.map(|answer| format!("{answer:?}"))
            }
            Ask::GiveBack { back } => match take(receipts, *back) {
                Some(receipt) => self.give_back(&[receipt]).map(|()| "given back".into()),
                None => Decision::unchanged("nothing to give back".into()),
            },
        }
    }
}

/// A window that lists the calls it has admitted.
#[derive(Clone, Debug)]
struct Listed {
    ends: Timestamp,
    calls: Vec<u64>,
}

impl Listed {
    fn is_open(&self, now: Timestamp) -> bool {
        !self.calls.is_empty() && now < self.ends
    }
}

/// Where a call is listed: in its key's own window, or in its bucket's.
type Place = (Bucket, Option<u8>);

/// A shard as one would explain it to somebody.
#[derive(Clone, Debug, Default)]
struct Account {
    capacity: usize,
    windows: BTreeMap<Place, Listed>,
    next_call: u64,
}

impl Account {
    fn place(&self, now: Timestamp, call: &Call) -> Place {
        let own = (call.bucket, Some(call.caller));
        let is_own = |(place, window): &(&Place, &Listed)| place.1.is_some() && window.is_open(now);
        let open: Vec<_> = self.windows.iter().filter(is_own).map(|(place, _)| *place).collect();
        let has_room = open.contains(&own) || open.len() < self.capacity;
        if has_room { own } else { (call.bucket, None) }
    }

    /// Calls left, or how long to wait; and where the call was listed.
    fn admit(&mut self, now: Timestamp, call: &Call) -> Result<(u64, (Place, u64)), Duration> {
        let place = self.place(now, call);
        let fresh = Listed { ends: now.after(call.limit().per), calls: Vec::new() };
        let window = self.windows.entry(place).or_insert_with(|| fresh.clone());
        if !window.is_open(now) {
            *window = fresh;
        }
        if window.calls.len() as u64 >= call.calls {
            return Err(now.until(window.ends));
        }
        self.next_call += 1;
        window.calls.push(self.next_call);
        Ok((call.calls - window.calls.len() as u64, (place, self.next_call)))
    }

    fn give_back(&mut self, (place, call): (Place, u64)) {
        if let Some(window) = self.windows.get_mut(&place) {
            window.calls.retain(|listed| *listed != call);
        }
    }

    fn used(&self, now: Timestamp, call: &Call) -> u64 {
        let window = self.windows.get(&self.place(now, call)).filter(|open| open.is_open(now));
        window.map_or(0, |window| window.calls.len() as u64)
    }
}

/// As the handle asks: in one step where the shard can, else one by one, giving back what was
/// counted before a refusal.
fn admit_all(
    shard: &mut RateShard,
    now: Timestamp,
    calls: &[Call],
) -> Result<Vec<(u64, Receipt)>, (usize, Duration)> {
    let all = policies(calls);
    let mut counted = Vec::new();
    match shard.admit_all(now, &all).settle(shard) {
        ShardAdmission::Admitted(calls) => counted = calls,
        ShardAdmission::Refused { policy, retry_after, .. } => return Err((policy, retry_after)),
        ShardAdmission::OneByOne => {
            for (place, one) in all.iter().enumerate() {
                match shard.admit_all(now, &[*one]).settle(shard) {
                    ShardAdmission::Admitted(calls) => counted.extend(calls),
                    ShardAdmission::Refused { retry_after, .. } => {
                        for call in &counted {
                            shard.give_back(&[call.receipt]).settle(shard);
                        }
                        return Err((place, retry_after));
                    }
                    ShardAdmission::OneByOne => panic!("a limit alone is decided"),
                }
            }
        }
    }
    Ok(counted.into_iter().map(|call| (call.left, call.receipt)).collect())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn rw1_a_window_never_admits_more_than_its_limit_while_calls_are_given_back(
        asks in RateShard::commands(),
        capacity in 1..6_usize,
    ) {
        let mut shard = RateShard::new(capacity);
        let mut account = Account { capacity, ..Account::default() };
        let mut counted = Vec::new();
        for Timed { now, what } in asks {
            match what {
                Ask::Admit(calls) => {
                    let before = account.clone();
                    let mut listed = Vec::new();
                    let refused = calls.iter().enumerate().find_map(|(place, call)| {
                        match account.admit(now, call) {
                            Ok(one) => { listed.push(one); None }
                            Err(wait) => Some((place, wait)),
                        }
                    });
                    match (admit_all(&mut shard, now, &calls), refused) {
                        (Ok(real), None) => {
                            let left: Vec<_> = real.iter().map(|(left, _)| *left).collect();
                            let of_account: Vec<_> = listed.iter().map(|(left, _)| *left).collect();
                            prop_assert_eq!(left, of_account);
                            let receipts = real.into_iter().map(|(_, receipt)| receipt);
                            counted.extend(receipts.zip(listed.into_iter().map(|one| one.1)));
                        }
                        (Err(real), Some(refused)) => {
                            prop_assert_eq!(real, refused);
                            // A refused call leaves every count as it was.
                            account = before;
                        }
                        (real, refused) => prop_assert!(false, "{:?}, not {:?}", real, refused),
                    }
                }
                Ask::GiveBack { back } => {
                    let Some((receipt, listed)) = take(&mut counted, back) else { continue };
                    shard.give_back(&[receipt]).settle(&mut shard);
                    account.give_back(listed);
                }
            }
            prop_assert!(shard.view().windows <= capacity);
            for bucket in [Bucket::ChatStream, Bucket::AnonIp] {
                for caller in 0..5 {
                    let call = Call { bucket, caller, calls: 2 };
                    let used = shard.explain(now, call.key(), call.limit()).used;
                    prop_assert_eq!(used, account.used(now, &call));
                }
            }
        }
    }

    #[test]
    fn rw2_a_call_that_one_of_several_limits_refuses_changes_nothing(
        asks in RateShard::commands(),
    ) {
        let (mut shard, mut receipts) = (RateShard::fresh(), Vec::new());
        for ask in asks {
            let Ask::Admit(calls) = &ask.what else { continue };
            let decision = shard.admit_all(ask.now, &policies(calls));
            let is_counted = matches!(decision.answer, ShardAdmission::Admitted(_));
            prop_assert_eq!(decision.change.is_some(), is_counted);
            shard.turn(&mut receipts, &ask);
        }
    }
}
