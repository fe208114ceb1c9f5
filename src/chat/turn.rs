//! One answer, decided: what the provider and the tools say goes in, parts for the client come out.
//!
//! Pure: it reads no clock, waits for nothing, calls nobody. Whoever drives it makes the calls that
//! [`Next`] asks for, watches the clocks, and tells it what happened. A step is one call of the
//! model and the runs of the tools it called; results go to the model in the next step.
//!
//! # Always
//! - Nothing is emitted before the first content: until then a failure is still an HTTP status, and
//!   whoever drives may begin again with a new turn, at another model too.
//! - What is emitted obeys the grammar of UI-STREAM.md §4, whatever goes in. Once something was
//!   emitted, the last part is `finish` or `abort`.
//! - A call of a tool has exactly one outcome, and the model sees every call with its outcome.
//! - After the end every input is ignored.

mod calls;
mod writer;

use std::borrow::Cow;
use std::time::Duration;

use calls::Calls;
use sendcat_state::key::ProviderId;
use writer::{Kind, Writer};

use crate::contract::ui_stream::message::MessagePart;
use crate::contract::ui_stream::{FinishReason, Json, Part, Usage};
use crate::upstream::error::UpstreamError;
use crate::upstream::openrouter::{Delta, Finish, Message, failure_within};

/// The most bytes of text, reasoning and arguments that one answer may have: 4 MiB.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The most bytes of one call's arguments: 256 KiB.
pub const MAX_ARGUMENT_BYTES: usize = 256 << 10;

/// The most calls of tools in one step.
pub const MAX_CALLS: usize = 32;

/// What a turn begins with.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The id that the client will know the answer by.
    pub message_id: String,
    /// The conversation so far; the last message is to be answered.
    pub messages: Vec<Message>,
    /// The names of the tools that the model was offered.
    pub tools: Vec<String>,
    /// After this many calls of the model the turn is over (`CHAT_MAX_STEPS`).
    pub max_steps: u32,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The provider said something.
    Provider(Delta<'a>),
    /// The provider's stream is over: at its end, or because the connection broke.
    ProviderEnded,
    /// The provider could not be called, answered what cannot be read, or let a clock run out.
    Failed(Failure),
    /// A tool has a first result that a later one replaces.
    ToolProgress { call_id: &'a str, output: Json },
    /// A tool has its result; `for_model` if the model is to read something else than the client.
    ToolDone { call_id: &'a str, output: Json, for_model: Option<String> },
    /// A tool failed, in words that the model and the person can read.
    ToolFailed { call_id: &'a str, why: String },
    /// Nobody wants the answer any more, or the service shuts down.
    Stopped,
}

/// Why an answer failed, as far as the client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A wire code of INTERFACE.md §3.
    pub code: &'static str,
    /// One sentence for the person.
    pub sentence: String,
    /// After what time asking again is worth it.
    pub retry_after: Option<Duration>,
}

impl From<&UpstreamError> for Failure {
    fn from(error: &UpstreamError) -> Self {
        let (code, sentence) = (error.code_name(), error.sentence());
        Self { code, sentence, retry_after: error.retry_after() }
    }
}

/// What whoever drives the turn does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Wait for whatever happens.
    Wait,
    /// Start these tools, all at once.
    StartTools(Vec<ToolCall>),
    /// Call the model again, with [`Turn::messages`].
    CallModel,
    /// The turn is over.
    Over(Ending),
}

/// A tool to start.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Names the call in [`Input::ToolDone`] and its like.
    pub id: String,
    /// One of [`Opening::tools`].
    pub name: String,
    /// A JSON object; its fields were not checked.
    pub input: Json,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer is complete.
    Finished(FinishReason),
    /// It failed in its middle; the client was told in the stream.
    Failed(Failure),
    /// It was stopped in its middle.
    Aborted,
    /// It failed, and nothing was emitted: answer with a status, or begin a new turn.
    FailedBeforeContent(Failure),
    /// It was stopped, and nothing was emitted.
    AbortedBeforeContent,
}

/// The answer to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// As in [`Opening`].
    pub message_id: String,
    /// What the client has seen; never empty.
    pub parts: Vec<MessagePart>,
    /// Why it ended; `None` for one that failed or was stopped: it is marked as cut.
    pub finished: Option<FinishReason>,
    /// Tokens of all steps together, where the provider told.
    pub usage: Option<Usage>,
}

