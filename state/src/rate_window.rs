//! One key's fixed window.
use std::time::Duration;
use serde::{Deserialize, Serialize};

/// How many calls a window admits, and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Calls a window admits.
    pub calls: u64,
    /// How long a window stays open after its first call.
    pub per: Duration,
}
