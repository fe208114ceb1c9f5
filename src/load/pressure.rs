//! How much of a time some task of this host waited for a processor (Linux's pressure stall
//! information; `None` where the kernel does not tell).

use super::clock::Stopwatch;

/// From its start on.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    watch: Stopwatch,
    before_us: Option<u64>,
}

impl Waiting {
    /// Counts from now on.
    pub fn start() -> Self {
        Self { watch: Stopwatch::start(), before_us: total_us() }
    }

    /// Percent of the time until now; none of no time.
    pub fn percent(self) -> Option<f64> {
        let waited_us = total_us()?.checked_sub(self.before_us?)?;
        let us = self.watch.read().as_micros() as f64;
        (us > 0.0).then(|| (waited_us as f64 * 100.0 / us).min(100.0))
    }
}

/// Percent of the last 10 seconds.
pub fn last_10_s() -> Option<f64> {
    field("avg10=")?.parse().ok()
}

fn total_us() -> Option<u64> {
    field("total=")?.parse().ok()
}

/// A value of the line `some` of `/proc/pressure/cpu`.
fn field(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let value = text.lines().next()?.split_once(name)?.1;
    value.split(' ').next().map(str::to_owned)
}
