//! Restart arithmetic against an oracle that keeps everything and recounts it each time.

use std::time::Duration;

use proptest::prelude::*;
use sendcat_state::backoff::Backoff;
use sendcat_state::restart_intensity::{Failures, Intensity, Verdict};

use super::{at, cases, ms};

/// Gives up if more than `max` of all failures lie within the last `period`, both ends counted.
fn oracle(failures: &[u64], intensity: Intensity) -> Verdict {
    let now = *failures.last().expect("one has just been added");
    let within = |failed: &&u64| ms(now - **failed) <= intensity.period;
    let recent = failures.iter().filter(within).count();
    if recent > intensity.max { Verdict::GiveUp } else { Verdict::Restart }
}

#[test]
fn intensity_equals_its_oracle_over_two_million_steps() {
    let mut random = 0x9e37_79b9_u64;
    let mut below = |bound: u64| {
        // xorshift64.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    for _ in 0..20_000 {
        let period = ms(1 + below(60));
        let intensity = Intensity { max: usize::try_from(below(8)).unwrap(), period };
        let (mut failures, mut all, mut now) = (Failures::default(), Vec::new(), below(100));
        for _ in 0..100 {
            now += below(20);
            all.push(now);
            assert_eq!(failures.add(at(now), intensity), oracle(&all, intensity), "{all:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_jittered_delay_is_the_same_for_the_same_number_and_within_a_fifth(
        failures in 0_u32..64,
        random: u64,
        base in 1_u64..1000,
        cap in 1000_u64..100_000,
    ) {
        let backoff = Backoff { base: ms(base), cap: ms(cap) };
        let delay = backoff.delay(failures);
        let expected = if failures == 0 {
            Duration::ZERO
        } else {
            ms(base.saturating_mul(1_u64.checked_shl(failures - 1).unwrap_or(u64::MAX)).min(cap))
        };
        prop_assert_eq!(delay, expected);
        let jittered = backoff.jittered(failures, random);
        prop_assert_eq!(jittered, backoff.jittered(failures, random));
        prop_assert!(jittered >= delay * 4 / 5 && jittered <= delay * 6 / 5, "{jittered:?}");
    }
}
