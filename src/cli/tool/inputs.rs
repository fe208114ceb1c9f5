//! Policies as the operator has them, or as they ship.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::slo::policy::{self, Policy};
use crate::slo::report::Input;

/// A policy from a file, or the one inside the program, and what is recorded of it.
pub(super) fn policy<P: Policy>(path: Option<&Path>) -> Result<(P, Input), String> {
    let (name, text) = match path {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path);
            (name.clone(), text.map_err(|error| format!("{name}: {error}"))?)
        }
        None => (format!("built-in/{}", P::FILE), P::BUILT_IN.to_owned()),
    };
    let said = |findings: Vec<policy::Finding>| {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    let policy = policy::read::<P>(&name, &text).map_err(said)?;
    Ok((policy, input(&name, text.as_bytes())))
}

/// A file's name and what it held.
pub(super) fn input(path: &str, bytes: &[u8]) -> Input {
    Input { path: path.to_owned(), sha256: hex::encode(Sha256::digest(bytes)) }
}
