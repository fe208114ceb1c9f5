//! Says whether a stream of parts is one that AI SDK clients accept.
//!
//! The order is the EBNF of UI-STREAM.md §4, the fields are those of its "safe" columns: a part
//! with a field more, a field less, or a `null` is refused, as strict clients refuse it. Stricter
//! than clients in one thing: a step closes only after every tool input in it has its outcome.
//! Used by tests of every layer, from the pure turn to the bytes on a socket.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::PARTIAL_OUTPUT_EVENT;

/// What a stream did that it must not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// Reads parts one after another and knows what may come next.
#[derive(Debug, Default)]
pub struct Grammar {
    place: Place,
    in_step: bool,
    /// Texts and reasonings that are open, as (kind, id).
    open: BTreeSet<(&'static str, String)>,
    tools: BTreeMap<String, Tool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeStart,
    Running,
    AfterError,
    Ended,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Input,
    Waiting,
    Settled,
}

impl Grammar {
    /// A stream of which nothing was read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text of a whole stream, comments and `[DONE]` included, and gives its parts.
    ///
    /// # Errors
    /// The first thing that a client would trip over, or that the stream is not over.
    pub fn read_stream(text: &str) -> Result<Vec<Value>, Violation> {
        let mut grammar = Self::new();
        let mut parts = Vec::new();
        let Some(events) = text.strip_suffix("\n\n") else {
            return refuse("the last event is not ended by a blank line");
        };
        for event in events.split("\n\n") {
            if let Some(part) = grammar.read_event(event)? {
                parts.push(part);
            }
        }
        grammar.end()?;
        Ok(parts)
    }

    fn read_event(&mut self, event: &str) -> Result<Option<Value>, Violation> {
        let (mut name, mut data) = (None, None);
        for line in event.lines().filter(|line| !line.starts_with(':')) {
            match line.split_once(": ") {
                Some(("event", value)) if name.is_none() => name = Some(value),
                Some(("data", value)) if data.is_none() => data = Some(value),
                _ => return refuse(format!("a line that we never write: {line}")),
            }
        }
        let Some(data) = data else { return Ok(None) };
        if data == "[DONE]" {
            return self.done().map(|()| None);
        }
        let part: Value = serde_json::from_str(data)
            .map_err(|error| Violation(format!("data is not JSON ({error}): {data}")))?;
        let expected = part.get("preliminary").map(|_| PARTIAL_OUTPUT_EVENT);
        if name != expected {
            return refuse(format!("event name {name:?} instead of {expected:?}: {data}"));
        }
        self.feed(&part)?;
        Ok(Some(part))
    }

    /// Reads the next part.
    ///
    /// # Errors
    /// The part must not come here, or has not exactly the fields of its type.
    pub fn feed(&mut self, part: &Value) -> Result<(), Violation> {
        let fields = part.as_object().ok_or_else(|| Violation(format!("not an object: {part}")))?;
        let kind = check_fields(fields)?;
        self.follow(kind, fields).map_err(|why| Violation(format!("{why}: {part}")))
    }

    /// Reads `[DONE]`.
    ///
    /// # Errors
    /// No `finish` or `abort` stands before it, or it came twice.
    pub fn done(&mut self) -> Result<(), Violation> {
        if self.place != Place::Ended {
            return refuse(format!("[DONE] while {:?}", self.place));
        }
        self.place = Place::Done;
        Ok(())
    }

    /// The stream was closed.
    ///
    /// # Errors
    /// `[DONE]` did not come.
    pub fn end(&self) -> Result<(), Violation> {
        if self.place == Place::Done {
            return Ok(());
        }
        refuse(format!("closed while {:?}", self.place))
    }

    fn follow(&mut self, kind: &str, fields: &Map<String, Value>) -> Result<(), String> {
        match (self.place, kind) {
            (Place::BeforeStart, "start") => {
                self.place = Place::Running;
                Ok(())
            }
            (Place::Running, "start") => Err("a second start".into()),
            (Place::Running, "error") => {
                self.between_steps()?;
                self.place = Place::AfterError;
                Ok(())
            }
            (Place::Running, "abort") => {
                self.between_steps()?;
                self.place = Place::Ended;
                Ok(())
            }
            (Place::Running | Place::AfterError, "finish") => {
                self.between_steps()?;
                let failed = fields["finishReason"] == "error";
                if failed != (self.place == Place::AfterError) {
                    return Err("finishReason error and an error part go together".into());
                }
                self.place = Place::Ended;
                Ok(())
            }
            (Place::Running, _) => self.running(kind, fields),
            (place, _) => Err(format!("not while {place:?}")),
        }
    }

