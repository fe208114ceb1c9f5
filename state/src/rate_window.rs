//! One key's fixed window.
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many calls a window admits, and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Calls a window admits.
    pub calls: u64,
    /// How long a window stays open after its first call.
    pub per: Duration,
}
