//! Saved and restored machines against ones that never stopped.

use proptest::prelude::*;
use proptest::sample::Index;
use sendcat_state::alert_monitor::AlertMonitor;
use sendcat_state::bulkhead::Bulkhead;
use sendcat_state::circuit_breaker::CircuitBreaker;
use sendcat_state::idempotency::Claims;
use sendcat_state::job_queue::JobQueue;
use sendcat_state::rate_shard::RateShard;
use sendcat_state::rate_window::RateWindow;
use sendcat_state::snapshot::{self, SnapshotError};
use sendcat_state::tool_cache::ToolCache;

use super::{Driven, Timed, cases};

/// Seals the machine and opens it again.
fn restored<M: Driven>(machine: &M, seq: u64) -> M {
    let sealed = snapshot::seal("a machine", seq, machine);
    let (upto, restored) = snapshot::open("a machine", &sealed).expect("just sealed");
    assert_eq!(upto, seq);
    restored
}

/// Restores after every command: the run must not notice.
fn decides_as_saved<M: Driven>(commands: &[Timed<M::Command>], stops: &[Index]) {
    let (mut machine, mut memory) = (M::fresh(), M::Memory::default());
    let (mut stopped, mut stopped_memory) = (M::fresh(), M::Memory::default());
    let stops: Vec<_> = stops.iter().map(|index| index.index(commands.len())).collect();
    for (place, command) in commands.iter().enumerate() {
        if stops.contains(&place) {
            stopped = restored(&stopped, 7);
        }
        let answer = machine.turn(&mut memory, command);
        assert_eq!(stopped.turn(&mut stopped_memory, command), answer, "{command:?}");
    }
}

/// Saves somewhere, goes on writing a journal, stops, and is put together again from both: what is
/// asked from then on is answered as by the machine that never stopped.
fn is_put_together<M: Driven>(commands: &[Timed<M::Command>], save: &Index, stop: &Index) {
    let (mut machine, mut memory) = (M::fresh(), M::Memory::default());
    let stop = stop.index(commands.len() + 1);
    let save = save.index(stop + 1);
    let mut saved = restored(&machine, 0);
    let mut journal: Vec<Vec<u8>> = Vec::new();
    for (place, command) in commands[..stop].iter().enumerate() {
        if place == save {
            saved = restored(&machine, journal.len() as u64);
            journal.clear();
        }
        let decision = machine.decide(&mut memory, command);
        if let Some(change) = &decision.change {
            journal.push(serde_json::to_vec(change).expect("a change encodes"));
        }
        decision.settle(&mut machine);
    }
    for record in journal {
        let change: M::Change = serde_json::from_slice(&record).expect("a change decodes");
        saved.apply(&change);
    }
    let mut saved_memory = memory.clone();
    for command in &commands[stop..] {
        let answer = machine.turn(&mut memory, command);
        assert_eq!(saved.turn(&mut saved_memory, command), answer, "{command:?}");
    }
}

macro_rules! every_machine {
    ($($machine:ident: $sn1:ident, $sn2:ident;)+) => {
        proptest! {
            #![proptest_config(cases(200))]
            $(
                #[test]
                fn $sn1(
                    commands in $machine::commands(),
                    stops in prop::collection::vec(any::<Index>(), 1..4),
                ) {
                    decides_as_saved::<$machine>(&commands, &stops);
                }

                #[test]
                fn $sn2(
                    commands in $machine::commands(),
                    save in any::<Index>(),
                    stop in any::<Index>(),
                ) {
                    is_put_together::<$machine>(&commands, &save, &stop);
                }
            )+
        }
    };
}

every_machine! {
    RateWindow: sn1_a_restored_window_decides_as_the_saved_one,
        sn2_a_window_and_its_journal_equal_the_one_that_never_stopped;
    RateShard: sn1_a_restored_shard_decides_as_the_saved_one,
        sn2_a_shard_and_its_journal_equal_the_one_that_never_stopped;
    CircuitBreaker: sn1_a_restored_circuit_decides_as_the_saved_one,
        sn2_a_circuit_and_its_journal_equal_the_one_that_never_stopped;
    Bulkhead: sn1_a_restored_bulkhead_decides_as_the_saved_one,
        sn2_a_bulkhead_and_its_journal_equal_the_one_that_never_stopped;
    Claims: sn1_restored_claims_decide_as_the_saved_ones,
        sn2_claims_and_their_journal_equal_the_ones_that_never_stopped;
    JobQueue: sn1_a_restored_queue_decides_as_the_saved_one,
        sn2_a_queue_and_its_journal_equal_the_one_that_never_stopped;
    ToolCache: sn1_a_restored_cache_decides_as_the_saved_one,
        sn2_a_cache_and_its_journal_equal_the_one_that_never_stopped;
    AlertMonitor: sn1_a_restored_monitor_decides_as_the_saved_one,
        sn2_a_monitor_and_its_journal_equal_the_one_that_never_stopped;
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn sn3_an_unknown_version_is_refused_never_guessed(
        commands in Bulkhead::commands(),
        version in prop_oneof![0..4_u32, any::<u32>()],
        cut in any::<Index>(),
        flipped in any::<(Index, u8)>(),
    ) {
        let (mut bulkhead, mut memory) = (Bulkhead::default(), Default::default());
        for command in &commands {
            bulkhead.turn(&mut memory, command);
        }
        let sealed = snapshot::seal("bulkhead", 9, &bulkhead);
        let text = String::from_utf8(sealed.clone()).expect("JSON is UTF-8");
        let own = format!("\"version\":{}", snapshot::VERSION);
        let other = text.replacen(&own, &format!("\"version\":{version}"), 1);
        let opened = snapshot::open::<Bulkhead>("bulkhead", other.as_bytes());
        if version == snapshot::VERSION {
            prop_assert_eq!(opened, Ok((9, bulkhead)));
        } else {
            let kind = "bulkhead".to_owned();
            prop_assert_eq!(opened, Err(SnapshotError::UnknownVersion { kind, version }));
        }
        let torn = snapshot::open::<Bulkhead>("bulkhead", &sealed[..cut.index(sealed.len())]);
        prop_assert!(matches!(torn, Err(SnapshotError::Unreadable(_))));
        // A flipped byte may still be a form, but it never stops the process.
        let mut flipped_form = sealed;
        let place = flipped.0.index(flipped_form.len());
        flipped_form[place] ^= flipped.1;
        let _ = snapshot::open::<Bulkhead>("bulkhead", &flipped_form);
    }
}
