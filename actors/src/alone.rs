//! One machine under a supervisor of its own: for examples, and for tests of a machine that is not
//! in the tree yet.
//!
//! It is served as the tree serves it, on the thread that starts it, with a journal of its own.

use std::time::Duration;

use sendcat_state::store::StoreError;
use tokio::sync::oneshot;

use crate::clock::SharedClock;
use crate::handle::{Around, Handle};
use crate::journal::{Journal, StoreFactory};
use crate::machine::{Class, Machine};
use crate::supervisor::{Escalation, Place, Reports, Subtree, Supervisor};
use crate::tree::{Root, Topology};

/// A machine that is served; its supervisor ends when this is dropped.
pub struct Alone<M: Machine> {
    /// The handle on its actor.
    pub actor: Handle<M>,
    _stop: oneshot::Sender<()>,
}

impl<M: Machine> Alone<M> {
    /// Serves `M` on the current thread, which must run a `LocalSet` or an actix `System`; the root
    /// must be run beside it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be opened.
    pub fn start(
        rules: M::Rules,
        clock: SharedClock,
        store: StoreFactory,
    ) -> Result<(Self, Root), StoreError> {
        let journalled: &[&str] = if M::CLASS == Class::Journalled { &[M::KIND] } else { &[] };
        let (journal, mut writer) = Journal::new(store, clock.clone(), journalled);
        writer.open()?;
        actix_rt::spawn(writer.run_local());
        let (reports, from_actors) = Reports::channel();
        let snapshot_every = Duration::from_secs(1);
        let around =
            Around { clock: clock.clone(), journal: journal.clone(), reports, snapshot_every };
        let subtree = Subtree::new("alone", 5, Duration::from_secs(30), Escalation::Rests);
        let actor = Handle::new(M::KIND, &subtree, &around, rules, M::fresh());
        actor.supervised().start(Place::Here);
        let actors = [actor.supervised()];
        let supervisor = Supervisor::new(&actors, from_actors, clock, Topology::Here, journal);
        let (stop, stopped) = oneshot::channel();
        Ok((Self { actor, _stop: stop }, Root { supervisor, stop: stopped }))
    }
}
