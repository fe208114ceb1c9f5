//! When each request is due, fixed before the first is sent (OPERATIONS.md §5.2).
//!
//! # Invariants
//! - The same plan and seed give the same arrivals, whatever the server does.
//! - Stages follow each other with their pause between; none waits for the answers of another.

use std::time::Duration;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// At planned times, whether or not answers have come: what a crowd does.
    Open,
    /// So many callers, each of which sends its next request when it has its answer. Its latencies
    /// hide every wait that a stalled server causes.
    Closed {
        /// Callers.
        concurrency: u32,
        /// How long each stage lasts at most; until its requests are done otherwise.
        lasting: Option<Duration>,
    },
}

/// The gaps between arrivals of the open model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// All the same: `t_i = t0 + i / rate`.
    #[default]
    Constant,
    /// Exponential, drawn from the seed: a crowd that does not know of itself.
    Poisson,
}

/// One step of load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StagePlan {
    /// Requests.
    pub requests: u64,
    /// Requests a second; of the closed model only a note for the report.
    pub rate: f64,
    /// Quiet after the last arrival.
    pub pause_after: Duration,
}

impl StagePlan {
    /// So many requests at a rate, without a pause.
    pub fn of(requests: u64, rate: f64) -> Self {
        Self { requests, rate, pause_after: Duration::ZERO }
    }

    /// A rate for a time, without a pause; at least one request.
    pub fn lasting(rate: f64, duration: Duration) -> Self {
        Self::of(((rate * duration.as_secs_f64()).round() as u64).max(1), rate)
    }

    /// How long its arrivals take.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.requests as f64 / self.rate.max(1e-6))
    }
}

/// What one run sends, and when.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps, one after the other.
    pub stages: Vec<StagePlan>,
    /// Open or closed.
    pub model: Model,
    /// Of the open model.
    pub gaps: Gaps,
    /// Of gaps and of the order of arms.
    pub seed: u64,
    /// Requests of an arm without an answer at most; an arrival above it waits.
    pub max_inflight: u32,
    /// How long an arrival waits for a free slot before it is `dropped`, and bad.
    pub patience: Duration,
    /// The whole answer must be there by then, counted from when the request was sent.
    pub timeout: Duration,
    /// How long a body may pause.
    pub stall: Duration,
    /// Addresses that requests come from, in turn; 1 is the machine's own choice.
    pub client_ips: u16,
    /// Whether every single sample is returned.
    pub samples: Samples,
    /// Threads of the generator.
    pub workers: u16,
}

/// Whether single samples are kept, some 60 bytes each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Samples {
    /// Counts and histograms only.
    #[default]
    Counted,
    /// Every one, in the order of arm and arrival.
    Kept,
}

/// How long an arrival waits for a slot (OPERATIONS.md §5.2).
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Requests that one thread of an optimised build sends a second with time to spare.
const RATE_PER_WORKER: f64 = 2000.0;

impl Plan {
    /// An open plan with the defaults: constant gaps, 512 in flight, 10 s of patience, 30 s of
    /// timeout, 15 s of stall, one address, samples counted, a thread for each 2000 rps.
    pub fn open(stages: Vec<StagePlan>, seed: u64) -> Self {
        let fastest = stages.iter().map(|stage| stage.rate).fold(1.0, f64::max);
        Self {
            stages,
            model: Model::Open,
            gaps: Gaps::Constant,
            seed,
            max_inflight: 512,
            patience: PATIENCE,
            timeout: Duration::from_secs(30),
            stall: Duration::from_secs(15),
            client_ips: 1,
            samples: Samples::Counted,
            workers: (fastest / RATE_PER_WORKER).ceil().clamp(1.0, 8.0) as u16,
        }
    }

    /// Requests of all stages, of one arm.
    pub fn requests(&self) -> u64 {
        self.stages.iter().map(|stage| stage.requests).sum()
    }

    /// When each request is due, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let mut arrivals = Vec::with_capacity(usize::try_from(self.requests()).unwrap_or(0));
        let mut lots = Lots::of(self.seed);
        let mut begin_us = 0.0;
        for (stage, plan) in (0..).zip(&self.stages) {
            let gap_us = 1e6 / plan.rate.max(1e-6);
            let mut due_us = begin_us;
            for place in 0..plan.requests {
                // Of a product each arrival has its own rounding; a sum would carry it along.
                if self.gaps == Gaps::Constant {
                    due_us = begin_us + gap_us * place as f64;
                }
                let index = arrivals.len() as u64;
                arrivals.push(Arrival { stage, index, due_us: due_us as u64 });
                if self.gaps == Gaps::Poisson {
                    due_us -= gap_us * (1.0 - lots.fraction()).ln();
                }
            }
            let ends = (begin_us + gap_us * plan.requests as f64).max(due_us);
            begin_us = ends + plan.pause_after.as_micros() as f64;
        }
        arrivals
    }
}

/// One request of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which stage, from 0.
    pub stage: u16,
    /// Which request of the run, from 0.
    pub index: u64,
    /// Microseconds after the start.
    pub due_us: u64,
}

/// Lots that a seed decides (SplitMix64, Steele et al. 2014): a run can be had again.
#[derive(Clone, Debug)]
pub struct Lots(u64);

impl Lots {
    /// From a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_are_due_at_multiples_of_the_gap_and_stages_keep_their_pause() {
        let pause_after = Duration::from_secs(2);
        let first = StagePlan { pause_after, ..StagePlan::of(3, 3.0) };
        let plan = Plan::open(vec![first, StagePlan::of(2, 10.0)], 1);
        let due: Vec<_> =
            plan.arrivals().iter().map(|it| (it.stage, it.index, it.due_us)).collect();
        let second = [(1, 3, 3_000_000), (1, 4, 3_100_000)];
        assert_eq!(due[..3], [(0, 0, 0), (0, 1, 333_333), (0, 2, 666_666)]);
        assert_eq!(due[3..], second);
    }

    #[test]
    fn poisson_arrivals_come_from_the_seed_in_order_and_at_the_rate() {
        let plan = |seed| Plan {
            gaps: Gaps::Poisson,
            ..Plan::open(vec![StagePlan::of(20_000, 100.0)], seed)
        };
        let arrivals = plan(7).arrivals();
        assert_eq!(arrivals, plan(7).arrivals());
        assert_ne!(arrivals, plan(8).arrivals());
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.due_us));
        let seconds = arrivals[19_999].due_us as f64 / 1e6;
        assert!((195.0..205.0).contains(&seconds), "{seconds}");
        let gaps = arrivals.windows(2).map(|two| (two[1].due_us - two[0].due_us) as f64 / 10_000.0);
        let variance = gaps.map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / 19_999.0;
        assert!((0.9..1.1).contains(&variance), "exponential gaps vary by their mean: {variance}");
    }
}
