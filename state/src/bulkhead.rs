//! One provider's bulkhead: at most `capacity` calls in flight, each holding a lease.
//!
//! A lease that is neither renewed nor given back runs out, so a caller that vanishes costs its
//! slot for `lease_ttl` and no longer. The capacity is handed in with each call: lowering it never
//! waits, calls beyond it drain. Where a wait is allowed, callers beyond it stand in a bounded line
//! and get what is given back or lapses, each within its deadline or not at all.
//!
//! Durability: snapshotted; leases and the line are forgotten when the process starts, for their
//! holders died with the one before.
//!
//! # Invariants
//! - BH-1: live leases never exceed the capacity.
//! - BH-2: giving a lease back twice frees one slot.
//! - BH-3: a ticket that has left the line, or is too late, never gets a slot.

mod line;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::LeaseId;
use crate::machine::{Apply, Decision};
use crate::timestamp::Timestamp;
pub use line::{Line, Priority, TicketId, Waiting};
pub use words::{Acquisition, BulkheadView, Lease, LeaseState, LeaseView, Ticket, TicketState};

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
    #[serde(default)]
    next_ticket: u64,
    #[serde(default)]
    line: Line,
    /// Slots granted to tickets whose callers have not picked them up.
    #[serde(default)]
    granted: BTreeMap<TicketId, LeaseId>,
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
    /// A caller joined the line.
    Queued {
        /// Who, how much it matters, since when and until when.
        waiting: Waiting,
        /// Slots that are free go to the line.
        grants: Grants,
    },
    /// A slot granted to a ticket was picked up.
    PickedUp(TicketId),
    /// A ticket left the line, or gave up the slot it was granted.
    Left {
        /// Which.
        ticket: TicketId,
        /// What is free then goes to the line.
        grants: Grants,
    },
    /// A lease was given back.
    Returned {
        /// Which.
        id: LeaseId,
        /// The slot goes to the line.
        grants: Grants,
    },
    /// A lease was renewed.
    Renewed {
        /// Which.
        id: LeaseId,
        /// Its new end.
        ends: Timestamp,
    },
    /// Leases that had run out by then are gone, and tickets that were too late.
    Lapsed {
        /// What is free then goes to the line.
        grants: Grants,
    },
}

/// Under what free slots go to those in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    at: Timestamp,
    capacity: usize,
    /// When a lease granted now runs out.
    ends: Timestamp,
}

impl Grants {
    fn new(at: Timestamp, rules: &BulkheadRules) -> Self {
        Self { at, capacity: rules.capacity, ends: at.after(rules.lease_ttl) }
    }
}

impl Bulkhead {
    /// Decides whether `holder` gets a slot now, or may stand in line for one.
    pub fn acquire(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        (holder, priority): (&str, Priority),
    ) -> Decision<Acquisition, BulkheadChange> {
        let waiting = self.line.live(now);
        // Free slots are first of all those of the line, which may not have got them yet.
        if self.in_flight(now).saturating_add(waiting) < rules.capacity {
            let ends = now.after(rules.lease_ttl);
            let lease = Lease { id: LeaseId(self.next), ends };
            return Decision::new(
                Acquisition::Held(lease),
                BulkheadChange::Taken { holder: holder.into(), since: now, ends },
            );
        }
        let too_long = self.time_for(waiting, rules.capacity) > rules.wait;
        if rules.wait.is_zero() || too_long || waiting >= Line::most(rules.capacity) {
            let retry_after = self.expected_wait(waiting, rules.capacity);
            return Decision::unchanged(Acquisition::Saturated { retry_after });
        }
        let deadline = now.after(rules.wait);
        let ticket = Ticket { id: TicketId(self.next_ticket), deadline };
        let waiting = Waiting { holder: holder.into(), priority, since: now, deadline };
        let grants = Grants::new(now, rules);
        Decision::new(Acquisition::Queued(ticket), BulkheadChange::Queued { waiting, grants })
    }

    /// Hands a ticket's slot over, if its turn has come.
    pub fn pick_up(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        ticket: TicketId,
    ) -> Decision<TicketState, BulkheadChange> {
        if let Some((id, held)) = self.granted_to(ticket).filter(|(_, held)| now < held.ends) {
            let lease = Lease { id, ends: held.ends };
            return Decision::new(TicketState::Granted(lease), BulkheadChange::PickedUp(ticket));
        }
        if self.line.get(now, ticket).is_some() {
            return Decision::unchanged(TicketState::Waiting);
        }
        let retry_after = self.expected_wait(self.line.live(now), rules.capacity);
        Decision::unchanged(TicketState::Gone { retry_after })
    }

    /// Takes a ticket out of the line. One that was granted a slot meanwhile gives it up.
    pub fn leave(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        ticket: TicketId,
    ) -> Decision<(), BulkheadChange> {
        if self.line.holds(ticket) || self.granted.contains_key(&ticket) {
            let grants = Grants::new(now, rules);
            return Decision::new((), BulkheadChange::Left { ticket, grants });
        }
        Decision::unchanged(())
    }

