//! Each rule of a turn, its transcript compared whole; and whatever goes in, the grammar holds.

mod property;
mod rules;
mod tools;
mod transcripts;

use serde_json::Value;

use super::*;
use crate::contract::ui_stream::grammar::Grammar;
use crate::upstream::openrouter::{ToolRound, read};

/// A turn being played, with everything it emitted.
struct Play {
    turn: Turn,
    out: Vec<Part>,
}

impl Play {
    fn new() -> Self {
        Self::of_steps(8)
    }

    fn of_steps(max_steps: u32) -> Self {
        let opening = Opening {
            message_id: "m".into(),
            messages: vec![Message::User("Hi".into())],
            tools: vec!["search_web".into(), "search_products".into()],
            max_steps,
        };
        Self { turn: Turn::new(opening), out: Vec::new() }
    }

    fn feed(&mut self, input: Input<'_>) -> Next {
        self.turn.feed(input, &mut self.out)
    }

    fn hear(&mut self, delta: Delta<'_>) -> Next {
        self.feed(Input::Provider(delta))
    }

    /// The provider says these one after another; gives what is to be done at the end.
    fn hear_all<'a>(&mut self, deltas: impl IntoIterator<Item = Delta<'a>>) -> Next {
        deltas.into_iter().fold(Next::Wait, |before, delta| {
            assert_eq!(before, Next::Wait);
            self.hear(delta)
        })
    }

    /// The provider sends this recorded stream.
    fn hear_sample(&mut self, sse: &str) -> Next {
        let data = sse.lines().filter_map(|line| line.strip_prefix("data: "));
        self.hear_all(data.flat_map(|data| read(data).unwrap()))
    }

    fn done(&mut self, call_id: &str, output: &str) -> Next {
        let output = Json::from_text(output).unwrap();
        self.feed(Input::ToolDone { call_id, output, for_model: None })
    }

    fn failed(&mut self, call_id: &str, why: &str) -> Next {
        self.feed(Input::ToolFailed { call_id, why: why.into() })
    }

    /// What was emitted, a line a part: its type, then its fields by name. What is the same in
    /// every part of a kind is left out; the exact bytes have their own test.
    fn transcript(&self) -> Vec<String> {
        self.out.iter().map(line).collect()
    }

    fn assert_transcript(&self, expected: &[&str]) {
        assert_eq!(self.transcript(), expected);
    }

    /// The turn is over, and what it emitted is a stream that clients accept.
    fn assert_obeys_the_grammar(&self) {
        if self.out.is_empty() {
            return;
        }
        let mut grammar = Grammar::new();
        for part in &self.out {
            assert_eq!(grammar.feed(&serde_json::to_value(part).unwrap()), Ok(()));
        }
        assert_eq!(grammar.done(), Ok(()));
    }
}

fn line(part: &Part) -> String {
    let part = serde_json::to_value(part).unwrap();
    let fields = part.as_object().unwrap();
    let mut words = vec![fields["type"].as_str().unwrap().to_owned()];
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("type" | "providerExecuted" | "transient", _) => {}
            ("preliminary", _) => words.push("preliminary".into()),
            (_, Value::String(text)) => words.push(text.clone()),
            (_, other) => words.push(other.to_string()),
        }
    }
    words.join(" ")
}

fn text(text: &str) -> Delta<'_> {
    Delta::Text(text.into())
}

fn reasoning(text: &str) -> Delta<'_> {
    Delta::Reasoning(text.into())
}

/// The first fragment of a call.
fn call<'a>(index: u32, id: &'a str, name: &'a str, arguments: &'a str) -> Delta<'a> {
    let (id, name) = (Some(id.into()), Some(name.into()));
    Delta::ToolFragment { index, id, name, arguments: arguments.into() }
}

/// A later fragment.
fn more(index: u32, arguments: &str) -> Delta<'_> {
    Delta::ToolFragment { index, id: None, name: None, arguments: arguments.into() }
}

fn tool(id: &str, name: &str, input: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), input: Json::from_text(input).unwrap() }
}

fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    let total_tokens = input_tokens + output_tokens;
    Usage { input_tokens, output_tokens, total_tokens, ..Usage::default() }
}

fn finished(reason: FinishReason) -> Next {
    Next::Over(Ending::Finished(reason))
}

fn error(error: &UpstreamError) -> Failure {
    Failure::from(error)
}

const PROVIDER: ProviderId = ProviderId::OpenrouterChat;

fn cut() -> Failure {
    error(&UpstreamError::Cut { provider: PROVIDER })
}

fn no_content() -> Failure {
    error(&UpstreamError::NoContent { provider: PROVIDER })
}
