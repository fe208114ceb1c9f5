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

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use sendcat_actors::bulkhead::Slot;
use sendcat_actors::stream_log::AnswerWriter;
use sendcat_state::backoff::Backoff;
use sendcat_state::stream_log::Append;
use sendcat_state::threads::{self, Ending as StoredEnding, Message, Role};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{mpsc, oneshot};

use clocks::Reading;

use super::engine::{Engine, OnDisconnect, PROVIDER};
use super::tools::{self, Errands};
use super::turn::{Ending, Failure, Input, Next, Opening, ToolCall, Turn};
use crate::config::fixed;
use crate::contract::code::ErrorCode;
use crate::contract::ui_stream::message::MessagePart;
use crate::contract::ui_stream::{DONE, Json, Part};
use crate::upstream::call::{Call, OpenStream, Recorder, RefusedAnswer};
use crate::upstream::classify::{self, Outcome as Recorded, Repeat};
use crate::upstream::error::{Clock, UpstreamError};
use crate::upstream::openrouter::{self, ChatCall, Delta};
use crate::upstream::sse::{self, SseError};

/// Delays before a call is made again.
const RETRY: Backoff = Backoff { base: fixed::RETRY_BASE, cap: fixed::RETRY_CAP };

/// Told once: the answer has begun, or why it did not.
pub(super) type Started = oneshot::Sender<Result<(), Failure>>;

/// What of a request outlives its beginning.
pub(super) struct Asked {
    pub(super) owner: String,
    pub(super) thread_id: String,
    pub(super) on_disconnect: OnDisconnect,
}

/// One answer in the making.
pub(super) struct Driver {
    engine: Engine,
    owner: String,
    thread_id: String,
    opening: Opening,
    turn: Turn,
    writer: AnswerWriter,
    on_disconnect: OnDisconnect,
    started: Option<Started>,
    /// When the whole answer must be over.
    ends: Timestamp,
    /// Its calls of tools.
    errands: Arc<Errands>,
    /// The last parts, held back until the answer is stored.
    closing: Vec<Part>,
}

/// A call that failed before the turn knew.
struct FailedCall {
    failure: Failure,
    repeat: Repeat,
}

impl From<&UpstreamError> for FailedCall {
    fn from(error: &UpstreamError) -> Self {
        Self { failure: error.into(), repeat: classify::repeat(error) }
    }
}

