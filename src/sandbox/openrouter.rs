//! OpenRouter: `POST /api/v1/chat/completions` as a stream of chunks, and `GET /api/v1/key`.
//!
//! The stream opens with comments, sends usage once in a chunk with empty `choices`, and ends in
//! `[DONE]` (UPSTREAMS.md).

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::Ask;
use super::model::{Speech, ToolCall, speak};
use super::openrouter_request::{Prompt, read};
use super::play::{COMMENT, DRIP_EVERY};
use super::reply::{Body, Reply, Script};

/// How many bytes of a call's arguments travel in one chunk: cut anywhere, as providers do.
const FRAGMENT_BYTES: usize = 7;

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    if ask.bearer().is_none() {
        return error(401, "No auth credentials found", "authentication");
    }
    match (ask.method, ask.segments().as_slice()) {
        ("POST", ["api", "v1", "chat", "completions"]) => completion(ask),
        ("GET", ["api", "v1", "key"]) => Reply::json(
            200,
            &json!({"data": {"label": "sandbox", "limit": null, "limit_remaining": null,
                "usage": 0, "is_free_tier": false}}),
        ),
        _ => refuse(404),
    }
}

/// An error in OpenRouter's shape.
pub(super) fn refuse(status: u16) -> Reply {
    let (message, kind) = match status {
        400 => ("Bad request", "invalid_request"),
        401 => ("User not found.", "authentication"),
        402 => ("Insufficient credits. Add more credits and retry.", "payment_required"),
        403 => ("Input was flagged", "moderation"),
        404 => ("No endpoints found for this model.", "not_found"),
        408 => ("Request timed out", "timeout"),
        413 => ("Request too large", "request_too_large"),
        429 => ("Rate limit exceeded", "rate_limit_exceeded"),
        502 => ("Provider returned error", "provider_unavailable"),
        503 => ("All providers are temporarily unavailable", "provider_overloaded"),
        504 => ("Provider timed out", "timeout"),
        _ => ("Internal Server Error", "server_error"),
    };
    error(status, message, kind)
}

fn error(status: u16, message: &str, kind: &str) -> Reply {
    let error = json!({"code": status, "message": message, "metadata": {"error_type": kind}});
    Reply::json(status, &json!({"error": error, "user_id": "user_sandbox"}))
}

fn completion(ask: &Ask<'_>) -> Reply {
    let Some(body) = ask.json() else {
        return error(400, "expected a JSON body with its content type", "invalid_request");
    };
    let prompt = match read(&body) {
        Ok(prompt) => prompt,
        Err(sentence) => return error(400, &sentence, "invalid_request"),
    };
    if prompt.model.starts_with("unknown/") {
        let message = format!("{} is not a valid model ID", prompt.model);
        return error(400, &message, "invalid_request");
    }
    let mut speech = speak(&prompt);
    if ask.dripping {
        speech = letter_by_letter(speech);
    }
    let frames = Frames::new(ask, &prompt.model);
    let id = frames.id.clone();
    let script = script(&frames, &prompt, &speech, ask.serial);
    Reply { status: 200, headers: Vec::new(), body: Body::Events(script) }
        .header("X-Generation-Id", id)
}

fn letter_by_letter(speech: Speech) -> Speech {
    let letters = |words: Vec<String>| words.concat().chars().map(String::from).collect::<Vec<_>>();
    Speech {
        reasoning: letters(speech.reasoning),
        words: letters(speech.words),
        pause: DRIP_EVERY,
        ..speech
    }
}

