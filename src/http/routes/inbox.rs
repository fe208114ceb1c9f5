//! The rows of what comes in by other ways than a chat, and of what operators do about it.

use sendcat_state::key::Bucket;

use super::{BodyLimit, Guard, Route};
use crate::contract::code::ErrorCode as Code;
use crate::http::{ops_inbox, webhooks, whatsapp_links};

const OPERATOR: &[Guard] = &[Guard::Operator, Guard::Method];

/// The rows.
pub(super) const ROWS: &[Route] = &[
    Route {
        method: "POST",
        path: "/api/webhooks/{source}",
        cors: false,
        guards: &[
            Guard::IpLimit(Bucket::GenericWebhook),
            Guard::Method,
            Guard::Json,
            Guard::Body(BodyLimit::Webhook),
        ],
        handler: |call| Box::pin(webhooks::post(call)),
        codes: &[
            Code::RateLimited,
            Code::MethodNotAllowed,
            Code::UnsupportedMediaType,
            Code::PayloadTooLarge,
            Code::RequestTimeout,
            Code::NotFound,
            Code::Forbidden,
            Code::InvalidJson,
            Code::InvalidRequest,
            Code::Overloaded,
            Code::StorageUnavailable,
            Code::InternalError,
        ],
    },
    Route {
        method: "POST",
        path: "/api/whatsapp/link-code",
        cors: true,
        guards: &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::User],
        handler: |call| Box::pin(whatsapp_links::post(call)),
        codes: &[
            Code::Forbidden,
            Code::MethodNotAllowed,
            Code::Unauthorized,
            Code::Misconfigured,
            Code::UpstreamUnavailable,
            Code::RateLimited,
            Code::Overloaded,
            Code::StorageUnavailable,
            Code::InternalError,
        ],
    },
    Route {
        method: "GET",
        path: "/ops/dead-letters",
        cors: false,
        guards: OPERATOR,
        handler: |call| Box::pin(ops_inbox::dead_letters(call)),
        codes: &[
            Code::NotFound,
            Code::Unauthorized,
            Code::MethodNotAllowed,
            Code::InvalidRequest,
            Code::StorageUnavailable,
            Code::InternalError,
        ],
    },
    Route {
        method: "POST",
        path: "/ops/dead-letters/{id}/redeliver",
        cors: false,
        guards: OPERATOR,
        handler: |call| Box::pin(ops_inbox::redeliver(call)),
        codes: &[
            Code::NotFound,
            Code::Unauthorized,
            Code::MethodNotAllowed,
            Code::Conflict,
            Code::StorageUnavailable,
            Code::InternalError,
        ],
    },
];
