//! What a stand-in answers when no fault is armed.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

/// One answer: status, headers, body.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// A body is sent whole, or bit by bit.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// With a `content-length`.
    Whole { media_type: &'static str, bytes: Bytes },
    /// A server-sent-event stream.
    Events(Script),
}

/// A stream in three acts, so that a fault can strike at a known place.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// Comments and events that carry no content.
    pub(super) opening: Vec<Bytes>,
    /// Events with content; `pause` stands before each but the first.
    pub(super) content: Vec<Bytes>,
    /// How long a content waits for its turn.
    pub(super) pause: Duration,
    /// The end as it should be.
    pub(super) closing: Vec<Bytes>,
    /// The event that reports a failure in the middle.
    pub(super) failure: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::whole(status, "application/json", value.to_string().into())
    }

    /// An answer of any type.
    pub(super) fn whole(status: u16, media_type: &'static str, bytes: Bytes) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole { media_type, bytes } }
    }

    /// The same answer with one more header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
