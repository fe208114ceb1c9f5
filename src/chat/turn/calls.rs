//! The tool calls of one step: put together from fragments, checked, and brought to their outcome.

use std::borrow::Cow;

use sendcat_state::key::ProviderId;
use serde_json::{Map, Value};

use super::writer::Writer;
use super::{Failure, MAX_ARGUMENT_BYTES, MAX_CALLS, ToolCall};
use crate::contract::ui_stream::message::ToolPart;
use crate::contract::ui_stream::{Json, Part};
use crate::upstream::error::UpstreamError;
use crate::upstream::openrouter::ToolRound;

/// A piece of a call, as the provider sent it.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) index: u32,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) arguments: Cow<'a, str>,
}

/// In the order in which the provider began them.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug)]
struct Call {
    index: u32,
    /// What the provider calls it, empty if it did not say.
    provider_id: String,
    /// What everybody else calls it: unique within the answer.
    id: String,
    /// Empty until the provider has said it; nothing is emitted before.
    name: String,
    arguments: String,
    /// Its place among the kept parts, once its beginning was emitted.
    place: Option<usize>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Collecting,
    Running { input: Json },
    Settled { input: Json, outcome: Result<Json, String>, result: String },
}

/// Longest name and id of a call: what providers themselves accept.
const MAX_NAME_CHARS: usize = 64;

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a fragment in and emits what it adds.
    pub(super) fn take(
        &mut self,
        step: u32,
        fragment: Fragment<'_>,
        writer: &mut Writer,
        out: &mut Vec<Part>,
    ) -> Result<(), Failure> {
        writer.count(fragment.arguments.len())?;
        let known = self.0.iter().rposition(|call| call.is_continued_by(&fragment));
        let place = match known {
            Some(place) => place,
            None if self.0.len() == MAX_CALLS => return Err(too_much("too many tool calls")),
            None => {
                let id = self.new_id(step, fragment.id.as_deref(), writer);
                self.0.push(Call::new(fragment.index, id));
                self.0.len() - 1
            }
        };
        let call = &mut self.0[place];
        if call.arguments.len() + fragment.arguments.len() > MAX_ARGUMENT_BYTES {
            return Err(too_much("a tool call that is too long"));
        }
        call.add(fragment, writer, out);
        Ok(())
    }

    /// An id that no call of this answer has: some providers begin anew with every step, or give
    /// none. The model is told the same id as everybody, so a new one confuses nobody.
    fn new_id(&self, step: u32, said: Option<&str>, writer: &Writer) -> String {
        let number = self.0.len();
        let said: String = said.unwrap_or_default().chars().take(MAX_NAME_CHARS).collect();
        let mut id = if said.is_empty() { format!("call_{step}_{number}") } else { said };
        while writer.has_tool(&id) || self.0.iter().any(|call| call.id == id) {
            id = format!("{id}_{step}_{number}");
        }
        id
    }

    /// The model has said every call whole: emits the inputs, then what fails at once, and gives
    /// the calls to start.
    pub(super) fn complete(
        &mut self,
        tools: &[String],
        writer: &mut Writer,
        out: &mut Vec<Part>,
    ) -> Vec<ToolCall> {
        writer.close_text(out);
        for call in &mut self.0 {
            call.complete(writer, out);
        }
        let mut runnable = Vec::new();
        for call in &mut self.0 {
            let Stage::Running { input } = &call.stage else { continue };
            if tools.contains(&call.name) {
                let (id, name, input) = (call.id.clone(), call.name.clone(), input.clone());
                runnable.push(ToolCall { id, name, input });
            } else {
                let why = format!("There is no tool of the name {}.", call.name);
                call.settle(Err(why.clone()), why, out);
            }
        }
        runnable
    }

    /// Whether a call of that id waits for its outcome.
    pub(super) fn is_running(&self, id: &str) -> bool {
        self.0.iter().any(|call| call.id == id && matches!(call.stage, Stage::Running { .. }))
    }

    /// Gives the running call of that id its outcome; `false` if there is none.
    pub(super) fn settle(
        &mut self,
        id: &str,
        outcome: Result<Json, String>,
        result: String,
        out: &mut Vec<Part>,
    ) -> bool {
        let running = |call: &&mut Call| call.id == id && call.is_running();
        let Some(call) = self.0.iter_mut().find(running) else { return false };
        call.settle(outcome, result, out);
        true
    }

    /// Whether every call has its outcome.
    pub(super) fn are_settled(&self) -> bool {
        self.0.iter().all(|call| matches!(call.stage, Stage::Settled { .. }))
    }

    /// Gives every call that was shown and has no outcome this one.
    pub(super) fn give_up(&mut self, why: &str, out: &mut Vec<Part>) {
        for call in self.0.iter_mut().filter(|call| call.place.is_some()) {
            match call.stage {
                Stage::Collecting => call.refuse(why.to_owned(), out),
                Stage::Running { .. } => call.settle(Err(why.to_owned()), why.to_owned(), out),
                Stage::Settled { .. } => {}
            }
        }
    }

    /// What became of the calls, with their places among the kept parts.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (usize, ToolPart)> {
        self.0.iter().filter_map(|call| {
            let Stage::Settled { input, outcome, .. } = &call.stage else { return None };
            let (id, name) = (call.id.clone(), call.name.clone());
            let (input, outcome) = (input.clone(), outcome.clone());
            Some((call.place?, ToolPart { id, name, input, outcome }))
        })
    }

    /// The calls with their results, as the model is to see them.
    pub(super) fn into_rounds(self) -> Vec<ToolRound> {
        self.0.into_iter().filter_map(Call::into_round).collect()
    }
}

