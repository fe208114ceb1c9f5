//! Who waits for a slot, and whose turn it is.
//!
//! Within a class whoever came first is first. Between classes a wait weighs by its class, so that
//! one of the lowest class waits at most three times as long as one of the highest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// The longest line, however many slots there are.
const LONGEST: usize = 1024;

/// Tickets for each slot at most.
const PER_SLOT: usize = 4;

/// How much a call matters to whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody looks at the screen.
    Interactive,
    /// Somebody wrote and expects an answer some time.
    Reply,
    /// A tool's work in the background.
    Tool,
}

impl Priority {
    /// Every one, the highest first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Reply, Self::Tool];

    /// What a moment of waiting weighs.
    const fn weight(self) -> u64 {
        match self {
            Self::Interactive => 3,
            Self::Reply => 2,
            Self::Tool => 1,
        }
    }
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketId(pub u64);

/// What a ticket stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who waits.
    pub holder: String,
    /// How much it matters.
    pub priority: Priority,
    /// Since when.
    pub since: Timestamp,
    /// From when on it is too late.
    pub deadline: Timestamp,
}

/// The tickets that have no slot yet, in the order they were given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    tickets: BTreeMap<TicketId, Waiting>,
}

impl Line {
    /// How many tickets are not too late at `now`.
    pub fn live(&self, now: Timestamp) -> usize {
        self.tickets.values().filter(|waiting| now < waiting.deadline).count()
    }

    /// Tickets in line, those that are too late included until they are swept.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// How many may wait for so many slots.
    pub fn most(capacity: usize) -> usize {
        capacity.saturating_mul(PER_SLOT).min(LONGEST)
    }

    /// The ticket, unless it is too late for it.
    pub fn get(&self, now: Timestamp, ticket: TicketId) -> Option<&Waiting> {
        self.tickets.get(&ticket).filter(|waiting| now < waiting.deadline)
    }

    /// Whether the ticket is in line, too late or not.
    pub fn holds(&self, ticket: TicketId) -> bool {
        self.tickets.contains_key(&ticket)
    }

    /// Whether some ticket is too late.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        self.tickets.values().any(|waiting| waiting.deadline <= now)
    }

    pub(super) fn join(&mut self, ticket: TicketId, waiting: Waiting) {
        self.tickets.insert(ticket, waiting);
    }

    pub(super) fn leave(&mut self, ticket: TicketId) {
        self.tickets.remove(&ticket);
    }

    pub(super) fn drop_lapsed(&mut self, by: Timestamp) {
        self.tickets.retain(|_, waiting| by < waiting.deadline);
    }

    pub(super) fn clear(&mut self) {
        self.tickets.clear();
    }

    /// Takes out the ticket whose turn it is.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(TicketId, Waiting)> {
        let live = self.tickets.iter().filter(|(_, waiting)| now < waiting.deadline);
        let weighed = live.map(|(ticket, waiting)| {
            let waited = u64::try_from(now.since(waiting.since).as_millis()).unwrap_or(u64::MAX);
            let weight = waited.saturating_mul(waiting.priority.weight());
            (std::cmp::Reverse(weight), waiting.priority, *ticket)
        });
        let (_, _, ticket) = weighed.min()?;
        self.tickets.remove(&ticket).map(|waiting| (ticket, waiting))
    }
}