    fn running(&mut self, kind: &str, fields: &Map<String, Value>) -> Result<(), String> {
        if kind.starts_with("data-") || matches!(kind, "message-metadata" | "source-url" | "file") {
            return Ok(());
        }
        if kind == "start-step" {
            if self.in_step {
                return Err("a step within a step".into());
            }
            self.in_step = true;
            return Ok(());
        }
        if !self.in_step {
            return Err("outside of a step".into());
        }
        if kind == "finish-step" {
            return self.finish_step();
        }
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        match kind.split_once('-') {
            Some(("text", verb)) => self.text("text", verb, text("id")),
            Some(("reasoning", verb)) => self.text("reasoning", verb, text("id")),
            Some(("tool", verb)) => {
                self.tool(verb, text("toolCallId"), fields.contains_key("preliminary"))
            }
            _ => Err("unknown".into()),
        }
    }

    fn text(&mut self, kind: &'static str, verb: &str, id: String) -> Result<(), String> {
        let fits = match verb {
            "start" => self.open.insert((kind, id)),
            "end" => self.open.remove(&(kind, id)),
            _ => self.open.contains(&(kind, id)),
        };
        fits.then_some(()).ok_or_else(|| format!("{kind} is not open, or open twice"))
    }

    fn tool(&mut self, verb: &str, id: String, preliminary: bool) -> Result<(), String> {
        let after = match (self.tools.get(&id), verb) {
            (None, "input-start") | (Some(Tool::Input), "input-delta") => Tool::Input,
            (None | Some(Tool::Input), "input-available") => Tool::Waiting,
            (None | Some(Tool::Input), "input-error") => Tool::Settled,
            (Some(Tool::Waiting), "output-available") if preliminary => Tool::Waiting,
            (Some(Tool::Waiting), "output-available" | "output-error") => Tool::Settled,
            (now, _) => return Err(format!("the tool call is {now:?}")),
        };
        self.tools.insert(id, after);
        Ok(())
    }

    fn finish_step(&mut self) -> Result<(), String> {
        if !self.open.is_empty() {
            return Err(format!("open at the end of the step: {:?}", self.open));
        }
        if self.tools.values().any(|tool| *tool != Tool::Settled) {
            return Err("a tool call without an outcome at the end of its step".into());
        }
        self.in_step = false;
        Ok(())
    }

    fn between_steps(&self) -> Result<(), String> {
        if self.in_step { Err("inside of a step".into()) } else { Ok(()) }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(why.into()))
}

/// What a field may hold.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    True,
    Anything,
    Reason,
}

use Holds::{Anything, Reason, Text, True};

type Fields = &'static [(&'static str, Holds)];

const REASONS: [&str; 6] = ["stop", "length", "content-filter", "tool-calls", "error", "other"];

/// Required and optional fields of a type (UI-STREAM.md §4), of what we send or may come to send.
fn fields_of(kind: &str) -> Option<(Fields, Fields)> {
    const TOOL: Fields = &[("toolCallId", Text), ("toolName", Text)];
    const OURS: Fields = &[("providerExecuted", True)];
    Some(match kind {
        "start" => (&[("messageId", Text)], &[("messageMetadata", Anything)]),
        "start-step" | "finish-step" | "abort" => (&[], &[]),
        "text-start" | "text-end" | "reasoning-start" | "reasoning-end" => (&[("id", Text)], &[]),
        "text-delta" | "reasoning-delta" => (&[("id", Text), ("delta", Text)], &[]),
        "tool-input-start" => (TOOL, OURS),
        "tool-input-delta" => (&[("toolCallId", Text), ("inputTextDelta", Text)], &[]),
        "tool-input-available" => {
            (&[("toolCallId", Text), ("toolName", Text), ("input", Anything)], OURS)
        }
        "tool-input-error" => (
            &[("toolCallId", Text), ("toolName", Text), ("input", Anything), ("errorText", Text)],
            OURS,
        ),
        "tool-output-available" => (
            &[("toolCallId", Text), ("output", Anything)],
            &[("providerExecuted", True), ("preliminary", True)],
        ),
        "tool-output-error" => (&[("toolCallId", Text), ("errorText", Text)], OURS),
        "source-url" => (&[("sourceId", Text), ("url", Text)], &[("title", Text)]),
        "file" => (&[("url", Text), ("mediaType", Text)], &[]),
        "message-metadata" => (&[("messageMetadata", Anything)], &[]),
        "error" => (&[("errorText", Text)], &[]),
        "finish" => (&[("finishReason", Reason)], &[("messageMetadata", Anything)]),
        _ if kind.strip_prefix("data-").is_some_and(|name| !name.is_empty()) => {
            (&[("data", Anything)], &[("id", Text), ("transient", True)])
        }
        _ => return None,
    })
}

