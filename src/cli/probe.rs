//! `sendcat probe`: asks a running server what a stranger, a browser and a provider would be told.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::drill::Caller;
use super::tool::{Common, Found, Tool};
use crate::config::{Secret, Source};
use crate::load::probes::{Plan, Probe, Prober, Rounds, Secrets, Unreachable};
use crate::slo::policy::{Owners, Policy as _};
use crate::slo::report::{Check, Kind};
use crate::slo::verdict::{CheckVerdict, Circumstance};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Only these, by comma.
    #[arg(long, value_name = "ID", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Probe::ALL.iter().map(|probe| probe.id())))]
    only: Vec<String>,
    /// Rounds of all of them.
    #[arg(long, value_name = "N", default_value = "1",
        value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// From the start of one round to the start of the next.
    #[arg(long, value_name = "D", default_value = "30s",
        value_parser = humantime::parse_duration)]
    every: Duration,
    /// How often a probe that failed is asked again; each time is in the report.
    #[arg(long, value_name = "N", default_value = "0")]
    retries: u32,
    /// Goes on until it is interrupted.
    #[arg(long, conflicts_with = "repeat")]
    watch: bool,
    #[command(flatten)]
    caller: Caller,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { common, only, repeat, every, retries, watch, caller } = arguments;
    if let Some(code) = common.explain.as_deref().and_then(explained) {
        return code;
    }
    let tool = match Tool::begin(Kind::SyntheticProbes, common) {
        Ok(tool) => tool,
        Err(code) => return code,
    };
    let owners = match tool.policy::<Owners>(Owners::FILE) {
        Ok(owners) => owners,
        Err(code) => return code,
    };
    let only = only.iter().filter_map(|id| Probe::by_id(id)).collect();
    let prober = match prober(&tool, only, retries, &caller) {
        Ok(prober) => prober,
        Err(code) => return code,
    };
    if tool.common.dry_run {
        return planned(&prober);
    }
    let rounds = if watch { u64::MAX } else { repeat };
    let found = actix::System::new().block_on(all(&tool, &prober, rounds, every, &owners));
    tool.end(found)
}

/// A prober of the tool's server, with what the environment knows.
///
/// # Errors
/// The code to exit with, said why.
pub(super) fn prober(
    tool: &Tool,
    only: Vec<Probe>,
    retries: u32,
    caller: &Caller,
) -> Result<Prober, ExitCode> {
    prober_of(tool, &tool.common.base_url, (only, retries), caller)
}

/// The same of another server than the tool's: of an arm of a comparison.
///
/// # Errors
/// The code to exit with, said why.
pub(super) fn prober_of(
    tool: &Tool,
    base_url: &str,
    (only, retries): (Vec<Probe>, u32),
    caller: &Caller,
) -> Result<Prober, ExitCode> {
    let source = Source::from_process().map_err(|faults| super::refuse(&faults))?;
    let secret = |name: &str| source.text(name).map(Secret::new);
    let plan = Plan {
        base: base_url.parse().map_err(|_| said("there is no such address"))?,
        only,
        retries,
        timeout: tool.common.timeout,
        secrets: Secrets {
            ops_token: super::operators_token(),
            whatsapp_app_secret: secret("WHATSAPP_APP_SECRET"),
            whatsapp_verify_token: secret("WHATSAPP_VERIFY_TOKEN"),
            chat_token: caller.token(),
        },
        origin: source
            .text("ALLOWED_ORIGINS")
            .and_then(|list| list.split(',').next().map(|origin| origin.trim().to_owned())),
        thread: caller.thread(),
    };
    Prober::new(plan).map_err(|error| said(&format!("no client can be made: {error}")))
}

/// Rounds until all are done or somebody interrupts.
async fn all(tool: &Tool, prober: &Prober, rounds: u64, every: Duration, owners: &Owners) -> Found {
    let (cancelled, progress) = (tool.cancelled(), tool.progress());
    let (mut seen, mut missing, mut number) = (Rounds::default(), None, 0);
    // A round that takes longer than its turn is followed at once, and none is made up for.
    let mut due = tokio::time::interval(every.max(Duration::from_millis(1)));
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while number < rounds {
        let round = async {
            due.tick().await;
            prober.round(number).await
        };
        let round = tokio::select! {
            biased;
            () = cancelled.cancelled() => break,
            round = round => round,
        };
        number += 1;
        match round {
            Ok(outcomes) => seen.add(outcomes),
            Err(nobody) => {
                seen.add(prober.missed(&nobody));
                missing = Some((nobody, missing.map_or(1, |(_, times): (_, u64)| times + 1)));
            }
        }
        let failures = seen.failures();
        progress.line(&format!("round {number}: {failures} failures so far"));
    }
    drop(progress);
    let never = missing.filter(|(_, times)| *times == number);
    found(prober, &seen, never.map(|(nobody, _)| nobody), owners)
}

/// What is reported of rounds; of a server that never answered, that nobody was asked.
fn found(prober: &Prober, seen: &Rounds, never: Option<Unreachable>, owners: &Owners) -> Found {
    let Some(nobody) = never else {
        let of = seen.found(owners);
        say_transcripts(&of.checks, &of.details);
        return Found { checks: of.checks, details: Some(of.details), ..Found::default() };
    };
    Found {
        checks: prober.unasked(&nobody, owners),
        beside: vec![Circumstance::Unreachable],
        reasons: vec![nobody.to_string()],
        ..Found::default()
    }
}

/// The exchanges of what failed last, for whoever has to mend it.
#[expect(clippy::print_stderr, reason = "hints are for whoever ran the command")]
fn say_transcripts(checks: &[Check], details: &Value) {
    let probes = details["probes"].as_array().into_iter().flatten();
    for (row, detail) in checks.iter().zip(probes) {
        if row.verdict != CheckVerdict::Fail {
            continue;
        }
        let tries = detail["notClean"].as_array().into_iter().flatten();
        let last = tries.last().and_then(|of| of["exchanges"].as_array()).and_then(|of| of.last());
        let lines = last.and_then(|exchange| exchange["transcript"].as_array());
        eprintln!("{}: {}", row.id, row.why);
        for line in lines.into_iter().flatten().filter_map(Value::as_str) {
            eprintln!("    {line}");
        }
    }
}

/// `--explain` of a probe: what it asks is known best here.
#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn explained(id: &str) -> Option<ExitCode> {
    let probe = Probe::by_id(id.strip_prefix("probe.").unwrap_or(id))?;
    let limits = probe.limits();
    let owners = Owners::built_in();
    let (owner, page) = owners.of(&format!("route:{}", probe.route()));
    println!("{id}\n  means    {}", probe.asks());
    println!(
        "  limits   degraded from {} ms, failed from {} ms",
        limits.degraded.as_millis(),
        limits.failed.as_millis()
    );
    println!(
        "  owner    {} {}\n  runbook  {}",
        owner.team,
        owner.contact,
        page.unwrap_or("no page")
    );
    Some(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn planned(prober: &Prober) -> ExitCode {
    for probe in prober.probes() {
        let skipped = prober.skips(probe).map_or(String::new(), |why| format!("  skipped: {why}"));
        println!("{:<20}{}{skipped}", probe.id(), probe.asks());
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "whoever ran the command reads why it failed")]
fn said(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(super::EXIT_USAGE)
}
