//! What a count proves: exact bounds of a rate, quantiles, the exact sign-flip test, and Holm's
//! correction for many tests at once (OPERATIONS.md §5.1, §5.4).
//!
//! Nothing here draws lots or assumes a shape: bounds are Clopper–Pearson's, the test sums the
//! true distribution, so the stated error rates hold at any number of samples.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};
use statrs::function::beta::beta_reg;

/// How sure a proof is: one-sided 95 % (OPERATIONS.md §5.1).
pub const CONFIDENCE: f64 = 0.95;

/// So many bad of so many: the form of every service level indicator (OPERATIONS.md §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Events that broke the promise.
    pub bad: u64,
    /// All events.
    pub total: u64,
}

impl Share {
    /// `bad` of `total`; more bad than there are events counts as all of them.
    pub fn new(bad: u64, total: u64) -> Self {
        Self { bad: bad.min(total), total }
    }

    /// The observed rate, `None` where nothing was observed: zero of zero is no good rate.
    pub fn rate(self) -> Option<f64> {
        (self.total > 0).then(|| self.bad as f64 / self.total as f64)
    }

    /// Both counts added: windows are merged, never averaged.
    pub fn merged(self, other: Self) -> Self {
        Self {
            bad: self.bad.saturating_add(other.bad),
            total: self.total.saturating_add(other.total),
        }
    }

    /// Whether the upper bound at [`CONFIDENCE`] is at most `budget`.
    ///
    /// Asked of the binomial tail itself, not of the inverted bound, so that it flips exactly.
    pub fn proves_at_most(self, budget: f64) -> bool {
        self.total > 0 && at_most(self, budget) <= 1.0 - CONFIDENCE
    }

    /// The one-sided Clopper–Pearson lower and upper bound at [`CONFIDENCE`] each.
    ///
    /// A rate is proved to be at most `b` exactly where the upper bound is. Of nothing observed,
    /// everything is possible: `[0, 1]`.
    pub fn bounds(self) -> [f64; 2] {
        [lower_bound(self, CONFIDENCE), upper_bound(self, CONFIDENCE)]
    }
}

/// The highest rate that still gives `share.bad` or fewer with a chance of `1 − confidence`.
pub fn upper_bound(share: Share, confidence: f64) -> f64 {
    if share.bad >= share.total {
        return 1.0;
    }
    crossing(|rate| at_most(share, rate) > 1.0 - confidence)
}

/// The lowest rate that still gives `share.bad` or more with a chance of `1 − confidence`.
pub fn lower_bound(share: Share, confidence: f64) -> f64 {
    if share.bad == 0 {
        return 0.0;
    }
    crossing(|rate| at_least(share, rate) < 1.0 - confidence)
}

/// The smallest number of events, all of them good, that proves a rate of at most `budget`.
///
/// 1 % → 299, 2 % → 149, 5 % → 59, 10 % → 29 (OPERATIONS.md §5.1). `None` for a budget of 0 or
/// less: no number of events proves that nothing ever fails.
pub fn events_to_prove(budget: f64) -> Option<u64> {
    if budget >= 1.0 {
        return Some(1);
    }
    if budget <= 0.0 {
        return None;
    }
    let guess = ((1.0 - CONFIDENCE).ln() / (-budget).ln_1p()).ceil().max(1.0) as u64;
    (guess.saturating_sub(1).max(1)..).find(|&total| Share::new(0, total).proves_at_most(budget))
}

/// The most bad events of `total` that still prove a rate of at most `budget`.
///
/// Of 820 at 1 % these are 3, though 8 would pass (OPERATIONS.md §5.1). `None` where not even
/// none bad would prove it.
pub fn most_bad_to_prove(total: u64, budget: f64) -> Option<u64> {
    let proved = |bad: &u64| Share::new(*bad, total).proves_at_most(budget);
    let (mut most, mut beyond) = (0, total.checked_add(1)?);
    if !proved(&most) {
        return None;
    }
    while beyond - most > 1 {
        let middle = most + (beyond - most) / 2;
        if proved(&middle) { most = middle } else { beyond = middle }
    }
    Some(most)
}

/// The chance of `share.bad` or fewer in `share.total` events at a rate.
fn at_most(share: Share, rate: f64) -> f64 {
    if share.bad >= share.total || rate <= 0.0 {
        return 1.0;
    }
    if rate >= 1.0 {
        return 0.0;
    }
    beta_reg((share.total - share.bad) as f64, share.bad as f64 + 1.0, 1.0 - rate)
}

