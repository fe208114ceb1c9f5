//! What a seed says, in the shapes that a schedule needs.

use sendcat_actors::chance;

/// The same numbers in every run.
#[derive(Debug)]
pub(crate) struct Draws(chance::Draws);

impl Draws {
    pub(crate) fn of(seed: u64) -> Self {
        Self(chance::Draws::of(seed))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, each as often as its weight says.
    pub(crate) fn weighted<'a, T>(&mut self, of: &'a [(u64, T)]) -> &'a T {
        let mut left = self.below(of.iter().map(|(weight, _)| weight).sum());
        for (weight, each) in of {
            if left < *weight {
                return each;
            }
            left -= weight;
        }
        unreachable!("what was drawn lies below the sum of the weights")
    }
}
