//! The turns' side: a call of a tool is looked up, else queued and waited for.
//!
//! # Always
//! - Whatever goes wrong is words that the model can read; the chat goes on.
//! - Those who ask the same at once make one call.
//! - Only what is complete is kept for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sendcat_actors::chance;
use sendcat_actors::clock::SharedClock;
use sendcat_actors::failure::{self, Concern};
use sendcat_actors::job_queue::{JobEnd, Jobs, NoResult};
use sendcat_actors::tool_cache::{Cache, Cached};
use sendcat_state::job::{JobKind, NewJob};
use sendcat_state::key::ToolKind;
use sendcat_state::tool_cache::{CacheKey, NewResult};

use super::arguments::Arguments;
use super::flight::{Boarding, Flights};
use super::runner::Found;
use super::wanted::Wanted;
use super::{TOOLS, ToolRow, words};
use crate::config::Live;
use crate::contract::trace::Trace;
use crate::contract::ui_stream::Json;

/// What a call comes to: a result, or words for the model.
pub type Outcome = Result<Json, String>;

/// Where all turns hand their calls in.
pub struct Desk {
    /// The queue.
    pub jobs: Jobs,
    /// Who waits for which of its jobs.
    pub wanted: Wanted,
    /// What was found before.
    pub cache: Cache,
    /// The time.
    pub clock: SharedClock,
    /// Where the bounds are.
    pub live: Live,
    flights: Flights<Outcome>,
}

impl Desk {
    /// A desk at which nobody asks yet.
    pub fn new(
        (jobs, cache): (Jobs, Cache),
        wanted: Wanted,
        clock: SharedClock,
        live: Live,
    ) -> Self {
        Self { jobs, wanted, cache, clock, live, flights: Flights::default() }
    }
}

/// The calls of one answer.
pub struct Errands {
    desk: Arc<Desk>,
    /// Of the answer.
    trace: Trace,
    queued: AtomicU32,
}

/// What a leader brought.
enum Brought {
    /// All who asked the same may have it.
    ForAll(Outcome),
    /// It is about this answer alone.
    ForOne(String),
}

impl Errands {
    /// Of an answer that has called no tool yet.
    pub fn at(desk: &Arc<Desk>, trace: Trace) -> Self {
        Self { desk: Arc::clone(desk), trace, queued: AtomicU32::new(0) }
    }

    /// Runs one call and waits for its end; `progress` hears first results before it. Dropped, it
    /// takes the tool's call along.
    ///
    /// # Errors
    /// Words about why there is no result.
    pub async fn call(&self, name: &str, input: &Json, progress: impl Fn(Json)) -> Outcome {
        let row = TOOLS.iter().find(|row| row.kind.as_str() == name);
        let row = row.ok_or_else(|| "There is no such tool.".to_owned())?;
        let asked = Arguments::read(row.takes, input.as_str())?;
        let config = self.desk.live.now();
        let key = asked.key(row.kind, config.tool_cache.space(row.kind).0);
        let wait = config.tool_jobs.wait;
        loop {
            match self.desk.flights.board(&key) {
                Boarding::Follow(follower) => {
                    match tokio::time::timeout(wait, follower.found()).await {
                        Ok(Some(found)) => return found,
                        // Whoever led is gone: somebody else has to.
                        Ok(None) => {}
                        Err(_) => return Err(words::late(wait)),
                    }
                }
                Boarding::Lead(lead) => {
                    return match self.lead(row, &asked, &key, &progress).await {
                        Brought::ForAll(found) => {
                            lead.land(found.clone());
                            found
                        }
                        Brought::ForOne(words) => Err(words),
                    };
                }
            }
        }
    }

    /// Looks a question up, else has it asked.
    async fn lead(
        &self,
        row: &ToolRow,
        asked: &Arguments,
        key: &CacheKey,
        progress: &impl Fn(Json),
    ) -> Brought {
        let fill = match self.desk.cache.get(key).await {
            Cached::Hit(value) => match Json::from_text(&value) {
                Ok(output) => return Brought::ForAll(Ok(output)),
                Err(_) => None,
            },
            Cached::Miss(fill) => fill,
        };
        let most = self.desk.live.now().tool_jobs.max_per_run;
        if self.queued.fetch_add(1, Ordering::Relaxed) >= most {
            return Brought::ForOne(words::spent(most));
        }
        let found = match self.order(row.kind, asked, progress).await {
            Ok(found) => found,
            Err(words) => return Brought::ForAll(Err(words)),
        };
        if let Some(fill) = fill.filter(|_| found.complete) {
            let ttl = self.desk.live.now().tool_cache.space(row.kind).1;
            let key = key.clone();
            let value = found.output.as_str().to_owned();
            self.desk.cache.put(NewResult { key, fill, value, ttl }).await;
        }
        Brought::ForAll(Ok(found.output))
    }

    /// Queues a call and waits for its end. A wait that is over takes what was found first.
    async fn order(
        &self,
        tool: ToolKind,
        asked: &Arguments,
        progress: &impl Fn(Json),
    ) -> Result<Found, String> {
        let Desk { jobs, wanted, clock, live, .. } = self.desk.as_ref();
        let wait = live.now().tool_jobs.wait;
        let id = chance::id(clock.now());
        let (_waiting, mut told) = wanted.wait_for(id, self.trace.clone());
        let payload = serde_json::to_string(asked).expect("texts and finite numbers");
        let job = NewJob {
            id,
            kind: JobKind::Tool(tool),
            key: tool.as_str().to_owned(),
            payload: Some(payload),
        };
        let mut first = None;
        let mut hear = |found: Json| {
            progress(found.clone());
            first = Some(Found { output: found, complete: false });
        };
        let running = jobs.run(job, wait);
        tokio::pin!(running);
        let ended = loop {
            tokio::select! {
                biased;
                Some(found) = told.recv() => hear(found),
                ended = &mut running => break ended,
            }
        };
        while let Ok(found) = told.try_recv() {
            hear(found);
        }
        match ended {
            Ok(JobEnd::Done(result)) => {
                serde_json::from_str(&result).map_err(|_| words::UNREADABLE.to_owned())
            }
            Ok(JobEnd::GivenUp(words)) => first.ok_or(words),
            Err(NoResult::Saturated(kind)) => Err(words::saturated(kind.as_str())),
            Err(NoResult::Late) => first.ok_or_else(|| words::late(wait)),
            Err(NoResult::Unavailable(error)) => {
                failure::failed(Concern::ToolEnqueue, error);
                Err(words::UNAVAILABLE.to_owned())
            }
        }
    }
}
