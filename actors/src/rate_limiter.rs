//! The rate limiter: sixteen shards, each the single writer of its keys.
//!
//! A key's shard follows from the key alone. Shards live on the HTTP workers' threads by default,
//! where an ask costs no wake-up (`TreeOptions::topology`).

use std::sync::Arc;
use std::time::Duration;

use sendcat_state::key::{ClientKey, SHARDS};
use sendcat_state::machine::Decision;
use sendcat_state::rate_shard::{DEFAULT_CAPACITY, RateShard, ShardCounted, ShardView};
use sendcat_state::rate_window::{Admission, Limit};
use sendcat_state::timestamp::Timestamp;

use crate::failure::AskError;
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine};
use crate::supervisor::Subtree;

/// What a shard is asked.
#[derive(Debug)]
pub struct Admit {
    /// Who calls.
    pub key: ClientKey,
    /// Under which limit.
    pub limit: Limit,
}

impl Machine for RateShard {
    type Command = Admit;
    type Answer = Admission;
    type Change = ShardCounted;
    type Rules = ();
    type View = ShardView;

    const KIND: &'static str = "rate_shard";
    const CLASS: Class = Class::Snapshotted;
    const ASK_DEADLINE: Duration = Duration::from_millis(250);
    // Shards live on the threads that serve HTTP, where a machine without a core to spare can
    // leave a thread alone for a quarter of a second.
    const HANG_AFTER: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }

    fn decide(
        &self,
        now: Timestamp,
        (): &(),
        Admit { key, limit }: Admit,
    ) -> Decision<Admission, ShardCounted> {
        self.admit(now, key, limit)
    }

    fn fingerprint(command: &Admit) -> Option<u128> {
        Some(command.key.hash)
    }

    fn view(&self, _: Timestamp) -> ShardView {
        Self::view(self)
    }
}

/// The handle on all shards.
#[derive(Clone)]
pub struct RateLimiter {
    shards: Arc<[Handle<RateShard>]>,
}

impl RateLimiter {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        mut base: impl FnMut(&str) -> RateShard,
    ) -> Self {
        let shard = |number: usize| {
            let name = format!("rate_limiter-{number}");
            let base = base(&name);
            Handle::new(name, subtree, around, (), base)
        };
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    /// Counts a call of `key`, or refuses it.
    ///
    /// # Errors
    /// [`AskError`] if the shard gave no answer; the concern fails closed.
    pub async fn admit(&self, key: ClientKey, limit: Limit) -> Result<Admission, AskError> {
        self.shards[key.shard()].ask(Admit { key, limit }).await
    }

    /// The shards, in the order of their numbers.
    pub fn shards(&self) -> &[Handle<RateShard>] {
        &self.shards
    }
}
