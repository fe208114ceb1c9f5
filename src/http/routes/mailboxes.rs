//! The rows of mailboxes: connecting them, and pushes about them.

use sendcat_state::key::Bucket;

use super::{BodyLimit, Guard, Route, WEBHOOK_CODES};
use crate::contract::code::ErrorCode as Code;
use crate::http::gmail;

/// What stands before a row that only somebody signed in may use.
const USER: &[Guard] = &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::User];

const USER_CODES: &[Code] = &[
    Code::Forbidden,
    Code::MethodNotAllowed,
    Code::Unauthorized,
    Code::Misconfigured,
    Code::UpstreamUnavailable,
    Code::Overloaded,
    Code::StorageUnavailable,
    Code::InternalError,
];

/// The rows.
pub(super) const ROWS: &[Route] = &[
    Route {
        method: "GET",
        path: "/api/gmail/connection",
        cors: true,
        guards: USER,
        handler: |call| Box::pin(gmail::connection(call)),
        codes: USER_CODES,
    },
    Route {
        method: "DELETE",
        path: "/api/gmail/connection",
        cors: true,
        guards: USER,
        handler: |call| Box::pin(gmail::disconnect(call)),
        codes: &[
            Code::Forbidden,
            Code::MethodNotAllowed,
            Code::Unauthorized,
            Code::Misconfigured,
            Code::UpstreamUnavailable,
            Code::Overloaded,
            Code::NotFound,
            Code::StorageUnavailable,
            Code::InternalError,
        ],
    },
    Route {
        method: "POST",
        path: "/api/gmail/connect",
        cors: true,
        guards: USER,
        handler: |call| Box::pin(gmail::connect(call)),
        codes: USER_CODES,
    },
    // Whatever else goes wrong here is a redirect that says so: a browser is on its way.
    Route {
        method: "GET",
        path: gmail::CALLBACK,
        cors: false,
        guards: &[Guard::IpLimit(Bucket::GmailOauthCallback), Guard::Method],
        handler: |call| Box::pin(gmail::callback(call)),
        codes: &[Code::RateLimited, Code::MethodNotAllowed],
    },
    Route {
        method: "POST",
        path: "/api/gmail/push",
        cors: false,
        guards: &[
            Guard::IpLimit(Bucket::GmailPushWebhook),
            Guard::Method,
            Guard::Json,
            Guard::Body(BodyLimit::Webhook),
        ],
        handler: |call| Box::pin(gmail::push(call)),
        codes: WEBHOOK_CODES,
    },
];
