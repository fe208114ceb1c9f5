//! Which queued tools a turn still waits for, and what each is told on the way.
//!
//! The queue runs a tool apart from its turn, so the end of a turn must be told: without that a
//! client that goes away would leave the provider's call, and its slot, behind. First results go
//! the other way.
//!
//! # Always
//! - A turn says that it waits before its job is queued, and a job nobody waits for is not run:
//!   after a restart the turns of the jobs that were saved are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sendcat_state::key::TimedId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::contract::trace::Trace;
use crate::contract::ui_stream::Json;

/// The jobs that are waited for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<Mutex<HashMap<TimedId, Entry>>>);

#[derive(Debug)]
struct Entry {
    over: CancellationToken,
    first_results: mpsc::UnboundedSender<Json>,
    /// Of the answer that waits.
    trace: Trace,
    /// Within which request it is waited for: what the job logs is logged there.
    span: tracing::Span,
}

impl Wanted {
    /// Says that somebody waits for a job, until what is returned is dropped. The job's first
    /// results come by the channel: no more of them than it has providers. Its calls are steps of
    /// that trace.
    pub fn wait_for(&self, id: TimedId, trace: Trace) -> (Waiting, mpsc::UnboundedReceiver<Json>) {
        let over = CancellationToken::new();
        let (first_results, told) = mpsc::unbounded_channel();
        let span = tracing::Span::current();
        self.jobs().insert(id, Entry { over: over.clone(), first_results, trace, span });
        (Waiting { wanted: self.clone(), id, over }, told)
    }

    /// Resolves when nobody waits for a job any more.
    pub async fn no_longer(&self, id: TimedId) {
        let over = self.jobs().get(&id).map(|entry| entry.over.clone());
        if let Some(over) = over {
            over.cancelled().await;
        }
    }

    /// The trace of whoever waits for a job.
    pub fn trace_of(&self, id: TimedId) -> Option<Trace> {
        self.jobs().get(&id).map(|entry| entry.trace.clone())
    }

    /// Where a job's lines are logged: within the request that waits for it.
    pub fn span_of(&self, id: TimedId) -> tracing::Span {
        let span = self.jobs().get(&id).map(|entry| entry.span.clone());
        span.unwrap_or_else(tracing::Span::none)
    }

    /// Tells whoever waits for a job what it has found so far.
    pub fn tell(&self, id: TimedId, found: Json) {
        if let Some(entry) = self.jobs().get(&id) {
            // Whoever has ended to listen hears the rest of it by dropping its wait.
            let _ = entry.first_results.send(found);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<TimedId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a job.
#[derive(Debug)]
#[must_use = "a job that nobody waits for is not run"]
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
        let (waiting, _) = wanted.wait_for(id, Trace::fresh([1, 2, 3]));
        assert_eq!(wanted.trace_of(id), Some(Trace::fresh([1, 2, 3])));
        let mut no_longer = Box::pin(wanted.no_longer(id));
        assert!(no_longer.as_mut().now_or_never().is_none());
        drop(waiting);
        assert!(no_longer.as_mut().now_or_never().is_some());
        assert!(wanted.jobs().is_empty());
    }

    #[test]
    fn who_waits_is_told_what_was_found_first() {
        let (wanted, id) = (Wanted::default(), TimedId::new(Default::default(), 7));
        wanted.tell(id, Json::string("for nobody"));
        let (waiting, mut told) = wanted.wait_for(id, Trace::fresh([1, 2, 3]));
        wanted.tell(id, Json::string("first"));
        assert_eq!(told.try_recv().ok(), Some(Json::string("first")));
        drop(waiting);
        wanted.tell(id, Json::string("late"));
        assert!(told.try_recv().is_err());
    }
}
