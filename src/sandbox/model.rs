//! What the stand-in's model says: a pure function of the prompt.
//!
//! The first word of the last user message chooses. `search Q` calls `search_web`, the full name
//! of a tool calls that tool, `search_all Q` calls every tool at once. `chunks N` says N numbers
//! without a pause, `slow N MS` says them `MS` apart, `reason …` thinks before it answers. All
//! else is answered in a few words, which name how long the talk has become.

use std::time::Duration;

use serde_json::{Value, json};

use super::openrouter_request::{Prompt, content, role};

/// Between two words: a fast reader's pace, so that a person sees an answer grow.
const WORD_PAUSE: Duration = Duration::from_millis(15);
/// More chunks than this are not sent, whatever the prompt says.
const CHUNKS_MAX: usize = 100_000;
/// A longer pause than this is not made.
const PAUSE_MAX_MS: u64 = 600_000;
/// How many results a summary names.
const RESULTS_NAMED: usize = 5;

/// An answer before it becomes a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Speech {
    pub(super) reasoning: Vec<String>,
    pub(super) words: Vec<String>,
    pub(super) calls: Vec<ToolCall>,
    pub(super) pause: Duration,
    /// Whether `max_tokens` ended it.
    pub(super) cut_short: bool,
}

/// One call; its arguments are JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) arguments: String,
}

/// The answer to a prompt.
pub(super) fn speak(prompt: &Prompt) -> Speech {
    let mut speech = match prompt.messages.last() {
        Some(last) if role(last) == "tool" => Speech::of(&summary(&prompt.messages)),
        Some(_) | None => answer(prompt),
    };
    if let Some(limit) = prompt.max_tokens.filter(|limit| *limit < speech.words.len()) {
        speech.words.truncate(limit);
        speech.cut_short = true;
    }
    speech
}

impl Speech {
    fn of(text: &str) -> Self {
        Self { words: words(text), pause: WORD_PAUSE, ..Self::default() }
    }
}

/// A text in pieces that give the text when they are joined.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn answer(prompt: &Prompt) -> Speech {
    let said: Vec<String> =
        prompt.messages.iter().filter(|each| role(each) == "user").map(content).collect();
    let last = said.last().map_or("", |text| text.trim());
    let (first, rest) = last.split_once(char::is_whitespace).unwrap_or((last, ""));
    let first = first.to_ascii_lowercase();
    match first.as_str() {
        "chunks" => numbered(rest).unwrap_or_else(|| Speech::of(&reply(last, said.len()))),
        "slow" => slow(rest).unwrap_or_else(|| Speech::of(&reply(last, said.len()))),
        "reason" => Speech {
            reasoning: words(&format!(
                "The question is about {}. I have no outside world, so I answer from the question.",
                quoted(rest)
            )),
            ..Speech::of(&reply(rest, said.len()))
        },
        name if name.starts_with("search") => search(name, rest.trim(), &prompt.tools),
        _ => Speech::of(&reply(last, said.len())),
    }
}

/// `N`: that many numbered pieces.
fn numbered(rest: &str) -> Option<Speech> {
    let count = rest.trim().parse::<usize>().ok()?.min(CHUNKS_MAX);
    let words = (1..=count).map(|number| format!("{number} ")).collect();
    Some(Speech { words, ..Speech::default() })
}

/// `N MS`: that many numbered pieces, so far apart.
fn slow(rest: &str) -> Option<Speech> {
    let (count, pause_ms) = rest.trim().split_once(char::is_whitespace)?;
    let pause_ms = pause_ms.trim().parse::<u64>().ok()?.min(PAUSE_MAX_MS);
    Some(Speech { pause: Duration::from_millis(pause_ms), ..numbered(count)? })
}

fn search(name: &str, query: &str, offered: &[String]) -> Speech {
    if query.is_empty() {
        return Speech::of("What should I search for? Say for example: search rust actors.");
    }
    let names: Vec<&String> = match name {
        "search_all" => offered.iter().collect(),
        _ => {
            let wanted = if offered.iter().any(|each| each == name) { name } else { "search_web" };
            offered.iter().filter(|each| *each == wanted).collect()
        }
    };
    if names.is_empty() {
        return Speech::of(&format!(
            "I would search for {}, but no tool was offered to me.",
            query
        ));
    }
    let call = |name: &String| ToolCall {
        name: name.clone(),
        arguments: json!({"query": query}).to_string(),
    };
    Speech { calls: names.into_iter().map(call).collect(), ..Speech::default() }
}

fn reply(asked: &str, turns: usize) -> String {
    let greeting = ["hello", "hi", "hey"].iter().any(|word| {
        let start = asked.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or("");
        start.eq_ignore_ascii_case(word)
    });
    let opening = match (greeting, turns) {
        (true, _) => "Hello! I am the sandbox model.".to_owned(),
        (false, 0 | 1) => format!("You said {}.", quoted(asked)),
        (false, turns) => format!("You said {}, message {turns} of our talk.", quoted(asked)),
    };
    format!(
        "{opening} I answer without the outside world: the words come one by one, as a real \
         model's would. Start a message with “search” to see me call a tool."
    )
}

/// The start of a text in quotation marks.
fn quoted(text: &str) -> String {
    let mut letters = text.trim().chars();
    let start: String = letters.by_ref().take(200).collect();
    let more = if letters.next().is_some() { "…" } else { "" };
    format!("“{start}{more}”")
}

