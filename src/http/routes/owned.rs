//! The rows of what a caller owns: threads and records.

use super::{BodyLimit, Guard, Route};
use crate::contract::code::ErrorCode as Code;
use crate::http::{records, threads};

/// What stands before every row without a body.
const BARE: &[Guard] = &[Guard::Origin, Guard::Method, Guard::Bearer];

/// What stands before every row with one.
const WITH_BODY: &[Guard] =
    &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::Json, Guard::Body(BodyLimit::Chat)];

/// Declares rows: all of them may be called by pages, and all answer what their guards answer and
/// `storage_unavailable`; the codes are those besides.
macro_rules! rows {
    ($($method:literal $path:literal $guards:ident $handler:path, [$($code:ident),*];)+) => {
        /// The rows.
        pub(super) const ROWS: &[Route] = &[$(Route {
            method: $method,
            path: $path,
            cors: true,
            guards: $guards,
            handler: |call| Box::pin($handler(call)),
            codes: rows!(@codes $guards $($code),*),
        },)+];
    };
    (@codes BARE $($code:ident),*) => {
        &[
            Code::Forbidden,
            Code::MethodNotAllowed,
            Code::Unauthorized,
            Code::Misconfigured,
            Code::UpstreamUnavailable,
            Code::Overloaded,
            $(Code::$code,)*
            Code::StorageUnavailable,
            Code::InternalError,
        ]
    };
    (@codes WITH_BODY $($code:ident),*) => {
        &[
            Code::Forbidden,
            Code::MethodNotAllowed,
            Code::Unauthorized,
            Code::Misconfigured,
            Code::UpstreamUnavailable,
            Code::Overloaded,
            Code::UnsupportedMediaType,
            Code::PayloadTooLarge,
            Code::RequestTimeout,
            Code::InvalidJson,
            Code::InvalidRequest,
            $(Code::$code,)*
            Code::StorageUnavailable,
            Code::InternalError,
        ]
    };
}

rows! {
    "GET" "/api/threads" BARE threads::list, [InvalidRequest];
    "POST" "/api/threads" WITH_BODY threads::create, [Conflict];
    "GET" "/api/threads/{id}" BARE threads::get, [NotFound];
    "PATCH" "/api/threads/{id}" WITH_BODY threads::rename, [NotFound];
    "DELETE" "/api/threads/{id}" BARE threads::delete, [NotFound];
    "GET" "/api/threads/{id}/messages" BARE threads::messages, [InvalidRequest, NotFound];
    "GET" "/api/favorites" BARE records::favorites::list, [InvalidRequest];
    "POST" "/api/favorites" WITH_BODY records::favorites::keep, [Conflict];
    "DELETE" "/api/favorites/{id}" BARE records::favorites::remove, [NotFound];
    "GET" "/api/packages" BARE records::packages::list, [InvalidRequest];
    "POST" "/api/packages" WITH_BODY records::packages::keep, [Conflict];
    "DELETE" "/api/packages/{id}" BARE records::packages::remove, [NotFound];
    "GET" "/api/evidence" BARE records::evidence::list, [InvalidRequest];
    "POST" "/api/evidence" WITH_BODY records::evidence::keep, [Conflict];
    "DELETE" "/api/evidence/{id}" BARE records::evidence::remove, [NotFound];
    "GET" "/api/preferences" BARE records::preferences, [];
    "PUT" "/api/preferences" WITH_BODY records::set_preferences, [];
}
