//! The body of `POST /api/chat`, and a stored message as it is read back.
//!
//! AI SDK clients send the whole history with parts of many kinds, in any order of keys, beside
//! fields of the application's own (UI-STREAM.md §2); a small client sends one message. Of all
//! that only texts are taken: what is unknown is passed over, so that a newer client is not
//! refused, and what is known must have its shape.
//!
//! # Invariants
//! - Every message of a request has text, and none has role `system`.
//! - A submit has a last user message.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::{BodyError, ISSUES_MAX, Issue, parse_object};
use super::code::ErrorCode;

/// The longest name of a message.
const MESSAGE_ID_BYTES_MAX: usize = 256;

/// A thread's name: 1 to 128 of `A-Za-z0-9_-`. Some clients put it into a path as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ThreadId(String);

/// What a thread's name must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread id is 1 to 128 characters of A-Z a-z 0-9 _ -")]
pub struct BadThreadId;

impl ThreadId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ThreadId {
    type Err = BadThreadId;

    fn from_str(text: &str) -> Result<Self, BadThreadId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadThreadId)
        }
    }
}

impl TryFrom<String> for ThreadId {
    type Error = BadThreadId;

    fn try_from(text: String) -> Result<Self, BadThreadId> {
        text.parse()
    }
}

impl From<ThreadId> for String {
    fn from(id: ThreadId) -> Self {
        id.0
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// An answer to the last user message.
    Submit,
    /// Another answer in place of an earlier one.
    Regenerate,
}

/// One message of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// The client's name for it, if it gave one.
    pub id: Option<String>,
    /// Who speaks.
    pub role: Role,
    /// Its text parts, one after the other; never blank.
    pub text: String,
}

/// A request for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRequest {
    /// In which thread.
    pub thread_id: ThreadId,
    /// What is asked for.
    pub trigger: Trigger,
    /// Which message is replaced: for a submit that message and all after it, for a regenerate
    /// the stored messages from it on.
    pub message_id: Option<String>,
    /// The texts of user and assistant, oldest first; what a new thread starts with.
    pub messages: Vec<ChatMessage>,
}

impl ChatRequest {
    /// Reads the body of the request.
    ///
    /// # Errors
    /// [`BodyError::NotJson`]; [`BodyError::Shape`] with every issue up to a number, of which the
    /// first names its path, such as `messages[0].parts`.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let body = parse_object(bytes)?;
        let mut reader = Reader { issues: Vec::new() };
        let thread_id = reader.thread_id(&body);
        let trigger = reader.trigger(&body);
        let message_id = reader.message_id(body.get("messageId"), "messageId");
        let messages = reader.messages(&body, trigger);
        match thread_id {
            Some(thread_id) if reader.issues.is_empty() => {
                Ok(Self { thread_id, trigger, message_id, messages })
            }
            Some(_) | None => Err(BodyError::Shape(reader.issues)),
        }
    }

    /// The last user message: what a known thread takes of a submit. There always is one then.
    pub fn last_user(&self) -> Option<&ChatMessage> {
        self.messages.iter().rev().find(|message| message.role == Role::User)
    }
}

/// The body of the request as the OpenAPI document shows it; [`ChatRequest::read`] reads it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ChatBody {
    /// The thread, 1 to 128 of `A-Za-z0-9_-`; an unknown one is founded.
    pub id: Option<String>,
    /// The same, where there is no `id`.
    pub thread_id: Option<String>,
    /// UI messages of the AI SDK, the last of them a user's.
    #[schema(value_type = Option<Vec<Object>>)]
    pub messages: Option<Vec<Value>>,
    /// One UI message, or its text, in place of `messages`.
    #[schema(value_type = Option<Value>)]
    pub message: Option<Value>,
    /// `submit-message` or `regenerate-message`; the first unless said.
    pub trigger: Option<String>,
    /// The message that is replaced.
    pub message_id: Option<String>,
}

/// The body of a request to stop as the OpenAPI document shows it; it may be left out.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct StopBody {
    /// Which answer, as its `start` part named it; the newest if not named.
    pub stream_id: Option<String>,
}

/// A request to stop an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRequest {
    /// Which, as its `start` part named it; the newest if not named.
    pub stream_id: Option<String>,
}

impl StopRequest {
    /// Reads the body of the request, which may be empty.
    ///
    /// # Errors
    /// [`BodyError`] as [`ChatRequest::read`].
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.is_empty() {
            return Ok(Self { stream_id: None });
        }
        let body = parse_object(bytes)?;
        let mut reader = Reader { issues: Vec::new() };
        let stream_id = reader.message_id(body.get("streamId"), "streamId");
        if reader.issues.is_empty() {
            Ok(Self { stream_id })
        } else {
            Err(BodyError::Shape(reader.issues))
        }
    }
}

/// Reads members and collects what is wrong with them.
struct Reader {
    issues: Vec<Issue>,
}

