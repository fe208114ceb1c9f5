//! Which queued tools a turn still waits for.
//!
//! The queue runs a tool apart from its turn, so the end of a turn must be told: without that a
//! client that goes away would leave the provider's call, and its slot, behind.
//!
//! # Always
//! - A turn says that it waits before its job is queued, and a job nobody waits for is not run:
//!   after a restart the turns of the jobs that were saved are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sendcat_state::key::TimedId;
use tokio_util::sync::CancellationToken;

/// The jobs that are waited for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<Mutex<HashMap<TimedId, CancellationToken>>>);

impl Wanted {
    /// Says that somebody waits for a job, until what is returned is dropped.
    #[must_use]
    pub fn wait_for(&self, id: TimedId) -> Waiting {
        let over = CancellationToken::new();
        self.jobs().insert(id, over.clone());
        Waiting { wanted: self.clone(), id, over }
    }

    /// Resolves when nobody waits for a job any more.
    pub async fn no_longer(&self, id: TimedId) {
        let over = self.jobs().get(&id).cloned();
        if let Some(over) = over {
            over.cancelled().await;
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<TimedId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a job.
#[derive(Debug)]
pub struct Waiting {
    wanted: Wanted,
    id: TimedId,
    over: CancellationToken,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.wanted.jobs().remove(&self.id);
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_job_is_wanted_for_as_long_as_somebody_waits() {
        let (wanted, id) = (Wanted::default(), TimedId::new(Default::default(), 7));
        assert!(wanted.no_longer(id).now_or_never().is_some());
        let waiting = wanted.wait_for(id);
        let mut no_longer = Box::pin(wanted.no_longer(id));
        assert!(no_longer.as_mut().now_or_never().is_none());
        drop(waiting);
        assert!(no_longer.as_mut().now_or_never().is_some());
        assert!(wanted.jobs().is_empty());
    }
}
