//! What this run would have caught: the minimum detectable effect for its own number of requests
//! and its own noise (OPERATIONS.md §5.4, step 6).
//!
//! The noise is each block's observed difference with its sign as a fair coin, which is what "same
//! server" means to the test; upon it come requests that turn bad at a rate. A failure needs both
//! a rejection and an effect past the margin; both come of the same requests, so their chance
//! together is taken as the lesser one's. Signs and sums over a hundred blocks are taken as
//! normal. Simulated runs hold what comes of it against what the judge really catches.

use super::metrics::{METRICS, Measured, RATES, measure};
use super::{Block, Ended, Look, Pair, Row, Sample, Unit};
use crate::slo::policy::CanaryPolicy;
use crate::slo::stats::{normal, signs_to_reject};

/// Halvings of the rate: to a thousandth of it, where people read two digits.
const STEPS: u32 = 16;

/// Fills in what the rows of rates would have caught, each tested at `level`: that of Holm's first
/// step, for no other row need be rejected before it.
pub(super) fn detectable(measured: &mut Measured, policy: &CanaryPolicy, level: f64) {
    for at in RATES {
        let margin = measured.rows[at].margin.max_delta;
        // Of what is slow already, and of what stays quick all the same, no more can be seen.
        let share = if at == RATES[0] { measured.slowable } else { 1.0 };
        let mut noise = Noise::of(measured, at, level);
        let caught = |rate: f64| noise.caught(rate * share, margin) >= policy.detect.probability;
        measured.rows[at].detectable = smallest(caught);
    }
}

