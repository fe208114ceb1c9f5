//! Replay protection: claims of idempotency keys.
//!
//! A claim is asked in two steps: the actor leases the keys, then the store's rows are asked
//! whether one was done longer ago than memory reaches. Whoever holds a [`ClaimGuard`] works and
//! then settles it; a guard dropped unsettled gives its keys back.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sendcat_state::idempotency::{
    Claim, ClaimRow, Claimant, Claims, ClaimsChange, DEFAULT_CAPACITY, RecentClaim, ScopeCount,
};
use sendcat_state::key::IdempotencyKey;
use sendcat_state::machine::{Decision, ReadError, Records, Table};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::Notify;

use crate::failure::{self, AskError, Concern};
use crate::handle::{Around, Handle};
use crate::journal::Journal;
use crate::machine::{Class, Machine};
use crate::supervisor::Subtree;

/// How long a claimant may take to make its work durable.
pub const CLAIM_LEASE: Duration = Duration::from_secs(30);

/// How long a claim waits for somebody else's to be settled.
const PENDING_DEADLINE: Duration = Duration::from_secs(5);

/// What the claims are asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Claim these keys.
    Claim(Claimant, Vec<IdempotencyKey>),
    /// The work of these is durable, and remembered until then.
    Done(Vec<IdempotencyKey>, Timestamp),
    /// Give these back.
    GiveBack(Claimant, Vec<IdempotencyKey>),
    /// The newest done claims of that scope.
    Recent(String),
}

/// What they answer.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Claim`]: one answer a key, in order.
    Claimed(Claimant, Vec<(IdempotencyKey, Claim)>),
    /// To [`Command::Recent`]: the scope's counts, and its claims newest first.
    Recent(ScopeCount, Vec<RecentClaim>),
    /// To all else.
    Noted,
}

/// What operators see: scopes with their counts.
pub type View = Vec<(String, ScopeCount)>;

impl Machine for Claims {
    type Command = Command;
    type Answer = Answer;
    type Change = ClaimsChange;
    type Rules = ();
    type View = View;

    const KIND: &'static str = "idempotency";
    const CLASS: Class = Class::Snapshotted;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }

    fn decide(&self, now: Timestamp, (): &(), command: Command) -> Decision<Answer, ClaimsChange> {
        match command {
            Command::Claim(by, keys) => {
                let decision = self.claim(now, by, &keys, CLAIM_LEASE);
                decision.map(|claims| Answer::Claimed(by, keys.into_iter().zip(claims).collect()))
            }
            Command::Done(keys, until) => self.done(&keys, until).map(|()| Answer::Noted),
            Command::GiveBack(by, keys) => self.give_back(by, &keys).map(|()| Answer::Noted),
            Command::Recent(scope) => {
                let count = self.by_scope().remove(&scope).unwrap_or_default();
                Decision::unchanged(Answer::Recent(count, self.recent(&scope)))
            }
        }
    }

    fn housekeep(&self, now: Timestamp, (): &()) -> Decision<(), ClaimsChange> {
        self.sweep(now)
    }

    fn fingerprint(command: &Command) -> Option<u128> {
        match command {
            Command::Claim(_, keys) | Command::Done(keys, _) | Command::GiveBack(_, keys) => {
                // A sum, for by an exclusive or all deliveries that name each key twice are one.
                keys.iter().map(IdempotencyKey::hash).reduce(u128::wrapping_add)
            }
            Command::Recent(_) => None,
        }
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            Answer::Claimed(by, claims) => {
                let first = claims.into_iter().filter(|(_, claim)| *claim == Claim::First);
                Some(Command::GiveBack(by, first.map(|(key, _)| key).collect()))
            }
            Answer::Recent(..) | Answer::Noted => None,
        }
    }

    fn reopened(&mut self, _: Timestamp) {
        self.forget_leases();
    }

    fn view(&self, _: Timestamp) -> View {
        self.by_scope().into_iter().collect()
    }
}

/// What a request's claim came to.
pub struct Claimed {
    /// The keys that are the request's to work on.
    pub first: ClaimGuard,
    /// The keys that were handled before.
    pub duplicates: Vec<IdempotencyKey>,
}

