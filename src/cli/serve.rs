//! `sendcat serve`: wires the rooms, serves until told to stop, drains, exits.

mod alerts;
mod answers;
mod backstop;
mod drain;
mod sandboxed;
mod wiring;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use actix_web::{App, HttpServer};
use sendcat_actors::clock::{Clock as _, SystemClock};
use sendcat_actors::supervisor::Ended;
use tokio_util::sync::CancellationToken;

use self::backstop::Backstop;
use crate::chat::tools::Wanted;
use crate::config::{Config, Fault, Live};
use crate::http::routes;
use crate::inbox::answers::Appoint;
use crate::sandbox::Sandbox;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{self, LogFormat};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also start stand-ins for every provider, with keys and secrets made up; loopback only.
    #[arg(long)]
    sandbox: bool,
}

/// The supervision tree was given up (sysexits' EX_SOFTWARE).
const EXIT_GAVE_UP: u8 = 70;

/// What is logged. The exporters' own words are left out: their client says once that they fail.
const LOGGED: &str = "info,opentelemetry=off";

/// Something that serving needs is not to be had: the address, the store, the sandbox.
const EXIT_UNAVAILABLE: u8 = 1;

/// Why the process cannot serve.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Fault>),
    #[error("--sandbox serves loopback only: set SENDCAT_BIND to 127.0.0.1:PORT, not {0}")]
    NotLoopback(std::net::SocketAddr),
    #[error("the sandbox cannot start: {0}")]
    Sandbox(std::io::Error),
    #[error("the data directory cannot be used: {0}")]
    DataDir(std::io::Error),
    #[error("the state cannot be opened: {0}")]
    Store(#[from] sendcat_state::store::StoreError),
    #[error("{address} cannot be listened on: {cause}")]
    Bind { address: std::net::SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Client(#[from] crate::upstream::call::NoClient),
    #[error(transparent)]
    Metrics(#[from] crate::telemetry::metrics::NoMetrics),
    #[error("SENDCAT_FAULTS: {0}")]
    Faults(String),
    #[error("signals cannot be listened to: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Overran(#[from] sendcat_actors::tree::Overran),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    sendcat_actors::observe::note_panics(telemetry::redact::owned, telemetry::say_panic);
    let served = actix::System::new().block_on(serve(arguments.sandbox));
    match served {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::GaveUp { actor }) => {
            tracing::error!(%actor, "too much was given up: the process ends");
            ExitCode::from(EXIT_GAVE_UP)
        }
        Err(ServeError::Overran(late)) => {
            tracing::error!(%late, "the process ends without all of it saved");
            ExitCode::from(EXIT_GAVE_UP)
        }
        Err(error) => say_why(&error),
    }
}

#[expect(clippy::print_stderr, reason = "whoever started the process reads it, logs or not")]
fn say_why(error: &ServeError) -> ExitCode {
    eprintln!("{error}");
    match error {
        ServeError::Config(_) | ServeError::NotLoopback(_) | ServeError::Faults(_) => {
            ExitCode::from(super::EXIT_USAGE)
        }
        ServeError::Sandbox(_)
        | ServeError::DataDir(_)
        | ServeError::Store(_)
        | ServeError::Bind { .. }
        | ServeError::Client(_)
        | ServeError::Metrics(_)
        | ServeError::Overran(_)
        | ServeError::Signals(_) => ExitCode::from(EXIT_UNAVAILABLE),
    }
}

async fn serve(with_sandbox: bool) -> Result<Ended, ServeError> {
    let clock = Arc::new(SystemClock::start());
    let source = super::source().map_err(ServeError::Config)?;
    let config = Config::load(&source).map_err(ServeError::Config)?;
    let (live, sandbox) = if with_sandbox {
        let (live, sandbox) = sandboxed::start(source, &config, clock.clone()).await?;
        (live, Some(sandbox))
    } else {
        (Live::new(config, Box::new(super::source)), None)
    };
    let format = if std::io::stderr().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    // The sandbox's own ingest is for drills, not for what goes wrong in this process.
    let config = live.now();
    telemetry::redact::know(config.secrets());
    let dsn = config.ops.sentry_dsn.as_ref().filter(|_| !with_sandbox);
    let _telemetry = telemetry::start(LOGGED, format, dsn);
    let metrics = telemetry::measure(&config)?;
    let ended = serve_as_told(live, sandbox, (clock, metrics.clone())).await;
    telemetry::flush(metrics).await;
    ended
}

#[expect(clippy::print_stdout, reason = "the one line that INTERFACE.md §1 promises")]
async fn serve_as_told(
    live: Live,
    sandbox: Option<Sandbox>,
    (clock, metrics): (Arc<SystemClock>, Metrics),
) -> Result<Ended, ServeError> {
    let mut signals = drain::Signals::listen().map_err(ServeError::Signals)?;
    let wanted = Wanted::default();
    let (appoint, answering) = Appoint::later();
    let (tree, root, mailboxes) = wiring::tree(&live, clock.clone(), &wanted, answering).await?;
    wiring::arm_faults(&tree, live.now().faults.as_deref()).map_err(ServeError::Faults)?;
    let backstop = Backstop::behind(Arc::clone(tree.beat()));
    let supervised = actix::spawn(root.run());
    let stop = CancellationToken::new();
    let page_begun_at = sandbox.as_ref().map(|_| clock.wall());
    let stand_ins = sandbox.as_ref().map(sandboxed::breakable);
    let shared = wiring::shared(live, tree, (page_begun_at, stand_ins, metrics));
    signals.reload_on_hangup(&shared);
    let engines = wiring::Engines::new(&shared, &stop, wanted, mailboxes).await;
    engines.begin(&stop, &appoint)?;
    let address = shared.config().bind;
    let of_workers = Arc::clone(&shared);
    let app = move || {
        let worker = wiring::worker(&of_workers, &engines);
        App::new().configure(|app| routes::configure(app, worker))
    };
    let server = HttpServer::new(app)
        .workers(shared.config().workers)
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .disable_signals()
        .shutdown_timeout(drain::server_patience(&shared.config()).as_secs())
        .bind(address)
        .map_err(|cause| ServeError::Bind { address, cause })?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    let server = server.run();
    let handle = server.handle();
    let serving = actix::spawn(server);
    wiring::until_started(&shared).await;
    if let (Some(sandbox), Some(token)) = (&sandbox, &shared.page_token) {
        sandboxed::announce(&shared.config(), sandbox, token, bound);
    }
    println!("listening on http://{bound}");
    let ended = tokio::select! {
        ended = supervised => match ended {
            Ok(ended) => Ok(ended),
            // Without its supervisor nothing is started again: `main` unwinds, and exits with 101.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
        _ = serving => Ok(Ended::Stopped),
        () = signals.first() => {
            let drained = drain::all(&shared, &handle, &stop, &mut signals).await;
            drained.map(|()| Ended::Stopped).map_err(ServeError::Overran)
        }
    };
    drop(backstop);
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    ended
}
