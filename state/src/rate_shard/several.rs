//! One call under several limits: counted under all of them or under none.
//!
//! A shard decides the keys it holds in one step. Keys of other shards are asked one after the
//! other, and what was counted before a refusal is given back by its [`Receipt`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Place, RateShard, ShardCounted};
use crate::key::ClientKey;
use crate::machine::{Apply, Decision};
use crate::rate_window::{Admission, Limit};
use crate::timestamp::Timestamp;

/// Which call was counted where; it can be given back as long as that window is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose call.
    pub key: ClientKey,
    /// When the window that counts it was opened.
    opened: Timestamp,
    in_overflow: bool,
}

/// A call counted under one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedCall {
    /// Calls left in the window.
    pub left: u64,
    /// How long until it ends.
    pub resets_in: Duration,
    /// With what the call is given back.
    pub receipt: Receipt,
}

/// What a caller under several limits is told by one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardAdmission {
    /// Counted under every limit, in their order.
    Admitted(Vec<CountedCall>),
    /// Refused by the limit in that place, and counted under none.
    Refused {
        /// Which of the limits, counted from 0.
        policy: usize,
        /// How long until its window ends.
        retry_after: Duration,
        /// Until when every call of that key under that limit is refused; `None` if it may not be.
        holds_until: Option<Timestamp>,
    },
    /// The shard is short of room, or a key stands twice: what one limit decides may change what
    /// the next one does, so they are to be asked one after the other. Counted under none.
    OneByOne,
}

/// What a verb makes of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShardChange {
    /// A call was counted.
    Counted(ShardCounted),
    /// A call was counted under several limits.
    CountedAll(Vec<ShardCounted>),
    /// These calls were given back.
    GivenBack(Vec<Receipt>),
}

impl RateShard {
    /// Decides one call under several limits, all of whose keys are of this shard.
    pub fn admit_all(
        &self,
        now: Timestamp,
        policies: &[(ClientKey, Limit)],
    ) -> Decision<ShardAdmission, ShardChange> {
        if policies.len() > 1 && !self.are_apart(policies) {
            return Decision::unchanged(ShardAdmission::OneByOne);
        }
        let mut calls = Vec::with_capacity(policies.len());
        let mut changes = Vec::with_capacity(policies.len());
        for (policy, (key, limit)) in policies.iter().enumerate() {
            let Decision { answer, change, .. } = self.admit(now, *key, *limit);
            match (answer, change) {
                (Admission::Admitted { left, resets_in }, Some(counted)) => {
                    let in_overflow = counted.place == Place::Overflow;
                    let opened = counted.counted.opened;
                    let receipt = Receipt { key: *key, opened, in_overflow };
                    calls.push(CountedCall { left, resets_in, receipt });
                    changes.push(counted);
                }
                (Admission::Admitted { .. }, None) => unreachable!("an admission is counted"),
                (Admission::Refused { retry_after }, _) => {
                    let holds_until = self.holds_until(now, *key, *limit, retry_after);
                    let refused = ShardAdmission::Refused { policy, retry_after, holds_until };
                    return Decision::unchanged(refused);
                }
            }
        }
        Decision::new(ShardAdmission::Admitted(calls), ShardChange::CountedAll(changes))
    }

    /// Gives calls back whose windows are still those that counted them.
    pub fn give_back(&self, receipts: &[Receipt]) -> Decision<(), ShardChange> {
        let there: Vec<_> =
            receipts.iter().copied().filter(|receipt| self.still_counts(receipt)).collect();
        if there.is_empty() {
            return Decision::unchanged(());
        }
        Decision::new((), ShardChange::GivenBack(there))
    }

    /// Until when a refusal holds for every call of that key under that limit. One of the overflow
    /// window may not: an ended window may make room for the key before.
    pub fn holds_until(
        &self,
        now: Timestamp,
        key: ClientKey,
        limit: Limit,
        retry_after: Duration,
    ) -> Option<Timestamp> {
        let has_its_own = limit.calls > 0 && self.windows.contains_key(&key.hash);
        has_its_own.then(|| now.after(retry_after))
    }

    /// Whether no decision on one of these keys bears on another.
    fn are_apart(&self, policies: &[(ClientKey, Limit)]) -> bool {
        let is_new = |(key, _): &&(ClientKey, Limit)| !self.windows.contains_key(&key.hash);
        let new = policies.iter().filter(is_new).count();
        let twice = |place: usize| {
            policies[..place].iter().any(|(key, _)| key.hash == policies[place].0.hash)
        };
        self.windows.len() + new <= self.capacity && !(0..policies.len()).any(twice)
    }

    fn still_counts(&self, receipt: &Receipt) -> bool {
        let window = if receipt.in_overflow {
            Some(self.overflow[receipt.key.bucket.index()])
        } else {
            self.windows.get(&receipt.key.hash).map(|kept| kept.window)
        };
        window.is_some_and(|window| window.counts_one_of(receipt.opened))
    }

