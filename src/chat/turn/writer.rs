//! What was emitted: which parts are open, and what the client has seen so far.

use std::borrow::Cow;

use super::{Answer, Failure, MAX_ANSWER_BYTES};
use crate::contract::ui_stream::message::{MessagePart, ToolPart};
use crate::contract::ui_stream::{FinishReason, Json, MessageMetadata, Part, Usage};

/// What the model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Reasoning,
}

/// Opens and closes parts, and keeps what they add up to.
#[derive(Debug)]
pub(super) struct Writer {
    message_id: String,
    begun: bool,
    step_is_open: bool,
    /// The text that is open, and its id; in `kept` it is the last part.
    open: Option<(Kind, String)>,
    /// How many texts there were: an id is never used again within a message.
    texts: u32,
    bytes: usize,
    kept: Vec<MessagePart>,
    /// Where this step begins in `kept`.
    step_at: usize,
}

impl Writer {
    pub(super) fn new(message_id: String) -> Self {
        Self {
            message_id,
            begun: false,
            step_is_open: false,
            open: None,
            texts: 0,
            bytes: 0,
            kept: Vec::new(),
            step_at: 0,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Emits a piece of text or reasoning; the other one is closed.
    pub(super) fn say(
        &mut self,
        kind: Kind,
        piece: Cow<'_, str>,
        out: &mut Vec<Part>,
    ) -> Result<(), Failure> {
        self.count(piece.len())?;
        let id = match &self.open {
            Some((open, id)) if *open == kind => id.clone(),
            Some(_) | None => self.open_text(kind, out),
        };
        if let Some(MessagePart::Text(kept) | MessagePart::Reasoning(kept)) = self.kept.last_mut() {
            kept.push_str(&piece);
        }
        let delta = piece.into_owned();
        out.push(match kind {
            Kind::Text => Part::TextDelta { id, delta },
            Kind::Reasoning => Part::ReasoningDelta { id, delta },
        });
        Ok(())
    }

    fn open_text(&mut self, kind: Kind, out: &mut Vec<Part>) -> String {
        self.close_text(out);
        self.begin_step(out);
        self.texts += 1;
        let id = format!("t{}", self.texts);
        let (part, kept) = match kind {
            Kind::Text => (Part::TextStart { id: id.clone() }, MessagePart::Text(String::new())),
            Kind::Reasoning => {
                (Part::ReasoningStart { id: id.clone() }, MessagePart::Reasoning(String::new()))
            }
        };
        out.push(part);
        self.kept.push(kept);
        self.open = Some((kind, id.clone()));
        id
    }

    /// Ends the text or reasoning that is open, if one is.
    pub(super) fn close_text(&mut self, out: &mut Vec<Part>) {
        out.extend(self.open.take().map(|(kind, id)| match kind {
            Kind::Text => Part::TextEnd { id },
            Kind::Reasoning => Part::ReasoningEnd { id },
        }));
    }

    /// Emits the beginning of a tool call, and gives its place for [`Self::close_step`].
    pub(super) fn open_tool(&mut self, id: &str, name: &str, out: &mut Vec<Part>) -> usize {
        self.close_text(out);
        self.begin_step(out);
        out.push(Part::tool_input_start(id.to_owned(), name.to_owned()));
        // Stands for as long as the call has no outcome, so also if the turn is dropped.
        let pending = Err("The tool was not done.".to_owned());
        let (id, name) = (id.to_owned(), name.to_owned());
        let input = Json::empty_object();
        self.kept.push(MessagePart::Tool(ToolPart { id, name, input, outcome: pending }));
        self.kept.len() - 1
    }

    /// Counts what an answer is made of.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= MAX_ANSWER_BYTES {
            return Ok(());
        }
        let sentence = "The answer is longer than an answer may be.".to_owned();
        Err(Failure { code: "upstream_too_long", sentence, retry_after: None })
    }

    /// Whether a call of this id was opened in this answer.
    pub(super) fn has_tool(&self, id: &str) -> bool {
        self.kept.iter().any(|part| matches!(part, MessagePart::Tool(tool) if tool.id == id))
    }

    /// The texts of this step, as the model is to remember them.
    pub(super) fn said_in_step(&self) -> String {
        let texts = self.kept[self.step_at..].iter().filter_map(|part| match part {
            MessagePart::Text(text) => Some(text.as_str()),
            MessagePart::StepStart | MessagePart::Reasoning(_) | MessagePart::Tool(_) => None,
        });
        texts.collect()
    }

    fn begin_step(&mut self, out: &mut Vec<Part>) {
        if !self.begun {
            self.begun = true;
            out.push(Part::Start { message_id: self.message_id.clone() });
        }
        if !self.step_is_open {
            self.step_is_open = true;
            self.step_at = self.kept.len();
            self.kept.push(MessagePart::StepStart);
            out.push(Part::StartStep);
        }
    }

    /// Ends the step, if one is open, and keeps what became of its tools.
    pub(super) fn close_step(
        &mut self,
        outcomes: impl Iterator<Item = (usize, ToolPart)>,
        out: &mut Vec<Part>,
    ) {
        self.close_text(out);
        for (place, tool) in outcomes {
            self.kept[place] = MessagePart::Tool(tool);
        }
        if std::mem::take(&mut self.step_is_open) {
            out.push(Part::FinishStep);
        }
    }

    /// Ends an answer that is complete.
    pub(super) fn finish(&self, reason: FinishReason, usage: Option<Usage>, out: &mut Vec<Part>) {
        let message_metadata = usage.map(|usage| MessageMetadata { usage });
        out.push(Part::Finish { finish_reason: reason, message_metadata });
    }

    /// Ends an answer that failed. `error` has no room for a code, so `data-error` comes before it.
    pub(super) fn fail(&self, failure: &Failure, out: &mut Vec<Part>) {
        let finish_reason = FinishReason::Error;
        out.push(Part::data_error(failure.code, failure.retry_after));
        out.push(Part::Error { error_text: failure.sentence.clone() });
        out.push(Part::Finish { finish_reason, message_metadata: None });
    }

    pub(super) fn into_answer(
        self,
        finished: Option<FinishReason>,
        usage: Option<Usage>,
    ) -> Option<Answer> {
        let Self { message_id, begun, kept: parts, .. } = self;
        begun.then_some(Answer { message_id, parts, finished, usage })
    }
}
