//! What always holds, one name each, and how a broken promise is noticed.
//!
//! Every invariant of the machines has an ID here, in its machine's header, in one property test's
//! name and in the table of `state/README.md`. [`holds!`](crate::holds) checks one where it could
//! break: a debug build panics there, a release build counts and goes on.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the invariants once: name, ID, sentence.
macro_rules! invariants {
    ($($variant:ident = $id:literal: $sentence:literal,)+) => {
        /// Every invariant of the machines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant { $(#[doc = $sentence] $variant,)+ }

        impl Invariant {
            /// Every one, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its ID, as in the catalogue and in test names.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// What it promises.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }

        static BROKEN: [AtomicU64; Invariant::ALL.len()] =
            [const { AtomicU64::new(0) }; Invariant::ALL.len()];
    };
}

invariants! {
    Rw1 = "RW-1": "a window never admits more than its limit",
    Rw2 = "RW-2": "a refusal changes nothing",
    Rw3 = "RW-3": "a key lives in one shard",
    Rw4 = "RW-4": "memory is bounded, and no live window is dropped to keep it so",
    Cb1 = "CB-1": "at most one live probe",
    Cb2 = "CB-2": "an answer from an earlier generation changes nothing",
    Cb3 = "CB-3": "every refusal names when to return",
    Cb4 = "CB-4": "a lost probe lapses: no stuck half-open",
    Bh1 = "BH-1": "live leases never exceed the capacity",
    Bh2 = "BH-2": "giving a lease back twice frees one slot",
    Bh3 = "BH-3": "a ticket that has left the line, or is too late, never gets a slot",
    Id1 = "ID-1": "among claims of one key within its life exactly one is first",
    Id2 = "ID-2": "work that failed gives its claim back; a crash between claim and work loses nothing",
    Tc1 = "TC-1": "an expired entry is never served",
    Tc2 = "TC-2": "clearing a namespace hides all written before",
    Tc3 = "TC-3": "bytes stay bounded",
    Jq1 = "JQ-1": "one worker holds a job",
    Jq2 = "JQ-2": "a job finishes once; results on a lapsed lease are dropped",
    Jq3 = "JQ-3": "a backlog never passes its cap",
    Jq4 = "JQ-4": "attempts never pass the maximum",
    Jq5 = "JQ-5": "a full tool never holds up another",
    Sl1 = "SL-1": "what was sent is a prefix of what was kept",
    Al1 = "AL-1": "one alert per rule per cooldown",
    Al2 = "AL-2": "an event counts once in a summary",
    Sn1 = "SN-1": "a restored machine decides as the saved one did",
    Sn2 = "SN-2": "snapshot and journal equal the machine that never stopped",
    Sn3 = "SN-3": "an unknown version is refused, never guessed",
}

/// Counts a broken promise; a debug build panics instead.
///
/// # Panics
/// In debug builds, always.
#[track_caller]
pub fn broken(invariant: Invariant, what: &str) {
    BROKEN[invariant as usize].fetch_add(1, Ordering::Relaxed);
    debug_assert!(false, "{} is broken ({}): {what}", invariant.id(), invariant.sentence());
}

/// How often each invariant was found broken in this process; only those that were.
pub fn broken_counts() -> Vec<(Invariant, u64)> {
    let count = |each: &Invariant| (*each, BROKEN[*each as usize].load(Ordering::Relaxed));
    Invariant::ALL.iter().map(count).filter(|(_, times)| *times > 0).collect()
}

/// Checks that an invariant holds where it could break.
#[macro_export]
macro_rules! holds {
    ($invariant:expr, $condition:expr, $what:expr) => {
        if !$condition {
            $crate::invariant::broken($invariant, $what);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_written_once() {
        let mut ids: Vec<_> = Invariant::ALL.iter().map(|each| each.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Invariant::ALL.len());
    }

    #[test]
    #[should_panic(expected = "BH-1 is broken")]
    fn a_broken_promise_stops_a_debug_build() {
        holds!(Invariant::Bh1, 2 < 1, "two leases on one slot");
    }
}
