//! HTTP: a handler speaks, it never calls a provider.
//!
//! Every route is a row of [`routes::ROUTES`]: method, path, the guards in the order they are
//! asked, the handler, and the codes it may answer. One dispatcher runs the row, so no handler can
//! forget a guard, a header or an error's form.

pub mod chat;
pub mod dispatch;
pub mod gmail;
mod gmail_cookie;
pub mod guard;
pub mod health;
pub mod leases;
pub mod metrics;
pub mod openapi;
pub mod ops;
pub mod ops_alerts;
pub mod ops_cache;
pub mod ops_config;
pub mod ops_faults;
pub mod ops_feed;
pub mod ops_guards;
pub mod ops_inbox;
pub mod ops_jobs;
pub mod ops_page;
pub mod ops_snapshot;
pub mod ops_stream;
pub mod page;
pub mod pages;
pub mod records;
pub mod respond;
pub mod routes;
pub mod sessions;
pub mod sse;
pub mod threads;
pub mod webhooks;
pub mod whatsapp;
pub mod whatsapp_links;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sendcat_actors::faults::FaultBoard;
use sendcat_actors::tree::Tree;

use crate::chat::engine::Engine;
use crate::config::{Config, Live};
use crate::inbox::Inbox;
use crate::inbox::gmail::Mailboxes;
use crate::telemetry::metrics::Metrics;
use guard::bearer::Auth;
use guard::keys::KeySource;
use leases::Leases;
use ops_feed::OpsFeed;

/// What every HTTP worker shares.
pub struct Shared {
    /// Every knob, as last reloaded.
    pub live: Live,
    /// Every concern's handle.
    pub tree: Tree,
    /// Accepts events.
    pub inbox: Inbox,
    /// Checks and mints tokens.
    pub auth: Auth,
    /// The token that the chat page is given; `None` where there is no page.
    pub page_token: Option<String>,
    /// What the readers of `GET /ops/stream` share.
    pub feed: OpsFeed,
    /// Everything measured in the process.
    pub metrics: Metrics,
    /// Set when the process begins to end.
    pub draining: AtomicBool,
    /// Faults armed on handlers, by the name `http`.
    pub faults: FaultBoard,
    /// Faults that end by themselves.
    pub leases: Arc<Leases>,
}

impl Shared {
    /// Every knob with the value in force now.
    pub fn config(&self) -> Arc<Config> {
        self.live.now()
    }

    /// Whether the process takes no new work.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// What one HTTP worker has.
#[derive(Clone)]
pub struct Worker {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its own way to begin answers.
    pub engine: Engine,
    /// Its own way to the keys of users' tokens, where there are any.
    pub keys: Option<Arc<dyn KeySource>>,
    /// Its own way to the keys of pushes' tokens, where those are believed.
    pub push_keys: Option<Arc<dyn KeySource>>,
    /// Connected mailboxes.
    pub mailboxes: Mailboxes,
}
