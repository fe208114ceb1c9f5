//! Drives one turn to its end, in a task of its own: calls the model, runs the tools, watches the
//! clocks, and writes the parts to the answer's log.
//!
//! # Always
//! - Before the first content a failed call may be made again; after it nothing is repeated.
//! - When the last reader goes, or the process has no more time, everything that runs for the turn
//!   is dropped where it waits: the provider's connection, the tools' results, then the slot.
//! - The answer is stored before its last parts are written: whoever reads `[DONE]` finds it.
//! - A stream that began ends in `finish` or `abort`, then `[DONE]`, whatever happens in here.

mod clocks;
mod conclude;
mod model;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use sendcat_actors::bulkhead::Slot;
use sendcat_actors::stream_log::AnswerWriter;
use sendcat_state::key::ToolKind;
use sendcat_state::saved_answers::SentParts;
use sendcat_state::stream_log::Append;
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::engine::{Engine, OnDisconnect, PROVIDER};
use super::once::Asking;
use super::tools::{self, Errands};
use super::turn::{Ending, Failure, Input, Next, Opening, ToolCall, Turn};
use crate::contract::code::ErrorCode;
use crate::contract::trace::Trace;
use crate::contract::ui_stream::{Json, Part};
use crate::telemetry;
use crate::upstream::error::{Clock, UpstreamError};

/// Told once: the answer has begun, or why it did not.
pub(super) type Started = oneshot::Sender<Result<(), Failure>>;

/// What of a request outlives its beginning.
pub(super) struct Asked {
    pub(super) owner: String,
    pub(super) thread_id: String,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) trace: Trace,
    /// Of a request with a key.
    pub(super) asking: Option<Asking>,
}

/// One answer in the making.
pub(super) struct Driver {
    engine: Engine,
    owner: String,
    thread_id: String,
    opening: Opening,
    turn: Turn,
    writer: Arc<AnswerWriter>,
    on_disconnect: OnDisconnect,
    trace: Trace,
    asking: Option<Asking>,
    started: Option<Started>,
    /// Which model answers: that of the settings, then each fallback.
    model: usize,
    told_to_stop: bool,
    /// When the whole answer must be over.
    ends: Timestamp,
    /// Its calls of tools.
    errands: Arc<Errands>,
    /// The last parts, held back until the answer is stored.
    closing: Vec<Part>,
}

impl Driver {
    pub(super) fn new(
        engine: Engine,
        asked: Asked,
        opening: Opening,
        writer: AnswerWriter,
        started: Started,
    ) -> Self {
        let Asked { owner, thread_id, on_disconnect, trace, asking } = asked;
        let ends = engine.parts.clock.now().after(engine.parts.rules.total);
        let turn = Turn::new(opening.clone());
        let errands = Arc::new(Errands::at(&engine.parts.tools, trace.clone()));
        Self {
            engine,
            owner,
            thread_id,
            opening,
            turn,
            writer: Arc::new(writer),
            on_disconnect,
            trace,
            asking,
            started: Some(started),
            model: 0,
            told_to_stop: false,
            ends,
            errands,
            closing: Vec::new(),
        }
    }

    /// Drives the turn to its end, and whatever happens ends the stream. The slot is held until
    /// then and renewed meanwhile.
    pub(super) async fn run(mut self, slot: Slot) {
        let driven = AssertUnwindSafe(self.until_over(&slot)).catch_unwind().await;
        let ending = driven.unwrap_or_else(|_| {
            tracing::error!(thread = %self.thread_id, "an answer's task panicked");
            self.fail(internal())
        });
        // The provider is done with; the slot need not wait for the disk.
        drop(slot);
        self.conclude(ending).await;
    }

    async fn until_over(&mut self, slot: &Slot) -> Ending {
        enum Over {
            Driven(Ending),
            Told,
            Alone,
        }
        let cancels = self.on_disconnect == OnDisconnect::Cancel;
        let (abandoned, told) = (self.writer.abandoned(), self.writer.stopped());
        let no_more_time = self.engine.parts.stop.clone().cancelled_owned();
        let noting = self.note();
        let over = tokio::select! {
            biased;
            ending = self.drive(slot) => Over::Driven(ending),
            () = told => Over::Told,
            () = abandoned, if cancels => Over::Alone,
            () = no_more_time => Over::Alone,
            () = keep(slot) => Over::Alone,
            () = noting => Over::Alone,
        };
        match over {
            Over::Driven(ending) => ending,
            Over::Told => {
                self.told_to_stop = true;
                self.stop()
            }
            Over::Alone => self.stop(),
        }
    }

    /// Notes on disk what is sent, so that it can be read after a restart.
    fn note(&self) -> impl Future<Output = ()> + use<> {
        let sent = SentParts {
            owner: self.owner.clone(),
            thread_id: self.thread_id.clone(),
            asked: self.asking.as_ref().map(|asking| asking.asked.clone()),
            parts: Vec::new(),
        };
        conclude::note(Arc::clone(&self.engine.parts), Arc::clone(&self.writer), sent)
    }

    async fn drive(&mut self, slot: &Slot) -> Ending {
        let mut next = Next::CallModel;
        loop {
            next = match next {
                Next::CallModel => self.call_model(slot).await,
                Next::StartTools(calls) => self.run_tools(calls).await,
                Next::Over(ending) => return ending,
                // A model or a tool that is over always leads somewhere.
                Next::Wait => return self.fail(internal()),
            };
        }
    }

