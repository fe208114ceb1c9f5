//! One chunk of a streamed answer, read loosely and without copies where the text allows.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::contract::ui_stream::Usage;

/// What a chunk says; a chunk can say several things, or none.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta<'a> {
    /// A piece of the answer; never empty.
    Text(Cow<'a, str>),
    /// A piece of the model's reasoning; never empty.
    Reasoning(Cow<'a, str>),
    /// A piece of a tool call. The first has an id and a name, later ones mostly only `arguments`.
    ToolFragment {
        /// Which call of this step; calls may alternate.
        index: u32,
        /// Never empty.
        id: Option<Cow<'a, str>>,
        /// Never empty.
        name: Option<Cow<'a, str>>,
        /// A piece of JSON text, cut anywhere; may be empty.
        arguments: Cow<'a, str>,
    },
    /// The model stopped; usage and [`Delta::Done`] may follow.
    Finish(Finish),
    /// What the call used so far; a later one replaces it.
    Usage(Usage),
    /// The provider failed after its 200.
    Error {
        /// As an HTTP status, if the provider gave a number.
        status: Option<u16>,
        /// In the provider's words, for the log alone.
        message: String,
    },
    /// `[DONE]`.
    Done,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It had said everything.
    Stop,
    /// It ran out of tokens.
    Length,
    /// A filter stopped it.
    ContentFilter,
    /// It waits for the results of its calls.
    ToolCalls,
    /// The provider failed.
    Error,
    /// Something that only some providers know.
    Other,
}

/// The data is not a chunk. Says where, and not what stood there: it goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a chunk of an answer, at line {line} column {column}")]
pub struct MalformedChunk {
    line: usize,
    column: usize,
}

/// The most of a provider's own words that a log line gets.
const MAX_MESSAGE_CHARS: usize = 300;

/// What the data of one event says.
///
/// # Errors
/// The data is neither `[DONE]` nor a JSON object in the shape of a chunk.
pub fn read(data: &str) -> Result<Vec<Delta<'_>>, MalformedChunk> {
    let data = data.trim();
    if data == "[DONE]" {
        return Ok(vec![Delta::Done]);
    }
    if !data.starts_with('{') {
        return Err(MalformedChunk { line: 1, column: 1 });
    }
    let chunk: ChunkWire<'_> = serde_json::from_str(data)
        .map_err(|error| MalformedChunk { line: error.line(), column: error.column() })?;
    let mut deltas = Vec::with_capacity(1);
    let mut error = chunk.error;
    for choice in chunk.choices.unwrap_or_default() {
        // We ask for one choice; another one's text would be mixed into it.
        if choice.index.unwrap_or(0) == 0 {
            error = error.or(choice.error);
            read_choice(choice.delta.unwrap_or_default(), &mut deltas);
            let finish = choice.finish_reason.filter(|Text(reason)| !reason.is_empty());
            deltas.extend(finish.map(|Text(reason)| Delta::Finish(finish_of(&reason))));
        }
    }
    deltas.extend(chunk.usage.and_then(read_usage).map(Delta::Usage));
    if let Some(error) = error {
        // The reason beside an error says no more than the error.
        deltas.retain(|delta| !matches!(delta, Delta::Finish(_)));
        deltas.push(read_error(error));
    }
    Ok(deltas)
}

fn read_choice<'a>(delta: DeltaWire<'a>, deltas: &mut Vec<Delta<'a>>) {
    let said = |text: Option<Text<'a>>| text.map(|Text(text)| text).filter(|text| !text.is_empty());
    let reasoning = said(delta.reasoning).or_else(|| said(delta.reasoning_content));
    deltas.extend(reasoning.map(Delta::Reasoning));
    let text = said(delta.content).or_else(|| said(delta.refusal));
    deltas.extend(text.map(Delta::Text));
    for (place, call) in delta.tool_calls.unwrap_or_default().into_iter().enumerate() {
        let function = call.function.unwrap_or_default();
        deltas.push(Delta::ToolFragment {
            index: call.index.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX)),
            id: said(call.id),
            name: said(function.name),
            arguments: function.arguments.map(read_arguments).unwrap_or_default(),
        });
    }
}

