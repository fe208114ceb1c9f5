//! `sendcat snapshot`: what operators see of a running server, as tables or as JSON; again and
//! again, or as what has changed since a saved one.

mod changes;
mod tables;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::contract::ops::Snapshot;
use crate::load::ops_client::{NoAnswer, OpsClient};

/// The server cannot be reached (OPERATIONS.md §3).
const EXIT_UNREACHABLE: u8 = 5;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The server.
    #[arg(long, env = "RELIABILITY_BASE_URL", default_value = "http://127.0.0.1:8787")]
    base_url: String,
    /// How far back counts reach; the server's OPS_DEFAULT_WINDOW_MINUTES unless given.
    #[arg(long, value_name = "N")]
    window_minutes: Option<u64>,
    /// Rows of a section; the server's OPS_MAX_ROWS_PER_SECTION unless given.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only these, by comma.
    #[arg(long, value_enum, value_delimiter = ',')]
    section: Vec<Section>,
    /// Looks again and again, this often.
    #[arg(long, value_name = "DUR", num_args = 0..=1, default_missing_value = "2s",
        value_parser = humantime::parse_duration)]
    watch: Option<Duration>,
    /// Prints what has changed since the snapshot in this file, saved by --format json.
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    diff: Option<PathBuf>,
    /// For people or for machines.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// How long the server may take to answer.
    #[arg(long, value_name = "DUR", default_value = "10s",
        value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables.
    Human,
    /// JSON.
    Json,
}

/// A part of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// What the limiter refused.
    Rate,
    /// Circuits.
    Circuits,
    /// Bulkheads.
    Bulkheads,
    /// Claims, and what came again.
    Replay,
    /// What tools found before.
    Cache,
    /// Tool calls and accepted events.
    Jobs,
    /// Actors.
    Actors,
    /// Alerts.
    Alerts,
}

/// Why the command ends early.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("{path} cannot be read as a snapshot: {why}")]
    File { path: String, why: String },
    #[error("it cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

#[expect(clippy::print_stderr, reason = "whoever ran the command reads why it failed")]
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let shown = actix::System::new().block_on(show(arguments));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough.
        Err(Failed::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            exit_of(&error)
        }
    }
}

fn exit_of(error: &Failed) -> ExitCode {
    ExitCode::from(match error {
        Failed::NoAnswer(
            NoAnswer::Address(_) | NoAnswer::Unauthorized | NoAnswer::NoRoutes | NoAnswer::Wrong(_),
        )
        | Failed::File { .. } => super::EXIT_USAGE,
        Failed::NoAnswer(
            NoAnswer::Status(_) | NoAnswer::Unreachable { .. } | NoAnswer::Unreadable(_),
        )
        | Failed::Output(_) => EXIT_UNREACHABLE,
    })
}

async fn show(arguments: &Arguments) -> Result<(), Failed> {
    let token = super::operators_token();
    let client = OpsClient::new(&arguments.base_url, token, arguments.timeout)?;
    let look = || client.snapshot(arguments.window_minutes, arguments.limit);
    let mut out = std::io::stdout();
    if let Some(path) = &arguments.diff {
        let before = saved(path)?;
        let now = json_of(&look().await?);
        return Ok(write!(out, "{}", changes::told(&before, &now, arguments.format))?);
    }
    let Some(every) = arguments.watch else {
        return Ok(write!(out, "{}", written(arguments, &look().await?))?);
    };
    let repaints = out.is_terminal() && arguments.format == Format::Human;
    loop {
        // A server that restarts while it is watched is what watching is for.
        let text = match look().await {
            Ok(snapshot) => written(arguments, &snapshot),
            Err(error @ NoAnswer::Unreachable { .. }) => format!("{error}\n"),
            Err(error) => return Err(error.into()),
        };
        if repaints {
            write!(out, "\x1b[H\x1b[2J")?;
        }
        write!(out, "{text}")?;
        out.flush()?;
        tokio::time::sleep(every).await;
    }
}

/// A snapshot that was saved before.
fn saved(path: &Path) -> Result<Value, Failed> {
    let failed = |why: String| Failed::File { path: path.display().to_string(), why };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let snapshot = serde_json::from_slice::<Snapshot>(&text);
    snapshot.map(|snapshot| json_of(&snapshot)).map_err(|error| failed(error.to_string()))
}

fn json_of(snapshot: &Snapshot) -> Value {
    serde_json::to_value(snapshot).expect("a snapshot always encodes")
}

fn written(arguments: &Arguments, snapshot: &Snapshot) -> String {
    match arguments.format {
        Format::Human => tables::of(snapshot, &arguments.section),
        Format::Json => {
            let mut json = json_of(snapshot);
            if let (false, Some(members)) = (arguments.section.is_empty(), json.as_object_mut()) {
                members.retain(|name, _| {
                    name == "generatedAt"
                        || arguments
                            .section
                            .iter()
                            .any(|section| section.members().contains(&&**name))
                });
            }
            let form =
                if arguments.watch.is_some() { json.to_string() } else { format!("{json:#}") };
            form + "\n"
        }
    }
}

impl Section {
    /// The members of the JSON that it is.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Rate | Self::Alerts => &["rateLimitPressure"],
            Self::Circuits => &["circuits"],
            Self::Bulkheads => &["bulkheads"],
            Self::Replay => &["replayProtection"],
            Self::Cache => &["toolCache"],
            Self::Jobs => &["toolJobs", "inbox"],
            Self::Actors => &["actors"],
        }
    }
}
