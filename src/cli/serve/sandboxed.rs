//! `--sandbox`: stand-ins for every provider, made-up keys, and a banner that says how to use them.

use std::net::SocketAddr;
use std::sync::Arc;

use sendcat_actors::clock::{Clock as _, SystemClock};
use sendcat_actors::faults::Witness;

use super::ServeError;
use crate::cli;
use crate::config::{Config, Live, Secret, Source};
use crate::http::leases::{Act, StandIns};
use crate::sandbox::{self, How, Sandbox, Secrets, Switchboard};

/// Starts the stand-ins and loads the configuration again, with what they bring beneath what is
/// set.
pub(super) async fn start(
    source: Source,
    config: &Config,
    clock: Arc<SystemClock>,
) -> Result<(Live, Sandbox), ServeError> {
    if !config.bind.ip().is_loopback() {
        return Err(ServeError::NotLoopback(config.bind));
    }
    std::fs::create_dir_all(&config.data_dir).map_err(ServeError::DataDir)?;
    let (secrets, signing) =
        Secrets::load_or_make(&config.data_dir).map_err(ServeError::DataDir)?;
    let wall = Arc::new(move || clock.wall());
    let sandbox = sandbox::start_signing(wall, signing).await.map_err(ServeError::Sandbox)?;
    let beneath: Vec<_> = secrets.into_iter().chain(sandbox.knobs()).collect();
    let config = Config::load(&source.with_defaults(beneath.clone()));
    let config = config.map_err(ServeError::Config)?;
    let reread = move || Ok(cli::source()?.with_defaults(beneath.clone()));
    Ok((Live::new(config, Box::new(reread)), sandbox))
}

/// The stand-ins, as faults are leased on them.
pub(super) fn breakable(sandbox: &Sandbox) -> Box<dyn StandIns> {
    Box::new(Breakable(sandbox.switchboard()))
}

struct Breakable(Switchboard);

impl StandIns for Breakable {
    fn arm(&self, act: &Act, witness: &Witness) -> Result<Box<dyn FnOnce() + Send>, String> {
        let Act::Provider { provider, fault, times, late_by, percent } = act else {
            return Err("a fault of a provider".to_owned());
        };
        let (late_by, percent) = (*late_by, *percent);
        let how = How { late_by, percent, counter: witness.counter() };
        let serial = self.0.arm(provider, fault, *times, how)?;
        let (switchboard, provider) = (self.0.clone(), provider.clone());
        Ok(Box::new(move || switchboard.calm(&provider, serial)))
    }
}

/// Says, on standard error, how to use the sandbox.
#[expect(clippy::print_stderr, reason = "the banner that INTERFACE.md §1 promises")]
pub(super) fn announce(config: &Config, sandbox: &Sandbox, token: &str, bound: SocketAddr) {
    let first =
        |secrets: &[Secret]| secrets.first().map_or("", |secret| secret.expose()).to_owned();
    let ops = config.ops.token.as_ref().map_or("", |token| token.expose());
    let whatsapp = &config.providers.whatsapp;
    eprintln!("sendcat with a sandbox: every provider is a stand-in, nothing leaves this machine");
    eprintln!("chat token: {token}");
    eprintln!("ops token: {ops}");
    eprintln!("console: http://{bound}/ops");
    eprintln!("whatsapp verify token: {}", first(&whatsapp.verify_tokens));
    eprintln!("whatsapp app secret: {}", first(&whatsapp.app_secrets));
    eprintln!("gmail push token: {}", first(&config.providers.google.push_tokens));
    eprintln!("sandbox: {}", sandbox.base_url());
}
