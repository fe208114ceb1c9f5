//! Simulated pairs, seeded: what the judge says of identical servers and of faults of a known size
//! under four kinds of noise (OPERATIONS.md §2, §7 "canary A/A" and "canary power").
//!
//! Noise D is as heavy as the one of §2: there as here it hides +50 ms on 1 % in one run of six at
//! 3000 requests an arm, and in one of several hundred at 6000.

use super::*;

/// A small generator with a printed seed (splitmix64).
pub(super) struct Lots(u64);

impl Lots {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, after Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        let length = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        length * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What is between the two servers and the judge, and the fault of neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// Log-normal answers around 10 ms, each by itself.
    A,
    /// A load that wanders from block to block and slows both arms alike.
    B,
    /// A, and bursts that slow both arms in the same blocks.
    C,
    /// C, and stalls that each arm has by itself.
    D,
}

pub(super) const NOISES: [Noise; 4] = [Noise::A, Noise::B, Noise::C, Noise::D];

/// Draws pairs: the logarithms and cosines are paid for once.
pub(super) struct Simulation {
    latencies: Vec<f64>,
}

impl Simulation {
    pub(super) fn new() -> Self {
        let mut lots = Lots::new(0);
        let draw = |_| 10.0 * (0.3 * lots.normal()).exp();
        Self { latencies: (0..1 << 14).map(draw).collect() }
    }

    /// One run of a scenario, changed sample by sample in the candidate.
    pub(super) fn pair(
        &self,
        seed: u64,
        blocks: usize,
        noise: Noise,
        change: &mut dyn FnMut(&mut Lots, usize, &mut Sample),
    ) -> Pair {
        let mut lots = Lots::new(seed);
        let mut load = 0.0;
        let blocks = (0..blocks).map(|at| {
            if noise == Noise::B {
                load = 0.9 * load + 0.15 * lots.normal();
            }
            let bursts = matches!(noise, Noise::C | Noise::D) && lots.unit() < 0.1;
            let burst = if bursts { 60.0 * lots.unit() } else { 0.0 };
            let slower = f64::exp(load);
            let arm = |lots: &mut Lots| {
                let stalls = noise == Noise::D && lots.unit() < 0.04;
                let (share, stall) =
                    if stalls { (0.15 * lots.unit(), 150.0 * lots.unit()) } else { (0.0, 0.0) };
                let draw = |_| {
                    let drawn = lots.bits();
                    let latency = self.latencies[(drawn & 0x3fff) as usize] * slower;
                    let stalled = (drawn >> 40) as f64 / f64::from(1 << 24) < share;
                    Sample {
                        latency_ms: latency + burst + if stalled { stall } else { 0.0 },
                        lag_ms: (drawn >> 14 & 0x3ff) as f64 / 1024.0,
                        ended: Ended::Expected,
                    }
                };
                (0..50).map(draw).collect::<Vec<_>>()
            };
            let control = arm(&mut lots);
            let mut candidate = arm(&mut lots);
            candidate.iter_mut().for_each(|sample| change(&mut lots, at, sample));
            Block { control, candidate }
        });
        let blocks = blocks.collect();
        Pair { scenario: "whatsapp_webhook".into(), blocks, candidate_meets_slo: true }
    }
}
