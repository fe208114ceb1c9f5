//! Every route, one row each.
//!
//! The guards stand in the order they are asked; the first that refuses answers. The codes are all
//! that a route may answer: each is produced by a test.

mod chats;
mod inbox;
mod mailboxes;
mod owned;

use actix_web::{HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use sendcat_state::key::Bucket;

use super::Worker;
use super::dispatch::{Call, dispatch};
use super::respond::Refusal;
use super::{health, openapi, ops, ops_cache, ops_inbox, ops_snapshot, page, sessions, whatsapp};
use crate::contract::code::ErrorCode as Code;

/// What stands before a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A page of another origin may not call.
    Origin,
    /// The route exists with this method.
    Method,
    /// The address is counted in this bucket.
    IpLimit(Bucket),
    /// The caller has a token of ours or of a user.
    Bearer,
    /// The caller is a user, not an anonymous session.
    User,
    /// The session or user is counted, and anonymous ones also by address.
    ChatLimit,
    /// An operator, or for GET a reader of operators' answers.
    Operator,
    /// The body is declared as JSON.
    Json,
    /// The body is at most so large, arrives in time, and is read.
    Body(BodyLimit),
}

/// Which knob bounds a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// 64 KiB.
    Chat,
    /// `WEBHOOK_MAX_BYTES`.
    Webhook,
    /// `WHATSAPP_MAX_BYTES`.
    Whatsapp,
}

/// What a handler is.
pub type Handler = fn(Call) -> LocalBoxFuture<'static, Result<HttpResponse, Refusal>>;

/// One route.
#[derive(Clone, Copy)]
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Whether pages of other origins may call it, with an OPTIONS of its own.
    pub cors: bool,
    /// What stands before it, in order.
    pub guards: &'static [Guard],
    /// What answers.
    pub handler: Handler,
    /// The codes it may answer.
    pub codes: &'static [Code],
}

macro_rules! handler {
    ($path:path) => {
        |call| Box::pin($path(call))
    };
}
use handler;

const OPERATOR: &[Guard] = &[Guard::Operator, Guard::Method];
const OPERATOR_CODES: &[Code] =
    &[Code::NotFound, Code::Unauthorized, Code::MethodNotAllowed, Code::InternalError];
/// No fault strikes where faults are armed.
const FAULTS_CODES: &[Code] = &[Code::NotFound, Code::Unauthorized, Code::MethodNotAllowed];

const WEBHOOK_CODES: &[Code] = &[
    Code::RateLimited,
    Code::MethodNotAllowed,
    Code::UnsupportedMediaType,
    Code::PayloadTooLarge,
    Code::RequestTimeout,
    Code::Forbidden,
    Code::InvalidJson,
    Code::InvalidRequest,
    Code::Overloaded,
    Code::StorageUnavailable,
    Code::InternalError,
];

const COUNT: usize =
    chats::ROWS.len() + OWN.len() + inbox::ROWS.len() + owned::ROWS.len() + mailboxes::ROWS.len();

/// The table. Rows of one path stand together.
pub const ROUTES: &[Route] =
    &joined::<COUNT>(&[chats::ROWS, OWN, inbox::ROWS, owned::ROWS, mailboxes::ROWS]);

const fn joined<const ROWS: usize>(tables: &[&'static [Route]]) -> [Route; ROWS] {
    let mut all = [tables[0][0]; ROWS];
    let (mut at, mut table) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            all[at] = tables[table][row];
            (at, row) = (at + 1, row + 1);
        }
        table += 1;
    }
    all
}

