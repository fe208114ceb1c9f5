//! What is known of circuits, bulkheads and claims from what their callers were told.

use std::collections::{BTreeMap, BTreeSet};

/// Probes that their callers have not said the end of: circuit, permit, since, until.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    live: BTreeMap<usize, Vec<(u64, u64)>>,
}

impl Probes {
    /// A probe was let through, asked for at one time and told at another, and lapses so long after
    /// the first at the earliest.
    pub(crate) fn began(
        &mut self,
        circuit: usize,
        probe: u64,
        (asked, answered): (u64, u64),
        deadline_ms: u64,
    ) -> Option<String> {
        let live = self.live.entry(circuit).or_default();
        live.retain(|(_, lapses)| answered < *lapses);
        let wrong = (!live.is_empty())
            .then(|| format!("circuit {circuit} let probe {probe} through beside {live:?}"));
        live.push((probe, asked + deadline_ms));
        wrong
    }

    /// Its caller says what came of it.
    pub(crate) fn ended(&mut self, circuit: usize, probe: u64) {
        if let Some(live) = self.live.get_mut(&circuit) {
            live.retain(|(other, _)| *other != probe);
        }
    }

    pub(crate) fn process_ended(&mut self) {
        self.live.clear();
    }
}

/// Leases whose holders have not given them back: number → until when at the earliest.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    live: BTreeMap<u64, u64>,
    told: BTreeSet<u64>,
}

impl Leases {
    pub(crate) fn taken(&mut self, id: u64, until: u64) -> Option<String> {
        self.live.insert(id, until);
        (!self.told.insert(id)).then(|| format!("lease {id} was given twice"))
    }

    pub(crate) fn given_back(&mut self, id: u64) {
        self.live.remove(&id);
    }

    /// Whether somebody was told that it is his.
    pub(crate) fn was_told(&self, id: u64) -> bool {
        self.told.contains(&id)
    }

    /// Those that cannot have lapsed by then.
    pub(crate) fn held(&self, now: u64) -> impl Iterator<Item = u64> {
        self.live.iter().filter(move |(_, until)| now < **until).map(|(id, _)| *id)
    }

    /// A process that was killed may have forgotten the numbers it gave since its last snapshot.
    pub(crate) fn process_ended(&mut self) {
        self.live.clear();
        self.told.clear();
    }
}

/// Claims: who works on a key until when at the latest known, and until when it is done.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    holders: BTreeMap<u64, Vec<(u64, u64)>>,
    done: BTreeMap<u64, u64>,
    asked_at: BTreeMap<u64, u64>,
}

impl Claims {
    /// A key is claimed; whether somebody else did so in this moment, and may be giving it back.
    pub(crate) fn asked(&mut self, key: u64, now: u64) -> bool {
        self.asked_at.insert(key, now).is_some_and(|before| now - before < 50)
    }

    pub(crate) fn is_held(&self, key: u64, now: u64) -> bool {
        let holders = self.holders.get(&key);
        holders.is_some_and(|holders| holders.iter().any(|(_, until)| now < *until))
    }

    /// A claimant was told that it is the first.
    pub(crate) fn first(
        &mut self,
        key: u64,
        by: u64,
        (asked, answered): (u64, u64),
        lease_ms: u64,
    ) -> Option<String> {
        let holders = self.holders.entry(key).or_default();
        holders.retain(|(_, until)| answered < *until);
        let done = self.done.get(&key).is_some_and(|until| answered < *until);
        let wrong = (done || !holders.is_empty())
            .then(|| format!("claim {key}: {by} is first, done: {done}, holders: {holders:?}"));
        holders.push((by, asked + lease_ms));
        wrong
    }

    /// Its holder lets go of it.
    pub(crate) fn left(&mut self, key: u64, by: u64) {
        if let Some(holders) = self.holders.get_mut(&key) {
            holders.retain(|(other, _)| *other != by);
        }
    }

    /// It is done, and remembered until then.
    pub(crate) fn done(&mut self, key: u64, until: u64) {
        let known = self.done.entry(key).or_default();
        *known = (*known).max(until);
    }

    pub(crate) fn process_ended(&mut self) {
        self.holders.clear();
        self.done.clear();
    }
}
