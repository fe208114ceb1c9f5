//! One provider's bulkhead: at most `capacity` calls in flight, each holding a lease.
//!
//! A lease that is neither renewed nor given back runs out, so a caller that vanishes costs its
//! slot for `lease_ttl` and no longer. The capacity is handed in with each call: lowering it never
//! waits, calls beyond it drain.
//!
//! Durability: snapshotted; leases are forgotten when the process starts, for their holders died
//! with the one before.
//!
//! # Invariants
//! - BH-1: live leases never exceed the capacity.
//! - BH-2: giving a lease back twice frees one slot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::LeaseId;
use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;

/// How many calls may be in flight, and how long a silent one keeps its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadRules {
    /// Calls in flight at most.
    pub capacity: usize,
    /// A lease not renewed for this long runs out.
    pub lease_ttl: Duration,
    /// How long a call may wait in line for a slot; zero refuses at once.
    pub wait: Duration,
}

/// The shortest wait a refusal names: a slot seldom comes back sooner.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait a refusal names: past this the estimate says nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquisition {
    /// The caller holds a slot.
    Held(Lease),
    /// Every slot is taken.
    Saturated {
        /// When one is likely to be free.
        retry_after: Duration,
    },
}

/// A slot that someone holds until it is given back or runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its number; never given twice.
    pub id: LeaseId,
    /// When it runs out unless renewed.
    pub ends: Timestamp,
}

/// One provider's leases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulkhead {
    next: u64,
    leases: BTreeMap<LeaseId, Held>,
    /// The same leases by their end.
    ends: BTreeSet<(Timestamp, LeaseId)>,
    /// How long calls of late have held their slot, in milliseconds.
    mean_hold_ms: u64,
    /// Leases that ran out while someone still meant to hold them.
    overruns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    holder: String,
    since: Timestamp,
    ends: Timestamp,
}

/// What a verb makes of a bulkhead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkheadChange {
    /// A slot was taken; leases that had run out by then are gone.
    Taken {
        /// Who holds it.
        holder: String,
        /// Since when.
        since: Timestamp,
        /// Until when, unless renewed.
        ends: Timestamp,
    },
    /// A lease was given back.
    Returned {
        /// Which.
        id: LeaseId,
        /// When.
        at: Timestamp,
    },
    /// A lease was renewed.
    Renewed {
        /// Which.
        id: LeaseId,
        /// Its new end.
        ends: Timestamp,
    },
    /// Leases that had run out by then are gone.
    Lapsed {
        /// By when.
        by: Timestamp,
    },
}

/// Whether a lease was still there when it was given back or renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It was, and the verb did its work.
    Live,
    /// It had run out or been given back before; nothing changed.
    Gone,
}

/// What operators see of one lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseView {
    /// Its number.
    pub id: LeaseId,
    /// Who holds it.
    pub holder: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless renewed.
    pub ends: Timestamp,
}

/// What operators see of a bulkhead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkheadView {
    /// Leases not given back, oldest first.
    pub leases: Vec<LeaseView>,
    /// Leases that ran out while someone still meant to hold them.
    pub overruns: u64,
}

impl Bulkhead {
    /// Decides whether `holder` gets a slot now.
    pub fn acquire(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        holder: &str,
    ) -> Decision<Acquisition, BulkheadChange> {
        if self.in_flight(now) >= rules.capacity {
            let retry_after = self.expected_wait(rules.capacity);
            return Decision::unchanged(Acquisition::Saturated { retry_after });
        }
        let ends = now.after(rules.lease_ttl);
        let lease = Lease { id: LeaseId(self.next), ends };
        Decision::new(
            Acquisition::Held(lease),
            BulkheadChange::Taken { holder: holder.into(), since: now, ends },
        )
    }

    /// Gives a slot back. A second return, or one after the lease ran out, changes nothing.
    pub fn give_back(&self, now: Timestamp, id: LeaseId) -> Decision<LeaseState, BulkheadChange> {
        match self.leases.get(&id) {
            Some(held) if now < held.ends => {
                Decision::new(LeaseState::Live, BulkheadChange::Returned { id, at: now })
            }
            // One that ran out is left to the sweep, which counts the overrun.
            Some(_) | None => Decision::unchanged(LeaseState::Gone),
        }
    }

    /// Renews a lease that has not run out.
    pub fn renew(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        id: LeaseId,
    ) -> Decision<LeaseState, BulkheadChange> {
        match self.leases.get(&id) {
            Some(held) if now < held.ends => {
                let ends = now.after(rules.lease_ttl);
                Decision::new(LeaseState::Live, BulkheadChange::Renewed { id, ends })
            }
            Some(_) | None => Decision::unchanged(LeaseState::Gone),
        }
    }

    /// Clears leases that have run out, so that operators do not see the dead.
    pub fn sweep(&self, now: Timestamp) -> Decision<(), BulkheadChange> {
        match self.ends.first() {
            Some((ends, _)) if *ends <= now => {
                Decision::new((), BulkheadChange::Lapsed { by: now })
            }
            Some(_) | None => Decision::unchanged(()),
        }
    }

    /// Leases that have not run out.
    pub fn in_flight(&self, now: Timestamp) -> usize {
        let lapsed = self.ends.iter().take_while(|(ends, _)| *ends <= now).count();
        self.leases.len() - lapsed
    }

    /// What operators see.
    pub fn view(&self) -> BulkheadView {
        let lease = |(id, held): (&LeaseId, &Held)| LeaseView {
            id: *id,
            holder: held.holder.clone(),
            since: held.since,
            ends: held.ends,
        };
        BulkheadView { leases: self.leases.iter().map(lease).collect(), overruns: self.overruns }
    }