/// What the tools brought since the last user message, in a few sentences.
fn summary(messages: &[Value]) -> String {
    let turn = messages.iter().rposition(|each| role(each) == "user").map_or(0, |at| at + 1);
    let query = messages[turn..].iter().find_map(|message| {
        let arguments = message["tool_calls"][0]["function"]["arguments"].as_str()?;
        serde_json::from_str::<Value>(arguments).ok()?["query"].as_str().map(str::to_owned)
    });
    let about = query.map_or(String::new(), |query| format!(" for {}", quoted(&query)));
    let results = messages[turn..].iter().filter(|message| role(message) == "tool");
    let (mut found, mut troubles) = (Vec::new(), Vec::new());
    for result in results.map(content) {
        let value = serde_json::from_str(&result).unwrap_or(Value::String(result));
        match trouble(&value) {
            Some(trouble) => troubles.push(trouble),
            None => found.extend(titles(&value)),
        }
    }
    let mut sentences = Vec::new();
    if found.is_empty() {
        sentences.push(format!("I found nothing{about}."));
    } else {
        let named: Vec<&String> = found.iter().take(RESULTS_NAMED).collect();
        let list: String = (1..).zip(named).map(|(at, each)| format!("\n{at}. {each}")).collect();
        let noun = if found.len() == 1 { "result" } else { "results" };
        sentences.push(format!("I found {} {noun}{about}:{list}", found.len()));
    }
    sentences.extend(troubles.iter().map(|trouble| format!("\nOne search failed: {trouble}.")));
    sentences.concat()
}

/// The failure that a tool's result reports.
fn trouble(result: &Value) -> Option<String> {
    let error = result.get("error").filter(|error| !error.is_null())?;
    let text = error.as_str().or(error["message"].as_str());
    let text = text.map_or_else(|| error.to_string(), str::to_owned);
    Some(text.trim_end_matches('.').to_owned())
}

/// Title and link of every entry in the first list of objects, wherever it stands.
fn titles(result: &Value) -> Vec<String> {
    let named = |entry: &Value| {
        let field = |names: &[&str]| names.iter().find_map(|name| entry[*name].as_str());
        let title = field(&["title", "name"])?;
        let link = field(&["link", "url", "itemWebUrl", "product_link"]);
        Some(link.map_or_else(|| title.to_owned(), |link| format!("{title} ({link})")))
    };
    match result {
        Value::Array(entries) => entries.iter().filter_map(named).collect(),
        Value::Object(fields) => {
            fields.values().map(titles).find(|titles| !titles.is_empty()).unwrap_or_default()
        }
        Value::String(text) if !text.is_empty() => vec![quoted(text)],
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(messages: Value, tools: &[&str]) -> Prompt {
        Prompt {
            model: "m".into(),
            messages: messages.as_array().unwrap().clone(),
            tools: tools.iter().map(|name| (*name).to_owned()).collect(),
            max_tokens: None,
        }
    }

    fn asked(text: &str) -> Speech {
        speak(&prompt(json!([{"role": "user", "content": text}]), &["search_web"]))
    }

    #[test]
    fn a_search_is_a_call_with_the_rest_as_query() {
        let speech = asked("Search  rust actors ");
        let call =
            ToolCall { name: "search_web".into(), arguments: r#"{"query":"rust actors"}"#.into() };
        assert_eq!(speech.calls, [call]);
        assert!(speech.words.is_empty());
    }

    #[test]
    fn a_search_without_the_tool_is_answered_in_words() {
        let speech = speak(&prompt(json!([{"role": "user", "content": "search rust"}]), &[]));
        assert!(speech.calls.is_empty());
        assert_eq!(
            speech.words.concat(),
            "I would search for rust, but no tool was offered to me."
        );
    }

    #[test]
    fn search_all_calls_every_tool_at_once() {
        let messages = json!([{"role": "user", "content": "search_all docks"}]);
        let speech = speak(&prompt(messages, &["search_web", "search_products"]));
        let names: Vec<_> = speech.calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["search_web", "search_products"]);
    }

    #[test]
    fn numbered_chunks_come_without_pauses_and_slow_ones_with_them() {
        assert_eq!(asked("chunks 3").words, ["1 ", "2 ", "3 "]);
        assert_eq!(asked("chunks 3").pause, Duration::ZERO);
        assert_eq!(asked("slow 2 40").pause, Duration::from_millis(40));
        assert_eq!(asked("slow 2 40").words.len(), 2);
        assert!(asked("chunks of what").words.len() > 3);
    }

    #[test]
    fn a_result_is_summed_up_with_titles_and_links() {
        let arguments = r#"{"query":"docks"}"#;
        let results = json!({"results": [
            {"title": "Dock one", "link": "https://a.example/1"},
            {"title": "Dock two", "url": "https://a.example/2"},
        ]});
        let messages = json!([
            {"role": "user", "content": "search docks"},
            {"role": "assistant", "tool_calls": [
                {"id": "a", "function": {"arguments": arguments}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": results.to_string()},
            {"role": "tool", "tool_call_id": "b", "content": r#"{"error":"queue is full."}"#},
        ]);
        assert_eq!(
            speak(&prompt(messages, &[])).words.concat(),
            "I found 2 results for “docks”:\n1. Dock one (https://a.example/1)\n\
             2. Dock two (https://a.example/2)\nOne search failed: queue is full."
        );
    }

    #[test]
    fn max_tokens_ends_an_answer_early() {
        let mut prompt = prompt(json!([{"role": "user", "content": "chunks 9"}]), &[]);
        prompt.max_tokens = Some(2);
        let speech = speak(&prompt);
        assert_eq!(speech.words, ["1 ", "2 "]);
        assert!(speech.cut_short);
    }
}
