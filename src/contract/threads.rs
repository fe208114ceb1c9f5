//! Threads as their owner lists, founds and names them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body::{BodyError, parse_object};
use super::chat::ThreadId;

/// The longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// What a title must be.
const TITLE: &str = "a text of 1 to 200 characters, or null";

/// What a thread's name must be.
const NAME: &str = "a thread id of 1 to 128 characters of A-Z a-z 0-9 _ -";

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// Its name.
    pub id: String,
    /// What it is called: what its owner said, or the beginning of its first question.
    #[schema(required)]
    pub title: Option<String>,
    /// How many messages it holds.
    pub messages: u64,
    /// When it was founded, RFC 3339 in UTC.
    pub created_at: String,
    /// When it last changed, RFC 3339 in UTC.
    pub updated_at: String,
}

/// The body of `POST /api/threads`.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewThread {
    /// Its name, 1 to 128 of `A-Za-z0-9_-`; one is made where there is none.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,128}$")]
    pub id: Option<ThreadId>,
    /// What it is called.
    #[schema(min_length = 1, max_length = 200)]
    pub title: Option<String>,
}

/// The body of `PATCH /api/threads/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ThreadPatch {
    /// What it is to be called; `null` for nothing.
    #[schema(required, min_length = 1, max_length = 200)]
    pub title: Option<String>,
}

impl NewThread {
    /// Reads the body of the request.
    ///
    /// # Errors
    /// [`BodyError`], of which a shape names its first path.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let members = parse_object(bytes)?;
        let id = match members.get("id") {
            None | Some(Value::Null) => None,
            Some(id) => {
                let id = id.as_str().and_then(|id| id.parse().ok());
                Some(id.ok_or_else(|| BodyError::shape("id", NAME))?)
            }
        };
        let title = members.get("title").map_or(Ok(None), title)?;
        Ok(Self { id, title })
    }
}

impl ThreadPatch {
    /// Reads the body of the request.
    ///
    /// # Errors
    /// [`BodyError`], of which a shape names its first path.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let members = parse_object(bytes)?;
        let given = members.get("title").ok_or_else(|| BodyError::shape("title", TITLE))?;
        Ok(Self { title: title(given)? })
    }
}

fn title(value: &Value) -> Result<Option<String>, BodyError> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => "",
    };
    let fits = (1..=TITLE_CHARS_MAX).contains(&text.chars().count());
    if fits { Ok(Some(text.to_owned())) } else { Err(BodyError::shape("title", TITLE)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(fault: BodyError) -> String {
        fault.issues()[0].path.clone()
    }

    #[test]
    fn a_new_thread_needs_neither_name_nor_title() {
        for body in ["{}", r#"{"id":null,"title":null,"color":"red"}"#] {
            assert_eq!(NewThread::read(body.as_bytes()).unwrap(), NewThread::default());
        }
        let both = NewThread::read(r#"{"id":"a-1","title":" Shoes "}"#.as_bytes()).unwrap();
        let expected =
            NewThread { id: Some("a-1".parse().unwrap()), title: Some("Shoes".to_owned()) };
        assert_eq!(both, expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, at) in [
            (r#"{"id":"a b"}"#, "id"),
            (r#"{"id":7}"#, "id"),
            (r#"{"title":""}"#, "title"),
            (r#"{"title":7}"#, "title"),
            ("[]", "$"),
        ] {
            assert_eq!(path(NewThread::read(body.as_bytes()).unwrap_err()), at, "{body}");
        }
        let title = |chars: usize| format!(r#"{{"title":"{}"}}"#, "é".repeat(chars));
        assert!(NewThread::read(title(200).as_bytes()).is_ok());
        assert_eq!(path(NewThread::read(title(201).as_bytes()).unwrap_err()), "title");
        assert_eq!(path(ThreadPatch::read(b"{}").unwrap_err()), "title");
        assert_eq!(ThreadPatch::read(br#"{"title":null}"#).unwrap().title, None);
    }
}
