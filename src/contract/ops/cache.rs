//! What tools found before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers;

answers! {
    /// `GET /ops/cache`.
    CacheAnswer {
        /// When it was looked.
        generated_at: String,
        /// What all results cost, in bytes.
        bytes: u64,
        /// What they may cost at most.
        max_bytes: u64,
        /// Look-ups that found something since the process began.
        hits: u64,
        /// Look-ups that did not.
        misses: u64,
        /// Every namespace that holds something or is in force.
        namespaces: BTreeMap<String, CacheNamespace>,
    }

    /// What a namespace of the cache holds.
    CacheNamespace {
        /// Whether new results go there.
        in_force: bool,
        /// Results that hold.
        entries: u64,
        /// What they cost.
        bytes: u64,
        /// Age of the oldest of them; `null` if there is none.
        oldest_age_ms: Option<u64>,
    }

    /// `DELETE /ops/cache/{namespace}`.
    CacheCleared {
        /// Results that held until then.
        cleared: u64,
    }
}
