//! What an answer must be, in words of what was expected and what came; never the body's own.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;
use super::exchange::{Answer, Ask};

pub(super) fn get(path: impl Into<String>) -> Ask {
    Ask::new(Method::GET, path)
}

pub(super) fn status(answer: &Answer, expected: u16) -> Result<(), Failure> {
    if answer.status == expected {
        return Ok(());
    }
    Err(Failure::of(&format!("status {expected}"), &answer.status.to_string()))
}

pub(super) fn present(answer: &Answer, name: &str) -> Result<(), Failure> {
    let there = answer.headers.contains_key(name);
    if there { Ok(()) } else { Err(Failure::of(&format!("a header {name}"), "none")) }
}

pub(super) fn same(what: &str, got: Option<&str>, expected: Option<&str>) -> Result<(), Failure> {
    if got == expected {
        return Ok(());
    }
    let told = |value: Option<&str>| match value {
        None => "nothing".to_owned(),
        // A header may be anything: what is shown is short, and only what came unasked.
        Some(value) => format!("{:?}", value.chars().take(80).collect::<String>()),
    };
    Err(Failure::of(&format!("{what} to be {}", told(expected)), &told(got)))
}

pub(super) fn json_of(answer: &Answer) -> Result<Value, Failure> {
    read_as(answer, "a body of JSON")
}

/// The body as a type. What is wrong with it is told by its place: a message of the reader's own
/// might quote the body.
pub(super) fn read_as<T: DeserializeOwned>(answer: &Answer, what: &str) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::of(what, &format!("what cannot be read at line {line}, column {column}"))
    })
}
