//! An answer put together again from the events that it was sent as, and the parts that close it.
//!
//! For an answer whose process died: what was noted of it is the beginning of a stream in our own
//! grammar, whole events, cut anywhere between two of them. What does not fit is passed over.

use serde_json::Value;

use super::message::{MessagePart, ToolPart};
use super::{Json, Part};

/// What a prefix of a stream has built up in a client.
#[derive(Debug, Default)]
pub struct Rebuilt {
    message_id: Option<String>,
    parts: Vec<MessagePart>,
    /// The text or reasoning that is open: its kind and id.
    open: Option<(Kind, String)>,
    /// Calls without an outcome: their place among the parts, and whether the input was complete.
    waiting: Vec<(usize, bool)>,
    in_step: bool,
    is_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
}

impl Rebuilt {
    /// Reads events, each with the blank line that ends it.
    pub fn read<'a>(events: impl IntoIterator<Item = &'a str>) -> Self {
        let mut rebuilt = Self::default();
        for event in events {
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let part = data.and_then(|data| serde_json::from_str::<Value>(data).ok());
            if let Some(part) = part {
                rebuilt.take(&part);
            }
        }
        rebuilt
    }

    /// The answer's id; `None` if it had not begun.
    pub fn message_id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    /// Ends the answer with an abort: appends the parts that close it, and gives what a client has
    /// then. Tools without an outcome failed for that reason.
    pub fn close(mut self, why: &str, out: &mut Vec<Part>) -> Vec<MessagePart> {
        if self.is_over {
            return self.parts;
        }
        out.extend(self.open.take().map(|(kind, id)| match kind {
            Kind::Text => Part::TextEnd { id },
            Kind::Reasoning => Part::ReasoningEnd { id },
        }));
        for (place, complete) in std::mem::take(&mut self.waiting) {
            let MessagePart::Tool(tool) = &mut self.parts[place] else { continue };
            tool.outcome = Err(why.to_owned());
            let (id, name) = (tool.id.clone(), tool.name.clone());
            out.push(if complete {
                Part::tool_output_error(id, why.to_owned())
            } else {
                Part::tool_input_error(id, name, tool.input.clone(), why.to_owned())
            });
        }
        if self.in_step {
            out.push(Part::FinishStep);
        }
        out.push(Part::Abort);
        self.parts
    }

    fn take(&mut self, part: &Value) {
        let text = |name: &str| part[name].as_str().unwrap_or_default();
        match text("type") {
            "start" => self.message_id = Some(text("messageId").to_owned()),
            "start-step" => {
                self.in_step = true;
                self.parts.push(MessagePart::StepStart);
            }
            "finish-step" => self.in_step = false,
            "text-start" => self.begin(Kind::Text, text("id")),
            "reasoning-start" => self.begin(Kind::Reasoning, text("id")),
            "text-delta" | "reasoning-delta" => {
                if let Some(MessagePart::Text(kept) | MessagePart::Reasoning(kept)) =
                    self.parts.last_mut()
                {
                    kept.push_str(text("delta"));
                }
            }
            "text-end" | "reasoning-end" => self.open = None,
            "tool-input-start" => {
                let (id, name) = (text("toolCallId").to_owned(), text("toolName").to_owned());
                let outcome = Err(String::new());
                let tool = ToolPart { id, name, input: Json::empty_object(), outcome };
                self.waiting.push((self.parts.len(), false));
                self.parts.push(MessagePart::Tool(tool));
            }
            "tool-input-available" => self.input_is(part),
            "tool-input-error" | "tool-output-error" => {
                self.settle(part, Err(text("errorText").to_owned()));
            }
            "tool-output-available" if part.get("preliminary").is_none() => {
                self.settle(part, Json::of(&part["output"]).map_err(|error| error.to_string()));
            }
            "finish" | "abort" => self.is_over = true,
            // Deltas of an input are in the whole input; what is preliminary is replaced.
            _ => {}
        }
    }

    fn begin(&mut self, kind: Kind, id: &str) {
        self.open = Some((kind, id.to_owned()));
        self.parts.push(match kind {
            Kind::Text => MessagePart::Text(String::new()),
            Kind::Reasoning => MessagePart::Reasoning(String::new()),
        });
    }

    fn input_is(&mut self, part: &Value) {
        let Some(at) = self.waiting_for(part) else { return };
        self.waiting[at].1 = true;
        if let MessagePart::Tool(tool) = &mut self.parts[self.waiting[at].0] {
            tool.input = Json::of(&part["input"]).unwrap_or_else(|_| Json::empty_object());
        }
    }

    fn settle(&mut self, part: &Value, outcome: Result<Json, String>) {
        self.input_is_known(part);
        let Some(at) = self.waiting_for(part) else { return };
        let (place, _) = self.waiting.remove(at);
        if let MessagePart::Tool(tool) = &mut self.parts[place] {
            tool.outcome = outcome;
        }
    }

    /// An input that cannot be used comes with its failure.
    fn input_is_known(&mut self, part: &Value) {
        if part["type"] == "tool-input-error" {
            self.input_is(part);
        }
    }

    fn waiting_for(&self, part: &Value) -> Option<usize> {
        let id = part["toolCallId"].as_str();
        self.waiting.iter().position(|(place, _)| match &self.parts[*place] {
            MessagePart::Tool(tool) => Some(tool.id.as_str()) == id,
            MessagePart::StepStart | MessagePart::Text(_) | MessagePart::Reasoning(_) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::DONE;
    use super::super::grammar::Grammar;
    use super::*;

    fn stream() -> Vec<String> {
        let json = |text| Json::from_text(text).unwrap();
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let delta = |id: &str, delta: &str| Part::TextDelta { id: id.into(), delta: delta.into() };
        let name = || "search_web".to_owned();
        let piece = |id: &String, piece: &str| Part::ToolInputDelta {
            tool_call_id: id.clone(),
            input_text_delta: piece.into(),
        };
        let parts = [
            Part::Start { message_id: "msg_1".into() },
            Part::StartStep,
            Part::ReasoningStart { id: "t1".into() },
            Part::ReasoningDelta { id: "t1".into(), delta: "hm".into() },
            Part::ReasoningEnd { id: "t1".into() },
            Part::tool_input_start(a.clone(), name()),
            Part::tool_input_start(b.clone(), name()),
            piece(&a, "{\"q\":"),
            piece(&a, "1}"),
            piece(&b, "{"),
            Part::tool_input_available(a.clone(), name(), json(r#"{"q":1}"#)),
            Part::tool_input_error(b, name(), json("\"{\""), "no object".into()),
            Part::tool_output_preliminary(a.clone(), json("[1]")),
            Part::tool_output_available(a, json("[1,2]")),
            Part::FinishStep,
            Part::StartStep,
            Part::TextStart { id: "t2".into() },
            delta("t2", "so "),
            delta("t2", "it is"),
        ];
        parts.iter().map(Part::to_sse).collect()
    }

    #[test]
    fn a_stream_cut_after_any_event_is_closed_in_the_grammar() {
        let events = stream();
        for cut in 1..=events.len() {
            let kept = &events[..cut];
            let rebuilt = Rebuilt::read(kept.iter().map(String::as_str));
            assert_eq!(rebuilt.message_id(), Some("msg_1"));
            let mut closing = Vec::new();
            rebuilt.close("cut", &mut closing);
            let closing: String = closing.iter().map(Part::to_sse).collect();
            let whole = format!("{}{closing}{DONE}", kept.concat());
            let parts = Grammar::read_stream(&whole).unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!(parts.last().unwrap()["type"], "abort", "cut after {cut}");
        }
    }

    #[test]
    fn what_a_client_has_seen_is_what_is_kept() {
        let events = stream();
        let rebuilt = |cut: usize| {
            let rebuilt = Rebuilt::read(events[..cut].iter().map(String::as_str));
            serde_json::to_string(&rebuilt.close("cut", &mut Vec::new())).unwrap()
        };
        let first = concat!(
            r#"[{"type":"step-start"},{"type":"reasoning","text":"hm","state":"done"},"#,
            r#"{"type":"tool-search_web","toolCallId":"a","state":"output-available","#,
            r#""input":{"q":1},"output":[1,2],"providerExecuted":true},"#,
            r#"{"type":"tool-search_web","toolCallId":"b","state":"output-error","input":"{","#,
            r#""errorText":"no object","providerExecuted":true},"#,
            r#"{"type":"step-start"},{"type":"text","text":"so it is","state":"done"}]"#,
        );
        assert_eq!(rebuilt(events.len()), first);
        let cut = r#""state":"output-error","input":{"q":1},"errorText":"cut""#;
        assert!(rebuilt(11).contains(cut), "{}", rebuilt(11));
    }

    #[test]
    fn an_answer_that_is_over_is_left_as_it_is() {
        let mut events = stream();
        events.push(Part::Abort.to_sse());
        let mut closing = Vec::new();
        Rebuilt::read(events.iter().map(String::as_str)).close("cut", &mut closing);
        assert_eq!(closing, []);
        assert_eq!(Rebuilt::read(["data: nonsense\n\n", ": note\n\n"]).message_id(), None);
    }
}
