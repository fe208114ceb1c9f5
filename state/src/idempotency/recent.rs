//! The newest done claims of each scope, for operators: what was claimed, and what came again.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Claims, KeptState};
use crate::key::IdempotencyKey;
use crate::timestamp::Timestamp;

/// Claims remembered of one scope.
pub const RECENT: usize = 100;

/// Scopes that are remembered; they are few, for they are made of sources and not of callers.
const SCOPES: usize = 64;

/// The longest key that is remembered whole, in characters.
const KEY_CHARS: usize = 200;

/// By scope, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recents(BTreeMap<String, VecDeque<(u128, String)>>);

/// One done claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentClaim {
    /// The key within its scope, cut if it is very long.
    pub key: String,
    /// How often it came again.
    pub hits: u64,
    /// Until when a duplicate is recognised from memory.
    pub until: Timestamp,
}

impl Recents {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a claim that became done, in place of the oldest of its scope.
    pub(super) fn add(&mut self, key: &IdempotencyKey) {
        if !self.0.contains_key(key.scope()) {
            if self.0.len() == SCOPES {
                return;
            }
            self.0.insert(key.scope().to_owned(), VecDeque::new());
        }
        let of_scope = self.0.get_mut(key.scope()).expect("it was put in above");
        if of_scope.len() == RECENT {
            of_scope.pop_front();
        }
        of_scope.push_back((key.hash(), key.key().chars().take(KEY_CHARS).collect()));
    }
}

impl Claims {
    /// The newest claims of a scope that are done and still remembered, newest first, at most
    /// [`RECENT`].
    pub fn recent(&self, scope: &str) -> Vec<RecentClaim> {
        let of_scope = self.recent.0.get(scope).into_iter().flatten().rev();
        of_scope
            .filter_map(|(hash, key)| {
                let kept = self.claims.get(hash)?;
                let KeptState::Done { until } = kept.state else { return None };
                Some(RecentClaim { key: key.clone(), hits: kept.hits, until })
            })
            .collect()
    }
}