/// Keys that are their holder's to work on; given back when dropped unsettled.
#[must_use = "claims are given back as soon as the guard is dropped"]
pub struct ClaimGuard {
    idempotency: Idempotency,
    by: Claimant,
    keys: Vec<IdempotencyKey>,
}

impl ClaimGuard {
    /// The keys.
    pub fn keys(&self) -> &[IdempotencyKey] {
        &self.keys
    }

    /// Says that the work of all keys is durable, rows included, and is remembered until `until`.
    pub fn settle(mut self, until: Timestamp) {
        let keys = std::mem::take(&mut self.keys);
        self.idempotency.claims.tell(Command::Done(keys, until));
        self.idempotency.settled.notify_waiters();
    }

    /// Takes out keys that turned out to be done.
    fn remove(&mut self, done: &HashSet<&IdempotencyKey>) {
        self.keys.retain(|key| !done.contains(key));
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            let keys = std::mem::take(&mut self.keys);
            self.idempotency.claims.tell(Command::GiveBack(self.by, keys));
            self.idempotency.settled.notify_waiters();
        }
    }
}

/// Somebody else holds a claim and neither settled it nor gave it back in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the same delivery is being handled, ask again in {retry_after:?}")]
pub struct StillPending {
    /// When the holder's lease ends at the latest.
    pub retry_after: Duration,
}

/// The handle on the claims.
#[derive(Clone)]
pub struct Idempotency {
    claims: Handle<Claims>,
    journal: Journal,
    /// Told whenever a claim was settled or given back.
    settled: Arc<Notify>,
    claimants: Arc<AtomicU64>,
}

impl Idempotency {
    pub(crate) fn new(subtree: &Arc<Subtree>, around: &Around, base: Claims) -> Self {
        Self {
            claims: Handle::new("idempotency", subtree, around, (), base),
            journal: around.journal.clone(),
            settled: Arc::default(),
            claimants: Arc::default(),
        }
    }

    /// Claims keys for one request. A key that somebody else is working on is waited for: it comes
    /// out as a duplicate once that work is durable, or as first if it failed.
    ///
    /// If the actor gives no answer the request goes on without leases, for a webhook handled twice
    /// is a nuisance and a webhook lost is an outage; the store's rows are still asked.
    ///
    /// # Errors
    /// [`StillPending`] if another's work came to no end within five seconds.
    pub async fn claim(&self, keys: Vec<IdempotencyKey>) -> Result<Claimed, StillPending> {
        let by = Claimant(self.claimants.fetch_add(1, Ordering::Relaxed));
        let first = ClaimGuard { idempotency: self.clone(), by, keys: Vec::new() };
        let mut claimed = Claimed { first, duplicates: Vec::new() };
        if self.claims.cell().faults.bypassed() {
            claimed.first.keys = keys;
            return Ok(claimed);
        }
        // A key that stands twice in one delivery would wait for itself.
        let mut known = HashSet::with_capacity(keys.len());
        let mut left: Vec<_> = keys.into_iter().filter(|key| known.insert(key.clone())).collect();
        let mut retry_after = Duration::ZERO;
        let waiting = async {
            loop {
                // Enabled before asking, so that what is settled meanwhile is not missed.
                let settled = self.settled.notified();
                tokio::pin!(settled);
                settled.as_mut().enable();
                retry_after = self.claim_once(by, &mut left, &mut claimed).await;
                if left.is_empty() {
                    return;
                }
                settled.await;
            }
        };
        if tokio::time::timeout(PENDING_DEADLINE, waiting).await.is_err() {
            return Err(StillPending { retry_after });
        }
        self.drop_done(&mut claimed).await;
        Ok(claimed)
    }

