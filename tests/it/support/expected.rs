//! The answers that tests compare with, made of what the interface promises.

use sendcat::contract::code::ErrorCode;
use sendcat::contract::headers::retry_after_seconds;
use serde_json::{Value, json};

use super::answer::Answer;

/// An answer of these headers and this body, with the length that belongs to it.
pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all: std::collections::BTreeMap<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.insert("vary".to_owned(), "Origin".to_owned());
    if status != 204 {
        all.insert("content-length".to_owned(), body.len().to_string());
    }
    Answer { status, headers: all, body: body.to_owned() }
}

/// A refusal as plain text, with the headers that only it has.
pub(crate) fn refusal(status: u16, code: &str, sentence: &str, more: &[(&str, &str)]) -> Answer {
    let headers = [
        ("cache-control", "no-store"),
        ("content-type", "text/plain; charset=utf-8"),
        ("x-sendcat-error-code", code),
    ];
    whole(status, &[&headers, more].concat(), sentence)
}

/// Checks that a refusal asked for as a problem document is the plain one with another body:
/// the same status and headers, its sentence as `detail`, and these members besides.
#[track_caller]
pub(crate) fn assert_problem(problem: &Answer, plain: &Answer, title: &str, more: &Value) {
    let mut headers = plain.headers.clone();
    headers.insert("content-type".to_owned(), "application/problem+json".to_owned());
    headers.insert("content-length".to_owned(), problem.body.len().to_string());
    assert_eq!((problem.status, &problem.headers), (plain.status, &headers));
    let mut document = json!({
        "type": "about:blank", "title": title, "status": plain.status, "detail": plain.body,
        "code": plain.code(), "issues": [],
    });
    for (name, value) in more.as_object().expect("members are an object") {
        document[name] = value.clone();
    }
    assert_eq!(problem.json(), document);
}

/// A refusal with its code's own sentence and, where the code has one, its own wait.
pub(crate) fn of(code: ErrorCode, more: &[(&str, &str)]) -> Answer {
    let Some(wait) = code.default_retry_after() else {
        return refusal(code.status(), code.name(), code.sentence(), more);
    };
    let seconds = retry_after_seconds(wait).to_string();
    let more = [&[("retry-after", seconds.as_str())], more].concat();
    refusal(code.status(), code.name(), &code.sentence_after(wait), &more)
}
