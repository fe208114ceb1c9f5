//! OpenRouter, and every server that speaks the OpenAI chat-completions stream.
//!
//! Written strictly: a tool call and its result are one value ([`ToolRound`]), so a request with an
//! unanswered call cannot be made. Read loosely: a chunk may have more fields, fewer, or `null`
//! where a value is expected, and means what is left.

mod chunk;
mod refusal;
mod request;

pub use chunk::{Delta, Finish, MalformedChunk, read};
pub use refusal::{failure_within, refusal};
pub use request::{ChatCall, Message, Tool, ToolRound};

/// The path below the base URL.
pub const CHAT_PATH: &str = "/chat/completions";