/// One answer in the making.
#[derive(Debug)]
pub struct Turn {
    messages: Vec<Message>,
    tools: Vec<String>,
    max_steps: u32,
    step: u32,
    phase: Phase,
    writer: Writer,
    calls: Calls,
    /// Why the model stopped in this step, once it has.
    finish: Option<Finish>,
    /// Of this step; providers may send it several times, and the last one counts.
    step_usage: Option<Usage>,
    usage: Option<Usage>,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// The model speaks, or is about to.
    Reading,
    /// The model waits for its tools.
    RunningTools,
    Over(Ending),
}

impl Turn {
    /// A turn whose model is to be called with [`Self::messages`].
    pub fn new(opening: Opening) -> Self {
        Self {
            messages: opening.messages,
            tools: opening.tools,
            max_steps: opening.max_steps,
            step: 1,
            phase: Phase::Reading,
            writer: Writer::new(opening.message_id),
            calls: Calls::default(),
            finish: None,
            step_usage: None,
            usage: None,
        }
    }

    /// What the model is to be called with.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether something was emitted, so that a failure can no longer be a status.
    pub fn has_begun(&self) -> bool {
        self.writer.has_begun()
    }

    /// The answer to be stored; `None` if nothing was emitted.
    pub fn into_answer(self) -> Option<Answer> {
        let finished = match self.phase {
            Phase::Over(Ending::Finished(reason)) => Some(reason),
            Phase::Over(_) | Phase::Reading | Phase::RunningTools => None,
        };
        self.writer.into_answer(finished, self.usage)
    }

    /// Takes in what happened, appends what the client is to be sent, says what to do next.
    pub fn feed(&mut self, input: Input<'_>, out: &mut Vec<Part>) -> Next {
        if let Phase::Over(ending) = &self.phase {
            return Next::Over(ending.clone());
        }
        match input {
            Input::Provider(delta) if self.phase == Phase::Reading => self.hear(delta, out),
            Input::ProviderEnded if self.phase == Phase::Reading => match self.finish {
                Some(_) => self.model_stopped(out),
                None => self.fail(&self.ended_early(), out),
            },
            Input::Provider(_) | Input::ProviderEnded => Next::Wait,
            Input::Failed(_) | Input::Stopped if self.is_said() => self.model_stopped(out),
            Input::Failed(failure) => self.fail_with(failure, out),
            Input::Stopped => self.stop(out),
            Input::ToolProgress { call_id, output } => {
                if self.calls.is_running(call_id) {
                    out.push(Part::tool_output_preliminary(call_id.to_owned(), output));
                }
                Next::Wait
            }
            Input::ToolDone { call_id, output, for_model } => {
                let result = for_model.unwrap_or_else(|| output.as_str().to_owned());
                self.settle(call_id, Ok(output), result, out)
            }
            Input::ToolFailed { call_id, why } => self.settle(call_id, Err(why.clone()), why, out),
        }
    }

    fn hear(&mut self, delta: Delta<'_>, out: &mut Vec<Part>) -> Next {
        match delta {
            Delta::Usage(usage) => self.step_usage = Some(usage),
            Delta::Done => return self.model_stopped(out),
            // Whatever else comes after the model stopped is noise.
            _ if self.finish.is_some() => {}
            Delta::Text(text) => return self.say(Kind::Text, text, out),
            Delta::Reasoning(text) => return self.say(Kind::Reasoning, text, out),
            Delta::ToolFragment { index, id, name, arguments } => {
                let fragment = calls::Fragment { index, id, name, arguments };
                let took = self.calls.take(self.step, fragment, &mut self.writer, out);
                return took.map_or_else(|failure| self.fail_with(failure, out), |()| Next::Wait);
            }
            Delta::Finish(Finish::Error) => return self.fail(&failure_within(None), out),
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Error { status, .. } => return self.fail(&failure_within(status), out),
        }
        Next::Wait
    }

    fn say(&mut self, kind: Kind, text: Cow<'_, str>, out: &mut Vec<Part>) -> Next {
        match self.writer.say(kind, text, out) {
            Ok(()) => Next::Wait,
            Err(failure) => self.fail_with(failure, out),
        }
    }