fn script(frames: &Frames, prompt: &Prompt, speech: &Speech, serial: u64) -> Script {
    let mut opening = vec![Bytes::from_static(COMMENT)];
    if speech.calls.is_empty() {
        opening.push(frames.delta(&json!({"role": "assistant", "content": ""}), None));
    }
    let mut content: Vec<Bytes> = Vec::new();
    for text in &speech.reasoning {
        let detail = json!({"type": "reasoning.text", "text": text, "index": 0});
        let delta = json!({"content": "", "reasoning": text, "reasoning_details": [detail]});
        content.push(frames.delta(&delta, None));
    }
    for text in &speech.words {
        content.push(frames.delta(&json!({"role": "assistant", "content": text}), None));
    }
    content.extend(call_frames(frames, &speech.calls, serial));
    let reason = match (speech.calls.is_empty(), speech.cut_short) {
        (false, _) => "tool_calls",
        (true, true) => "length",
        (true, false) => "stop",
    };
    let closing = vec![
        frames.delta(&json!({"role": "assistant", "content": ""}), Some(reason)),
        frames.usage(prompt, speech),
        Bytes::from_static(b"data: [DONE]\n\n"),
    ];
    let pause = if speech.calls.is_empty() { speech.pause } else { Duration::ZERO };
    Script { opening, content, pause, closing, failure: frames.failure() }
}

/// The chunks of calls: first each call's name, then pieces of the arguments in turn.
fn call_frames(frames: &Frames, calls: &[ToolCall], serial: u64) -> Vec<Bytes> {
    let mut events = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let function = json!({"name": call.name, "arguments": ""});
        let id = format!("call_{serial}_{index}");
        let opened = json!({"index": index, "id": id, "type": "function", "function": function});
        let delta = json!({"role": "assistant", "content": null, "tool_calls": [opened]});
        events.push(frames.delta(&delta, None));
    }
    let pieces: Vec<Vec<String>> = calls.iter().map(|call| fragments(&call.arguments)).collect();
    for turn in 0..pieces.iter().map(Vec::len).max().unwrap_or(0) {
        for (index, piece) in
            pieces.iter().enumerate().filter_map(|(at, of)| Some((at, of.get(turn)?)))
        {
            let fragment = json!({"index": index, "function": {"arguments": piece}});
            events.push(frames.delta(&json!({"tool_calls": [fragment]}), None));
        }
    }
    events
}

/// The text in pieces of about [`FRAGMENT_BYTES`], never inside a letter.
fn fragments(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        if pieces.last().is_some_and(|piece| piece.len() >= FRAGMENT_BYTES) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces
}

/// Makes the events of one generation.
struct Frames {
    id: String,
    head: String,
}

impl Frames {
    fn new(ask: &Ask<'_>, model: &str) -> Self {
        let id = format!("gen-{}-sandbox{:09}", ask.now_s, ask.serial);
        let head = format!(
            concat!(
                r#""id":"{}","provider":"Sandbox","model":{},"#,
                r#""object":"chat.completion.chunk","created":{}"#
            ),
            id,
            Value::from(model),
            ask.now_s
        );
        Self { id, head }
    }

    fn event(&self, rest: &str) -> Bytes {
        format!("data: {{{},{rest}}}\n\n", self.head).into()
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        let reason = Value::from(finish_reason);
        self.event(&format!(
            concat!(
                r#""choices":[{{"index":0,"delta":{delta},"finish_reason":{reason},"#,
                r#""native_finish_reason":{reason},"logprobs":null}}]"#
            ),
            delta = delta,
            reason = reason
        ))
    }

    /// Tokens are counted as four letters of the prompt, and as pieces of the answer.
    fn usage(&self, prompt: &Prompt, speech: &Speech) -> Bytes {
        let asked: usize = prompt.messages.iter().map(|each| each.to_string().len()).sum();
        let (asked, thought) = (asked.div_ceil(4), speech.reasoning.len());
        let said = thought + speech.words.len() + speech.calls.len() * 10;
        let usage = json!({
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
            "cost": 0,
            "is_byok": false,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought},
        });
        self.event(&format!(r#""choices":[],"usage":{usage}"#))
    }

    fn failure(&self) -> Bytes {
        self.event(concat!(
            r#""error":{"code":502,"message":"Provider disconnected","#,
            r#""metadata":{"error_type":"provider_unavailable"}},"#,
            r#""choices":[{"index":0,"delta":{"content":""},"#,
            r#""finish_reason":"error","native_finish_reason":null}]"#
        ))
    }
}
