//! Readers beside a writer, and values that betray a torn read.

use std::sync::atomic::{AtomicBool, Ordering};

use sendcat_state::machine::Records;
use sendcat_state::store::Store;

/// Values that say by their bytes how long they are.
pub(crate) fn telling(round: usize) -> Vec<u8> {
    let length = [300 * 1024, 1, 9000, 60_000][round % 4];
    vec![u8::try_from(round % 200 / 4 * 4 + round % 4).expect("a byte"); length]
}

pub(crate) fn is_whole(value: &[u8]) -> bool {
    let round = usize::from(value[0]);
    value == telling(round)
}

/// Writes as `write` says, round for round, while `read` looks on from another thread.
pub(crate) fn beside(
    store: &mut dyn Store,
    rounds: usize,
    mut write: impl FnMut(&mut dyn Store, usize),
    read: impl Fn(&dyn Records) + Sync,
) {
    let over = AtomicBool::new(false);
    let reader = store.reader();
    std::thread::scope(|threads| {
        let looking_on = threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                read(&*reader);
            }
        });
        for round in 0..rounds {
            if looking_on.is_finished() {
                break;
            }
            write(store, round);
        }
        over.store(true, Ordering::Relaxed);
    });
}