    /// Forgets every lease: their holders died with the process that gave them.
    pub fn forget_leases(&mut self) {
        self.leases.clear();
        self.ends.clear();
    }

    /// When a slot is likely to come back: a held slot's mean life, shared by all slots.
    fn expected_wait(&self, capacity: usize) -> Duration {
        let slots = u64::try_from(capacity.max(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.mean_hold_ms / slots).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    fn drop_lapsed(&mut self, by: Timestamp) {
        while let Some((ends, id)) = self.ends.first().copied() {
            if ends > by {
                return;
            }
            self.ends.pop_first();
            self.leases.remove(&id);
            self.overruns += 1;
        }
    }
}

impl Apply<BulkheadChange> for Bulkhead {
    fn apply(&mut self, change: &BulkheadChange) {
        match change {
            BulkheadChange::Taken { holder, since, ends } => {
                self.drop_lapsed(*since);
                let id = LeaseId(self.next);
                self.next += 1;
                let held = Held { holder: holder.clone(), since: *since, ends: *ends };
                self.leases.insert(id, held);
                self.ends.insert((*ends, id));
            }
            BulkheadChange::Returned { id, at } => {
                if let Some(held) = self.leases.remove(id) {
                    self.ends.remove(&(held.ends, *id));
                    let held_ms = u64::try_from(at.since(held.since).as_millis()).unwrap_or(0);
                    // The last eight or so calls weigh: enough to follow a provider that slows.
                    self.mean_hold_ms =
                        self.mean_hold_ms.saturating_mul(7).saturating_add(held_ms) / 8;
                }
            }
            BulkheadChange::Renewed { id, ends } => {
                if let Some(held) = self.leases.get_mut(id) {
                    self.ends.remove(&(held.ends, *id));
                    held.ends = *ends;
                    self.ends.insert((*ends, *id));
                }
            }
            BulkheadChange::Lapsed { by } => self.drop_lapsed(*by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_SLOTS: BulkheadRules =
        BulkheadRules { capacity: 2, lease_ttl: Duration::from_millis(30), wait: Duration::ZERO };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn take(bulkhead: &mut Bulkhead, millis: u64) -> Option<LeaseId> {
        match bulkhead.acquire(at(millis), &TWO_SLOTS, "test").settle(bulkhead) {
            Acquisition::Held(lease) => Some(lease.id),
            Acquisition::Saturated { .. } => None,
        }
    }

    #[test]
    fn a_vanished_caller_costs_its_slot_for_one_lease_only() {
        let mut bulkhead = Bulkhead::default();
        let _vanished = take(&mut bulkhead, 0).unwrap();
        let _held = take(&mut bulkhead, 20).unwrap();
        assert_eq!(take(&mut bulkhead, 29), None);
        assert!(take(&mut bulkhead, 30).is_some());
        assert_eq!(bulkhead.view().overruns, 1);
    }

    #[test]
    fn a_slot_given_back_twice_is_one_slot() {
        let mut bulkhead = Bulkhead::default();
        let first = take(&mut bulkhead, 0).unwrap();
        let _second = take(&mut bulkhead, 0).unwrap();
        assert_eq!(bulkhead.give_back(at(1), first).settle(&mut bulkhead), LeaseState::Live);
        assert_eq!(bulkhead.give_back(at(1), first).settle(&mut bulkhead), LeaseState::Gone);
        assert!(take(&mut bulkhead, 1).is_some());
        assert_eq!(take(&mut bulkhead, 1), None);
    }

    #[test]
    fn a_renewed_lease_lives_on_and_one_that_ran_out_cannot_be_renewed() {
        let mut bulkhead = Bulkhead::default();
        let lease = take(&mut bulkhead, 0).unwrap();
        let renew = |bulkhead: &mut Bulkhead, millis| {
            bulkhead.renew(at(millis), &TWO_SLOTS, lease).settle(bulkhead)
        };
        assert_eq!(renew(&mut bulkhead, 29), LeaseState::Live);
        assert_eq!(bulkhead.in_flight(at(58)), 1);
        assert_eq!(renew(&mut bulkhead, 59), LeaseState::Gone);
        bulkhead.sweep(at(59)).settle(&mut bulkhead);
        assert_eq!(bulkhead.view().leases, []);
    }

    #[test]
    fn a_lease_that_ran_out_is_not_there_to_give_back() {
        let mut bulkhead = Bulkhead::default();
        let lease = take(&mut bulkhead, 0).unwrap();
        assert_eq!(bulkhead.give_back(at(30), lease).settle(&mut bulkhead), LeaseState::Gone);
        bulkhead.sweep(at(30)).settle(&mut bulkhead);
        assert_eq!(bulkhead.view().overruns, 1, "whoever held it too long is counted");
    }

    #[test]
    fn lowering_the_capacity_lets_calls_in_flight_drain() {
        let mut bulkhead = Bulkhead::default();
        let first = take(&mut bulkhead, 0).unwrap();
        let _second = take(&mut bulkhead, 0).unwrap();
        let one_slot = BulkheadRules { capacity: 1, ..TWO_SLOTS };
        let full = |bulkhead: &Bulkhead| {
            matches!(
                bulkhead.acquire(at(1), &one_slot, "test").answer,
                Acquisition::Saturated { .. }
            )
        };
        assert!(full(&bulkhead));
        bulkhead.give_back(at(1), first).settle(&mut bulkhead);
        assert!(full(&bulkhead), "one is still in flight");
    }
}
