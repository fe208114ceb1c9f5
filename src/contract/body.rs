//! What is wrong with a body that arrived, and how its members are read without guessing.
//!
//! A body is read as a JSON value first and as a shape second, because the two faults have codes
//! of their own, and because an issue must name its path as a person would write it:
//! `messages[0].parts`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::code::ErrorCode;

/// At most this many issues are told of one body: the first ones help, a thousand do not.
pub const ISSUES_MAX: usize = 20;

/// The path of the body itself.
pub const ROOT: &str = "$";

/// One thing that a body has in the wrong shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Issue {
    /// Where, such as `messages[0].parts`; `$` is the body itself.
    pub path: String,
    /// What was expected there, as the end of the sentence "expected …".
    pub expected: String,
}

impl Issue {
    /// An issue at `path`.
    pub fn new(path: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { path: path.into(), expected: expected.into() }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: expected {}", self.path, self.expected)
    }
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not well-formed JSON; says where, quotes nothing of it.
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    /// It is JSON of another shape; never without an issue, the first in the body first.
    #[error("the body does not have the expected shape: {}", first_of(.0))]
    Shape(Vec<Issue>),
}

impl BodyError {
    /// One issue at `path`.
    pub fn shape(path: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Shape(vec![Issue::new(path, expected)])
    }

    /// The code to answer with.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotJson(_) => ErrorCode::InvalidJson,
            Self::Shape(_) => ErrorCode::InvalidRequest,
        }
    }

    /// The sentence to answer with; it names the first path and what was expected there.
    pub fn sentence(&self) -> String {
        match self {
            Self::NotJson(why) => format!("The request body is not valid JSON: {why}."),
            Self::Shape(issues) => format!("The request is not valid: {}.", first_of(issues)),
        }
    }

    /// The issues to list in a problem document.
    pub fn issues(&self) -> &[Issue] {
        match self {
            Self::NotJson(_) => &[],
            Self::Shape(issues) => issues,
        }
    }
}

fn first_of(issues: &[Issue]) -> String {
    issues.first().map_or_else(|| ErrorCode::InvalidRequest.name().to_owned(), Issue::to_string)
}

/// Reads bytes as one JSON value.
///
/// # Errors
/// [`BodyError::NotJson`] if they are not exactly one, in UTF-8, nested less than 128 deep.
pub fn parse(bytes: &[u8]) -> Result<Value, BodyError> {
    // The parser's messages for a plain value are about syntax alone: they quote no content.
    serde_json::from_slice(bytes).map_err(|fault| BodyError::NotJson(fault.to_string()))
}

/// Reads bytes as one JSON object.
///
/// # Errors
/// [`BodyError::NotJson`] as [`parse`]; [`BodyError::Shape`] if it is another kind of value.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, BodyError> {
    match parse(bytes)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(BodyError::shape(ROOT, "a JSON object"))
        }
    }
}

/// The body's member `name` as an object.
///
/// # Errors
/// [`BodyError::Shape`] if it is not there or is another kind of value.
pub(super) fn object_of(
    members: &mut Map<String, Value>,
    name: &str,
) -> Result<Map<String, Value>, BodyError> {
    match members.remove(name) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) | None => Err(BodyError::shape(name, "a JSON object")),
    }
}

/// The member's text, if it is there and is a string that is not empty.
pub(super) fn text_of(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_not_json_is_told_where_and_not_quoted() {
        for body in [&b"{\"secret\": hunter2}"[..], b"", b"{} {}", b"\xff\xfe", b"\xef\xbb\xbf{}"] {
            let fault = parse_object(body).unwrap_err();
            assert_eq!(fault.code(), ErrorCode::InvalidJson);
            assert!(fault.sentence().contains("line 1 column"), "{}", fault.sentence());
            assert!(!fault.sentence().contains("hunter2"));
        }
    }

    #[test]
    fn nesting_without_end_is_refused_and_not_followed() {
        let deep = "[".repeat(60_000);
        assert!(matches!(parse(deep.as_bytes()), Err(BodyError::NotJson(_))));
    }

    #[test]
    fn a_body_of_another_kind_names_the_root() {
        let fault = parse_object(b"[1]").unwrap_err();
        assert_eq!(fault, BodyError::shape("$", "a JSON object"));
        assert_eq!(fault.sentence(), "The request is not valid: $: expected a JSON object.");
    }
}
