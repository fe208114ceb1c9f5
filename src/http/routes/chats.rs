//! The rows of chats.

use super::{BodyLimit, Guard, rows};
use crate::http::chat;

/// What stands before a new chat.
const CHAT: &[Guard] = &[
    Guard::Origin,
    Guard::Method,
    Guard::Bearer,
    Guard::ChatLimit,
    Guard::Json,
    Guard::Body(BodyLimit::Chat),
];

/// A body is welcome, and need not be there.
const STOP: &[Guard] = &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::Body(BodyLimit::Chat)];

rows! {
    "POST" "/api/chat" CHAT, chat::post, [
        InvalidJson, InvalidRequest, UpstreamUnavailable, UpstreamRateLimited, UpstreamError,
        UpstreamRejected, UpstreamConnectTimeout, UpstreamHeadersTimeout,
        UpstreamFirstContentTimeout, UpstreamTotalTimeout, NotFound, Conflict,
        IdempotencyMismatch, StorageUnavailable
    ];
    "GET" "/api/chat/{chatId}/stream" &[Guard::Origin, Guard::Method, Guard::Bearer], chat::stream,
        [StorageUnavailable];
    "POST" "/api/chat/{chatId}/stop" STOP, chat::stop,
        [InvalidJson, InvalidRequest, NotFound, Conflict, StorageUnavailable];
}
