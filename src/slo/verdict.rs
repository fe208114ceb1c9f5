//! Verdicts of a check and of a run, and the exit code that says the same (OPERATIONS.md §3, §4).
//!
//! # Invariants
//! - What was not measured is never a pass: a run without a judged row is inconclusive.
//! - The exit code is the highest row of the table that applies, whatever else was found.

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// Within its threshold, and proved so.
    Pass,
    /// Within its threshold, but so few events would have been so by luck as well.
    PassUnproven,
    /// Worth a look; fails nothing by itself.
    Warn,
    /// Past its threshold.
    Fail,
    /// Nothing to judge by.
    NoData,
    /// Not run; the row's `why` says the reason.
    Skipped,
}

/// What a whole run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunVerdict {
    /// Everything asked for was shown.
    Pass,
    /// Something is past its threshold.
    Fail,
    /// Too little, missing or stale data.
    Inconclusive,
    /// The tool did not keep its own schedule, so nothing is said of the server.
    Invalid,
    /// Stopped before its end.
    Aborted,
}

/// What happened to a run beside its checks; the numbers are those of OPERATIONS.md §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circumstance {
    /// A game day ended and its fault may still be in force.
    RevertUnverified,
    /// A stop condition ended a game day; the revert was verified.
    Aborted,
    /// The command, a policy or a plan was wrong.
    Misused,
    /// The target did not answer, or was not in its steady state before the test.
    Unreachable,
    /// The generator did not keep its schedule.
    Invalid,
    /// A scenario that was named was skipped, or data were too few, missing or stale.
    Inconclusive,
    /// Ctrl-C or SIGTERM; what was seen until then was reported, faults were reverted.
    Interrupted,
}

/// How strictly a run is judged, by its flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judging {
    /// `--strict`: a warning or an unproven pass fails.
    pub strict: bool,
    /// `--inconclusive-as`.
    pub inconclusive_as: InconclusiveAs,
}

/// The exit code of an inconclusive run: `--inconclusive-as 0|1|3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InconclusiveAs {
    /// 0, where a pipeline must go on.
    Pass,
    /// 1, where only a shown pass is one.
    Fail,
    /// 3, the default.
    #[default]
    Inconclusive,
}

/// The outcome of a run: the word in the report and the code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The word.
    pub verdict: RunVerdict,
    /// The exit code.
    pub exit_code: u8,
}

/// The outcome of a run from its rows and from what happened beside them.
///
/// The highest applicable row of the table in OPERATIONS.md §3 wins: 7, 6, 2, 5, 4, 1, 3, 0. An
/// interrupted run ends in 130, unless a fault may still be in force or a stop condition came
/// first. Skipped rows alone show nothing.
pub fn outcome(checks: &[CheckVerdict], beside: &[Circumstance], judging: Judging) -> Outcome {
    let has = |circumstance| beside.contains(&circumstance);
    let says = |verdict, exit_code| Outcome { verdict, exit_code };
    if has(Circumstance::RevertUnverified) {
        return says(RunVerdict::Aborted, 7);
    }
    if has(Circumstance::Aborted) {
        return says(RunVerdict::Aborted, 6);
    }
    if has(Circumstance::Interrupted) {
        return says(RunVerdict::Aborted, 130);
    }
    if has(Circumstance::Misused) {
        return says(RunVerdict::Aborted, 2);
    }
    if has(Circumstance::Unreachable) {
        return says(RunVerdict::Inconclusive, 5);
    }
    if has(Circumstance::Invalid) {
        return says(RunVerdict::Invalid, 4);
    }
    let found = |verdict| checks.contains(&verdict);
    let weak = found(CheckVerdict::Warn) || found(CheckVerdict::PassUnproven);
    if found(CheckVerdict::Fail) || (judging.strict && weak) {
        return says(RunVerdict::Fail, 1);
    }
    let shown = weak || found(CheckVerdict::Pass);
    if has(Circumstance::Inconclusive) || found(CheckVerdict::NoData) || !shown {
        let exit_code = match judging.inconclusive_as {
            InconclusiveAs::Pass => 0,
            InconclusiveAs::Fail => 1,
            InconclusiveAs::Inconclusive => 3,
        };
        return says(RunVerdict::Inconclusive, exit_code);
    }
    says(RunVerdict::Pass, 0)
}

impl CheckVerdict {
    /// A mark and the word: colour is never the only signal (OPERATIONS.md §3).
    pub fn marked(self) -> &'static str {
        match self {
            Self::Pass => "✓ pass",
            Self::PassUnproven => "✓ pass_unproven",
            Self::Warn => "! warn",
            Self::Fail => "✗ fail",
            Self::NoData => "? no_data",
            Self::Skipped => "- skipped",
        }
    }

    /// Where a row stands in a report: failing rows first, then what could not be judged.
    pub fn order(self) -> u8 {
        match self {
            Self::Fail => 0,
            Self::NoData => 1,
            Self::Warn => 2,
            Self::PassUnproven => 3,
            Self::Skipped => 4,
            Self::Pass => 5,
        }
    }
}

impl RunVerdict {
    /// The word as it stands in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Invalid => "INVALID",
            Self::Aborted => "ABORTED",
        }
    }
}
