//! What operators read at `/ops`: plain rows, camelCase, times as RFC 3339 in UTC.
//!
//! The console, the dashboard and the drills are clients of these like any other, so a member is
//! added, never renamed (INTERFACE.md §5).

mod alerts;
mod cache;
mod config;
mod control;
mod faults;
mod inbox;
mod snapshot;
mod stream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use alerts::*;
pub use cache::*;
pub use config::*;
pub use control::*;
pub use faults::*;
pub use inbox::*;
pub use snapshot::*;
pub use stream::*;

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// Declares answer types: all are written and read the same way.
macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
            #[serde(rename_all = "camelCase")]
            pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }
        )+
    };
}
use answers;

answers! {
    /// `GET /ops/actors`.
    ActorsAnswer {
        /// When it was looked.
        generated_at: String,
        /// Every actor.
        actors: Vec<ActorRow>,
    }

    /// One actor, seen from outside: reading this asks it nothing.
    ActorRow {
        /// Its name, such as `rate_limiter-0`.
        name: String,
        /// Its status, such as `running`.
        status: String,
        /// Which life this is, counted from 1.
        incarnation: u64,
        /// How often it was restarted, and why.
        restarts: Restarts,
        /// Its last panic, if it ever had one.
        last_panic: Option<LastPanic>,
        /// Messages accepted and not yet answered.
        mailbox_depth: u64,
        /// For how long the oldest of them has waited, in milliseconds; `null` if there is none.
        oldest_work_ms: Option<u64>,
        /// Messages answered since the process began.
        handled: u64,
    }

    /// Restarts of an actor.
    Restarts {
        /// By cause: `decide`, `apply`, `death`, `hang`, `manual`.
        by_cause: BTreeMap<String, u64>,
    }

    /// A panic that was contained.
    LastPanic {
        /// When.
        at: String,
        /// What it said, cut to 200 characters and redacted.
        message: String,
        /// File and line, where known.
        location: Option<String>,
    }
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;
