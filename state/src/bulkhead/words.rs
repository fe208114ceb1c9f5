//! The words of a bulkhead: what callers are told, and what operators see of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TicketId;
use crate::key::LeaseId;
use crate::timestamp::Timestamp;

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquisition {
    /// The caller holds a slot.
    Held(Lease),
    /// The caller stands in line; it asks for its slot by
    /// [`Bulkhead::pick_up`](super::Bulkhead::pick_up).
    Queued(Ticket),
    /// Every slot is taken, and the line is full or would take too long.
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

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its number; never given twice.
    pub id: TicketId,
    /// From when on it gets no slot.
    pub deadline: Timestamp,
}

/// What has become of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketState {
    /// Its turn has come: the caller holds a slot.
    Granted(Lease),
    /// It is in line.
    Waiting,
    /// It left, was too late, or its slot has lapsed.
    Gone {
        /// When a slot is likely to be free.
        retry_after: Duration,
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
    /// Callers in line.
    pub waiting: usize,
    /// Leases that ran out while someone still meant to hold them.
    pub overruns: u64,
}
