//! Numbers from a seed that is printed, and counts that can be raised by hand.

use sendcat_actors::chance::Draws;

/// See the module.
pub(crate) struct Random(Draws);

impl Random {
    /// From the seed in `SEED`, or from one of its own, which is printed: the moments of a run can
    /// be had again, what the machine does with them cannot.
    pub(crate) fn seeded() -> Self {
        let seed = by_hand("SEED").unwrap_or_else(|| getrandom::u64().unwrap());
        eprintln!("SEED={seed}");
        Self(Draws::of(seed))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }
}

/// How often something is to be done: as the environment says, or so many times.
pub(crate) fn times(name: &str, unless_told: u64) -> u64 {
    by_hand(name).unwrap_or(unless_told)
}

#[expect(clippy::disallowed_methods, reason = "whoever runs a test by hand says how long by it")]
fn by_hand(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
