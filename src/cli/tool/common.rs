//! Flags that every reliability tool takes (OPERATIONS.md §3).

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::FalseyValueParser;

use crate::slo::verdict::InconclusiveAs;

/// What every tool takes. Flatten it: `#[command(flatten)] common: Common`.
///
/// A flag of the log that was written `--quick=true` is declared with `num_args = 0..=1`,
/// `require_equals = true` and `default_missing_value = "true"`.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Common {
    /// The server.
    #[arg(long, env = "RELIABILITY_BASE_URL", default_value = "http://127.0.0.1:8787")]
    pub(in crate::cli) base_url: String,
    /// Where reports are written.
    #[arg(long, value_name = "DIR", default_value = ".output/reliability")]
    pub(in crate::cli) out: PathBuf,
    /// What is written to standard output; the rest goes to standard error.
    #[arg(long, value_enum, default_value = "human")]
    pub(in crate::cli) format: Format,
    /// Writes a page that needs no network; beside the report unless named.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "auto")]
    pub(in crate::cli) html: Option<PathBuf>,
    /// Policies of the operator's, by their shipped names; what is missing there is built in.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) config_dir: Option<PathBuf>,
    /// What every draw of lots comes from.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) seed: Option<u64>,
    /// Kept in the report, such as deploy=2026-02-17.1; may be given again.
    #[arg(long, value_name = "K=V", value_parser = label)]
    pub(in crate::cli) label: Vec<(String, String)>,
    /// How long one request may take.
    #[arg(long, value_name = "DUR", default_value = "10s",
        value_parser = humantime::parse_duration)]
    pub(in crate::cli) timeout: Duration,
    /// Says nothing beside the result.
    #[arg(long)]
    pub(in crate::cli) quiet: bool,
    /// Says nothing on the way.
    #[arg(long)]
    pub(in crate::cli) no_progress: bool,
    /// No colours.
    #[arg(long, env = "NO_COLOR", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(in crate::cli) no_color: bool,
    /// Lets a tool that does harm ask a server that is not this machine.
    #[arg(long)]
    pub(in crate::cli) allow_remote: bool,
    /// Checks all inputs, prints the plan, and asks nothing.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Prints what a check means, who owns it and its page of the runbook.
    #[arg(long, value_name = "CHECK_ID")]
    pub(in crate::cli) explain: Option<String>,
    /// A warning, or a pass that is not proved, fails.
    #[arg(long)]
    pub(in crate::cli) strict: bool,
    /// The exit code of too little data.
    #[arg(long, value_enum, default_value = "3", value_name = "CODE")]
    pub(in crate::cli) inconclusive_as: InconclusiveCode,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// What a terminal and a CI tell by the environment; nobody types these.
#[derive(Clone, Debug, clap::Args)]
struct Surroundings {
    #[arg(long, hide = true, env = "CLICOLOR_FORCE", hide_env = true,
        value_parser = FalseyValueParser::new())]
    force_color: bool,
    #[arg(long, hide = true, env = "CI", hide_env = true, value_parser = FalseyValueParser::new())]
    ci: bool,
    #[arg(long, hide = true, env = "TERM", hide_env = true)]
    term: Option<String>,
    /// Also where a tool sends none: it must stand in no report.
    #[arg(long, hide = true, env = "RELIABILITY_AUTH_TOKEN", hide_env_values = true)]
    known_token: Option<String>,
}

/// What is written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// Tables of 80 columns.
    Human,
    /// The report.
    Json,
    /// One testcase a check.
    Junit,
    /// Markdown.
    Md,
    /// Prometheus' text.
    Prom,
}

/// `--inconclusive-as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum InconclusiveCode {
    /// As a pass.
    #[value(name = "0")]
    Pass,
    /// As a failure.
    #[value(name = "1")]
    Fail,
    /// A code of its own.
    #[value(name = "3")]
    Own,
}

impl From<InconclusiveCode> for InconclusiveAs {
    fn from(code: InconclusiveCode) -> Self {
        match code {
            InconclusiveCode::Pass => Self::Pass,
            InconclusiveCode::Fail => Self::Fail,
            InconclusiveCode::Own => Self::Inconclusive,
        }
    }
}

impl Common {
    /// Whether what goes there may be coloured: `--no-color` and `NO_COLOR` win, then
    /// `CLICOLOR_FORCE`, then whether a terminal that knows colours is there.
    pub(super) fn colours(&self, out: &impl IsTerminal) -> bool {
        let may = out.is_terminal() && !self.is_dumb();
        !self.no_color && (self.surroundings.force_color || may)
    }

    /// Whether a bar may be drawn: on a terminal that can, and not in a CI.
    pub(super) fn draws(&self) -> bool {
        std::io::stderr().is_terminal() && !self.is_dumb() && !self.surroundings.ci
    }

    /// The user's token, for it to be taken out of what is told.
    pub(super) fn user_token(&self) -> Option<&str> {
        self.surroundings.known_token.as_deref()
    }

    /// Whether anything is said on the way.
    pub(super) fn is_silent(&self) -> bool {
        self.quiet || self.no_progress
    }

    fn is_dumb(&self) -> bool {
        self.surroundings.term.as_deref() == Some("dumb")
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}
