//! The workers' side: runs an attempt at a queued tool, and says what came of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sendcat_actors::clock::SharedClock;
use sendcat_actors::ports::Attempt;
use sendcat_state::job::AttemptOutcome;
use sendcat_state::key::{PerProvider, ProviderId, TimedId, ToolKind};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::arguments::Arguments;
use super::shops::{Search, Shops};
use super::wanted::Wanted;
use super::{global, products, web, words};
use crate::config::{Keyed, Live, ToolJobs};
use crate::contract::function::{FunctionError, INVALID_ARGS};
use crate::contract::ui_stream::Json;
use crate::upstream::call::Upstream;
use crate::upstream::classify::{self, Repeat};
use crate::upstream::ebay::Browse;
use crate::upstream::error::UpstreamError;

/// What an attempt found, as it travels to the turn that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// What the model and the client are given.
    pub(super) output: Json,
    /// Whether all of it is there: only then may others be given it too.
    pub(super) complete: bool,
}

/// Runs queued tools.
pub struct ToolRunner {
    upstream: Upstream,
    web: Keyed,
    web_deadline: Duration,
    shops: Shops,
    wanted: Wanted,
    /// Places of all tools together.
    places: Semaphore,
    /// How many there are.
    placed: Mutex<usize>,
    /// Where the bounds are.
    live: Live,
}

impl ToolRunner {
    /// A runner whose calls go that way, for turns that say in `wanted` what they wait for.
    pub fn new(upstream: Upstream, live: Live, clock: SharedClock, wanted: Wanted) -> Self {
        let config = live.now();
        let (providers, placed) = (&config.providers, places_of(&config.tool_jobs));
        let shops = Shops {
            serper: providers.serper.clone(),
            serpapi: providers.serpapi.clone(),
            ebay: Browse::new(providers.ebay.clone(), clock.clone()),
            deadlines: PerProvider::new(|provider| config.deadline(provider)),
            clock,
        };
        Self {
            upstream,
            web: providers.serper.clone(),
            web_deadline: config.deadline(ProviderId::SerperSearch),
            shops,
            wanted,
            places: Semaphore::new(placed),
            placed: Mutex::new(placed),
            live,
        }
    }

    /// Runs one attempt at a queued tool with these arguments, for as long as its turn waits.
    pub async fn run(self: Arc<Self>, id: TimedId, tool: ToolKind, input: String) -> Attempt {
        let config = self.live.now();
        let place_lease = config.tool_jobs.running_lease;
        self.place(places_of(&config.tool_jobs));
        let attempt = async {
            let _place = self.places.acquire().await.expect("it is never closed");
            tokio::time::timeout(place_lease, self.attempt(id, tool, &input)).await
        };
        let within = self.wanted.span_of(id);
        let within = tracing::info_span!(parent: &within, "tool", job = %id, %tool);
        let attempt = attempt.instrument(within);
        tokio::select! {
            attempt = attempt => attempt.unwrap_or_else(|_| {
                let error = words::late(place_lease);
                of(AttemptOutcome::Dead { error })
            }),
            () = self.wanted.no_longer(id) => {
                let error = "the turn that waited for it is over".to_owned();
                of(AttemptOutcome::Dead { error })
            }
        }
    }

    /// Has as many places as a reload wants; those that are taken are done without when they come
    /// free and somebody asks again.
    fn place(&self, wanted: usize) {
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *placed {
            self.places.add_permits(wanted - *placed);
            *placed = wanted;
        } else {
            *placed -= self.places.forget_permits(*placed - wanted);
        }
    }

    async fn attempt(&self, id: TimedId, tool: ToolKind, input: &str) -> Attempt {
        let Ok(asked) = serde_json::from_str::<Arguments>(input) else {
            let wrong = FunctionError::new(INVALID_ARGS, tool.as_str(), words::UNREADABLE);
            return of(AttemptOutcome::Dead { error: wrong.to_string() });
        };
        let told = AtomicBool::new(false);
        let tell = |found: Json| {
            told.store(true, Ordering::Relaxed);
            self.wanted.tell(id, found);
        };
        let places = match tool {
            ToolKind::SearchWeb => None,
            ToolKind::SearchProducts => Some(products::PLACES),
            ToolKind::SearchGlobal => Some(global::PLACES),
        };
        let (upstream, holder) = (&self.upstream.within(self.wanted.trace_of(id)), tool.as_str());
        let found = match places {
            None => web::run(upstream, &self.web, &asked, self.web_deadline).await,
            Some(places) => {
                let budget = budget(&self.live.now().tool_jobs);
                let search = Search { upstream, places, asked: &asked, holder, budget };
                self.shops.search(search, tell).await
            }
        };
        match found {
            Ok(found) => {
                // What is queued is shown at least once before it is settled (log 3.5).
                if !told.into_inner() {
                    self.wanted.tell(id, found.output.clone());
                }
                let result = serde_json::to_string(&found).expect("JSON under fixed names");
                let outcome = AttemptOutcome::Done { writes: Vec::new() };
                Attempt { outcome, result: Some(result) }
            }
            Err(error) => of(outcome_of(&error)),
        }
    }
}

/// Calls that may run at once, all tools together.
fn places_of(jobs: &ToolJobs) -> usize {
    jobs.running_max.min(Semaphore::MAX_PERMITS)
}

/// A little less than the turn waits: what was found must still reach it.
fn budget(jobs: &ToolJobs) -> Duration {
    jobs.wait - jobs.wait / 10
}

fn of(outcome: AttemptOutcome) -> Attempt {
    Attempt { outcome, result: None }
}

fn outcome_of(error: &UpstreamError) -> AttemptOutcome {
    let words = words::failed(error);
    match classify::repeat(error) {
        Repeat::After(wait) => AttemptOutcome::Retry { error: words, after: Some(wait) },
        Repeat::Yes => AttemptOutcome::Retry { error: words, after: None },
        Repeat::No => AttemptOutcome::Dead { error: words },
    }
}
