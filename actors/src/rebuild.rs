//! Builds a machine again: from what is kept beside its actor, or from the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::handle::Cell;
use crate::machine::Machine;
use crate::observe::CaughtPanic;

/// How long a restart waits for the journal before it tries again.
const LOAD_DEADLINE: Duration = Duration::from_secs(5);

/// Builds a machine from what is kept beside its actor. A change that panics again when it is
/// replayed is left out: it never took effect.
pub(crate) fn recall<M: Machine>(cell: &Cell<M>) -> M {
    let (base, changes) = {
        let recall = cell.recall();
        (Arc::clone(&recall.base), recall.changes.clone())
    };
    let (machine, left_out) = replay(cell, base.as_ref(), changes.iter());
    let mut left_out = left_out.into_iter().rev();
    let changes = &mut cell.recall().changes;
    left_out.by_ref().for_each(|index| drop(changes.remove(index)));
    machine
}

/// Builds a journalled machine from its snapshot and the journal; `None` while the disk is away.
/// What makes no sense is put aside by name: one bad change must not keep the rest from everybody.
pub(crate) async fn load<M: Machine>(cell: &Cell<M>, incarnation: u64) -> Option<M> {
    let name = cell.vitals.name();
    let journal = &cell.around.journal;
    let loading = journal.load::<M>(name, incarnation);
    let loaded = match tokio::time::timeout(LOAD_DEADLINE, loading).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => {
            tracing::warn!(actor = name, %error, "a machine could not be read back yet");
            return None;
        }
        Err(_) => return None,
    };
    let base = loaded.base.unwrap_or_else(M::fresh);
    let (mut machine, left_out) = replay(cell, &base, loaded.changes.iter().map(|(_, it)| it));
    for index in left_out {
        let seq = loaded.changes[index].0;
        journal.set_aside(name, format!("journal record {seq} panics when it is applied"));
    }
    // Only the first build of a process finds holders dead; later ones find them at work.
    if !cell.reopened.swap(true, Ordering::AcqRel) {
        machine.reopened(cell.around.clock.now());
    }
    Some(machine)
}

/// Applies changes to a copy of `base`. One that panics is left out, and named by its place.
fn replay<'a, M: Machine>(
    cell: &Cell<M>,
    base: &M,
    changes: impl Iterator<Item = &'a M::Change>,
) -> (M, Vec<usize>) {
    let mut machine = base.clone();
    let mut kept: Vec<&M::Change> = Vec::new();
    let mut left_out = Vec::new();
    for (index, change) in changes.enumerate() {
        let applied = catch_unwind(AssertUnwindSafe(|| machine.apply(change)));
        if let Err(payload) = applied {
            let now = cell.around.clock.now();
            cell.vitals.note_panic(now, "replay", CaughtPanic::of(payload.as_ref()));
            // Torn by the panic, it is made again from what did apply.
            machine = base.clone();
            kept.iter().for_each(|change| machine.apply(change));
            left_out.push(index);
        } else {
            kept.push(change);
        }
    }
    (machine, left_out)
}
