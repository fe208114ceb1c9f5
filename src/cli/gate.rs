//! `sendcat gate`: validate, probe, drill, burn, snapshot policy; every step runs, whatever the one
//! before it found, but no load is sent to a server whose probes fail (OPERATIONS.md §3).

mod evidence;
mod schema;

use std::path::PathBuf;
use std::process::ExitCode;

use super::drill::{Caller, Wanted, run_with};
use super::tool::{Common, Found, Tool};
use crate::load::clock;
use crate::load::drill::Profile;
use crate::load::gameday::journal;
use crate::load::probes::{Probe, Rounds};
use crate::slo::canary::kept;
use crate::slo::policy::{self, CanaryPolicy, GatePolicy, Owners, Policy, Problem, SloBaseline};
use crate::slo::release::{self, Evidence, Rules, lint};
use crate::slo::report::{Check, Kind};
use crate::slo::verdict::{CheckVerdict, Circumstance};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    caller: Caller,
    /// The drill's profile; the policy's unless given.
    #[arg(long, value_name = "P",
        value_parser = clap::builder::PossibleValuesParser::new(policy::gate::PROFILES))]
    profile: Option<String>,
    /// What a release must show, in place of release-gate-policy.json.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// What is promised, in place of slo-baseline.json.
    #[arg(long, value_name = "FILE")]
    slo: Option<PathBuf>,
    /// Who answers for what, in place of ownership-matrix.json.
    #[arg(long, value_name = "FILE")]
    owners: Option<PathBuf>,
    /// Where earlier reports are; --out unless given.
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
    /// Checks the files only, each finding with line and fix; --schema has the form of each.
    #[arg(long)]
    lint: bool,
    /// Prints the JSON schema of a file that the tools read, or of the report that they write.
    #[arg(long, value_enum, value_name = "NAME")]
    schema: Option<schema::Described>,
}

/// The files that a release is judged by.
struct Files {
    policy: GatePolicy,
    slo: SloBaseline,
    slo_hash: String,
    owners: Owners,
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(described) = arguments.schema {
        println!("{}", described.schema());
        return ExitCode::SUCCESS;
    }
    let ended = actix::System::new().block_on(gated(arguments));
    ended.unwrap_or_else(|code| code)
}

async fn gated(arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let mut tool = Tool::begin(Kind::ReleaseGate, arguments.common.clone())?;
    let files = validated(&tool, arguments)?;
    let profile = arguments.profile.clone().unwrap_or_else(|| files.policy.drill.profile.clone());
    if arguments.lint || arguments.common.dry_run {
        // It judges no release here, but whoever asks for a lint asks for every file.
        let _: CanaryPolicy = tool.policy(CanaryPolicy::FILE)?;
        let sound = [GatePolicy::FILE, SloBaseline::FILE, Owners::FILE, CanaryPolicy::FILE];
        say(&format!("sound: {}", sound.join(", ")));
        lint::never_paged(&files.slo).iter().for_each(|note| say(note));
        if arguments.lint {
            return owned(&tool, arguments, &files.owners);
        }
        say(&format!("would probe, drill at {profile}, and judge burn and snapshot"));
        return Ok(ExitCode::SUCCESS);
    }
    tool.set_profile(&profile);
    let found = stepped(&tool, arguments, &files, &profile).await?;
    Ok(tool.end(found))
}

/// The files, each sound, and all of them beside each other.
///
/// # Errors
/// Exit code 2, every finding said.
fn validated(tool: &Tool, arguments: &Arguments) -> Result<Files, ExitCode> {
    let gate: GatePolicy = tool.policy_at(arguments.policy.as_deref())?;
    let slo: SloBaseline = tool.policy_at(arguments.slo.as_deref())?;
    let owners: Owners = tool.policy_at(arguments.owners.as_deref())?;
    let probes: Vec<_> = Probe::ALL.iter().map(|probe| probe.id()).collect();
    let text = |file| evidence::text(tool, file);
    let mut findings = Vec::new();
    let mut located = |(name, text): (String, String), problems: Vec<Problem>| {
        findings.extend(policy::located(&name, &text, problems));
    };
    let (gate_file, slo_file) = (arguments.policy.as_deref(), arguments.slo.as_deref());
    located(text((gate_file, GatePolicy::FILE, GatePolicy::BUILT_IN)), {
        lint::of_gate(&gate, &slo, &probes)
    });
    located(
        text((arguments.owners.as_deref(), Owners::FILE, Owners::BUILT_IN)),
        lint::of_owners(&owners, &slo),
    );
    if !findings.is_empty() {
        findings.iter().for_each(|finding| say(&finding.to_string()));
        return Err(ExitCode::from(super::EXIT_USAGE));
    }
    let (_, promised) = text((slo_file, SloBaseline::FILE, SloBaseline::BUILT_IN));
    let slo_hash = crate::contract::signature::digest(promised.as_bytes());
    Ok(Files { policy: gate, slo, slo_hash, owners })
}

