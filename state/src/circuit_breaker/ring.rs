//! Calls of the last ten seconds, in ten cells of one second each.
//!
//! A cell is reused when its second comes round again, so nothing has to be cleared by a timer. The
//! seconds are whole ones of the clock: what is counted reaches back nine to ten seconds.

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// Cells of the ring.
const CELLS: u64 = 10;

/// How much time one cell holds.
const CELL_MS: u64 = 1000;

/// What a call that told something said about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// It worked.
    Worked,
    /// It worked, but was slow.
    Slow,
    /// It failed.
    Failed,
}

/// Calls of one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow.
    pub slow: u32,
}

impl Tally {
    /// This one and another call.
    #[must_use]
    pub const fn with(self, heard: Heard) -> Self {
        let Self { calls, failed, slow } = self;
        let (more_failed, more_slow) = match heard {
            Heard::Worked => (0, 0),
            Heard::Slow => (0, 1),
            Heard::Failed => (1, 0),
        };
        Self {
            calls: calls.saturating_add(1),
            failed: failed.saturating_add(more_failed),
            slow: slow.saturating_add(more_slow),
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failed: self.failed.saturating_add(other.failed),
            slow: self.slow.saturating_add(other.slow),
        }
    }
}

/// One second's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cell {
    /// Which second, since the epoch.
    second: u64,
    tally: Tally,
}

/// The calls of late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    cells: [Cell; CELLS as usize],
}

impl Ring {
    /// What was counted within the ring's reach of `now`.
    pub fn tally(&self, now: Timestamp) -> Tally {
        let second = now.as_millis() / CELL_MS;
        let within = |cell: &&Cell| cell.second <= second && second - cell.second < CELLS;
        let tallies = self.cells.iter().filter(within).map(|cell| cell.tally);
        tallies.fold(Tally::default(), Tally::and)
    }

    /// Counts a call.
    pub fn count(&mut self, at: Timestamp, heard: Heard) {
        let second = at.as_millis() / CELL_MS;
        let cell = &mut self.cells[usize::try_from(second % CELLS).expect("ten fits")];
        if cell.second != second {
            *cell = Cell { second, tally: Tally::default() };
        }
        cell.tally = cell.tally.with(heard);
    }

    /// Forgets every call.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn calls_are_counted_for_nine_to_ten_seconds() {
        let mut ring = Ring::default();
        ring.count(at(1_999), Heard::Failed);
        ring.count(at(2_000), Heard::Slow);
        let both = Tally { calls: 2, failed: 1, slow: 1 };
        assert_eq!(ring.tally(at(10_999)), both);
        assert_eq!(ring.tally(at(11_000)), Tally { calls: 1, failed: 0, slow: 1 });
        assert_eq!(ring.tally(at(12_000)), Tally::default());
    }

    #[test]
    fn a_cell_whose_second_comes_round_again_starts_anew() {
        let mut ring = Ring::default();
        ring.count(at(500), Heard::Failed);
        ring.count(at(10_500), Heard::Worked);
        assert_eq!(ring.tally(at(10_500)), Tally { calls: 1, failed: 0, slow: 0 });
    }
}
