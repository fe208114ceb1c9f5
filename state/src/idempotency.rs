//! Claims of idempotency keys: who handles a delivery, and which were handled before.
//!
//! A claim is a lease until its work is durable, then it is *done* until its life ends. Whoever
//! claims names itself by a token, so that a claim asked twice by one caller is still its own and
//! never mistaken for somebody else's. Work that failed gives its claim back; a holder that
//! vanished loses it when the lease runs out.
//!
//! Done claims are rows of the store, written in the same commit as their work; what is kept here
//! are the live leases and the newest done claims, at most `capacity` of them. Whoever finds no
//! claim here asks the rows before it works (`actors/src/idempotency.rs` does).
//!
//! Durability: leases live in memory, done claims in the store's rows.
//!
//! # Invariants
//! - ID-1: among claims of one key within its life exactly one is first.
//! - ID-2: work that failed gives its claim back; a crash between claim and work loses nothing.

mod recent;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::IdempotencyKey;
use crate::machine::{Apply, Decision, RecordWrite, Table};
use crate::rate_shard::ByHash;
use crate::timestamp::Timestamp;
use recent::Recents;
pub use recent::{RECENT, RecentClaim};

/// Claims kept in memory by default; older done ones are found in the store.
pub const DEFAULT_CAPACITY: usize = 200_000;

/// Who claims: a number drawn once for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claimant(pub u64);

/// What a claimant is told about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is the claimant's to work on, until the lease ends.
    First,
    /// Somebody else is working on it; ask again when that has ended.
    Pending {
        /// When its lease ends at the latest.
        retry_after: Duration,
    },
    /// It was handled before.
    Duplicate {
        /// How many duplicates there were, this one included.
        hits: u64,
    },
}

/// The claims of one store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    capacity: usize,
    claims: ByHash<Kept>,
    /// Done claims and the ends of their lives in the order they were done, for dropping the
    /// oldest; an entry whose key was claimed or done anew since is stale and drops nothing.
    done: VecDeque<(Timestamp, u128)>,
    /// Leases by their end, for dropping those whose holder vanished.
    leases: BTreeSet<(Timestamp, u128)>,
    scopes: BTreeMap<String, ScopeCount>,
    #[serde(default, skip_serializing_if = "Recents::is_empty")]
    recent: Recents,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    state: KeptState,
    hits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum KeptState {
    Leased { by: Claimant, ends: Timestamp },
    Done { until: Timestamp },
}

/// Claims of one scope since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeCount {
    /// Keys that became done.
    pub keys: u64,
    /// Deliveries that were duplicates.
    pub duplicates: u64,
}

/// What a verb makes of the claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimsChange {
    /// One request claimed some keys and hit some duplicates.
    Claimed {
        /// Who.
        by: Claimant,
        /// Until when.
        ends: Timestamp,
        /// Keys now leased.
        leased: Vec<IdempotencyKey>,
        /// Keys that were handled before.
        hit: Vec<IdempotencyKey>,
    },
    /// The work of some keys is durable.
    Done {
        /// Which keys.
        keys: Vec<IdempotencyKey>,
        /// Until when they are remembered.
        until: Timestamp,
    },
    /// A claimant gave keys back.
    GivenBack {
        /// Which.
        keys: Vec<IdempotencyKey>,
    },
    /// Claims whose life had ended by then are gone.
    Expired {
        /// By when.
        by: Timestamp,
    },
}

/// A row of the store: one finished claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRow {
    /// When the work became durable.
    pub first_seen: Timestamp,
    /// Until when a duplicate is recognised.
    pub until: Timestamp,
}

impl ClaimRow {
    /// The write that remembers `key` until `until`.
    pub fn write(key: &IdempotencyKey, first_seen: Timestamp, until: Timestamp) -> RecordWrite {
        RecordWrite::put(Table::Claims, key.row(), &Self { first_seen, until })
    }
}