const OWN: &[Route] = &[
    Route {
        method: "POST",
        path: "/api/sessions/anonymous",
        cors: true,
        guards: &[Guard::Origin, Guard::Method, Guard::IpLimit(Bucket::AnonIp)],
        handler: handler!(sessions::post),
        codes: &[
            Code::Forbidden,
            Code::MethodNotAllowed,
            Code::RateLimited,
            Code::Misconfigured,
            Code::Overloaded,
            Code::InternalError,
        ],
    },
    Route {
        method: "POST",
        path: "/api/whatsapp/webhook",
        cors: false,
        guards: &[
            Guard::IpLimit(Bucket::WhatsappWebhook),
            Guard::Method,
            Guard::Json,
            Guard::Body(BodyLimit::Whatsapp),
        ],
        handler: handler!(whatsapp::post),
        codes: WEBHOOK_CODES,
    },
    Route {
        method: "GET",
        path: "/api/whatsapp/webhook",
        cors: false,
        guards: &[Guard::Method],
        handler: handler!(whatsapp::verify),
        codes: &[Code::Forbidden, Code::MethodNotAllowed, Code::Overloaded, Code::InternalError],
    },
    Route {
        method: "GET",
        path: "/",
        cors: false,
        guards: &[Guard::Method],
        handler: handler!(page::chat),
        codes: &[Code::NotFound, Code::MethodNotAllowed, Code::InternalError],
    },
    Route {
        method: "GET",
        path: "/livez",
        cors: false,
        guards: &[Guard::Method],
        handler: handler!(health::livez),
        codes: &[Code::MethodNotAllowed, Code::InternalError],
    },
    Route {
        method: "GET",
        path: "/readyz",
        cors: false,
        guards: &[Guard::Method],
        handler: handler!(health::readyz),
        codes: &[Code::MethodNotAllowed, Code::InternalError],
    },
    Route {
        method: "GET",
        path: "/openapi.json",
        cors: false,
        guards: &[Guard::Method],
        handler: handler!(openapi::get),
        codes: &[Code::MethodNotAllowed, Code::InternalError],
    },
    Route {
        method: "GET",
        path: "/ops/actors",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops::actors),
        codes: OPERATOR_CODES,
    },
    Route {
        method: "GET",
        path: "/ops/inbox",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops_inbox::inbox),
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
        method: "GET",
        path: "/ops/snapshot",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops_snapshot::get),
        codes: &[
            Code::NotFound,
            Code::Unauthorized,
            Code::MethodNotAllowed,
            Code::InvalidRequest,
            Code::InternalError,
        ],
    },
    Route {
        method: "GET",
        path: "/ops/cache",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops_cache::get),
        codes: OPERATOR_CODES,
    },
    Route {
        method: "DELETE",
        path: "/ops/cache/{namespace}",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops_cache::clear),
        codes: &[
            Code::NotFound,
            Code::Unauthorized,
            Code::MethodNotAllowed,
            Code::Overloaded,
            Code::InternalError,
        ],
    },
    Route {
        method: "GET",
        path: "/ops/faults",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops::faults),
        codes: FAULTS_CODES,
    },
    Route {
        method: "POST",
        path: "/ops/faults",
        cors: false,
        guards: &[Guard::Operator, Guard::Method, Guard::Json, Guard::Body(BodyLimit::Chat)],
        handler: handler!(ops::arm_fault),
        codes: &[
            Code::NotFound,
            Code::Unauthorized,
            Code::MethodNotAllowed,
            Code::UnsupportedMediaType,
            Code::PayloadTooLarge,
            Code::RequestTimeout,
            Code::InvalidJson,
            Code::InvalidRequest,
        ],
    },
    Route {
        method: "DELETE",
        path: "/ops/faults",
        cors: false,
        guards: OPERATOR,
        handler: handler!(ops::clear_faults),
        codes: FAULTS_CODES,
    },
];

/// Puts the table's paths into an app of one worker; what no row has is `not_found`.
pub fn configure(app: &mut web::ServiceConfig, worker: Worker) {
    app.app_data(web::Data::new(worker));
    for path in paths() {
        app.service(web::resource(path).to(dispatch));
    }
    app.default_service(web::to(dispatch));
}

/// The rows of one path, in the order of the table.
pub fn of_path(path: &str) -> &'static [Route] {
    let Some(start) = ROUTES.iter().position(|route| route.path == path) else { return &[] };
    let rest = &ROUTES[start..];
    let end = rest.iter().position(|route| route.path != path).unwrap_or(rest.len());
    &rest[..end]
}

/// Every path, once.
pub fn paths() -> impl Iterator<Item = &'static str> {
    let first = |(at, route): (usize, &'static Route)| {
        (at == 0 || ROUTES[at - 1].path != route.path).then_some(route.path)
    };
    ROUTES.iter().enumerate().filter_map(first)
}

/// The methods of a path's rows, as an `Allow` header names them.
pub fn allowed(routes: &[Route]) -> String {
    let mut methods: Vec<_> = routes.iter().map(|route| route.method).collect();
    if routes.iter().any(|route| route.cors) {
        methods.push("OPTIONS");
    }
    methods.join(", ")
}

#[cfg(test)]
mod tests;
