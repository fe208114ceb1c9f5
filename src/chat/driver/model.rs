//! One call of the model, made until it has said what leads on: again, or to another model, but
//! only before the first content of the answer.
//!
//! The model of the settings is asked up to three times, as far as the budget of retries goes; then
//! each fallback model once. The model that has begun an answer also ends it.
//!
//! # Always
//! - A call that was sent and not answered in time is made nowhere again: it may be billed.
//! - What the breaker refuses is not tried again, and every attempt tells the breaker once what
//!   came of it. All attempts are made under the one slot of the turn.

use futures_util::StreamExt as _;
use sendcat_actors::bulkhead::Slot;

use super::clocks::Reading;
use super::{Driver, PROVIDER, timed_out};
use crate::chat::turn::{Ending, Failure, Input, Next, Turn};
use crate::contract::code::ErrorCode;
use crate::contract::trace::Trace;
use crate::telemetry::gen_ai::MeasuredChat;
use crate::upstream::call::{Call, OpenStream, Recorder, RefusedAnswer};
use crate::upstream::classify::{self, Outcome, Repeat};
use crate::upstream::error::{Clock, UpstreamError};
use crate::upstream::openrouter::{self, ChatCall, Delta};
use crate::upstream::retry;
use crate::upstream::sse::{self, SseError};

/// A call that failed before it led anywhere.
struct FailedCall {
    failure: Failure,
    repeat: Repeat,
}

impl From<&UpstreamError> for FailedCall {
    fn from(error: &UpstreamError) -> Self {
        Self { failure: error.into(), repeat: classify::repeat(error) }
    }
}

impl FailedCall {
    /// Whether another model may do what this one did not: the provider is there, takes our key,
    /// and has said that it gives no answer.
    fn is_of_the_model(&self) -> bool {
        let codes =
            [ErrorCode::UpstreamError, ErrorCode::UpstreamRateLimited, ErrorCode::UpstreamRejected];
        codes.iter().any(|code| code.name() == self.failure.code)
    }
}

impl Driver {
    /// Calls the model until it has said what leads on.
    pub(super) async fn call_model(&mut self, slot: &Slot) -> Next {
        self.engine.parts.retries.count_call(self.engine.parts.clock.now());
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = match self.read_model(slot).await {
                Ok(next) => return next,
                Err(failed) => failed,
            };
            let Some(delay) = self.next_attempt(&failed, &mut attempts) else {
                return Next::Over(self.fail(failed.failure));
            };
            let (code, model) = (failed.failure.code, self.model_name());
            tracing::warn!(code, attempts, model, "the model is called again");
            tokio::time::sleep(delay).await;
            // What a failed call said before any content leaves no trace.
            self.turn = Turn::new(self.opening.clone());
        }
    }

    /// Decides what follows a failed call: the same model again, the next one, or nothing. Of the
    /// first two says after what time.
    fn next_attempt(
        &mut self,
        failed: &FailedCall,
        attempts: &mut u32,
    ) -> Option<std::time::Duration> {
        if self.turn.has_begun() {
            return None;
        }
        let now = self.engine.parts.clock.now();
        let left = now.until(self.ends);
        // A fallback model is asked once: it is itself what a failure leads to.
        let again = if self.model == 0 { failed.repeat } else { Repeat::No };
        let delay = retry::delay(again, *attempts, sendcat_actors::chance::number())
            .filter(|delay| *delay < left);
        if delay.is_some() && self.engine.parts.retries.take_retry(now) {
            return delay;
        }
        let fallbacks = &self.engine.parts.openrouter.fallback_models;
        if self.model >= fallbacks.len() || !failed.is_of_the_model() {
            return None;
        }
        // The provider does not say whether its wait is for the model or for us.
        let wait = failed.failure.retry_after.unwrap_or_default();
        self.model += 1;
        *attempts = 0;
        Some(wait).filter(|wait| *wait < left)
    }

    /// The model that is called: that of the settings, or a fallback.
    fn model_name(&self) -> &str {
        let provider = &self.engine.parts.openrouter;
        let fallback = self.model.checked_sub(1).and_then(|at| provider.fallback_models.get(at));
        fallback.unwrap_or(&provider.model)
    }

    /// Makes one call and reads its stream, measured.
    async fn read_model(&mut self, slot: &Slot) -> Result<Next, FailedCall> {
        let (clock, drawn) = (&self.engine.parts.clock, sendcat_actors::chance::number());
        let mut measured = MeasuredChat::begin(clock, &self.trace, drawn, self.model_name());
        let read = self.read_stream(slot, &mut measured).await;
        measured.end(match &read {
            Ok(Next::Over(Ending::Failed(failure))) => Some(failure.code),
            Ok(_) => None,
            Err(failed) => Some(failed.failure.code),
        });
        read
    }

    async fn read_stream(
        &mut self,
        slot: &Slot,
        measured: &mut MeasuredChat,
    ) -> Result<Next, FailedCall> {
        let rules = &self.engine.parts.rules;
        let left = self.engine.parts.clock.now().until(self.ends);
        let call = self.model_call(measured.trace());
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
                Ok(Some(Ok(data))) => self.hear(&data, &mut reading, measured),
            };
            if reading.has_content {
                recorder.heard();
                measured.heard();
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

    fn model_call(&self, step: &Trace) -> Call {
        let provider = &self.engine.parts.openrouter;
        let chat = ChatCall {
            model: self.model_name(),
            messages: self.turn.messages(),
            tools: &self.engine.tools,
        };
        let url = format!("{}{}", provider.base_url, openrouter::CHAT_PATH);
        let key = provider.api_key.as_ref().map_or("", |key| key.expose());
        Call::post_json(PROVIDER, url, chat.body())
            .with_secret("authorization", &format!("Bearer {key}"))
            .within(step)
    }

    fn hear(
        &mut self,
        data: &str,
        reading: &mut Reading,
        measured: &mut MeasuredChat,
    ) -> Result<Next, UpstreamError> {
        let deltas = openrouter::read(data)?;
        let mut parts = Vec::new();
        let mut next = Next::Wait;
        for delta in deltas {
            reading.note(self, &delta);
            if let Delta::Usage(usage) = &delta {
                measured.used(usage.input_tokens, usage.output_tokens);
            }
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
}

/// What the breaker learns from a failure that the turn itself found.
fn outcome_of(failure: &Failure) -> Outcome {
    match ErrorCode::from_name(failure.code) {
        Some(
            ErrorCode::UpstreamRejected | ErrorCode::Misconfigured | ErrorCode::UpstreamTooLong,
        ) => Outcome::Neutral,
        Some(_) | None => Outcome::Failure { retry_after: failure.retry_after },
    }
}

fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    openrouter::refusal(refused.status, refused.retry_after.as_deref(), &refused.body)
}