impl Call {
    fn new(index: u32, id: String) -> Self {
        Self {
            index,
            provider_id: String::new(),
            id,
            name: String::new(),
            arguments: String::new(),
            place: None,
            stage: Stage::Collecting,
        }
    }

    /// Calls are told apart by index. Some providers give every call the index 0 and another id.
    fn is_continued_by(&self, fragment: &Fragment<'_>) -> bool {
        let another = fragment.id.as_deref().is_some_and(|id| {
            fragment.name.is_some() && !self.provider_id.is_empty() && id != self.provider_id
        });
        self.index == fragment.index && !another
    }

    fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    fn add(&mut self, fragment: Fragment<'_>, writer: &mut Writer, out: &mut Vec<Part>) {
        if let Some(id) = fragment.id.filter(|_| self.provider_id.is_empty()) {
            self.provider_id = id.into_owned();
        }
        self.arguments.push_str(&fragment.arguments);
        let mut piece = fragment.arguments.into_owned();
        if self.name.is_empty() {
            let Some(name) = fragment.name else { return };
            self.show(&name, writer, out);
            // What came before the name could not be shown until now.
            piece.clone_from(&self.arguments);
        }
        if !piece.is_empty() {
            let tool_call_id = self.id.clone();
            out.push(Part::ToolInputDelta { tool_call_id, input_text_delta: piece });
        }
    }

    fn show(&mut self, name: &str, writer: &mut Writer, out: &mut Vec<Part>) {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        self.name = name.chars().take(MAX_NAME_CHARS).map(plain).collect();
        self.place = Some(writer.open_tool(&self.id, &self.name, out));
    }

    fn complete(&mut self, writer: &mut Writer, out: &mut Vec<Part>) {
        if self.place.is_none() {
            self.show("unnamed", writer, out);
        }
        match read_arguments(&self.arguments) {
            Ok(input) => {
                let (id, name) = (self.id.clone(), self.name.clone());
                out.push(Part::tool_input_available(id, name, input.clone()));
                self.stage = Stage::Running { input };
            }
            Err(why) => self.refuse(why, out),
        }
    }

    /// The arguments cannot be used. The model is told why, and is not shown them again: providers
    /// refuse a request in which arguments are not JSON.
    fn refuse(&mut self, why: String, out: &mut Vec<Part>) {
        let input = Json::string(&self.arguments);
        let (id, name) = (self.id.clone(), self.name.clone());
        out.push(Part::tool_input_error(id, name, input.clone(), why.clone()));
        self.stage = Stage::Settled { input, outcome: Err(why.clone()), result: why };
    }

    fn settle(&mut self, outcome: Result<Json, String>, result: String, out: &mut Vec<Part>) {
        let Stage::Running { input } = &self.stage else { return };
        let (id, input) = (self.id.clone(), input.clone());
        out.push(match &outcome {
            Ok(output) => Part::tool_output_available(id, output.clone()),
            Err(why) => Part::tool_output_error(id, why.clone()),
        });
        self.stage = Stage::Settled { input, outcome, result };
    }

    fn into_round(self) -> Option<ToolRound> {
        let Stage::Settled { input, result, .. } = self.stage else { return None };
        let usable = input.as_str().starts_with('{');
        let arguments = if usable { input } else { Json::empty_object() };
        Some(ToolRound { id: self.id, name: self.name, arguments, result })
    }
}

/// Nothing, and `null`, mean no arguments; anything else must be an object.
fn read_arguments(text: &str) -> Result<Json, String> {
    let text = text.trim();
    if text.is_empty() || text == "null" {
        return Ok(Json::empty_object());
    }
    let checked = serde_json::from_str::<Map<String, Value>>(text);
    checked
        .and_then(|_| Json::from_text(text))
        .map_err(|error| format!("The arguments are not a JSON object: {error}."))
}

fn too_much(what: &'static str) -> Failure {
    let provider = ProviderId::OpenrouterChat;
    Failure::from(&UpstreamError::Malformed { provider, what })
}
