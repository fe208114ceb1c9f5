//! What every reliability tool has in common: flags, inputs, the report's file, the end
//! (OPERATIONS.md §3, §4).
//!
//! A tool is `Tool::begin`, its own work, `tool.end(found)`. Under `--format json` the report alone
//! is on standard output; everything else is on standard error.

pub(super) mod common;
mod explained;
pub(super) mod files;
mod inputs;
mod progress;
mod scrub;
mod stamp;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use sendcat_actors::clock::{Clock as _, SystemClock};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(super) use self::common::{Common, Format};
pub(super) use self::progress::Progress;
use crate::contract::rfc3339;
use crate::load::ops_client::OpsClient;
use crate::load::traffic::Target;
use crate::report::human::{self, Colour};
use crate::report::{html, junit, markdown, prometheus};
use crate::slo::policy::Policy;
use crate::slo::report::{Check, Input, Kind, Report, SCHEMA, Scenario, Version};
use crate::slo::verdict::{self, Circumstance, Judging};

/// A tool at work.
pub(super) struct Tool {
    kind: Kind,
    /// The flags it was begun with.
    pub(super) common: Common,
    clock: SystemClock,
    started: SystemTime,
    inputs: Mutex<Vec<Input>>,
    profile: Option<String>,
    seed: u64,
    stamp: stamp::Stamp,
    cancelled: CancellationToken,
}

/// What a tool found. `..Found::default()` for what it has nothing of.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every row, judged, owners filled in.
    pub(super) checks: Vec<Check>,
    /// What was measured.
    pub(super) scenarios: Vec<Scenario>,
    /// What happened beside the rows.
    pub(super) beside: Vec<Circumstance>,
    /// Why it is no pass, beside the rows; one sentence each.
    pub(super) reasons: Vec<String>,
    /// The server's snapshots, `{"before": …, "after": …}`.
    pub(super) server_delta: Option<Value>,
    /// Files of its own that it wrote.
    pub(super) artifacts: Vec<String>,
    /// What to type next.
    pub(super) next: Vec<String>,
    /// What only this tool has to say: see `src/report/details.rs`.
    pub(super) details: Option<Value>,
}

impl Tool {
    /// A tool at its start: the address is checked, host and start are stamped, and the first
    /// Ctrl-C or SIGTERM cancels [`Tool::cancelled`].
    ///
    /// # Errors
    /// The code to exit with, said why: 2 for an address that is none, or that is not this machine
    /// where the tool does harm and `--allow-remote` is not given; 0 where `--explain` was asked.
    pub(super) fn begin(kind: Kind, common: Common) -> Result<Self, ExitCode> {
        if let Some(id) = &common.explain {
            return Err(explained::explain(id, &common));
        }
        may_be_asked(kind, &common.base_url, common.allow_remote).map_err(|why| misused(&why))?;
        scrub::know(&common);
        let clock = SystemClock::start();
        let cancelled = CancellationToken::new();
        let stamp = stamp::Stamp::take(kind, &common, cancelled.clone());
        let seed = common.seed.unwrap_or_else(|| getrandom::u64().unwrap_or_default() >> 11);
        let started = clock.wall();
        let inputs = Mutex::default();
        Ok(Self { kind, common, clock, started, inputs, profile: None, seed, stamp, cancelled })
    }

    /// Names the profile of load, for the report and its file.
    pub(super) fn set_profile(&mut self, profile: &str) {
        self.profile = Some(profile.to_owned());
    }

    /// Checks a further address, as [`Tool::begin`] checks `--base-url`.
    ///
    /// # Errors
    /// Exit code 2, said why.
    pub(super) fn may_ask(&self, address: &str) -> Result<(), ExitCode> {
        let asked = may_be_asked(self.kind, address, self.common.allow_remote);
        asked.map_err(|why| misused(&why))
    }

    /// A policy from `--config-dir`, else the one inside the program; recorded as an input.
    ///
    /// # Errors
    /// Exit code 2, every finding said with file, line and fix.
    pub(super) fn policy<P: Policy>(&self, file: &str) -> Result<P, ExitCode> {
        let path = self.common.config_dir.as_ref().map(|dir| dir.join(file));
        self.policy_in(path.as_deref().filter(|path| path.exists()))
    }

    /// A policy from a file that a flag names, else as [`Tool::policy`] has it.
    ///
    /// # Errors
    /// Exit code 2, every finding said with file, line and fix.
    pub(super) fn policy_at<P: Policy>(&self, file: Option<&Path>) -> Result<P, ExitCode> {
        if file.is_some() { self.policy_in(file) } else { self.policy(P::FILE) }
    }

    fn policy_in<P: Policy>(&self, path: Option<&Path>) -> Result<P, ExitCode> {
        let (policy, input) = inputs::policy(path).map_err(|findings| misused(&findings))?;
        self.record(input);
        Ok(policy)
    }

    fn record(&self, input: Input) {
        let mut inputs = self.inputs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }

    /// The hash of a policy that was read before; empty if none of that name was.
    pub(super) fn input_hash(&self, file: &str) -> String {
        let inputs = self.inputs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = |input: &&Input| input.path.rsplit('/').next() == Some(file);
        inputs.iter().find(named).map_or(String::new(), |input| input.sha256.clone())
    }

