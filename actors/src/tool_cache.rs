//! The tool cache: what tools found, for whoever asks the same.
//!
//! A cache that does not answer is a miss, and what is fetched then is not put in: nobody knows
//! which clearing of the namespace the fetch has seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::{
    CacheChange, CacheKey, CacheRules, Fill, Kept, Lookup, NamespaceView, NewResult, ToolCache,
};

use crate::failure::{self, AskError, Concern};
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine};
use crate::supervisor::Subtree;

/// What the cache is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// What is known about this question.
    Get(CacheKey),
    /// A result, to be kept.
    Put(NewResult),
    /// A namespace to be emptied.
    Clear(String),
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Get`].
    Found(Lookup),
    /// To [`Command::Put`].
    Put(Kept),
    /// To [`Command::Clear`]: how many results held until then.
    Cleared(usize),
}

/// What operators see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Each namespace that holds something.
    pub namespaces: BTreeMap<String, NamespaceView>,
    /// What all entries cost, in bytes.
    pub bytes: usize,
}

impl Machine for ToolCache {
    type Command = Command;
    type Answer = Answer;
    type Change = CacheChange;
    type Rules = CacheRules;
    type View = View;

    const KIND: &'static str = "tool_cache";
    const CLASS: Class = Class::Snapshotted;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        now: Timestamp,
        rules: &CacheRules,
        command: Command,
    ) -> Decision<Answer, CacheChange> {
        match command {
            Command::Get(key) => self.get(now, &key).map(Answer::Found),
            Command::Put(result) => self.put(now, rules, result).map(Answer::Put),
            Command::Clear(namespace) => self.clear(now, &namespace).map(Answer::Cleared),
        }
    }

    fn housekeep(&self, now: Timestamp, _: &CacheRules) -> Decision<(), CacheChange> {
        self.sweep(now)
    }

    fn fingerprint(command: &Command) -> Option<u128> {
        match command {
            Command::Get(key) => Some(key.hash()),
            Command::Put(result) => Some(result.key.hash()),
            // An operator may insist.
            Command::Clear(_) => None,
        }
    }

    fn reopened(&mut self, _: Timestamp) {
        self.forget_fills();
    }

    fn view(&self, now: Timestamp) -> View {
        View { namespaces: Self::view(self, now), bytes: self.bytes() }
    }
}

/// What a look-up comes to for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    /// This was found before, and still holds.
    Hit(String),
    /// There is nothing. What is fetched may be put in with the fill; without one it may not.
    Miss(Option<Fill>),
}

/// Look-ups since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Those that found something.
    pub hits: u64,
    /// Those that did not, for whatever reason.
    pub misses: u64,
}

/// The handle on the cache.
#[derive(Clone)]
pub struct Cache {
    cache: Handle<ToolCache>,
    hits: Arc<AtomicU64>,
    misses: Arc<AtomicU64>,
}

impl Cache {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        rules: CacheRules,
        base: ToolCache,
    ) -> Self {
        let cache = Handle::new("tool_cache", subtree, around, rules, base);
        Self { cache, hits: Arc::default(), misses: Arc::default() }
    }

    /// What is known about a question. A cache that does not answer is a miss.
    pub async fn get(&self, key: &CacheKey) -> Cached {
        let found = match self.cache.ask(Command::Get(key.clone())).await {
            Ok(Answer::Found(Lookup::Hit(value))) => Cached::Hit(value),
            Ok(Answer::Found(Lookup::Miss(fill))) => Cached::Miss(Some(fill)),
            Ok(Answer::Put(_) | Answer::Cleared(_)) => Cached::Miss(None),
            Err(error) => {
                failure::failed(Concern::ToolCache, error);
                Cached::Miss(None)
            }
        };
        let count = match &found {
            Cached::Hit(_) => &self.hits,
            Cached::Miss(_) => &self.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Puts a result in. One that cannot be kept is fetched again by whoever asks next.
    pub async fn put(&self, result: NewResult) {
        if let Err(error) = self.cache.ask(Command::Put(result)).await {
            failure::failed(Concern::ToolCache, error);
        }
    }

    /// Empties a namespace, also of what is under way to it; how many results held until then.
    ///
    /// # Errors
    /// [`AskError`] if the cache gave no answer: the namespace may be as it was.
    pub async fn clear(&self, namespace: &str) -> Result<usize, AskError> {
        match self.cache.ask(Command::Clear(namespace.to_owned())).await? {
            Answer::Cleared(held) => Ok(held),
            Answer::Found(_) | Answer::Put(_) => Err(AskError::Crashed),
        }
    }

    /// How look-ups went.
    pub fn lookups(&self) -> Lookups {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Lookups { hits: count(&self.hits), misses: count(&self.misses) }
    }

    /// What operators see.
    pub fn view(&self) -> Arc<View> {
        self.cache.view()
    }

    /// The actor.
    pub fn actor(&self) -> &Handle<ToolCache> {
        &self.cache
    }
}