    /// Runs the tools of a step, all at once; each result goes to the client as it comes.
    async fn run_tools(&mut self, calls: Vec<ToolCall>) -> Next {
        let (told, mut progress) = mpsc::unbounded_channel();
        let mut running = FuturesUnordered::new();
        for ToolCall { id, name, input } in calls {
            let (errands, told) = (Arc::clone(&self.errands), told.clone());
            let measured = self.measured(&name);
            running.push(async move {
                // The receiver is gone only when the whole turn is.
                let tell = |found| drop(told.send((id.clone(), found)));
                let ran = errands.call(&name, &input, tell).await;
                measured.end(ran.is_ok());
                (id, ran)
            });
        }
        loop {
            let left = self.engine.parts.clock.now().until(self.ends);
            let next = tokio::select! {
                biased;
                Some((call_id, found)) = progress.recv() => self.tool_told(&call_id, found),
                ran = running.next() => {
                    let Some((call_id, ran)) = ran else { return Next::Wait };
                    // What it told in the moment in which it ended comes before its end.
                    while let Ok((call_id, found)) = progress.try_recv() {
                        self.tool_told(&call_id, found);
                    }
                    self.tool_ended(&call_id, ran)
                }
                () = tokio::time::sleep(left) => {
                    let total = self.engine.parts.rules.total;
                    return Next::Over(self.fail((&timed_out(Clock::Total, total)).into()));
                }
            };
            if next != Next::Wait {
                return next;
            }
        }
    }

    /// Begins to measure a call of a tool; a name that no tool has is one for all of them.
    fn measured(&self, name: &str) -> telemetry::gen_ai::MeasuredTool {
        let tool = ToolKind::from_name(name).map_or("other", ToolKind::as_str);
        let (clock, drawn) = (&self.engine.parts.clock, sendcat_actors::chance::number());
        telemetry::gen_ai::MeasuredTool::begin(clock, &self.trace, drawn, tool)
    }

    fn tool_told(&mut self, call_id: &str, output: Json) -> Next {
        let mut parts = Vec::new();
        let next = self.turn.feed(Input::ToolProgress { call_id, output }, &mut parts);
        self.emit(parts, next)
    }

    fn tool_ended(&mut self, call_id: &str, ran: tools::Outcome) -> Next {
        let mut parts = Vec::new();
        let input = match ran {
            Ok(output) => Input::ToolDone { call_id, output, for_model: None },
            Err(why) => Input::ToolFailed { call_id, why },
        };
        let next = self.turn.feed(input, &mut parts);
        self.emit(parts, next)
    }

    fn fail(&mut self, failure: Failure) -> Ending {
        self.end_by(Input::Failed(failure))
    }

    fn stop(&mut self) -> Ending {
        self.end_by(Input::Stopped)
    }

    /// Feeds what ends the turn.
    fn end_by(&mut self, input: Input<'_>) -> Ending {
        let mut parts = Vec::new();
        let next = self.turn.feed(input, &mut parts);
        match self.emit(parts, next) {
            Next::Over(ending) => ending,
            // A turn whose model has said everything completes instead.
            Next::Wait | Next::StartTools(_) | Next::CallModel => Ending::Aborted,
        }
    }

    /// Writes parts for the readers; the last ones of an answer are held back until it is stored.
    fn emit(&mut self, parts: Vec<Part>, next: Next) -> Next {
        if matches!(next, Next::Over(_)) {
            self.closing.extend(parts);
            return next;
        }
        if parts.is_empty() {
            return next;
        }
        let mut full = false;
        for part in &parts {
            // What is missing in a full log are deltas alone, never a start or an end.
            let kept = match (may_be_dropped(part), full) {
                (true, true) => continue,
                (true, false) => self.writer.write([part.to_sse().into()]),
                (false, _) => self.writer.write_closing([part.to_sse().into()]),
            };
            full |= kept == Append::Full;
        }
        if let Some(started) = self.started.take() {
            // A caller that is gone is noticed as a reader that is gone.
            let _ = started.send(Ok(()));
        }
        if full {
            return Next::Over(self.fail(of_code(ErrorCode::UpstreamTooLong)));
        }
        next
    }
}

/// Renews the slot's lease for as long as it is polled.
async fn keep(slot: &Slot) {
    loop {
        tokio::time::sleep(slot.renew_every()).await;
        if !slot.renew().await {
            tracing::warn!("a slot's lease had run out while its call was in flight");
        }
    }
}

/// Parts that a full log may lose without breaking the grammar.
fn may_be_dropped(part: &Part) -> bool {
    matches!(
        part,
        Part::TextDelta { .. } | Part::ReasoningDelta { .. } | Part::ToolInputDelta { .. }
    )
}

fn timed_out(clock: Clock, limit: Duration) -> UpstreamError {
    UpstreamError::TimedOut { provider: PROVIDER, clock, limit }
}

fn internal() -> Failure {
    of_code(ErrorCode::InternalError)
}

fn of_code(code: ErrorCode) -> Failure {
    Failure { code: code.name(), sentence: code.sentence().to_owned(), retry_after: None }
}
