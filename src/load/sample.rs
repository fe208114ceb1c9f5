//! What came of one request.

use crate::slo::report::ErrorKind;

/// One arrival from its due time to its end. Times are microseconds since the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which server, by its place among the arms.
    pub arm: u8,
    /// Which stage, from 0.
    pub stage: u16,
    /// Which arrival of the schedule, from 0: samples of a pair have the same.
    pub index: u64,
    /// When it was due.
    pub due_us: u64,
    /// When it was sent; of a dropped arrival, when it was given up.
    pub sent_us: u64,
    /// How long it waited for a free slot: the server's doing.
    pub lag_cap_us: u64,
    /// When the answer was whole, or the request had failed.
    pub end_us: u64,
    /// When the first byte of a stream came.
    pub first_byte_us: Option<u64>,
    /// The longest gap between two chunks of a stream.
    pub gap_us: Option<u64>,
    /// Whether it is a refusal, 429 or 503, that says not when to come again.
    pub bare_refusal: bool,
    /// What came.
    pub result: Received,
}

/// The end of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole answer.
    Status(u16),
    /// None, and why.
    Failed(ErrorKind),
    /// Never sent: no slot became free.
    Dropped,
}

impl Sample {
    /// From when it was due to its end: what a user waits.
    pub fn corrected_us(&self) -> u64 {
        self.end_us.saturating_sub(self.due_us)
    }

    /// From when it was sent to its end.
    pub fn service_us(&self) -> u64 {
        self.end_us.saturating_sub(self.sent_us)
    }

    /// How late it was sent.
    pub fn lag_us(&self) -> u64 {
        self.sent_us.saturating_sub(self.due_us)
    }

    /// The part of the lag that is the generator's own: its timer and its share of a processor.
    pub fn lag_self_us(&self) -> u64 {
        self.lag_us().saturating_sub(self.lag_cap_us)
    }

    /// The status of a whole answer.
    pub fn status(&self) -> Option<u16> {
        match self.result {
            Received::Status(status) => Some(status),
            Received::Failed(_) | Received::Dropped => None,
        }
    }
}
