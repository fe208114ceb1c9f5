//! What the machine and the server say of themselves, and the signals that end a tool.
//!
//! Both live on a thread of their own, so that a tool need have no runtime when it begins, and a
//! generator that is busy still hears Ctrl-C.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::common::Common;
use crate::load::{pressure, traffic};
use crate::slo::report::{Host, Kind, Target};

/// How long the server may take to say its version; a tool waits for no more than this.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Stamp {
    host: Host,
    target: Target,
    version: Option<Receiver<Option<String>>>,
}

impl Stamp {
    /// Looks at the machine, begins to ask the server, and hears signals from now on.
    pub(super) fn take(kind: Kind, common: &Common, cancelled: CancellationToken) -> Self {
        let address = traffic::Target::parse(&common.base_url).ok();
        let target = Target {
            base_url: address.as_ref().map_or(String::new(), traffic::Target::origin),
            ..Target::default()
        };
        let asks = kind != Kind::SloDashboard && !common.dry_run;
        let (send, version) = channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                tokio::join!(signals(&cancelled), async {
                    let found = match address.filter(|_| asks) {
                        Some(address) => address.version(PATIENCE).await,
                        None => None,
                    };
                    // A tool that has ended already no longer asks.
                    let _ = send.send(found);
                });
            });
        };
        // Without a thread the version stays unknown, and Ctrl-C ends the process at once.
        let started = std::thread::Builder::new().name("tool".into()).spawn(work);
        let host = Host {
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            load1: load1(),
            cpu_pressure_before: pressure::last_10_s(),
            cpu_pressure_after: None,
        };
        Self { host, target, version: started.is_ok().then_some(version) }
    }

    /// What was seen before and after.
    pub(super) fn finish(&self) -> (Host, Target) {
        let host = Host { cpu_pressure_after: pressure::last_10_s(), ..self.host.clone() };
        let told = |answer: &Receiver<_>| answer.recv_timeout(PATIENCE).ok();
        let version = self.version.as_ref().and_then(told).flatten();
        (host, Target { version, ..self.target.clone() })
    }
}

/// Cancels at the first signal and ends the process at the second.
async fn signals(cancelled: &CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for heard in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if heard > 0 {
            std::process::exit(130);
        }
        cancelled.cancel();
    }
}

fn load1() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
