//! The rate limiter: sixteen shards, each the single writer of its keys.
//!
//! A key's shard follows from the key alone. Shards live on the HTTP workers' threads by default,
//! where an ask costs no wake-up (`TreeOptions::topology`). A key whose window is used up is
//! refused by the handle until that window ends, so a flood of its calls costs the shard nothing.

mod refused;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use sendcat_state::key::{Bucket, ClientKey, SHARDS};
use sendcat_state::machine::{Decision, ReadError, Records};
use sendcat_state::rate_shard::{
    CountedCall, DEFAULT_CAPACITY, Explained, RateShard, Receipt, ShardAdmission, ShardChange,
    ShardView,
};
use sendcat_state::rate_window::{Admission, Limit};
use sendcat_state::timestamp::Timestamp;

use crate::failure::AskError;
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine};
use crate::supervisor::Subtree;
use refused::RefusedKeys;
pub use tally::Tally;
use tally::{Came, Tallies};

/// What a shard is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// A call under one limit.
    Admit {
        /// Who calls.
        key: ClientKey,
        /// Under which limit.
        limit: Limit,
    },
    /// A call under limits whose keys are all of this shard.
    AdmitAll(Vec<(ClientKey, Limit)>),
    /// Calls that another limit refused.
    GiveBack(Vec<Receipt>),
    /// What would decide a call of this key.
    Explain {
        /// Whose.
        key: ClientKey,
        /// Under which limit.
        limit: Limit,
    },
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Admit`].
    One {
        /// What the caller is told.
        admission: Admission,
        /// Until when a refusal holds for every call under that limit.
        holds_until: Option<Timestamp>,
    },
    /// To [`Command::AdmitAll`].
    All(ShardAdmission),
    /// To [`Command::GiveBack`].
    GivenBack,
    /// To [`Command::Explain`].
    Explained(Explained),
}

impl Machine for RateShard {
    type Command = Command;
    type Answer = Answer;
    type Change = ShardChange;
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

    fn salvage(now: Timestamp, _: &dyn Records) -> Result<Self, ReadError> {
        Ok(Self::without_counts(DEFAULT_CAPACITY, now))
    }

    fn decide(&self, now: Timestamp, (): &(), command: Command) -> Decision<Answer, ShardChange> {
        match command {
            Command::Admit { key, limit } => {
                let decision = self.admit(now, key, limit).wrap(ShardChange::Counted);
                decision.map(|admission| {
                    let holds_until = match admission {
                        Admission::Admitted { .. } => None,
                        Admission::Refused { retry_after } => {
                            self.holds_until(now, key, limit, retry_after)
                        }
                    };
                    Answer::One { admission, holds_until }
                })
            }
            Command::AdmitAll(policies) => self.admit_all(now, &policies).map(Answer::All),
            Command::GiveBack(receipts) => self.give_back(&receipts).map(|()| Answer::GivenBack),
            Command::Explain { key, limit } => {
                Decision::unchanged(Answer::Explained(self.explain(now, key, limit)))
            }
        }
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            // All or nothing: whoever is gone has not counted the other limits either.
            Answer::All(ShardAdmission::Admitted(calls)) => {
                Some(Command::GiveBack(calls.into_iter().map(|call| call.receipt).collect()))
            }
            // A caller that goes away has called all the same.
            Answer::One { .. }
            | Answer::All(ShardAdmission::Refused { .. } | ShardAdmission::OneByOne)
            | Answer::GivenBack
            | Answer::Explained(_) => None,
        }
    }

    fn fingerprint(command: &Command) -> Option<u128> {
        match command {
            Command::Admit { key, .. } => Some(key.hash),
            Command::AdmitAll(policies) => {
                let hashes = policies.iter().map(|(key, _)| key.hash);
                hashes.reduce(u128::wrapping_add)
            }
            Command::GiveBack(_) | Command::Explain { .. } => None,
        }
    }

    fn view(&self, _: Timestamp) -> ShardView {
        Self::view(self)
    }
}

/// What is left under one of several limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Calls left in the window.
    pub left: u64,
    /// How long until it ends.
    pub resets_in: Duration,
}

/// What a caller under several limits is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllAdmission {
    /// Counted under every limit, in their order.
    Admitted(Vec<Left>),
    /// Refused by one, and counted under none.
    Refused {
        /// The place of the limit that refused, counted from 0.
        policy: usize,
        /// How long until its window ends.
        retry_after: Duration,
    },
}

/// A limit whose shard gave no answer; the call is counted under none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {policy} was not asked")]
pub struct Unanswered {
    /// The place of the limit, counted from 0.
    pub policy: usize,
    /// Why.
    #[source]
    pub error: AskError,
}

/// What the actor of that shard is called.
pub(crate) fn name_of(shard: usize) -> String {
    format!("rate_limiter-{shard}")
}

/// The handle on all shards.
#[derive(Clone)]
pub struct RateLimiter {
    shards: Arc<[Handle<RateShard>]>,
    refused: Arc<[RefusedKeys]>,
    tallies: Arc<Tallies>,
}

impl RateLimiter {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        mut base: impl FnMut(&str) -> RateShard,
    ) -> Self {
        let shard = |number: usize| {
            let name = name_of(number);
            let base = base(&name);
            Handle::new(name, subtree, around, (), base)
        };
        let refused = (0..SHARDS).map(|_| RefusedKeys::default()).collect();
        let tallies = Arc::default();
        Self { shards: (0..SHARDS).map(shard).collect(), refused, tallies }
    }

    /// Counts a call of `key`, or refuses it.
    ///
    /// # Errors
    /// [`AskError`] if the shard gave no answer; the concern fails closed.
    pub async fn admit(&self, key: ClientKey, limit: Limit) -> Result<Admission, AskError> {
        let decided = self.decide(key, limit).await;
        let came = match decided {
            Ok(Admission::Admitted { .. }) => Came::Admitted,
            Ok(Admission::Refused { .. }) => Came::Refused,
            Err(_) => Came::Unanswered,
        };
        self.tallies.count(key.bucket, came);
        decided
    }

    async fn decide(&self, key: ClientKey, limit: Limit) -> Result<Admission, AskError> {
        if let Some(retry_after) = self.refused_before(key, limit) {
            return Ok(Admission::Refused { retry_after });
        }
        match self.shards[key.shard()].ask(Command::Admit { key, limit }).await? {
            Answer::One { admission, holds_until } => {
                self.remember(key, limit, holds_until);
                Ok(admission)
            }
            Answer::All(_) | Answer::GivenBack | Answer::Explained(_) => Err(AskError::Crashed),
        }
    }

    /// Counts a call under all these limits, or under none. Keys of one shard are decided in one
    /// step; else a limit that refuses, or whose shard gives no answer, gives back what those
    /// before it have counted.
    ///
    /// # Errors
    /// [`Unanswered`] names the limit whose shard gave no answer; the concern fails closed.
    pub async fn admit_all(
        &self,
        policies: &[(ClientKey, Limit)],
    ) -> Result<AllAdmission, Unanswered> {
        let decided = self.decide_all(policies).await;
        match &decided {
            Ok(AllAdmission::Admitted(_)) => {
                policies.iter().for_each(|(key, _)| self.tallies.count(key.bucket, Came::Admitted));
            }
            Ok(AllAdmission::Refused { policy, .. }) => {
                self.tallies.count(policies[*policy].0.bucket, Came::Refused);
            }
            Err(Unanswered { policy, .. }) => {
                self.tallies.count(policies[*policy].0.bucket, Came::Unanswered);
            }
        }
        decided
    }

    async fn decide_all(
        &self,
        policies: &[(ClientKey, Limit)],
    ) -> Result<AllAdmission, Unanswered> {
        let known = policies
            .iter()
            .enumerate()
            .find_map(|(policy, (key, limit))| Some((policy, self.refused_before(*key, *limit)?)));
        if let Some((policy, retry_after)) = known {
            return Ok(AllAdmission::Refused { policy, retry_after });
        }
        let mut counted = Counted { limiter: self, calls: Vec::with_capacity(policies.len()) };
        let one_shard = policies.windows(2).all(|pair| pair[0].0.shard() == pair[1].0.shard());
        let together =
            if one_shard { self.of_one_shard(policies, 0).await? } else { Asked::OneByOne };
        match together {
            Asked::Counted(calls) => counted.calls = calls,
            Asked::Refused(refused) => return Ok(refused),
            Asked::OneByOne => {
                for place in 0..policies.len() {
                    match self.of_one_shard(&policies[place..=place], place).await? {
                        Asked::Counted(calls) => counted.calls.extend(calls),
                        Asked::Refused(refused) => return Ok(refused),
                        Asked::OneByOne => unreachable!("a limit alone is decided"),
                    }
                }
            }
        }
        Ok(counted.keep())
    }

    /// Says what would decide a call of `key`, and counts none.
    ///
    /// # Errors
    /// [`AskError`] if the shard gave no answer.
    pub async fn explain(&self, key: ClientKey, limit: Limit) -> Result<Explained, AskError> {
        match self.shards[key.shard()].ask(Command::Explain { key, limit }).await? {
            Answer::Explained(explained) => Ok(explained),
            Answer::One { .. } | Answer::All(_) | Answer::GivenBack => Err(AskError::Crashed),
        }
    }

    /// Asks one shard for limits of its own, the first of which has this place.
    async fn of_one_shard(
        &self,
        policies: &[(ClientKey, Limit)],
        place: usize,
    ) -> Result<Asked, Unanswered> {
        let Some((key, _)) = policies.first() else { return Ok(Asked::Counted(Vec::new())) };
        let unanswered = |error| Unanswered { policy: place, error };
        let asked = self.shards[key.shard()].ask(Command::AdmitAll(policies.to_vec())).await;
        match asked.map_err(unanswered)? {
            Answer::All(ShardAdmission::Admitted(calls)) => Ok(Asked::Counted(calls)),
            Answer::All(ShardAdmission::Refused { policy, retry_after, holds_until }) => {
                let (key, limit) = policies[policy];
                self.remember(key, limit, holds_until);
                let policy = place + policy;
                Ok(Asked::Refused(AllAdmission::Refused { policy, retry_after }))
            }
            Answer::All(ShardAdmission::OneByOne) => Ok(Asked::OneByOne),
            Answer::One { .. } | Answer::GivenBack | Answer::Explained(_) => {
                Err(unanswered(AskError::Crashed))
            }
        }
    }

    /// For how long a key is still refused, if its window is known to be used up.
    fn refused_before(&self, key: ClientKey, limit: Limit) -> Option<Duration> {
        let shard = key.shard();
        self.refused[shard].refuses(key, limit, || self.shards[shard].cell().around.clock.now())
    }

    fn remember(&self, key: ClientKey, limit: Limit, holds_until: Option<Timestamp>) {
        if let Some(until) = holds_until {
            let shard = key.shard();
            let now = self.shards[shard].cell().around.clock.now();
            self.refused[shard].remember(key, limit, until, now);
        }
    }

    /// How a bucket's limits have decided since the process started.
    pub fn tally(&self, bucket: Bucket) -> Tally {
        self.tallies.of(bucket)
    }

    /// The shards, in the order of their numbers.
    pub fn shards(&self) -> &[Handle<RateShard>] {
        &self.shards
    }
}

/// What one shard said to limits of its own.
enum Asked {
    Counted(Vec<CountedCall>),
    Refused(AllAdmission),
    OneByOne,
}

/// Calls counted so far, given back when dropped: by a refusal, or by a caller that is gone.
struct Counted<'a> {
    limiter: &'a RateLimiter,
    calls: Vec<CountedCall>,
}

impl Counted<'_> {
    /// The call is admitted: nothing is given back.
    fn keep(mut self) -> AllAdmission {
        let calls = std::mem::take(&mut self.calls);
        let left = |call: CountedCall| Left { left: call.left, resets_in: call.resets_in };
        AllAdmission::Admitted(calls.into_iter().map(left).collect())
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        for call in self.calls.drain(..) {
            let shard = call.receipt.key.shard();
            self.limiter.shards[shard].tell(Command::GiveBack(vec![call.receipt]));
            // Its window has room again.
            self.limiter.refused[shard].forget(call.receipt.key);
        }
    }
}
