//! What `GET /ops/stream` has besides the snapshot: who reads, and how the process stands.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers;

/// The event that opens a stream: what its reader may do.
pub const ACCESS_EVENT: &str = "access";
/// The event that carries a whole snapshot.
pub const SNAPSHOT_EVENT: &str = "snapshot";
/// The event that carries the sections of a snapshot that have changed, each of them whole.
pub const DELTA_EVENT: &str = "delta";
/// The event after which nothing comes.
pub const END_EVENT: &str = "end";
/// The section that the stream adds to a snapshot.
pub const PROCESS_SECTION: &str = "process";

answers! {
    /// What a reader of the stream may do.
    StreamAccess {
        /// `operate` with `OPS_TOKEN`, `read` with `OPS_READ_TOKEN`.
        access: String,
    }

    /// Why a stream ends.
    StreamEnd {
        /// `draining`: the process is about to end.
        reason: String,
    }

    /// The process itself.
    ProcessSection {
        /// The release that runs.
        version: String,
        /// When the process began.
        started_at: String,
        /// `ok`, `degraded` or `unready`, as `/readyz` says.
        status: String,
        /// Why it is not `ok`, as `/readyz` says.
        reasons: Vec<String>,
    }
}
