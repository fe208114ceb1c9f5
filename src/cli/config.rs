//! `sendcat config`: every knob, its value in force, where that comes from; secrets masked.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::Config;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// For people or for machines.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table.
    Human,
    /// JSON.
    Json,
}

#[expect(clippy::print_stdout, reason = "printing is the command's work")]
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match super::source().and_then(|source| Config::load(&source)) {
        Ok(config) => {
            let listing = config.listing();
            match arguments.format {
                Format::Human => print!("{}", listing.to_text()),
                Format::Json => println!("{}", listing.to_json()),
            }
            ExitCode::SUCCESS
        }
        Err(faults) => super::refuse(&faults),
    }
}
