//! The provider stand-ins of `serve --sandbox`, of the tests and of the game days: real wire
//! formats over real HTTP, on one loopback listener, each provider under a prefix of its own.
//!
//! A stand-in is a pure function from what was asked to a reply; one handler counts the call,
//! applies the armed fault and plays the reply. Stand-ins refuse what the real provider refuses
//! (missing keys, unpaired tool calls, other payload under one key), so that a broken client is
//! caught here. Any key that is not empty is good: the sandbox knows no secrets.
//!
//! # Invariants
//! - SB-1: per provider, `requests = inFlight + completed + clientGone`, at every moment.
//! - SB-2: a secret that was sent to a stand-in is kept as a digest only.

mod ask;
mod authorize;
mod control;
mod ebay;
mod fault;
mod gmail;
mod google;
mod model;
mod openrouter;
mod openrouter_request;
mod play;
mod provider;
#[cfg(test)]
mod provider_tests;
mod reply;
mod resend;
mod reset;
mod routes;
mod secrets;
mod sentry;
mod serpapi;
mod serper;
#[cfg(test)]
mod tests;
mod tokens;
mod whatsapp;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};

use control::Control;
pub use control::How;
use fault::Fault;
use provider::{STAND_INS, index_of};
pub use secrets::Secrets;
pub use tokens::SigningKey;

/// Larger bodies are refused; the largest real one is a chat with its whole history.
const BODY_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Reads the wall clock: the stand-ins date their chunks, mails and watches by it.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A running sandbox. Dropping it leaves it running until the caller's System ends.
pub struct Sandbox {
    address: SocketAddr,
    server: ServerHandle,
    switchboard: Switchboard,
}

/// Arms faults of the stand-ins from inside the process, as `POST /_control` does from outside.
#[derive(Clone)]
pub struct Switchboard(web::Data<Control>);

impl Switchboard {
    /// Arms a fault of that name in place of the provider's armed one, for so many requests or all;
    /// the number tells it from later ones.
    ///
    /// # Errors
    /// Which providers or faults there are, if there is none of that name.
    pub fn arm(
        &self,
        provider: &str,
        fault: &str,
        times: Option<u64>,
        how: How,
    ) -> Result<u64, String> {
        let known = || STAND_INS.iter().map(|each| each.name).collect::<Vec<_>>().join(", ");
        let provider = index_of(provider).ok_or_else(|| format!("one of {}", known()))?;
        let fault = Fault::from_name(fault).ok_or_else(Fault::names)?;
        Ok(self.0.arm(provider, fault, times, how))
    }

    /// Clears the provider's fault, if it is still the one of that number.
    pub fn calm(&self, provider: &str, serial: u64) {
        if let Some(provider) = index_of(provider) {
            self.0.clear(provider, Some(serial));
        }
    }
}

/// Starts the stand-ins on a free loopback port, in the actix System that the caller runs in.
///
/// # Errors
/// When no loopback port can be bound.
pub async fn start(wall: WallClock) -> io::Result<Sandbox> {
    start_signing(wall, SigningKey::make()?).await
}

/// The same, with a key that signs users' tokens: those it signed before are good.
///
/// # Errors
/// When no loopback port can be bound.
pub async fn start_signing(wall: WallClock, signing: SigningKey) -> io::Result<Sandbox> {
    let control = web::Data::new(Control::new(wall, signing));
    let switchboard = Switchboard(control.clone());
    let app = move || {
        App::new()
            .app_data(control.clone())
            .app_data(web::PayloadConfig::new(BODY_LIMIT_BYTES))
            .configure(routes::configure)
    };
    // Half-closed connections are ended at once: a client that hung up must be noticed also
    // while a stand-in stalls, when there is nothing to write that could fail.
    let server = HttpServer::new(app)
        .workers(1)
        .on_connect(reset::Line::keep)
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .disable_signals()
        .shutdown_timeout(0)
        .bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = server.addrs().first().copied().ok_or_else(|| {
        io::Error::new(io::ErrorKind::AddrNotAvailable, "the sandbox has no address")
    })?;
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(Sandbox { address, server: handle, switchboard })
}

impl Sandbox {
    /// `http://127.0.0.1:PORT`, without a slash at the end; `/_control` is below it.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address knobs of every provider (INTERFACE.md §6), pointing at the stand-ins.
    pub fn knobs(&self) -> BTreeMap<String, String> {
        let base = self.base_url();
        [
            ("OPENROUTER_BASE_URL", format!("{base}/openrouter/api/v1")),
            ("SERPER_BASE_URL", format!("{base}/serper")),
            ("SERPAPI_BASE_URL", format!("{base}/serpapi")),
            ("EBAY_BASE_URL", format!("{base}/ebay")),
            ("AUTH_JWKS_URL", format!("{base}/jwks/users")),
            ("GOOGLE_AUTH_URL", format!("{base}/accounts/o/oauth2/v2/auth")),
            ("GOOGLE_TOKEN_URL", format!("{base}/google/token")),
            ("GOOGLE_JWKS_URL", format!("{base}/jwks/oauth2/v3/certs")),
            ("GMAIL_BASE_URL", format!("{base}/gmail")),
            ("GMAIL_PUSH_TOPIC", "projects/sandbox/topics/gmail".to_owned()),
            ("WHATSAPP_GRAPH_BASE_URL", format!("{base}/graph")),
            ("RESEND_BASE_URL", format!("{base}/resend")),
            ("RESEND_FROM", "sendcat <sendcat@example.com>".to_owned()),
            ("SENTRY_DSN", format!("http://sandbox@{}/sentry/1", self.address)),
        ]
        .map(|(knob, value)| (knob.to_owned(), value))
        .into()
    }

    /// The way to arm faults of its stand-ins.
    pub fn switchboard(&self) -> Switchboard {
        self.switchboard.clone()
    }

    /// Closes the listener and every connection; answers that are running are cut.
    pub async fn stop(&self) {
        self.server.stop(false).await;
    }
}