/// Arguments are JSON text within a string. Some servers send the object itself.
fn read_arguments(raw: &RawValue) -> Cow<'_, str> {
    match serde_json::from_str::<Text<'_>>(raw.get()) {
        Ok(Text(text)) => text,
        Err(_) => Cow::Borrowed(raw.get()),
    }
}

fn finish_of(reason: &str) -> Finish {
    match reason {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "content_filter" => Finish::ContentFilter,
        "tool_calls" => Finish::ToolCalls,
        "error" => Finish::Error,
        _ => Finish::Other,
    }
}

/// Usage is worth no answer: what cannot be read is left out.
fn read_usage(raw: &RawValue) -> Option<Usage> {
    let wire: UsageWire = serde_json::from_str(raw.get()).ok()?;
    let input_tokens = wire.prompt_tokens.unwrap_or(0);
    let output_tokens = wire.completion_tokens.unwrap_or(0);
    let prompt = wire.prompt_tokens_details.unwrap_or_default();
    let completion = wire.completion_tokens_details.unwrap_or_default();
    Some(Usage {
        input_tokens,
        output_tokens,
        total_tokens: wire.total_tokens.unwrap_or(input_tokens.saturating_add(output_tokens)),
        reasoning_tokens: completion.reasoning_tokens.unwrap_or(0),
        cached_input_tokens: prompt.cached_tokens.unwrap_or(0),
    })
}

/// A number in one page of the documents, a word in another, and a bare string elsewhere.
fn read_error(raw: &RawValue) -> Delta<'static> {
    let error: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let code = &error["code"];
    let status = code.as_u64().or_else(|| code.as_str()?.parse().ok());
    let message = error["message"].as_str().or(error.as_str()).unwrap_or_default();
    Delta::Error {
        status: status.and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400),
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
    }
}

/// Borrows within `Option`, which a bare `Cow` does not.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct ChunkWire<'a> {
    #[serde(borrow)]
    choices: Option<Vec<ChoiceWire<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChoiceWire<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<DeltaWire<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct DeltaWire<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<CallWire<'a>>>,
}

#[derive(Deserialize)]
struct CallWire<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<FunctionWire<'a>>,
}

#[derive(Default, Deserialize)]
struct FunctionWire<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UsageWire {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<DetailsWire>,
    completion_tokens_details: Option<DetailsWire>,
}

