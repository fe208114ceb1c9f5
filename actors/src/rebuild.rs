//! Builds a machine again: from what is kept beside its actor, from the disk, or from what is left.
//!
//! Building may panic like any step. It is tried twice, for most panics are one-off; then from
//! less: the last snapshot on disk, and at last from records alone (`Machine::salvage`). What was
//! lost is named in readiness.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::faults::Step;
use crate::handle::Cell;
use crate::journal::Built;
use crate::machine::{Class, Machine};
use crate::observe::CaughtPanic;

/// How long a restart waits for the journal before it tries again.
const LOAD_DEADLINE: Duration = Duration::from_secs(5);

/// What a machine is built from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// All of it: memory for what is snapshotted, snapshot and journal for what is journalled.
    Everything,
    /// The last snapshot on disk, without what changed since.
    Snapshot,
    /// What the store's records say.
    Records,
}

/// Builds the machine of that incarnation; `None` while the disk is away.
pub(crate) async fn build<M: Machine>(cell: &Cell<M>, incarnation: u64) -> Option<M> {
    let sources: &[Source] = match M::CLASS {
        Class::Snapshotted => {
            &[Source::Everything, Source::Everything, Source::Snapshot, Source::Records]
        }
        // A journalled one without its journal would forget what was acknowledged; its records know
        // better. Of a passing one there is no snapshot.
        Class::Journalled | Class::Passing => {
            &[Source::Everything, Source::Everything, Source::Records]
        }
    };
    for source in sources {
        let building = async {
            cell.faults.strike(Step::Restore);
            build_from(cell, incarnation, *source).await
        };
        match AssertUnwindSafe(building).catch_unwind().await {
            Ok(built) => return built,
            Err(payload) => {
                let now = cell.around.clock.now();
                let panic = CaughtPanic::of(payload.as_ref());
                cell.vitals.note_panic(now, "restore", panic);
            }
        }
    }
    None
}

async fn build_from<M: Machine>(cell: &Cell<M>, incarnation: u64, source: Source) -> Option<M> {
    let (machine, lost) = match (source, M::CLASS) {
        (Source::Everything, Class::Journalled) => return load(cell, incarnation).await,
        (Source::Everything, Class::Snapshotted | Class::Passing) => return Some(recall(cell)),
        (Source::Snapshot, _) => match read_back(cell, incarnation).await?.base {
            Some(base) => (base, "what changed since its last snapshot is lost"),
            None => (salvage(cell).await?, "it was begun anew"),
        },
        (Source::Records, _) => (salvage(cell).await?, "it was begun anew"),
    };
    let reason = format!("restoring it panicked; {lost}");
    cell.around.journal.set_aside(cell.vitals.name(), reason);
    let mut recall = cell.recall();
    recall.base = Arc::new(machine.clone());
    recall.changes.clear();
    Some(machine)
}

/// What the store's records say of the machine; `None` while they cannot be read.
async fn salvage<M: Machine>(cell: &Cell<M>) -> Option<M> {
    let now = cell.around.clock.now();
    // What was accepted and still waits for the writer has no row yet: look behind it.
    let nothing = cell.around.journal.transact(|_| Ok::<_, ()>(((), Vec::new())));
    nothing.await.ok()?.ok()?;
    let salvaged = cell.around.journal.read(move |records| M::salvage(now, records)).await;
    let actor = cell.vitals.name();
    let warn = |error| tracing::warn!(actor, %error, "records cannot be read yet");
    salvaged.map_err(warn).ok()
}

/// Builds a machine from what is kept beside its actor. A change that panics again when it is
/// replayed is left out: it never took effect.
fn recall<M: Machine>(cell: &Cell<M>) -> M {
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

/// What the disk has of a machine; `None` while it is away.
async fn read_back<M: Machine>(cell: &Cell<M>, incarnation: u64) -> Option<Built<M>> {
    let name = cell.vitals.name();
    let loading = cell.around.journal.load::<M>(name, incarnation);
    match tokio::time::timeout(LOAD_DEADLINE, loading).await {
        Ok(Ok(loaded)) => Some(loaded),
        Ok(Err(error)) => {
            tracing::warn!(actor = name, %error, "a machine could not be read back yet");
            None
        }
        Err(_) => None,
    }
}

/// Builds a journalled machine from its snapshot and the journal; `None` while the disk is away.
/// What makes no sense is put aside by name: one bad change must not keep the rest from everybody.
/// If the snapshot makes none, the records say what became of it, for each was written in the
/// commit of its change.
async fn load<M: Machine>(cell: &Cell<M>, incarnation: u64) -> Option<M> {
    let loaded = read_back(cell, incarnation).await?;
    let mut machine = if loaded.unreadable {
        salvage(cell).await?
    } else {
        let base = loaded.base.unwrap_or_else(M::fresh);
        let (machine, left_out) = replay(cell, &base, loaded.changes.iter().map(|(_, it)| it));
        for index in left_out {
            let seq = loaded.changes[index].0;
            let reason = format!("journal record {seq} panics when it is applied");
            cell.around.journal.set_aside(cell.vitals.name(), reason);
        }
        machine
    };
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