    /// A client of the operators' routes; `None` where neither `OPS_TOKEN` nor `OPS_READ_TOKEN`
    /// is set.
    pub(super) fn ops(&self) -> Option<OpsClient> {
        let token = super::operators_token()?;
        OpsClient::new(&self.common.base_url, Some(token), self.common.timeout).ok()
    }

    /// Cancelled by the first Ctrl-C or SIGTERM; a second one ends the process.
    pub(super) fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Where to say how far it is.
    pub(super) fn progress(&self) -> Progress {
        Progress::start(&self.common)
    }

    /// What every draw of lots comes from: `--seed`, else drawn once.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// When it began.
    pub(super) fn started(&self) -> SystemTime {
        self.started
    }

    /// The wall's time now.
    pub(super) fn now(&self) -> SystemTime {
        self.clock.wall()
    }

    /// Judges, writes the report's file, renders it, and says the exit code.
    pub(super) fn end(self, found: Found) -> ExitCode {
        let mut report = self.report(found);
        let path = self.common.out.join(self.file_name());
        report.artifacts.insert(0, path.display().to_string());
        let mut files = Vec::new();
        let text = serde_json::to_string_pretty(&report).expect("a report always encodes");
        let mut written = files::replace(&path, text.as_bytes());
        files.extend(report.artifacts.iter().cloned());
        if let Some(page) = &self.common.html {
            let beside = path.with_extension("html");
            let page = if page == Path::new("auto") { &beside } else { page };
            let html = html::page(&report);
            written = written.and(files::replace(page, html.as_bytes()));
            files.push(page.display().to_string());
        }
        if let Err(error) = written {
            return misused(&format!("the report cannot be written: {error}"));
        }
        self.show(&report, &files, text);
        ExitCode::from(report.exit_code)
    }

    /// What was found as the report that the tool ends with.
    pub(super) fn report(&self, found: Found) -> Report {
        let (host, target) = self.stamp.finish();
        let rows: Vec<_> = found.checks.iter().map(|row| row.verdict).collect();
        let mut beside = found.beside;
        if self.cancelled.is_cancelled() && !beside.contains(&Circumstance::Interrupted) {
            beside.push(Circumstance::Interrupted);
        }
        let Common { strict, inconclusive_as, .. } = self.common;
        let judging = Judging { strict, inconclusive_as: inconclusive_as.into() };
        let outcome = verdict::outcome(&rows, &beside, judging);
        let (start, now) = (millis(self.started), millis(self.now()));
        let stamp = files::stamp(self.started);
        let labels: BTreeMap<_, _> = self.common.label.iter().cloned().collect();
        let mut report = Report {
            schema: SCHEMA.to_owned(),
            kind: self.kind,
            id: format!("{}-{stamp}-{:08x}", self.kind.word(), std::process::id()),
            started_at: rfc3339(start),
            ended_at: rfc3339(now),
            tool: Version { version: env!("CARGO_PKG_VERSION").to_owned(), git_sha: None },
            host,
            target,
            inputs: self.inputs.lock().map(|inputs| inputs.clone()).unwrap_or_default(),
            seed: self.seed,
            verdict: outcome.verdict,
            exit_code: outcome.exit_code,
            checks: found.checks,
            scenarios: found.scenarios,
            server_delta: found.server_delta,
            artifacts: found.artifacts,
            next: found.next,
            profile: self.profile.clone(),
            labels,
            reasons: found.reasons,
            details: found.details,
        };
        scrub::scrub(&mut report);
        report
    }

    /// As in the log: `load-drill-quick-2026-02-17T11-57-56-470Z.json`.
    fn file_name(&self) -> PathBuf {
        let profile = self.profile.as_ref().map_or(String::new(), |name| format!("-{name}"));
        let (kind, stamp) = (self.kind.word(), files::stamp(self.started));
        PathBuf::from(format!("{kind}{profile}-{stamp}.json"))
    }

    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what a tool ends with")]
    fn show(&self, report: &Report, files: &[String], json: String) {
        let colours = if self.common.format == Format::Human {
            self.common.colours(&std::io::stdout())
        } else {
            self.common.colours(&std::io::stderr())
        };
        let people = human::text(report, files, if colours { Colour::On } else { Colour::Off });
        let machine = match self.common.format {
            Format::Human => {
                print!("{people}");
                return;
            }
            Format::Json => json + "\n",
            Format::Junit => junit::text(report),
            Format::Md => markdown::text(report),
            Format::Prom => prometheus::text(report),
        };
        print!("{machine}");
        if !self.common.quiet {
            eprint!("{people}");
        }
    }
}

/// Says what is wrong and that it is the caller's to mend.
#[expect(clippy::print_stderr, reason = "whoever ran the command reads why it failed")]
fn misused(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(super::EXIT_USAGE)
}

/// Whether a tool may ask there at all: an address, and this machine where the tool does harm.
fn may_be_asked(kind: Kind, address: &str, allow_remote: bool) -> Result<(), String> {
    let Ok(address) = Target::parse(address) else {
        // What is no address may still hold a password.
        return Err("--base-url is no address of a server, such as http://127.0.0.1:8787".into());
    };
    let harmless = matches!(kind, Kind::SyntheticProbes | Kind::ReleaseGate | Kind::SloDashboard);
    if harmless || allow_remote || address.is_loopback() {
        return Ok(());
    }
    let (host, kind) = (address.host(), kind.word());
    Err(format!("{host} is not this machine: {kind} needs --allow-remote to ask it"))
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
