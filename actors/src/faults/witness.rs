//! What a lease of a fault knows: how often it bit, and whether it is over.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared by whoever leases a fault and wherever it strikes.
#[derive(Debug, Default)]
pub struct Witness {
    struck: Arc<AtomicU64>,
    ended: AtomicBool,
    marked: OnceLock<u128>,
}

impl Witness {
    /// How often the fault has struck.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Acquire)
    }

    /// The counter itself, for faults that strike in another room.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.struck)
    }

    /// Counts a strike.
    pub fn count(&self) {
        self.struck.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends every fault that was armed under it, for good.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether that is the one number that the fault is for: the first it was asked about.
    pub(crate) fn marks(&self, number: u128) -> bool {
        *self.marked.get_or_init(|| number) == number
    }
}
