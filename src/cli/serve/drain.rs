//! The end of a serving process: told by a signal, in order, under deadlines (SUPERVISION.md §4).
//!
//! Readiness says 503, load balancers get time to see it, the listener closes, live answers get
//! their time and then an `abort`, actors finish and save, the journal syncs. A second signal ends
//! the process at once with 130.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use sendcat_actors::tree::Overran;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::{Shared, ops_config};

/// What the actors get to finish and save, after the answers had theirs.
const ACTORS_DEADLINE: Duration = Duration::from_secs(5);

/// What answers that were told to end get to do so; the server looks once a second.
const LAST_PARTS: Duration = Duration::from_secs(3);

/// Ended by a second signal: 128 + SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// The signals that end a process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Taken by [`Self::reload_on_hangup`].
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: Some(signal(SignalKind::hangup())?),
        })
    }

    /// From now on a hangup reads the configuration again.
    pub(super) fn reload_on_hangup(&mut self, shared: &Arc<Shared>) {
        let Some(mut hangup) = self.hangup.take() else { return };
        let shared = Arc::clone(shared);
        actix::spawn(async move {
            while hangup.recv().await.is_some() {
                // What came of it is in the log.
                drop(ops_config::reload_all(&shared, "SIGHUP").await);
            }
        });
    }

    /// Resolves with the next signal.
    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How long the HTTP server waits for its connections, in whole seconds.
pub(super) fn server_patience(config: &Config) -> Duration {
    let patience = config.drain + LAST_PARTS;
    Duration::from_secs(patience.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

/// Drains everything, or exits at a second signal.
///
/// # Errors
/// [`Overran`] names what did not finish in time.
pub(super) async fn all(
    shared: &Shared,
    server: &ServerHandle,
    stop: &CancellationToken,
    signals: &mut Signals,
) -> Result<(), Overran> {
    let drained = in_order(shared, server, stop);
    tokio::select! {
        drained = drained => drained,
        () = signals.first() => std::process::exit(EXIT_INTERRUPTED),
    }
}

async fn in_order(
    shared: &Shared,
    server: &ServerHandle,
    stop: &CancellationToken,
) -> Result<(), Overran> {
    tracing::info!("draining");
    shared.draining.store(true, Ordering::Release);
    tokio::time::sleep(shared.config().lame_duck).await;
    // Shards on HTTP workers save now: their threads end with the server.
    let shards = shared.tree.drain_shards(ACTORS_DEADLINE).await;
    let out_of_time = async {
        tokio::time::sleep(shared.config().drain).await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = server.stop(true) => {}
        () = out_of_time => {}
    }
    // Answers without a reader do not keep the server.
    stop.cancel();
    let rest = shared.tree.drain(ACTORS_DEADLINE).await;
    tracing::info!("drained");
    shards.and(rest)
}
