//! Requests with an `Idempotency-Key`: the first one asks, all others hear what it hears.
//!
//! While an answer begins and runs, its key stands here; when it is over, the stream is on disk
//! under the key, and only then it goes from here. A request that failed before any content leaves
//! nothing: all who waited are told why, and the next one asks anew.
//!
//! # Always
//! - Of the requests of one caller with one key at most one at a time asks the provider.
//! - Whoever asks does it for all who wait: it ends when all of them are gone, not when the first
//!   is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sendcat_actors::stream_log::AnswerLink;
use sendcat_state::key::IdempotencyKey;
use sendcat_state::saved_answers::KeyedBody;
use tokio::sync::watch;

use super::engine::ChatRefusal;

/// What became of the request that asks; `None` until that is known.
pub(super) type Outcome = Option<Result<AnswerLink, ChatRefusal>>;

/// The keys whose answers begin or run. Cheap to clone.
#[derive(Clone, Default)]
pub struct Once(Arc<Mutex<BTreeMap<IdempotencyKey, Entry>>>);

struct Entry {
    digest: String,
    outcome: Arc<watch::Sender<Outcome>>,
}

/// What a request with a key is to do.
pub(super) enum Role {
    /// Ask, and tell the others.
    Ask(Asking, watch::Receiver<Outcome>),
    /// Wait for what the one that asks hears.
    Wait(watch::Receiver<Outcome>),
    /// Give up: the key came with another body.
    Mismatch,
}

/// The right to ask for a key, until dropped.
pub(super) struct Asking {
    once: Once,
    pub(super) asked: KeyedBody,
    pub(super) outcome: Arc<watch::Sender<Outcome>>,
}

impl Once {
    /// Joins those who have this key.
    pub(super) fn join(&self, asked: &KeyedBody) -> Role {
        let mut keys = self.keys();
        match keys.get(&asked.key) {
            Some(entry) if entry.digest != asked.digest => Role::Mismatch,
            Some(entry) => Role::Wait(entry.outcome.subscribe()),
            None => {
                let (outcome, heard) = watch::channel(None);
                let outcome = Arc::new(outcome);
                let (digest, shared) = (asked.digest.clone(), Arc::clone(&outcome));
                keys.insert(asked.key.clone(), Entry { digest, outcome: shared });
                let asking = Asking { once: self.clone(), asked: asked.clone(), outcome };
                Role::Ask(asking, heard)
            }
        }
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<IdempotencyKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.once.keys().remove(&self.asked.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str, digest: &str) -> KeyedBody {
        KeyedBody { key: IdempotencyKey::chat("ann", key), digest: digest.to_owned() }
    }

    #[test]
    fn one_asks_and_the_others_wait_until_it_is_over() {
        let once = Once::default();
        let Role::Ask(asking, _) = once.join(&asked("k", "body")) else { panic!("it is first") };
        assert!(matches!(once.join(&asked("k", "body")), Role::Wait(_)));
        assert!(matches!(once.join(&asked("k", "another")), Role::Mismatch));
        assert!(matches!(once.join(&asked("l", "another")), Role::Ask(..)));
        drop(asking);
        assert!(matches!(once.join(&asked("k", "another")), Role::Ask(..)));
    }

    #[test]
    fn whoever_waits_hears_what_the_first_one_hears_also_after_it_is_over() {
        let once = Once::default();
        let Role::Ask(asking, _) = once.join(&asked("k", "body")) else { panic!("it is first") };
        let Role::Wait(heard) = once.join(&asked("k", "body")) else { panic!("it is not") };
        let refusal = ChatRefusal::from(crate::contract::code::ErrorCode::UpstreamError);
        asking.outcome.send_replace(Some(Err(refusal.clone())));
        drop(asking);
        assert!(matches!(&*heard.borrow(), Some(Err(heard)) if *heard == refusal));
    }
}