/// The smallest rate that is caught, `None` if not even every request would be.
fn smallest(mut caught: impl FnMut(f64) -> bool) -> Option<f64> {
    if !caught(1.0) {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        // Rates differ by their magnitude: halved as such until the lower end is found.
        let middle = if low == 0.0 { high / 4.0 } else { f64::sqrt(low * high) };
        if caught(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// One metric's noise in this run.
struct Noise {
    /// How many blocks differed by so many.
    blocks_by_size: Vec<u64>,
    block_requests: u64,
    requests: f64,
    /// Requests that are not bad yet.
    good: f64,
    squares: f64,
    level: f64,
    /// Positive signs needed beside so many negative ones, as they are asked for.
    needed: Vec<Option<u64>>,
}

impl Noise {
    fn of(measured: &Measured, at: usize, level: f64) -> Self {
        let blocks = &measured.blocks;
        let mut blocks_by_size = Vec::new();
        let (mut squares, mut bad) = (0.0, 0);
        for [control, candidate] in blocks {
            let size = control[at].abs_diff(candidate[at]) as usize;
            if blocks_by_size.len() <= size {
                blocks_by_size.resize(size + 1, 0);
            }
            blocks_by_size[size] += 1;
            squares += (size * size) as f64;
            bad += u64::from(control[at] + candidate[at]);
        }
        let block_requests = measured.samples / (blocks.len() as u64).max(1);
        let requests = measured.samples as f64;
        let good = (1.0 - bad as f64 / (2.0 * requests).max(1.0)).max(0.0);
        Self { blocks_by_size, block_requests, requests, good, squares, level, needed: Vec::new() }
    }

    /// The chance that a rate of requests that turn bad fails the candidate.
    fn caught(&mut self, rate: f64, margin: f64) -> f64 {
        let rate = rate * self.good;
        let spread = (self.squares + self.requests * rate * (1.0 - rate)).sqrt();
        let past = (self.requests * (rate - margin)) / spread.max(1e-9);
        self.rejected(rate).min(normal(past))
    }

    /// The chance that the test of signs rejects.
    fn rejected(&mut self, rate: f64) -> f64 {
        let (mut ups, mut downs) = (0.0, 0.0);
        let (mut up_spread, mut down_spread, mut shared) = (0.0, 0.0, 0.0);
        let mut added = Binomial::new(self.block_requests, rate);
        for (size, blocks) in self.blocks_by_size.iter().enumerate() {
            let (fewer, equal) = added.next();
            let more = (1.0 - fewer - equal).max(0.0);
            // The coin leaves the difference up, or turns it down and what was added outweighs it.
            let (up, down) = if size == 0 { (more, 0.0) } else { (0.5 + 0.5 * more, 0.5 * fewer) };
            let blocks = *blocks as f64;
            ups += blocks * up;
            downs += blocks * down;
            up_spread += blocks * up * (1.0 - up);
            down_spread += blocks * down * (1.0 - down);
            shared += blocks * up * down;
        }
        // The more go down, the more must go up: its slope, where it will be.
        let below = downs.floor();
        let [low, high] = [below, below + 1.0].map(|at| self.needed(at as u64) as f64);
        let slope = high - low;
        let needed = low + slope * (downs - below);
        let spread = (up_spread + slope * slope * down_spread + 2.0 * slope * shared).sqrt();
        normal((ups - needed + 0.5) / spread.max(1e-9))
    }

    fn needed(&mut self, negative: u64) -> u64 {
        let at = negative as usize;
        if self.needed.len() <= at {
            self.needed.resize(at + 1, None);
        }
        *self.needed[at].get_or_insert_with(|| signs_to_reject(negative, self.level))
    }
}

/// Chances of fewer than, and of just, 0, 1, 2 … of so many.
struct Binomial {
    of: u64,
    odds: f64,
    at: u64,
    fewer: f64,
    equal: f64,
}

impl Binomial {
    fn new(of: u64, rate: f64) -> Self {
        let rate = rate.clamp(0.0, 1.0 - 1e-12);
        let equal = (of as f64 * (-rate).ln_1p()).exp();
        Self { of, odds: rate / (1.0 - rate), at: 0, fewer: 0.0, equal }
    }

    fn next(&mut self) -> (f64, f64) {
        let now = (self.fewer.min(1.0), self.equal);
        self.fewer += self.equal;
        let left = self.of.saturating_sub(self.at) as f64;
        self.at += 1;
        self.equal *= left / self.at as f64 * self.odds;
        now
    }
}

/// Why a pass would say too little: an effect that the policy wants caught would not have been.
pub(super) fn blind(rows: &[Row], policy: &CanaryPolicy) -> Option<String> {
    let wanted = [
        policy.detect.slow_tail,
        policy.detect.http5xx,
        policy.detect.network,
        policy.detect.unknown_status,
    ];
    let blind = RATES
        .into_iter()
        .zip(wanted)
        .find(|(at, wanted)| rows[*at].detectable.is_none_or(|detectable| detectable > *wanted));
    blind.map(|(at, wanted)| {
        let seen = effect(&rows[at], policy);
        format!("too noisy: it would have caught {seen}, and {} is asked for", percent(wanted))
    })
}

/// What so many requests of a scenario can show, where nothing but the effect differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What would be caught, and how many blocks have to differ for it.
    pub caught: String,
    /// Why they decide nothing, whatever comes.
    pub undecided: Option<String>,
}

/// What a look can show of one scenario of so many: its size alone, for noise is known only after.
pub fn planned(scenario: &str, policy: &CanaryPolicy, look: Look, scenarios: usize) -> Planned {
    let policy = &policy.of(scenario);
    let quiet = Sample { latency_ms: 10.0, lag_ms: 0.0, ended: Ended::Expected };
    let block = Block { control: vec![quiet], candidate: vec![quiet] };
    let pair = Pair { scenario: scenario.into(), blocks: vec![block], candidate_meets_slo: true };
    let mut measured = measure(&pair, policy);
    let blocks = look.samples / policy.block_requests.max(1);
    measured.blocks = vec![Default::default(); blocks as usize];
    measured.samples = blocks * policy.block_requests;
    let level = look.alpha / (scenarios * METRICS).max(1) as f64;
    detectable(&mut measured, policy, level);
    let differ = signs_to_reject(0, level);
    let caught = sentence(scenario, &measured.rows, policy);
    let caught = format!("{caught}; {differ} blocks must differ, all to one side");
    let undecided = (blocks < look.min_blocks)
        .then(|| format!("{blocks} full blocks per arm, {} are needed", look.min_blocks))
        .or_else(|| blind(&measured.rows, policy));
    Planned { caught, undecided }
}

/// What a pass of a scenario would have caught.
pub(super) fn sentence(scenario: &str, rows: &[Row], policy: &CanaryPolicy) -> String {
    let effects: Vec<String> = RATES.map(|at| effect(&rows[at], policy)).into();
    let surely = (policy.detect.probability * 100.0).round();
    format!("{scenario}: would have caught {} with {surely} % probability", effects.join(", "))
}

/// `+50 ms on ≥ 0.6 %`.
fn effect(row: &Row, policy: &CanaryPolicy) -> String {
    debug_assert_eq!(row.unit, Unit::Rate);
    let what = match row.metric.as_str() {
        "slowTail" => format!("+{} ms", 2.0 * policy.slow_tail.above_median_ms),
        "http5xx" => "5xx".into(),
        "network" => "network errors".into(),
        _ => "unknown statuses".into(),
    };
    match row.detectable {
        Some(rate) => format!("{what} on ≥ {}", percent(rate)),
        None => format!("no {what} at all"),
    }
}

/// Rounded up to two digits: a smaller effect is not promised.
fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    let scale = 10_f64.powf(1.0 - percent.max(1e-9).log10().floor());
    format!("{} %", (percent * scale - 1e-6).ceil() / scale)
}