/// The chance of `share.bad` or more in `share.total` events at a rate.
fn at_least(share: Share, rate: f64) -> f64 {
    if share.bad == 0 || rate >= 1.0 {
        return 1.0;
    }
    if rate <= 0.0 {
        return 0.0;
    }
    beta_reg(share.bad as f64, (share.total - share.bad) as f64 + 1.0, rate)
}

/// Where a question about a rate that is true from 0 on turns false, by halving.
// The library's inverse walks by Newton's steps with no bound on their number.
fn crossing(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..64 {
        let middle = low + (high - low) / 2.0;
        if holds(middle) { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

/// The value that a share `q` of the sorted values do not pass (nearest rank), `None` of nothing.
///
/// A value that was really observed: a quantile between two samples was nobody's latency.
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// The slope of the straight line through points `(x, y)` by least squares, between its two-sided
/// 95 % bounds; `None` of fewer than three points, or of points at one `x`.
pub fn slope(points: &[(f64, f64)]) -> Option<[f64; 3]> {
    let n = points.len() as f64;
    let freedom = (points.len() > 2).then_some(n - 2.0)?;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x_mean, y_mean) = (mean(|it| it.0), mean(|it| it.1));
    let spread = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum::<f64>();
    let joint = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>();
    let slope = (spread > 0.0).then(|| joint / spread)?;
    let error = |(x, y): &(f64, f64)| (y - y_mean - slope * (x - x_mean)).powi(2);
    let variance = points.iter().map(error).sum::<f64>() / freedom;
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
    let reach = t * (variance / spread).sqrt();
    Some([slope - reach, slope, slope + reach])
}

/// The exact one-sided sign-flip test of paired differences (OPERATIONS.md §5.4, step 4).
///
/// Under "same server" each difference is as likely to be its negative; the answer is the chance
/// that such flips give a sum as large as the one observed. The distribution is summed as it is,
/// by integer convolution; differences of 0 say nothing and change nothing.
pub fn sign_flip(differences: &[i64]) -> f64 {
    let sizes: Vec<usize> =
        differences.iter().filter(|d| **d != 0).map(|d| d.unsigned_abs() as usize).collect();
    let positive: usize =
        differences.iter().filter(|d| **d > 0).map(|d| d.unsigned_abs() as usize).sum();
    // Flipped or not, the sum of signed sizes grows with the sum of those that stay positive.
    let mut chances = vec![0.0_f64; sizes.iter().sum::<usize>() + 1];
    chances[0] = 1.0;
    let mut reach = 0;
    for size in sizes {
        reach += size;
        for sum in (0..=reach).rev() {
            let flipped = sum.checked_sub(size).map_or(0.0, |rest| chances[rest]);
            chances[sum] = 0.5 * chances[sum] + 0.5 * flipped;
        }
    }
    chances[positive..].iter().rev().sum::<f64>().min(1.0)
}

/// [`sign_flip`] of the signs alone, so that one stall cannot outvote the rest.
pub fn sign_test(differences: &[i64]) -> f64 {
    let positive = differences.iter().filter(|d| **d > 0).count() as u64;
    let negative = differences.iter().filter(|d| **d < 0).count() as u64;
    sign_chance(positive, negative)
}

/// The chance of so many positive signs or more when each is a fair coin.
pub fn sign_chance(positive: u64, negative: u64) -> f64 {
    at_least(Share::new(positive, positive + negative), 0.5)
}

/// Which of several tests are rejected together at a family error rate, by Holm's steps.
///
/// In the order given. The smallest chance is held against `alpha / tests`, the next against
/// `alpha / (tests − 1)`, and so on until one is not rejected (OPERATIONS.md §5.4, step 4).
pub fn holm(chances: &[f64], alpha: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|a, b| chances[*a].total_cmp(&chances[*b]));
    let mut rejected = vec![false; chances.len()];
    for (step, place) in order.iter().enumerate() {
        // A chance that is no number orders last and is never rejected.
        let level = alpha / (chances.len() - step) as f64;
        if chances[*place].is_nan() || chances[*place] > level {
            break;
        }
        rejected[*place] = true;
    }
    rejected
}
