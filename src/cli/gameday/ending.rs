//! How a game day ends: its report on disk and on the terminal, its line in the journal, its code.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Arguments, EXIT_UNREACHABLE, Format};
use crate::contract::rfc3339;
use crate::load::clock::wall;
use crate::load::gameday::journal::{self, Entry};
use crate::load::gameday::run::Played;
use crate::load::gameday::server::BoardError;
use crate::load::gameday::verdict;
use crate::slo::policy::{Owners, Policy as _};
use crate::slo::report::{Host, Kind, Report, SCHEMA, Target, Version};
use crate::slo::verdict::{Judging, outcome};

/// When a run began.
pub(super) struct Ending {
    started: Duration,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Ending {
    /// From now on.
    pub(super) fn begin(_: &Arguments) -> Self {
        Self { started: wall() }
    }

    /// Tells this run from others.
    pub(super) fn run_id(&self) -> String {
        format!("{:x}-{:x}", millis(self.started), std::process::id())
    }

    /// Writes what there is to write, says it, and the code.
    #[expect(clippy::print_stderr, reason = "whoever ran the command reads how it ended")]
    pub(super) fn end(
        &self,
        arguments: &Arguments,
        played: &[Played],
        error: Option<BoardError>,
    ) -> ExitCode {
        if let Some(error) = &error {
            eprintln!("{error}");
        }
        if played.is_empty() {
            return ExitCode::from(match error {
                Some(BoardError::Unauthorized | BoardError::Refused(_)) => super::super::EXIT_USAGE,
                Some(BoardError::NoBoard | BoardError::Unreachable(_)) | None => EXIT_UNREACHABLE,
            });
        }
        let report = self.report(arguments, played);
        let stamp = rfc3339(millis(self.started)).replace([':', '.'], "-");
        let path = arguments.out.join(format!("game-day-{stamp}.json"));
        let code = report["exitCode"].as_u64().and_then(|code| u8::try_from(code).ok());
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        let written = replace(&path, text.as_bytes()).and_then(|()| {
            let at = rfc3339(millis(wall()));
            played.iter().try_for_each(|each| journal::note(&arguments.out, &entry(&at, each)))
        });
        if let Err(error) = written {
            eprintln!("the report cannot be written: {error}");
        }
        print_all(arguments, played, &report, &path);
        ExitCode::from(code.unwrap_or(1))
    }

    fn report(&self, arguments: &Arguments, played: &[Played]) -> Value {
        let owners = Owners::built_in();
        let mut checks: Vec<_> =
            played.iter().flat_map(|each| verdict::checks(each, &owners)).collect();
        checks.sort_by_key(|check| check.verdict.order());
        let verdicts: Vec<_> = checks.iter().map(|check| check.verdict).collect();
        let beside: Vec<_> = played.iter().flat_map(verdict::beside).collect();
        let outcome = outcome(&verdicts, &beside, Judging::default());
        let unverified = played.iter().filter(|each| each.day.revert_verified == Some(false));
        let by_hand = |each: &Played| verdict::by_hand(&arguments.base_url, each.lease.as_deref());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let report = Report {
            schema: SCHEMA.to_owned(),
            kind: Kind::GameDay,
            id: format!("game-day-{}", self.run_id()),
            started_at: rfc3339(millis(self.started)),
            ended_at: rfc3339(millis(wall())),
            tool: Version { version, git_sha: None },
            host: Host { cpus: u32::try_from(cpus).unwrap_or(u32::MAX), ..Host::default() },
            target: Target { base_url: arguments.base_url.clone(), ..Target::default() },
            inputs: Vec::new(),
            seed: 0,
            verdict: outcome.verdict,
            exit_code: outcome.exit_code,
            checks,
            scenarios: Vec::new(),
            server_delta: None,
            artifacts: Vec::new(),
            next: unverified.flat_map(by_hand).collect(),
            profile: None,
            labels: BTreeMap::new(),
            reasons: Vec::new(),
            details: None,
        };
        let mut report = serde_json::to_value(report).unwrap_or_default();
        let days: Vec<_> = played.iter().map(verdict::details).collect();
        report["details"] = json!({ "gameDays": days });
        report
    }
}

fn entry(at: &str, played: &Played) -> Entry {
    let plan = played.day.plan();
    let runbook = verdict::runbook_of(&plan.fault).unwrap_or_default();
    Entry {
        at: at.to_owned(),
        id: plan.id.clone(),
        fault: plan.fault.clone(),
        score: verdict::word(played.day.score()).to_owned(),
        runbook: runbook.trim_start_matches("RUNBOOK.md#").to_owned(),
    }
}

/// The file holds the old bytes or the new ones, whatever happens.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what a tool ends with")]
fn print_all(arguments: &Arguments, played: &[Played], report: &Value, path: &Path) {
    if arguments.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(report).unwrap_or_default());
    } else {
        for each in played {
            let day = &each.day;
            let span = |span: Option<Duration>| {
                span.map_or("never".to_owned(), |span| format!("{:.0} s", span.as_secs_f64()))
            };
            println!("{} {}", verdict::word(day.score()), day.plan().id);
            let (detected, recovered) = (span(day.detected), span(day.recovered));
            let (hurt, witness) = (day.hurt, day.witness());
            println!(
                "  detected {detected}, recovered {recovered}, hurt {hurt}, witness {witness}"
            );
            if let Some(why) = &day.unsteady {
                println!("  {why}");
            }
            if let Some(why) = &day.aborted {
                println!("  aborted: {why:?}");
            }
        }
        for check in report["checks"].as_array().into_iter().flatten() {
            println!("  {} {}: {}", check["verdict"], check["id"], check["why"]);
        }
        println!("{} {}", report["verdict"].as_str().unwrap_or_default(), path.display());
    }
    for command in report["next"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("revert by hand: {command}");
    }
}