    fn uncount(&mut self, receipt: &Receipt) {
        if !self.still_counts(receipt) {
            return;
        }
        let bucket = receipt.key.bucket.index();
        if receipt.in_overflow {
            self.overflow[bucket].uncount();
            return;
        }
        if let Some(kept) = self.windows.get_mut(&receipt.key.hash) {
            kept.window.uncount();
            // A window without a call is not open; left here it would take up another's room.
            if kept.window.used() == 0 {
                self.windows.remove(&receipt.key.hash);
                // It opened a moment ago, so it stands near the end.
                let openings = &mut self.openings[bucket];
                let opening = (receipt.opened, receipt.key.hash);
                if let Some(place) = openings.iter().rposition(|each| *each == opening) {
                    openings.remove(place);
                }
            }
        }
    }
}

impl Apply<ShardChange> for RateShard {
    fn apply(&mut self, change: &ShardChange) {
        match change {
            ShardChange::Counted(counted) => self.apply(counted),
            ShardChange::CountedAll(all) => all.iter().for_each(|counted| self.apply(counted)),
            ShardChange::GivenBack(receipts) => {
                receipts.iter().for_each(|receipt| self.uncount(receipt));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Bucket;

    const PER: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn policy(name: &str, calls: u64) -> (ClientKey, Limit) {
        (ClientKey::session(Bucket::ChatStream, name), Limit { calls, per: PER })
    }

    fn receipts(admission: ShardAdmission) -> Vec<Receipt> {
        let ShardAdmission::Admitted(calls) = admission else { panic!("{admission:?}") };
        calls.into_iter().map(|call| call.receipt).collect()
    }

    fn used(shard: &RateShard, millis: u64, (key, limit): (ClientKey, Limit)) -> u64 {
        shard.explain(at(millis), key, limit).used
    }

    #[test]
    fn a_call_that_one_limit_refuses_is_counted_under_none() {
        let mut shard = RateShard::new(10);
        let (wide, narrow) = (policy("wide", 9), policy("narrow", 1));
        let _ = shard.admit_all(at(0), &[wide, narrow]).settle(&mut shard);
        let refused = shard.admit_all(at(400), &[wide, narrow]);
        assert_eq!(refused.change, None);
        let names_it = ShardAdmission::Refused {
            policy: 1,
            retry_after: Duration::from_millis(600),
            holds_until: Some(at(1000)),
        };
        assert_eq!(refused.answer, names_it);
        assert_eq!((used(&shard, 400, wide), used(&shard, 400, narrow)), (1, 1));
    }

    #[test]
    fn a_call_given_back_is_as_one_that_was_never_made() {
        let mut shard = RateShard::new(10);
        let one = policy("one", 2);
        let first = receipts(shard.admit_all(at(0), &[one]).settle(&mut shard));
        let _ = shard.admit_all(at(1), &[one]).settle(&mut shard);
        shard.give_back(&first).settle(&mut shard);
        assert_eq!(used(&shard, 1, one), 1);
        let last = receipts(shard.admit_all(at(2), &[one]).settle(&mut shard));
        shard.give_back(&last).settle(&mut shard);
        shard.give_back(&last).settle(&mut shard);
        assert_eq!(shard.view().windows, 0, "nothing is left of it");
    }

    #[test]
    fn a_call_is_not_given_back_to_a_later_window() {
        let mut shard = RateShard::new(10);
        let one = policy("one", 2);
        let old = receipts(shard.admit_all(at(0), &[one]).settle(&mut shard));
        let _ = shard.admit_all(at(1000), &[one]).settle(&mut shard);
        assert_eq!(shard.give_back(&old).change, None);
        assert_eq!(used(&shard, 1000, one), 1);
    }

    #[test]
    fn what_bears_on_one_another_is_asked_one_by_one() {
        let mut shard = RateShard::new(1);
        let both = [policy("a", 1), policy("b", 1)];
        assert_eq!(shard.admit_all(at(0), &both).answer, ShardAdmission::OneByOne);
        let twice = [policy("a", 1), policy("a", 1)];
        assert_eq!(shard.admit_all(at(0), &twice).answer, ShardAdmission::OneByOne);
        let _ = shard.admit_all(at(0), &both[..1]).settle(&mut shard);
        let shared = receipts(shard.admit_all(at(0), &both[1..]).settle(&mut shard));
        let full = shard.admit_all(at(0), &both[1..]).answer;
        let holds_until = None;
        let refused = ShardAdmission::Refused { policy: 0, retry_after: PER, holds_until };
        assert_eq!(full, refused, "the overflow window is full");
        shard.give_back(&shared).settle(&mut shard);
        let _again = receipts(shard.admit_all(at(0), &both[1..]).settle(&mut shard));
    }
}