fn check_fields(part: &Map<String, Value>) -> Result<&str, Violation> {
    let Some(kind) = part.get("type").and_then(Value::as_str) else {
        return refuse("a part without a type");
    };
    let Some((required, optional)) = fields_of(kind) else {
        return refuse(format!("a type that clients do not know: {kind}"));
    };
    if let Some((missing, _)) = required.iter().find(|(name, _)| !part.contains_key(*name)) {
        return refuse(format!("{kind} without {missing}"));
    }
    for (name, value) in part.iter().filter(|(name, _)| *name != "type") {
        let known = required.iter().chain(optional).find(|(known, _)| known == name);
        let fits = match known {
            Some((_, Text)) => value.is_string(),
            Some((_, True)) => *value == Value::Bool(true),
            Some((_, Reason)) => value.as_str().is_some_and(|text| REASONS.contains(&text)),
            Some((_, Anything)) => true,
            None => false,
        };
        if !fits {
            return refuse(format!("{kind} must not have {name}: {value}"));
        }
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(parts: &[Value]) -> Result<(), Violation> {
        let mut grammar = Grammar::new();
        parts.iter().try_for_each(|part| grammar.feed(part))?;
        grammar.done()?;
        grammar.end()
    }

    fn start() -> Value {
        json!({"type": "start", "messageId": "m"})
    }

    fn finish() -> Value {
        json!({"type": "finish", "finishReason": "stop"})
    }

    fn step() -> Value {
        json!({"type": "start-step"})
    }

    fn step_over() -> Value {
        json!({"type": "finish-step"})
    }

    #[test]
    fn a_whole_answer_with_a_tool_is_accepted() {
        let stream = concat!(
            ": hello\n\n",
            "data: {\"type\":\"start\",\"messageId\":\"m\"}\n\n",
            "data: {\"type\":\"start-step\"}\n\n",
            "data: {\"type\":\"tool-input-available\",\"toolCallId\":\"c\",",
            "\"toolName\":\"n\",\"input\":{}}\n\n",
            "event: tool-output-partially-available\n",
            "data: {\"type\":\"tool-output-available\",\"toolCallId\":\"c\",\"output\":1,",
            "\"preliminary\":true}\n\n",
            "data: {\"type\":\"tool-output-available\",\"toolCallId\":\"c\",\"output\":2}\n\n",
            "data: {\"type\":\"finish-step\"}\n\n",
            "data: {\"type\":\"data-error\",\"data\":{},\"transient\":true}\n\n",
            "data: {\"type\":\"error\",\"errorText\":\"e\"}\n\n",
            "data: {\"type\":\"finish\",\"finishReason\":\"error\"}\n\n",
            "data: [DONE]\n\n",
        );
        assert_eq!(Grammar::read_stream(stream).map(|parts| parts.len()), Ok(9));
        let cut = stream.strip_suffix("data: [DONE]\n\n").unwrap();
        assert_eq!(Grammar::read_stream(cut), refuse("closed while Ended"));
    }

    #[test]
    fn what_clients_trip_over_is_refused() {
        let open = json!({"type": "text-start", "id": "t"});
        let delta = json!({"type": "text-delta", "id": "t", "delta": "x"});
        let output = json!({"type": "tool-output-available", "toolCallId": "c", "output": 1});
        let input =
            json!({"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": 1});
        let error = json!({"type": "error", "errorText": "e"});
        let bad: [Vec<Value>; 14] = [
            vec![finish()],
            vec![start(), start(), finish()],
            vec![start(), delta.clone(), finish()],
            vec![start(), step(), delta, step_over(), finish()],
            vec![start(), step(), open, step_over(), finish()],
            vec![start(), step(), output, step_over(), finish()],
            vec![start(), step(), input, step_over(), finish()],
            vec![start(), step(), finish()],
            vec![start(), error, finish()],
            vec![start(), json!({"type": "finish", "finishReason": "error"})],
            vec![start(), json!({"type": "finish", "finishReason": "tool_calls"})],
            vec![start(), json!({"type": "abort", "reason": "x"})],
            vec![start(), json!({"type": "tool-output-partially-available"}), finish()],
            vec![json!({"type": "start", "messageId": null}), finish()],
        ];
        for parts in bad {
            assert!(read(&parts).is_err(), "{parts:?}");
        }
        assert_eq!(read(&[start(), step(), step_over(), finish()]), Ok(()));
        assert_eq!(read(&[start(), json!({"type": "abort"})]), Ok(()));
    }
}
