//! The command line: one file a command; everything else is wired here and nowhere else.

mod canary;
mod config;
mod dashboard;
mod drill;
mod gameday;
mod gate;
mod lint;
mod probe;
mod serve;
mod snapshot;
mod tool;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Fault, Secret, Source};

/// The backend that AI chat products can trust.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes chats and webhooks.
    Serve(serve::Arguments),
    /// Prints every knob with its value in force.
    Config(config::Arguments),
    /// Shows what operators see of a running server.
    Snapshot(snapshot::Arguments),
    /// Asks a running server what strangers, browsers and providers would be told.
    Probe(probe::Arguments),
    /// Loads a server and holds what it does against what is promised.
    Drill(Box<drill::Arguments>),
    /// Says whether a release may go on: probes, a drill, burn rates, the server's snapshot.
    Gate(gate::Arguments),
    /// Says whether a candidate may replace the server in service, side by side.
    Canary(Box<canary::Arguments>),
    /// Breaks something on purpose, and says whether what was expected came true.
    Gameday(gameday::Arguments),
    /// Shows trend and budget from report files, or prints what Grafana and Prometheus load.
    Dashboard(dashboard::Arguments),
}

/// Wrong usage, and values that no server would start with (INTERFACE.md §1).
const EXIT_USAGE: u8 = 2;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // Before anything makes a client: without a provider of cryptography that would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("another provider of cryptography was installed before");
    }
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Snapshot(arguments) => snapshot::run(&arguments),
        Command::Probe(arguments) => probe::run(arguments),
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Gate(arguments) => gate::run(&arguments),
        Command::Canary(arguments) => canary::run(*arguments),
        Command::Gameday(arguments) => gameday::run(&arguments),
        Command::Dashboard(arguments) => dashboard::run(arguments),
    }
}

/// The environment and the file that it names.
fn source() -> Result<Source, Vec<Fault>> {
    Source::from_process().and_then(Source::with_named_file)
}

/// The token of an operator's command, by the knob that the server has it by.
fn operators_token() -> Option<Secret> {
    let source = Source::from_process().ok()?;
    ["OPS_TOKEN", "OPS_READ_TOKEN"].iter().find_map(|name| source.text(name)).map(Secret::new)
}

/// Says what is wrong, a line each.
#[expect(clippy::print_stderr, reason = "nothing logs yet")]
fn refuse(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        eprintln!("{fault}");
    }
    ExitCode::from(EXIT_USAGE)
}

#[cfg(test)]
mod runbook_tests;