    fn granted_to(&self, ticket: TicketId) -> Option<(LeaseId, &Held)> {
        let id = *self.granted.get(&ticket)?;
        Some((id, self.leases.get(&id)?))
    }

    /// Gives a slot back. A second return, or one after the lease ran out, changes nothing.
    pub fn give_back(
        &self,
        now: Timestamp,
        rules: &BulkheadRules,
        id: LeaseId,
    ) -> Decision<LeaseState, BulkheadChange> {
        match self.leases.get(&id) {
            Some(held) if now < held.ends => {
                let grants = Grants::new(now, rules);
                Decision::new(LeaseState::Live, BulkheadChange::Returned { id, grants })
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

    /// Clears leases that have run out and tickets that are too late, so that operators do not see
    /// the dead, and gives the line what is free.
    pub fn sweep(&self, now: Timestamp, rules: &BulkheadRules) -> Decision<(), BulkheadChange> {
        let lapsed = self.ends.first().is_some_and(|(ends, _)| *ends <= now);
        let free = self.in_flight(now) < rules.capacity && self.line.live(now) > 0;
        if !lapsed && !free && !self.line.has_lapsed(now) {
            return Decision::unchanged(());
        }
        Decision::new((), BulkheadChange::Lapsed { grants: Grants::new(now, rules) })
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
        BulkheadView {
            leases: self.leases.iter().map(lease).collect(),
            waiting: self.line.len(),
            overruns: self.overruns,
        }
    }

    /// Forgets every lease and ticket: their holders died with the process that gave them.
    pub fn forget_leases(&mut self) {
        self.leases.clear();
        self.ends.clear();
        self.line.clear();
        self.granted.clear();
    }

    /// When a slot is likely to be free for one more than wait already.
    fn expected_wait(&self, waiting: usize, capacity: usize) -> Duration {
        self.time_for(waiting.saturating_add(1), capacity).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    /// How long so many calls are likely to take: a held slot's mean life each, shared by all
    /// slots.
    fn time_for(&self, calls: usize, capacity: usize) -> Duration {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let all = self.mean_hold_ms.saturating_mul(count(calls));
        Duration::from_millis(all / count(capacity.max(1)))
    }

    /// Gives free slots to those in line whose turn it is.
    fn grant(&mut self, Grants { at, capacity, ends }: Grants) {
        self.drop_lapsed(at);
        self.line.drop_lapsed(at);
        while self.leases.len() < capacity {
            let Some((ticket, waiting)) = self.line.next(at) else { return };
            let id = self.hold(Held { holder: waiting.holder, since: at, ends });
            self.granted.insert(ticket, id);
        }
    }

    fn hold(&mut self, held: Held) -> LeaseId {
        let id = LeaseId(self.next);
        self.next += 1;
        self.ends.insert((held.ends, id));
        self.leases.insert(id, held);
        id
    }

    fn free(&mut self, id: LeaseId) -> Option<Held> {
        let held = self.leases.remove(&id)?;
        self.ends.remove(&(held.ends, id));
        Some(held)
    }

    fn drop_lapsed(&mut self, by: Timestamp) {
        while let Some((ends, id)) = self.ends.first().copied() {
            if ends > by {
                return;
            }
            self.ends.pop_first();
            self.leases.remove(&id);
            self.granted.retain(|_, granted| *granted != id);
            self.overruns += 1;
        }
    }
}

impl Apply<BulkheadChange> for Bulkhead {
    fn apply(&mut self, change: &BulkheadChange) {
        match change {
            BulkheadChange::Taken { holder, since, ends } => {
                self.drop_lapsed(*since);
                self.hold(Held { holder: holder.clone(), since: *since, ends: *ends });
            }
            BulkheadChange::Queued { waiting, grants } => {
                self.line.join(TicketId(self.next_ticket), waiting.clone());
                self.next_ticket += 1;
                self.grant(*grants);
            }
            BulkheadChange::PickedUp(ticket) => {
                self.granted.remove(ticket);
            }
            BulkheadChange::Left { ticket, grants } => {
                self.line.leave(*ticket);
                if let Some(id) = self.granted.remove(ticket) {
                    self.free(id);
                }
                self.grant(*grants);
            }
            BulkheadChange::Returned { id, grants } => {
                self.granted.retain(|_, granted| granted != id);
                if let Some(held) = self.free(*id) {
                    let held = grants.at.since(held.since).as_millis();
                    let held_ms = u64::try_from(held).unwrap_or(0);
                    // The last eight or so calls weigh: enough to follow a provider that slows.
                    self.mean_hold_ms =
                        self.mean_hold_ms.saturating_mul(7).saturating_add(held_ms) / 8;
                }
                self.grant(*grants);
            }
            BulkheadChange::Renewed { id, ends } => {
                if let Some(held) = self.leases.get_mut(id) {
                    self.ends.remove(&(held.ends, *id));
                    held.ends = *ends;
                    self.ends.insert((*ends, *id));
                }
            }
            BulkheadChange::Lapsed { grants } => self.grant(*grants),
        }
    }
}

#[cfg(test)]
mod tests;
