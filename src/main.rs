//! Parses, dispatches, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    sendcat::cli::run()
}
