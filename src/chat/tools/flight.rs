//! One call for all who ask the same at once: the first leads, the others take what it brings.
//!
//! # Always
//! - A question has one leader at a time; whoever asks while there is one follows it.
//! - A leader that goes away before it has landed leaves its followers free to lead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sendcat_state::tool_cache::CacheKey;
use tokio::sync::watch;

/// The questions that are being asked, each with what came of it. Cheap to clone.
#[derive(Debug)]
pub(super) struct Flights<T>(Arc<Mutex<HashMap<CacheKey, watch::Receiver<Option<T>>>>>);

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Who is to ask.
pub(super) enum Boarding<T> {
    /// Whoever holds this.
    Lead(Lead<T>),
    /// Somebody else, who is at it.
    Follow(Follower<T>),
}

/// The one who asks.
pub(super) struct Lead<T> {
    flights: Arc<Mutex<HashMap<CacheKey, watch::Receiver<Option<T>>>>>,
    key: CacheKey,
    to: watch::Sender<Option<T>>,
}

/// One who waits for what another brings.
pub(super) struct Follower<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flights<T> {
    /// Joins those who ask this question.
    pub(super) fn board(&self, key: &CacheKey) -> Boarding<T> {
        let mut flights = locked(&self.0);
        if let Some(flight) = flights.get(key) {
            return Boarding::Follow(Follower(flight.clone()));
        }
        let (to, from) = watch::channel(None);
        flights.insert(key.clone(), from);
        Boarding::Lead(Lead { flights: Arc::clone(&self.0), key: key.clone(), to })
    }
}

impl<T> Lead<T> {
    /// Gives what was found to all who follow.
    pub(super) fn land(self, found: T) {
        self.to.send_replace(Some(found));
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        locked(&self.flights).remove(&self.key);
    }
}

impl<T: Clone> Follower<T> {
    /// What the leader found; `None` if it went away without.
    pub(super) async fn found(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use sendcat_state::key::ToolKind;

    use super::*;

    fn question() -> CacheKey {
        CacheKey::of(ToolKind::SearchWeb, "v1", &["cats"])
    }

    fn lead(flights: &Flights<u32>) -> Lead<u32> {
        match flights.board(&question()) {
            Boarding::Lead(lead) => lead,
            Boarding::Follow(_) => panic!("somebody leads"),
        }
    }

    fn follow(flights: &Flights<u32>) -> Follower<u32> {
        match flights.board(&question()) {
            Boarding::Follow(follower) => follower,
            Boarding::Lead(_) => panic!("nobody leads"),
        }
    }

    #[test]
    fn who_asks_the_same_meanwhile_is_given_what_the_first_finds() {
        let flights = Flights::default();
        let first = lead(&flights);
        let (one, two) = (follow(&flights), follow(&flights));
        let mut one = Box::pin(one.found());
        assert_eq!(one.as_mut().now_or_never(), None);
        first.land(7);
        assert_eq!(one.now_or_never(), Some(Some(7)));
        assert_eq!(two.found().now_or_never(), Some(Some(7)));
        drop(lead(&flights));
    }

    #[test]
    fn a_leader_that_goes_away_leaves_the_others_free() {
        let flights = Flights::default();
        let first = lead(&flights);
        let follower = follow(&flights);
        drop(first);
        assert_eq!(follower.found().now_or_never(), Some(None));
        drop(lead(&flights));
    }
}