    /// The model has said everything and called nothing: nothing can go wrong any more.
    fn is_said(&self) -> bool {
        self.phase == Phase::Reading
            && self.writer.has_begun()
            && self.finish.is_some()
            && self.calls.is_empty()
    }

    fn model_stopped(&mut self, out: &mut Vec<Part>) -> Next {
        let reason = reason_of(self.finish);
        if matches!(reason, FinishReason::Length | FinishReason::ContentFilter) {
            // What the model was calling when it was stopped may be half a call.
            self.give_up("The model was stopped before its call was complete.", out);
        }
        if self.calls.is_empty() {
            if !self.writer.has_begun() {
                return self.fail(&self.ended_early(), out);
            }
            return self.finish(reason, out);
        }
        let runnable = self.calls.complete(&self.tools, &mut self.writer, out);
        if runnable.is_empty() {
            return self.end_step(out);
        }
        self.phase = Phase::RunningTools;
        Next::StartTools(runnable)
    }

    /// The provider's stream is over and should not be.
    fn ended_early(&self) -> UpstreamError {
        let provider = ProviderId::OpenrouterChat;
        if self.writer.has_begun() {
            UpstreamError::Cut { provider }
        } else {
            UpstreamError::NoContent { provider }
        }
    }

    fn settle(
        &mut self,
        call_id: &str,
        outcome: Result<Json, String>,
        result: String,
        out: &mut Vec<Part>,
    ) -> Next {
        // A result may come late, twice, or for a call of an earlier step.
        if !self.calls.settle(call_id, outcome, result, out) || !self.calls.are_settled() {
            return Next::Wait;
        }
        self.end_step(out)
    }

    fn end_step(&mut self, out: &mut Vec<Part>) -> Next {
        if self.step >= self.max_steps {
            return self.finish(FinishReason::ToolCalls, out);
        }
        let said = self.writer.said_in_step();
        self.close_step(out);
        let rounds = std::mem::take(&mut self.calls).into_rounds();
        self.messages.push(Message::ToolUse { said, rounds });
        self.step += 1;
        self.finish = None;
        self.phase = Phase::Reading;
        Next::CallModel
    }

    fn finish(&mut self, reason: FinishReason, out: &mut Vec<Part>) -> Next {
        self.close_step(out);
        self.writer.finish(reason, self.usage, out);
        self.over(Ending::Finished(reason))
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<Part>) -> Next {
        self.fail_with(Failure::from(error), out)
    }

    fn fail_with(&mut self, failure: Failure, out: &mut Vec<Part>) -> Next {
        if !self.writer.has_begun() {
            return self.over(Ending::FailedBeforeContent(failure));
        }
        self.give_up("The answer failed before the tool was done.", out);
        self.writer.fail(&failure, out);
        self.over(Ending::Failed(failure))
    }

    fn stop(&mut self, out: &mut Vec<Part>) -> Next {
        if !self.writer.has_begun() {
            return self.over(Ending::AbortedBeforeContent);
        }
        self.give_up("The answer was stopped before the tool was done.", out);
        out.push(Part::Abort);
        self.over(Ending::Aborted)
    }

    fn give_up(&mut self, why: &str, out: &mut Vec<Part>) {
        self.writer.close_text(out);
        self.calls.give_up(why, out);
        self.close_step(out);
        self.calls = Calls::default();
    }

    fn close_step(&mut self, out: &mut Vec<Part>) {
        self.writer.close_step(self.calls.outcomes(), out);
        if let Some(used) = self.step_usage.take() {
            self.usage = Some(self.usage.unwrap_or_default().plus(used));
        }
    }

    fn over(&mut self, ending: Ending) -> Next {
        self.phase = Phase::Over(ending.clone());
        Next::Over(ending)
    }
}

/// Why the answer ended, when this step is its last. Without a reason the provider ended it by
/// `[DONE]` alone.
fn reason_of(finish: Option<Finish>) -> FinishReason {
    match finish {
        Some(Finish::Stop) => FinishReason::Stop,
        Some(Finish::Length) => FinishReason::Length,
        Some(Finish::ContentFilter) => FinishReason::ContentFilter,
        Some(Finish::ToolCalls | Finish::Error | Finish::Other) | None => FinishReason::Other,
    }
}

#[cfg(test)]
mod tests;
