//! Tools of a chat answer, and the shops they ask.

use serde_json::{Value, json};

use super::answer::Answer;
use super::scene::Scene;

pub(crate) const EBAY: &str = "ebay_browse";
pub(crate) const SERPER: &str = "serper_search";
pub(crate) const SERPAPI: &str = "serpapi_shopping";

/// A server with keys of every shop.
pub(crate) fn shops(knobs: &[(&str, &str)]) -> Scene {
    let keys = [
        ("SERPAPI_API_KEY", "key"),
        ("EBAY_CLIENT_ID", "id"),
        ("EBAY_CLIENT_SECRET", "secret"),
        ("TOOL_JOB_RETRY_BASE_MS", "1"),
    ];
    Scene::with(&[&keys, knobs].concat())
}

/// How many requests eBay, Serper and SerpAPI have had.
pub(crate) fn asked(scene: &Scene) -> [u64; 3] {
    [EBAY, SERPER, SERPAPI].map(|provider| scene.stand_ins.count(provider, "requests"))
}

/// What one tool of an answer came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) first: Vec<Value>,
    pub(crate) end: Value,
}

/// What a tool that was called once came to: its preliminary outputs, and its end.
#[track_caller]
pub(crate) fn ran(answer: &Answer, tool: &str) -> Ran {
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = answer.parts();
    let started = |part: &&Value| part["type"] == "tool-input-start" && part["toolName"] == tool;
    let [call] = parts.iter().filter(started).collect::<Vec<_>>()[..] else {
        panic!("{tool} was not called once: {parts:?}")
    };
    let of_call = |part: &&Value| {
        let kind = part["type"].as_str().unwrap_or_default();
        part["toolCallId"] == call["toolCallId"] && kind.starts_with("tool-output-")
    };
    let mut outputs: Vec<Value> = parts.iter().filter(of_call).cloned().collect();
    let end = outputs.pop().expect("a call has an end");
    assert_eq!(end["preliminary"], Value::Null, "{parts:?}");
    for output in &outputs {
        assert_eq!(output["preliminary"], true, "{parts:?}");
    }
    Ran { first: outputs, end }
}

impl Ran {
    #[track_caller]
    pub(crate) fn output(&self) -> &Value {
        assert_eq!(self.end["type"], "tool-output-available", "{self:?}");
        &self.end["output"]
    }

    #[track_caller]
    pub(crate) fn words(&self) -> &str {
        assert_eq!(self.end["type"], "tool-output-error", "{self:?}");
        self.end["errorText"].as_str().expect("a failure has words")
    }

    /// The shops of its offers, in order.
    #[track_caller]
    pub(crate) fn shops(&self) -> Vec<&str> {
        let products = self.output()["products"].as_array().expect("products are a list");
        products.iter().map(|offer| offer["shop"].as_str().unwrap_or_default()).collect()
    }
}

/// The answer went on to its end, and is stored whole.
#[track_caller]
pub(crate) fn went_on(scene: &Scene, answer: &Answer, thread: &str) {
    let parts = answer.parts();
    let last = parts.last().expect("a stream has parts");
    assert_eq!((&last["type"], &last["finishReason"]), (&json!("finish"), &json!("stop")));
    assert!(!answer.text().is_empty(), "{parts:?}");
    assert_eq!(scene.messages(thread)[1]["status"], "complete");
}