#[derive(Default, Deserialize)]
struct DetailsWire {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Delta<'_> {
        Delta::Text(text.into())
    }

    fn fragment<'a>(
        index: u32,
        id: Option<&'a str>,
        name: Option<&'a str>,
        args: &'a str,
    ) -> Delta<'a> {
        let (id, name) = (id.map(Cow::from), name.map(Cow::from));
        Delta::ToolFragment { index, id, name, arguments: args.into() }
    }

    #[test]
    fn plain_text_is_borrowed_and_escaped_text_is_not() {
        let plain = read(r#"{"choices":[{"index":0,"delta":{"content":"Paris"}}]}"#).unwrap();
        assert!(matches!(plain[..], [Delta::Text(Cow::Borrowed("Paris"))]));
        let escaped = read(r#"{"choices":[{"delta":{"content":"a\n\ud83d\ude00"}}]}"#).unwrap();
        assert_eq!(escaped, [text("a\n😀")]);
    }

    #[test]
    fn what_says_nothing_gives_nothing() {
        for data in [
            "{}",
            r#"{"choices":[]}"#,
            r#"{"choices":null,"usage":null,"error":null}"#,
            r#"{"choices":[{}]}"#,
            concat!(
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"#,
                r#""finish_reason":null}]}"#,
            ),
            concat!(
                r#"{"choices":[{"index":0,"delta":{"content":null,"tool_calls":null},"#,
                r#""finish_reason":""}]}"#,
            ),
            r#"{"choices":[{"index":0,"delta":null,"logprobs":{"x":[1]}}],"new":{"deep":[1]}}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"another choice"}}]}"#,
        ] {
            assert_eq!(read(data), Ok(vec![]), "{data}");
        }
    }

    #[test]
    fn reasoning_comes_before_text_under_either_name() {
        let delta = r#"{"reasoning":"hm","reasoning_content":"hm","content":"so","refusal":null}"#;
        let data = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        assert_eq!(read(&data), Ok(vec![Delta::Reasoning("hm".into()), text("so")]));
        let other = r#"{"choices":[{"delta":{"reasoning":"","reasoning_content":"hm"}}]}"#;
        assert_eq!(read(other), Ok(vec![Delta::Reasoning("hm".into())]));
    }

    #[test]
    fn tool_fragments_keep_what_they_have() {
        let calls = r#"[
            {"index":1,"id":"b","type":"function","function":{"name":"n","arguments":""}},
            {"index":0,"function":{"arguments":"{\"q\":\"\\u00e"}},
            {"index":0,"id":"","function":{"name":"","arguments":null}},
            {"id":"c","function":{"name":"n","arguments":{"q": 1}}},
            {"index":4}]"#;
        let data = format!(r#"{{"choices":[{{"delta":{{"tool_calls":{calls}}}}}]}}"#);
        let expected = vec![
            fragment(1, Some("b"), Some("n"), ""),
            fragment(0, None, None, "{\"q\":\"\\u00e"),
            fragment(0, None, None, ""),
            fragment(3, Some("c"), Some("n"), r#"{"q": 1}"#),
            fragment(4, None, None, ""),
        ];
        assert_eq!(read(&data), Ok(expected));
    }

    #[test]
    fn every_finish_reason_is_known_or_other() {
        let table = [
            ("stop", Finish::Stop),
            ("length", Finish::Length),
            ("content_filter", Finish::ContentFilter),
            ("tool_calls", Finish::ToolCalls),
            ("error", Finish::Error),
            ("eos", Finish::Other),
        ];
        for (reason, finish) in table {
            let data = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
            assert_eq!(read(&data), Ok(vec![Delta::Finish(finish)]));
        }
    }

    #[test]
    fn usage_is_read_with_and_without_choices_and_odd_usage_is_left_out() {
        let usage = Usage {
            input_tokens: 42,
            output_tokens: 17,
            total_tokens: 59,
            reasoning_tokens: 5,
            cached_input_tokens: 0,
        };
        let wire = r#"{"prompt_tokens":42,"completion_tokens":17,"prompt_tokens_details":null,
            "completion_tokens_details":{"reasoning_tokens":5},"cost":0.1}"#;
        for choices in ["[]", r#"[{"delta":{"content":""}}]"#] {
            let data = format!(r#"{{"choices":{choices},"usage":{wire}}}"#);
            assert_eq!(read(&data), Ok(vec![Delta::Usage(usage)]));
        }
        assert_eq!(read(r#"{"choices":[],"usage":{"prompt_tokens":"many"}}"#), Ok(vec![]));
    }

    #[test]
    fn an_error_is_read_whatever_its_code_is() {
        let table = [
            (r#"{"code":502,"message":"gone"}"#, Some(502), "gone"),
            (r#"{"code":"server_error","message":"gone"}"#, None, "gone"),
            (r#"{"code":"429","message":null}"#, Some(429), ""),
            (r#""gone""#, None, "gone"),
            ("{}", None, ""),
        ];
        for (error, status, message) in table {
            let expected = Delta::Error { status, message: message.to_owned() };
            let choice = r#"{"delta":{"content":"x"},"finish_reason":"error"}"#;
            let top = format!(r#"{{"error":{error},"choices":[{choice}]}}"#);
            assert_eq!(read(&top), Ok(vec![text("x"), expected.clone()]));
            let within = format!(r#"{{"choices":[{{"error":{error}}}]}}"#);
            assert_eq!(read(&within), Ok(vec![expected]));
        }
    }

    #[test]
    fn what_is_not_a_chunk_is_named_by_its_place_alone() {
        for data in ["", "[]", "null", "<html>", "\"x\"", "{\"choices\":", "{\"choices\":{}}"] {
            assert!(read(data).is_err(), "{data}");
        }
        let secret = read("{\"choices\":\"secret\"}").unwrap_err();
        assert!(!format!("{secret} {secret:?}").contains("secret"));
        assert_eq!(read(" [DONE] "), Ok(vec![Delta::Done]));
    }
}
