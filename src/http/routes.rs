//! Every route, one row each.
//!
//! The guards stand in the order they are asked; the first that refuses answers. A row names the
//! codes of its handler; with those that its guards bring ([`Route::codes`]) they are all that the
//! route may answer, and each is produced by a test.

mod chats;
mod console;
mod mailboxes;
mod open;
mod operators;
mod owned;
mod webhooks;

use std::collections::HashSet;

use actix_web::{HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use sendcat_state::key::Bucket;

use super::Worker;
use super::dispatch::{Call, FAULTS_PATH, dispatch};
use super::gmail;
use super::respond::Refusal;
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
    /// There are operators: `OPS_TOKEN` is set.
    OperatorsExist,
    /// The body is declared as JSON.
    Json,
    /// It is, or it is a push that Pub/Sub has unwrapped.
    JsonOrUnwrapped,
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
    /// What stands before it, in order.
    pub guards: &'static [Guard],
    /// What answers.
    pub handler: Handler,
    /// The codes that its handler may answer; where a guard answers one too, it stands once.
    codes: &'static [Code],
}

impl Guard {
    /// Whether it wants a body, and that declared as JSON.
    pub fn wants_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonOrUnwrapped)
    }

    /// The codes that it refuses with.
    fn codes(self) -> &'static [Code] {
        match self {
            Self::Origin | Self::User => &[Code::Forbidden],
            Self::Method => &[Code::MethodNotAllowed],
            Self::IpLimit(_) | Self::ChatLimit => &[Code::RateLimited],
            Self::Bearer => &[Code::Unauthorized, Code::Misconfigured, Code::UpstreamUnavailable],
            Self::Operator => &[Code::NotFound, Code::Unauthorized],
            Self::OperatorsExist => &[Code::NotFound],
            Self::Json | Self::JsonOrUnwrapped => &[Code::UnsupportedMediaType],
            Self::Body(_) => &[Code::PayloadTooLarge, Code::RequestTimeout],
        }
    }
}

impl Route {
    /// Every code that it may answer, once: of its guards, of its handler, and of what may befall
    /// any route.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes: Vec<Code> =
            self.guards.iter().flat_map(|guard| guard.codes()).copied().collect();
        codes.extend_from_slice(self.codes);
        // A browser on its way is sent on instead.
        if self.path != gmail::CALLBACK {
            // No fault strikes where faults are armed.
            let strikes = !self.path.starts_with(FAULTS_PATH);
            codes.extend(strikes.then_some(Code::InternalError));
            // While the process drains.
            codes.extend(self.path.starts_with("/api/").then_some(Code::Overloaded));
        }
        let mut seen = HashSet::new();
        codes.retain(|code| seen.insert(*code));
        codes
    }

    /// Whether it keeps something in the browser of such a page.
    pub fn keeps_cookies(&self) -> bool {
        self.path == gmail::CONNECT
    }

    /// Whether pages of other origins may call it, with an OPTIONS of its own.
    pub fn is_for_pages(&self) -> bool {
        self.guards.contains(&Guard::Origin)
    }
}

/// Declares rows: method, path, guards, handler, and the codes of the handler itself.
macro_rules! rows {
    ($($method:literal $path:tt $guards:expr, $handler:path, [$($code:ident),*];)+) => {
        /// The rows.
        pub(super) const ROWS: &[crate::http::routes::Route] = &[$(crate::http::routes::Route {
            method: $method,
            path: $path,
            guards: $guards,
            handler: |call| Box::pin($handler(call)),
            codes: &[$(crate::contract::code::ErrorCode::$code),*],
        },)+];
    };
}
use rows;

const TABLES: &[&[Route]] = &[
    console::ROWS,
    chats::ROWS,
    open::ROWS,
    webhooks::ROWS,
    operators::ROWS,
    owned::ROWS,
    mailboxes::ROWS,
];

/// The table. Rows of one path stand together.
pub const ROUTES: &[Route] = &joined::<{ count(TABLES) }>(TABLES);

const fn count(tables: &[&[Route]]) -> usize {
    let (mut table, mut rows) = (0, 0);
    while table < tables.len() {
        rows += tables[table].len();
        table += 1;
    }
    rows
}

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
    if routes.iter().any(Route::is_for_pages) {
        methods.push("OPTIONS");
    }
    methods.join(", ")
}

#[cfg(test)]
mod tests;