    /// Asks once; keys that are still pending stay in `left`.
    async fn claim_once(
        &self,
        by: Claimant,
        left: &mut Vec<IdempotencyKey>,
        claimed: &mut Claimed,
    ) -> Duration {
        let answers = match self.ask_again(Command::Claim(by, left.clone()), left, by).await {
            Ok(Answer::Claimed(_, answers)) => answers,
            Ok(Answer::Recent(..) | Answer::Noted) => Vec::new(),
            Err(error) => {
                failure::failed(Concern::ReplayClaim, error);
                claimed.first.keys.append(left);
                return Duration::ZERO;
            }
        };
        left.clear();
        let mut longest = Duration::ZERO;
        for (key, claim) in answers {
            match claim {
                Claim::First => claimed.first.keys.push(key),
                Claim::Duplicate { .. } => claimed.duplicates.push(key),
                Claim::Pending { retry_after } => {
                    longest = longest.max(retry_after);
                    left.push(key);
                }
            }
        }
        longest
    }

    /// What a scope has counted since the process began, and its newest done claims, newest first.
    ///
    /// # Errors
    /// [`AskError`] if the actor gave no answer.
    pub async fn recent(&self, scope: &str) -> Result<(ScopeCount, Vec<RecentClaim>), AskError> {
        match self.claims.ask(Command::Recent(scope.to_owned())).await? {
            Answer::Recent(count, claims) => Ok((count, claims)),
            Answer::Claimed(..) | Answer::Noted => Err(AskError::Crashed),
        }
    }

    /// Asks, and once more if the actor was just being restarted.
    async fn ask_again(
        &self,
        command: Command,
        keys: &[IdempotencyKey],
        by: Claimant,
    ) -> Result<Answer, AskError> {
        match self.claims.ask(command).await {
            Err(AskError::Restarting { retry_after }) => {
                const LONGEST: Duration = Duration::from_millis(100);
                tokio::time::sleep(retry_after.min(LONGEST) + Duration::from_millis(5)).await;
                self.claims.ask(Command::Claim(by, keys.to_vec())).await
            }
            answer => answer,
        }
    }

    /// Finds keys that were done longer ago than memory reaches.
    async fn drop_done(&self, claimed: &mut Claimed) {
        if claimed.first.keys.is_empty() {
            return;
        }
        let keys = claimed.first.keys.clone();
        let now = self.claims.cell().around.clock.now();
        let read = self.journal.read(move |records| done_rows(records, now, keys)).await;
        let done = match read {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "claims could not be looked up on disk");
                return;
            }
        };
        // A row may be of a commit that is not on disk yet, whose caller has vanished: whoever says
        // that the delivery was handled must know that it is (ARCHITECTURE.md §4).
        if !done.is_empty() && !self.all_before_is_durable().await {
            return;
        }
        if !done.is_empty() {
            claimed.first.remove(&done.iter().map(|(key, _)| key).collect());
            let mut by_time: BTreeMap<Timestamp, Vec<IdempotencyKey>> = BTreeMap::new();
            for (key, row) in &done {
                by_time.entry(row.until).or_default().push(key.clone());
            }
            let keys: Vec<_> = done.into_iter().map(|(key, _)| key).collect();
            // Remembered again, and then hit by this delivery.
            for (until, keys) in by_time {
                self.claims.tell(Command::Done(keys, until));
            }
            self.claims.tell(Command::Claim(claimed.first.by, keys.clone()));
            claimed.duplicates.extend(keys);
        }
        self.settled.notify_waiters();
    }

    async fn all_before_is_durable(&self) -> bool {
        let waited = self.journal.transact(|_| Ok::<_, ()>(((), Vec::new()))).await;
        if let Err(error) = waited {
            failure::failed(Concern::ReplayClaim, error);
        }
        waited.is_ok()
    }

    /// What operators see.
    pub fn view(&self) -> Arc<View> {
        self.claims.view()
    }

    /// The actor.
    pub fn actor(&self) -> &Handle<Claims> {
        &self.claims
    }
}

fn done_rows(
    records: &dyn Records,
    now: Timestamp,
    keys: Vec<IdempotencyKey>,
) -> Result<Vec<(IdempotencyKey, ClaimRow)>, ReadError> {
    let mut done = Vec::new();
    for key in keys {
        let Some(row) = records.get(Table::Claims, &key.row())? else { continue };
        let row: ClaimRow =
            serde_json::from_slice(&row).map_err(|error| ReadError(error.to_string()))?;
        if now < row.until {
            done.push((key, row));
        }
    }
    Ok(done)
}
