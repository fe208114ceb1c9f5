//! Injected faults: what is armed, what is leased, and how often it bit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers;

answers! {
    /// `GET /ops/faults`.
    FaultsAnswer {
        /// Faults armed on actors, leased or not.
        faults: Vec<ArmedFault>,
        /// Faults under a lease, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leases: Vec<FaultLease>,
        /// The newest of those that are over, oldest first; their counters stand still.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ended: Vec<FaultLease>,
    }

    /// A fault on the board of one actor.
    ArmedFault {
        /// The actor.
        actor: String,
        /// What strikes it.
        fault: String,
    }

    /// A fault that ends by itself.
    FaultLease {
        /// Its name: `DELETE /ops/faults/{lease}`.
        lease: String,
        /// Which fault.
        fault: String,
        /// What it is on; empty where that is not to choose.
        target: String,
        /// Its numbers.
        params: BTreeMap<String, i64>,
        /// For how long it was leased, in seconds.
        ttl_s: u64,
        /// When it began.
        armed_at: String,
        /// When the server ends it, whoever is gone by then.
        ends_at: String,
        /// How long it has still, in milliseconds.
        left_ms: u64,
        /// How often it has bitten.
        witness: u64,
        /// Why it is over: `deleted`, `cleared` or `ttl`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_by: Option<String>,
    }
}