/// Whether every route and every check has an owner and a page, and when the last game day was.
///
/// # Errors
/// Exit code 2, every finding said.
fn owned(tool: &Tool, arguments: &Arguments, owners: &Owners) -> Result<ExitCode, ExitCode> {
    let probes = Probe::ALL.iter().map(|probe| format!("check:probe.{}", probe.id()));
    let checks: Vec<_> = probes.chain([kept::VERDICT_SUBJECT.to_owned()]).collect();
    let reports = arguments.reports.as_ref().unwrap_or(&tool.common.out);
    let exercised = journal::exercised(&journal::read(reports));
    let checks = checks.iter().map(String::as_str);
    let linted = super::lint::lint(owners, checks, &exercised, clock::wall());
    linted.exercised.iter().chain(&linted.warnings).for_each(|line| say(line));
    if linted.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let file = (arguments.owners.as_deref(), Owners::FILE, Owners::BUILT_IN);
    let (name, text) = evidence::text(tool, file);
    let findings = policy::located(&name, &text, linted.problems);
    findings.iter().for_each(|finding| say(&finding.to_string()));
    Err(ExitCode::from(super::EXIT_USAGE))
}

async fn stepped(
    tool: &Tool,
    arguments: &Arguments,
    files: &Files,
    profile: &str,
) -> Result<Found, ExitCode> {
    let Files { policy, slo, slo_hash, owners } = files;
    let mut found = Found::default();
    let before = evidence::snapshot(tool, policy).await;
    let probes = probed(tool, arguments, files, &mut found).await?;
    let sound = !probes.iter().any(|row| row.verdict == CheckVerdict::Fail);
    let reachable = !found.beside.contains(&Circumstance::Unreachable);
    let drill = match (sound && reachable, tool.cancelled().is_cancelled()) {
        (true, false) => Ok(drilled(tool, arguments, files, profile, &mut found).await?),
        (_, true) => Err("interrupted before it".to_owned()),
        (false, _) => Err("probes failed, so no load was sent".to_owned()),
    };
    let reports = arguments.reports.as_ref().unwrap_or(&tool.common.out);
    let mut runs = evidence::earlier(reports, slo, slo_hash);
    let now = clock::wall();
    if drill.is_ok() && !found.beside.contains(&Circumstance::Invalid) {
        runs.extend(evidence::own(tool, &found.scenarios, profile, slo, (slo_hash, now)));
    }
    let after = evidence::snapshot(tool, policy).await;
    let seen = evidence::seen(before.as_ref(), after.as_ref(), policy.snapshot.window_minutes);
    let evidence = Evidence { probes, drill, runs, snapshot: seen, now };
    found.checks = release::rows(&evidence, Rules { policy, slo, slo_hash, profile, owners });
    found.next = vec![format!("sendcat dashboard --out {}", tool.common.out.display())];
    Ok(found)
}

async fn probed(
    tool: &Tool,
    arguments: &Arguments,
    files: &Files,
    found: &mut Found,
) -> Result<Vec<Check>, ExitCode> {
    let retries = files.policy.probes.retries;
    let prober = super::probe::prober(tool, Vec::new(), retries, &arguments.caller)?;
    let mut rounds = Rounds::default();
    match prober.round(0).await {
        Ok(outcomes) => rounds.add(outcomes),
        Err(nobody) => {
            found.beside.push(Circumstance::Unreachable);
            found.reasons.push(nobody.to_string());
            return Ok(prober.unasked(&nobody, &files.owners));
        }
    }
    let of = rounds.found(&files.owners);
    found.details = Some(of.details);
    Ok(of.checks)
}

/// The drill's rows; scenarios that a small drill leaves unproven are drilled again, larger. The
/// report keeps the first run's figures: burn pools runs of one profile only.
async fn drilled(
    tool: &Tool,
    arguments: &Arguments,
    files: &Files,
    profile: &str,
    found: &mut Found,
) -> Result<Vec<Check>, ExitCode> {
    let wanted = |profile: &str| {
        let profile = Profile::named(profile).unwrap_or(Profile::Quick);
        let (slo, caller) = (arguments.slo.clone(), arguments.caller.clone());
        Wanted { slo, caller, ..Wanted::of(profile) }
    };
    let first = run_with(tool, wanted(profile)).await?;
    found.scenarios = first.scenarios;
    found.beside.extend(first.beside);
    found.reasons.extend(first.reasons);
    found.server_delta = first.server_delta;
    let unproven = release::unproven(&first.checks);
    let larger = files.policy.drill.escalate_profile.as_deref().filter(|name| *name != profile);
    let Some(larger) = larger.filter(|_| !unproven.is_empty() && found.beside.is_empty()) else {
        return Ok(first.checks);
    };
    let again = run_with(tool, Wanted { named: Some(unproven.clone()), ..wanted(larger) }).await?;
    found.beside.extend(again.beside);
    found.reasons.extend(again.reasons);
    found.reasons.push(format!("drilled again at {larger}: {}", unproven.join(", ")));
    Ok(release::escalated(first.checks, again.checks))
}

#[expect(clippy::print_stderr, reason = "whoever ran the command reads what was found")]
fn say(line: &str) {
    eprintln!("{line}");
}