impl Reader {
    fn expected(&mut self, path: impl Into<String>, expected: &str) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue::new(path, expected));
        }
    }

    /// `id`, or `threadId` where there is none: beside an `id` it is the application's own field.
    fn thread_id(&mut self, body: &Map<String, Value>) -> Option<ThreadId> {
        let path = if given(body, "id").is_none() && given(body, "threadId").is_some() {
            "threadId"
        } else {
            "id"
        };
        let id = given(body, path).and_then(Value::as_str).and_then(|id| id.parse().ok());
        if id.is_none() {
            self.expected(path, "a thread id of 1 to 128 characters of A-Z a-z 0-9 _ -");
        }
        id
    }

    fn trigger(&mut self, body: &Map<String, Value>) -> Trigger {
        match given(body, "trigger").map(|trigger| trigger.as_str()) {
            None | Some(Some("submit-message")) => Trigger::Submit,
            Some(Some("regenerate-message")) => Trigger::Regenerate,
            Some(Some(_) | None) => {
                self.expected("trigger", "\"submit-message\" or \"regenerate-message\"");
                Trigger::Submit
            }
        }
    }

    fn message_id(&mut self, value: Option<&Value>, path: &str) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if id.is_empty() => None,
            Some(Value::String(id)) if id.len() <= MESSAGE_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => {
                self.expected(path, "a message id of at most 256 bytes");
                None
            }
        }
    }

    fn messages(&mut self, body: &Map<String, Value>, trigger: Trigger) -> Vec<ChatMessage> {
        let mut read = Vec::new();
        match (given(body, "messages"), given(body, "message")) {
            (Some(Value::Array(list)), _) => {
                for (at, message) in list.iter().enumerate() {
                    let path = format!("messages[{at}]");
                    read.extend(self.message(message, &path).map(|message| (path, message)));
                }
            }
            (Some(_), _) => self.expected("messages", "an array of messages"),
            (None, Some(Value::String(text))) => {
                let message = ChatMessage { id: None, role: Role::User, text: text.clone() };
                read.push(("message".to_owned(), message));
            }
            (None, Some(message)) => {
                let path = "message".to_owned();
                read.extend(self.message(message, &path).map(|message| (path, message)));
            }
            (None, None) => {}
        }
        if trigger == Trigger::Submit && self.issues.is_empty() {
            self.must_ask_something(body, &read);
        }
        let is_said = |message: &ChatMessage| !message.text.trim().is_empty();
        read.into_iter().map(|(_, message)| message).filter(is_said).collect()
    }

    fn must_ask_something(&mut self, body: &Map<String, Value>, read: &[(String, ChatMessage)]) {
        let last = read.iter().rev().find(|(_, message)| message.role == Role::User);
        let single = given(body, "messages").is_none() && given(body, "message").is_some();
        match last {
            None if single => self.expected("message", "a user message"),
            None => self.expected("messages", "an array with at least one user message"),
            Some((path, message)) if message.text.trim().is_empty() => {
                let is_text = body.get(path).is_some_and(Value::is_string);
                let path = if is_text { path.clone() } else { format!("{path}.parts") };
                self.expected(path, "a text part that is not empty");
            }
            Some(_) => {}
        }
    }

    /// One message; `None` for one that is passed over or wrong.
    fn message(&mut self, message: &Value, path: &str) -> Option<ChatMessage> {
        let Some(members) = message.as_object() else {
            self.expected(path, "a message object");
            return None;
        };
        let role = match members.get("role").and_then(Value::as_str) {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            // What a model is told about itself is not for the outside to say.
            Some("system") => return None,
            Some(_) | None => {
                self.expected(format!("{path}.role"), "\"user\", \"assistant\" or \"system\"");
                return None;
            }
        };
        let id = self.message_id(members.get("id"), &format!("{path}.id"));
        let Some(parts) = members.get("parts").and_then(Value::as_array) else {
            self.expected(format!("{path}.parts"), "an array of parts");
            return None;
        };
        let mut text = String::new();
        for (at, part) in parts.iter().enumerate() {
            match part.get("type").and_then(Value::as_str) {
                Some("text") => match part.get("text").and_then(Value::as_str) {
                    Some(more) => text.push_str(more),
                    None => self.expected(format!("{path}.parts[{at}].text"), "a string"),
                },
                Some(_) => {}
                None => self.expected(format!("{path}.parts[{at}]"), "a part with a \"type\""),
            }
        }
        Some(ChatMessage { id, role, text })
    }
}

/// A member that is there and not null: clients write an absent value either way.
fn given<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

/// How a stored message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// As it should.
    Complete,
    /// Early: by its reader, a fault or a restart.
    Cut,
}

/// A stored message as `GET /api/threads/{id}/messages` writes it; a UI message with times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredMessage {
    /// Its name.
    pub id: String,
    /// Who speaks.
    pub role: Role,
    /// What is said, as the parts of a UI message.
    #[schema(value_type = Vec<Object>)]
    pub parts: Vec<Value>,
    /// What was sent of it besides: the tokens that it took, as `usage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    pub metadata: Option<Value>,
    /// When it was stored, RFC 3339 in UTC.
    pub created_at: String,
    /// Whether it is whole.
    pub status: Ending,
    /// Why it was cut, where a fault did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<ErrorCode>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// What to ask for the next page with; `null` on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
