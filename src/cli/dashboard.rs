//! `sendcat dashboard`: what Grafana and Prometheus need to watch a running sendcat.

use std::process::ExitCode;

use crate::telemetry::alerts;

/// What the command takes.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Arguments {
    /// Print a dashboard of every metric, as JSON that Grafana imports.
    #[arg(long)]
    grafana: bool,
    /// Print the alert rules, as YAML that Prometheus loads.
    #[arg(long)]
    prometheus_rules: bool,
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.grafana {
        println!("{:#}", alerts::grafana_dashboard());
    } else {
        print!("{}", alerts::prometheus_rules());
    }
    ExitCode::SUCCESS
}