impl Driver {
    pub(super) fn new(
        engine: Engine,
        asked: Asked,
        opening: Opening,
        writer: AnswerWriter,
        started: Started,
    ) -> Self {
        let Asked { owner, thread_id, on_disconnect } = asked;
        let ends = engine.parts.clock.now().after(engine.parts.rules.total);
        let turn = Turn::new(opening.clone());
        let errands = Arc::new(Errands::at(&engine.parts.tools));
        Self {
            engine,
            owner,
            thread_id,
            opening,
            turn,
            writer,
            on_disconnect,
            started: Some(started),
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
        let cancels = self.on_disconnect == OnDisconnect::Cancel;
        let abandoned = self.writer.abandoned();
        let no_more_time = self.engine.parts.stop.clone().cancelled_owned();
        let over = tokio::select! {
            biased;
            ending = self.drive(slot) => Some(ending),
            () = abandoned, if cancels => None,
            () = no_more_time => None,
            () = keep(slot) => None,
        };
        over.unwrap_or_else(|| self.stop())
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

    /// Calls the model until it has said what leads on; before any content, again if that helps.
    async fn call_model(&mut self, slot: &Slot) -> Next {
        for attempt in 1.. {
            let FailedCall { failure, repeat } = match self.read_model(slot).await {
                Ok(next) => return next,
                Err(failed) => failed,
            };
            let delay = match repeat {
                Repeat::No => None,
                Repeat::Yes => Some(RETRY.full_jitter(attempt, random())),
                Repeat::After(wait) => Some(wait),
            };
            let left = self.engine.parts.clock.now().until(self.ends);
            let again = delay.filter(|delay| {
                attempt < fixed::RETRY_ATTEMPTS && !self.turn.has_begun() && *delay < left
            });
            let Some(delay) = again else {
                return Next::Over(self.fail(failure));
            };
            tracing::warn!(code = failure.code, attempt, "the model is called again");
            tokio::time::sleep(delay).await;
            // What a failed call said before any content leaves no trace.
            self.turn = Turn::new(self.opening.clone());
        }
        unreachable!("attempts are counted")
    }

    /// Makes one call and reads its stream.
    async fn read_model(&mut self, slot: &Slot) -> Result<Next, FailedCall> {
        let rules = &self.engine.parts.rules;
        let left = self.engine.parts.clock.now().until(self.ends);
        let call = self.model_call();
        let opening = self.engine.upstream.stream(call, slot, rules.headers, read_refusal);
        let opened = tokio::time::timeout(left, opening).await;
        let opened = opened.unwrap_or_else(|_| Err(timed_out(Clock::Total, rules.total)));
        let OpenStream { bytes, mut recorder } =
            opened.map_err(|error| FailedCall::from(&error))?;
        let mut reading = Reading::new(self);
        let mut events = sse::data_events(bytes);
        loop {
            let (clock, limit) = reading.next_to_run_out(self);
            let event = tokio::time::timeout(limit, events.next()).await;
            let heard = match event {
                Err(_) => reading.run_out(self, clock).map_or(Ok(Next::Wait), Err),
                Ok(None | Some(Err(SseError::Transport(_)))) => Ok(self.provider_ended()),
                Ok(Some(Err(SseError::TooLong | SseError::Malformed))) => {
                    Err(UpstreamError::Malformed { provider: PROVIDER, what: "its stream" })
                }
                Ok(Some(Ok(data))) => self.hear(&data, &mut reading),
            };
            if reading.has_content {
                recorder.heard();
            }
            match heard {
                Ok(Next::Wait) => {}
                Ok(next) => return self.heard_all(next, recorder),
                Err(error) => {
                    recorder.failed(&error);
                    return Err(FailedCall::from(&error));
                }
            }
        }
    }

    fn model_call(&self) -> Call {
        let provider = &self.engine.parts.openrouter;
        let chat = ChatCall {
            model: &provider.model,
            messages: self.turn.messages(),
            tools: &self.engine.tools,
        };
        let url = format!("{}{}", provider.base_url, openrouter::CHAT_PATH);
        let key = provider.api_key.as_ref().map_or("", |key| key.expose());
        Call::post_json(PROVIDER, url, chat.body())
            .with_secret("authorization", &format!("Bearer {key}"))
    }

    fn hear(&mut self, data: &str, reading: &mut Reading) -> Result<Next, UpstreamError> {
        let deltas = openrouter::read(data)?;
        let mut parts = Vec::new();
        let mut next = Next::Wait;
        for delta in deltas {
            reading.note(self, &delta);
            if let Delta::Error { status, message, .. } = &delta {
                tracing::warn!(?status, said = message.chars().count(), "an error in the stream");
            }
            next = self.turn.feed(Input::Provider(delta), &mut parts);
            if next != Next::Wait {
                break;
            }
        }
        Ok(self.emit(parts, next))
    }

    fn provider_ended(&mut self) -> Next {
        let mut parts = Vec::new();
        let next = self.turn.feed(Input::ProviderEnded, &mut parts);
        self.emit(parts, next)
    }

    /// Records what came of a call whose stream has led somewhere.
    fn heard_all(&self, next: Next, recorder: Recorder) -> Result<Next, FailedCall> {
        match &next {
            Next::Over(Ending::FailedBeforeContent(failure)) => {
                recorder.outcome(outcome_of(failure));
                let of_the_moment = [ErrorCode::UpstreamError, ErrorCode::UpstreamRateLimited];
                let retryable = of_the_moment.iter().any(|code| code.name() == failure.code);
                let repeat = if retryable { Repeat::Yes } else { Repeat::No };
                return Err(FailedCall { failure: failure.clone(), repeat });
            }
            Next::Over(Ending::Failed(failure)) => recorder.outcome(outcome_of(failure)),
            Next::Wait | Next::StartTools(_) | Next::CallModel | Next::Over(_) => {
                recorder.succeeded();
            }
        }
        Ok(next)
    }

    /// Runs the tools of a step, all at once; each result goes to the client as it comes.
    async fn run_tools(&mut self, calls: Vec<ToolCall>) -> Next {
        let (told, mut progress) = mpsc::unbounded_channel();
        let mut running = FuturesUnordered::new();
        for ToolCall { id, name, input } in calls {
            let (errands, told) = (Arc::clone(&self.errands), told.clone());
            running.push(async move {
                // The receiver is gone only when the whole turn is.
                let tell = |found| drop(told.send((id.clone(), found)));
                let ran = errands.call(&name, &input, tell).await;
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

    /// Stores the answer, then writes its last parts, or tells its caller why there is none.
    async fn conclude(mut self, ending: Ending) {
        let failed = match ending {
            Ending::FailedBeforeContent(failure) => Some(failure),
            // Nobody is there any more, or the process ends.
            Ending::AbortedBeforeContent => Some(of_code(ErrorCode::Overloaded)),
            Ending::Finished(_) | Ending::Failed(_) | Ending::Aborted => None,
        };
        if let Some(failure) = failed {
            if let Some(started) = self.started.take() {
                let _ = started.send(Err(failure));
            }
            return;
        }
        let closing = std::mem::take(&mut self.closing);
        let turn = std::mem::replace(&mut self.turn, Turn::new(self.opening.clone()));
        if let Some(answer) = turn.into_answer() {
            self.store(answer).await;
        }
        let last = closing.iter().map(|part| part.to_sse().into());
        if !closing.is_empty() {
            self.writer.write_closing(last.chain([DONE.into()]));
        }
        if let Some(started) = self.started.take() {
            let _ = started.send(Ok(()));
        }
    }

    async fn store(&self, answer: super::turn::Answer) {
        let text = answer.parts.iter().filter_map(|part| match part {
            MessagePart::Text(text) => Some(text.as_str()),
            MessagePart::StepStart | MessagePart::Reasoning(_) | MessagePart::Tool(_) => None,
        });
        let parts = answer.parts.iter().map(serde_json::to_value).collect::<Result<_, _>>();
        let now = self.engine.parts.clock.now();
        let message = Message {
            id: answer.message_id.clone(),
            role: Role::Assistant,
            text: text.collect::<Vec<_>>().concat(),
            parts: parts.unwrap_or_default(),
            created_at: now,
            ending: match answer.finished {
                Some(_) => StoredEnding::Complete,
                None => StoredEnding::Cut,
            },
        };
        let (owner, thread_id) = (self.owner.clone(), self.thread_id.clone());
        let stored = self.engine.parts.journal.transact(move |records| {
            threads::append_answer(records, now, &owner, &thread_id, &message)
        });
        match stored.await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => {
                tracing::warn!(thread = %self.thread_id, %refusal, "an answer was not stored");
            }
            Err(error) => {
                tracing::error!(thread = %self.thread_id, %error, "an answer was not stored");
            }
        }
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

/// What the breaker learns from a failure that the turn itself found.
fn outcome_of(failure: &Failure) -> Recorded {
    match ErrorCode::from_name(failure.code) {
        Some(
            ErrorCode::UpstreamRejected | ErrorCode::Misconfigured | ErrorCode::UpstreamTooLong,
        ) => Recorded::Neutral,
        Some(_) | None => Recorded::Failure { retry_after: failure.retry_after },
    }
}

/// Parts that a full log may lose without breaking the grammar.
fn may_be_dropped(part: &Part) -> bool {
    matches!(
        part,
        Part::TextDelta { .. } | Part::ReasoningDelta { .. } | Part::ToolInputDelta { .. }
    )
}

fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    openrouter::refusal(refused.status, refused.retry_after.as_deref(), &refused.body)
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

fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