impl Claims {
    /// No claims yet; at most `capacity` are kept.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            claims: ByHash::default(),
            done: VecDeque::new(),
            leases: BTreeSet::new(),
            scopes: BTreeMap::new(),
            recent: Recents::default(),
        }
    }

    /// Decides the claims of one request, all at once, each key by itself and in order: a key
    /// that stands twice in `keys` is first once and pending for its second place.
    pub fn claim(
        &self,
        now: Timestamp,
        by: Claimant,
        keys: &[IdempotencyKey],
        lease: Duration,
    ) -> Decision<Vec<Claim>, ClaimsChange> {
        let (mut leased, mut hit) = (Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            let answer = match self.live(now, key) {
                _ if leased.contains(key) => Claim::Pending { retry_after: lease },
                None => Claim::First,
                Some(Kept { state: KeptState::Leased { by: holder, .. }, .. }) if *holder == by => {
                    Claim::First
                }
                Some(Kept { state: KeptState::Leased { ends, .. }, .. }) => {
                    Claim::Pending { retry_after: now.until(*ends) }
                }
                Some(Kept { state: KeptState::Done { .. }, hits }) => {
                    let here = hit.iter().filter(|other| *other == key).count();
                    Claim::Duplicate { hits: hits + 1 + u64::try_from(here).unwrap_or(0) }
                }
            };
            match answer {
                Claim::First => leased.push(key.clone()),
                Claim::Duplicate { .. } => hit.push(key.clone()),
                Claim::Pending { .. } => {}
            }
            answers.push(answer);
        }
        if leased.is_empty() && hit.is_empty() {
            return Decision::unchanged(answers);
        }
        let ends = now.after(lease);
        Decision::new(answers, ClaimsChange::Claimed { by, ends, leased, hit })
    }

    /// Marks keys as done: their work and their rows are durable.
    pub fn done(&self, keys: &[IdempotencyKey], until: Timestamp) -> Decision<(), ClaimsChange> {
        Decision::new((), ClaimsChange::Done { keys: keys.to_vec(), until })
    }

    /// Gives back those of `keys` that `by` still holds.
    pub fn give_back(&self, by: Claimant, keys: &[IdempotencyKey]) -> Decision<(), ClaimsChange> {
        let own: Vec<_> = keys.iter().filter(|key| self.is_leased_by(by, key)).cloned().collect();
        if own.is_empty() {
            return Decision::unchanged(());
        }
        Decision::new((), ClaimsChange::GivenBack { keys: own })
    }

    /// Clears done claims whose life has ended, and leases that nobody gave back in time.
    pub fn sweep(&self, now: Timestamp) -> Decision<(), ClaimsChange> {
        let lapsed = self.leases.first().is_some_and(|(ends, _)| *ends <= now);
        if !lapsed && !self.oldest_done_has_ended(now) {
            return Decision::unchanged(());
        }
        Decision::new((), ClaimsChange::Expired { by: now })
    }

    /// Keys and duplicates by scope, since the process started.
    pub fn by_scope(&self) -> BTreeMap<String, ScopeCount> {
        self.scopes.clone()
    }

    /// Claims in memory, leased and done.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Forgets every lease: their holders died with the process that gave them.
    pub fn forget_leases(&mut self) {
        for (_, key) in std::mem::take(&mut self.leases) {
            self.claims.remove(&key);
        }
    }

    fn live(&self, now: Timestamp, key: &IdempotencyKey) -> Option<&Kept> {
        self.claims.get(&key.hash()).filter(|kept| now < kept.state.ends())
    }

    fn is_leased_by(&self, by: Claimant, key: &IdempotencyKey) -> bool {
        self.claims.get(&key.hash()).is_some_and(
            |kept| matches!(kept.state, KeptState::Leased { by: holder, .. } if holder == by),
        )
    }

    fn oldest_done_has_ended(&self, now: Timestamp) -> bool {
        self.done.front().is_some_and(|(until, key)| *until <= now || self.is_stale(*until, *key))
    }

    /// Whether an entry of `done` speaks of a claim that is gone, or was claimed or done anew.
    fn is_stale(&self, done_until: Timestamp, key: u128) -> bool {
        let state = self.claims.get(&key).map(|kept| kept.state);
        state != Some(KeptState::Done { until: done_until })
    }

    fn drop_oldest_done(&mut self) {
        let Some((until, key)) = self.done.pop_front() else { return };
        if !self.is_stale(until, key) {
            self.claims.remove(&key);
        }
    }

    /// Puts a claim in the place of the one before.
    fn keep(&mut self, key: u128, kept: Kept) {
        self.drop_claim(key);
        if let KeptState::Leased { ends, .. } = kept.state {
            self.leases.insert((ends, key));
        }
        self.claims.insert(key, kept);
    }

    fn drop_claim(&mut self, key: u128) -> Option<Kept> {
        let kept = self.claims.remove(&key)?;
        if let KeptState::Leased { ends, .. } = kept.state {
            self.leases.remove(&(ends, key));
        }
        Some(kept)
    }

    fn mark_done(&mut self, key: &IdempotencyKey, until: Timestamp) {
        let hash = key.hash();
        let before = self.drop_claim(hash);
        let was_done = before.as_ref().is_some_and(|kept| kept.state.is_done());
        let hits = before.map_or(0, |kept| kept.hits);
        self.keep(hash, Kept { state: KeptState::Done { until }, hits });
        self.done.push_back((until, hash));
        if !was_done {
            self.count(key.scope()).keys += 1;
            self.recent.add(key);
        }
        while self.done.len() > self.capacity {
            self.drop_oldest_done();
        }
    }

    fn count(&mut self, scope: &str) -> &mut ScopeCount {
        if !self.scopes.contains_key(scope) {
            self.scopes.insert(scope.to_owned(), ScopeCount::default());
        }
        self.scopes.get_mut(scope).expect("it was put in above")
    }
}

impl KeptState {
    fn ends(self) -> Timestamp {
        match self {
            Self::Leased { ends, .. } => ends,
            Self::Done { until } => until,
        }
    }

    fn is_done(self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

impl Apply<ClaimsChange> for Claims {
    fn apply(&mut self, change: &ClaimsChange) {
        match change {
            ClaimsChange::Claimed { by, ends, leased, hit } => {
                for key in leased {
                    let state = KeptState::Leased { by: *by, ends: *ends };
                    self.keep(key.hash(), Kept { state, hits: 0 });
                }
                for key in hit {
                    if let Some(kept) = self.claims.get_mut(&key.hash()) {
                        kept.hits += 1;
                    }
                    self.count(key.scope()).duplicates += 1;
                }
            }
            ClaimsChange::Done { keys, until } => {
                for key in keys {
                    self.mark_done(key, *until);
                }
            }
            ClaimsChange::GivenBack { keys } => {
                for key in keys {
                    self.drop_claim(key.hash());
                }
            }
            ClaimsChange::Expired { by } => {
                while let Some((ends, key)) = self.leases.first().copied()
                    && ends <= *by
                {
                    self.drop_claim(key);
                }
                while self.oldest_done_has_ended(*by) {
                    self.drop_oldest_done();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
