//! `sendcat canary`: two servers asked the same, side by side, and whether the one may replace the
//! other (OPERATIONS.md §5.4; CONFORMANCE G5–G7, G15).

mod plan;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use self::plan::{Arms, Prepared};
use super::drill::Caller;
use super::probe::prober_of;
use super::tool::{Common, Format, Found, Tool};
use crate::load::arms::{self, Unfit};
use crate::load::canary::{Compared, Comparison};
use crate::slo::canary::kept::{self, Details, Rollback};
use crate::slo::policy::{CanaryPolicy, Owners, Policy as _, SloBaseline};
use crate::slo::report::Kind;
use crate::slo::verdict::{Circumstance, RunVerdict};

/// How often a probe of an arm is asked again: one slow moment of the host is nobody's fault.
const PROBE_RETRIES: u32 = 1;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    caller: Caller,
    /// The server in service.
    #[arg(long, value_name = "URL", required_unless_present = "explain")]
    control_url: Option<String>,
    /// The server that is to replace it.
    #[arg(long, value_name = "URL", required_unless_present_any = ["aa", "explain"])]
    candidate_url: Option<String>,
    /// Compares the control with itself, which must pass.
    #[arg(long, conflicts_with = "candidate_url")]
    aa: bool,
    /// How fast requests come.
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
    /// Which scenarios, by comma; the webhooks unless given, for thousands of chats take long.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Requests a second of each arm, instead of the profile's.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// How much worse a candidate may be.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Objectives that the candidate must hold by itself.
    #[arg(long, value_name = "FILE")]
    slo: Option<PathBuf>,
    /// Requests of each arm and scenario, instead of the policy's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    samples: Option<u64>,
    /// 2 judges at half of the samples, and if these do not decide, once more at three times as
    /// many.
    #[arg(long, value_name = "1|2", default_value = "1",
        value_parser = clap::value_parser!(u8).range(1..=2))]
    max_looks: u8,
}

/// How fast requests come to each arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Webhooks at 200 a second, chats at 20.
    Quick,
    /// Webhooks at 80 a second, chats at 6.
    Standard,
    /// Webhooks at 500 a second, chats at 40.
    Burst,
    /// Webhooks at 20 a second, chats at 2.
    Soak,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.1..=10_000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate from 0.1 to 10000"))
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    compared(arguments).unwrap_or_else(|code| code)
}

fn compared(mut arguments: Arguments) -> Result<ExitCode, ExitCode> {
    let control = arguments.control_url.clone().unwrap_or_default();
    let candidate = arguments.candidate_url.clone().unwrap_or_else(|| control.clone());
    // What the report is about is the candidate.
    arguments.common.base_url = candidate.clone();
    let tool = Tool::begin(Kind::CanaryCheck, arguments.common.clone())?;
    tool.may_ask(&control)?;
    let policy: CanaryPolicy = tool.policy_at(arguments.policy.as_deref())?;
    let slo: SloBaseline = tool.policy_at(arguments.slo.as_deref())?;
    let owners: Owners = tool.policy(Owners::FILE)?;
    let arms = Arms::of([&control, &candidate]).map_err(|why| misused(&why))?;
    let prepared = Prepared::of(&arguments, policy, slo).map_err(|why| misused(&why))?;
    if arguments.common.dry_run {
        say(&prepared.told(&arms));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(actix::System::new().block_on(drive(tool, &arguments, arms, prepared, owners)))
}

async fn drive(
    tool: Tool,
    arguments: &Arguments,
    arms: Arms,
    prepared: Prepared,
    owners: Owners,
) -> ExitCode {
    let cancelled: CancellationToken = tool.cancelled();
    let comparison = match fitting(&tool, arguments, (&arms, &prepared), &owners).await {
        Ok(comparison) => comparison,
        Err(Ending::Code(code)) => return code,
        Err(Ending::Unfit(unfit)) => return unreachable(tool, unfit),
    };
    let progress = tool.progress();
    let compared = comparison.run(&owners, &cancelled, &|line| progress.line(&line)).await;
    drop(progress);
    let compared = match compared {
        Ok(compared) => compared,
        Err(why) => return unreachable(tool, Unfit::because(why.to_string())),
    };
    let Compared { judgement, looks, scenarios, objectives } = compared;
    let mut checks = kept::checks(&judgement, &prepared.slo, &owners);
    checks.extend(objectives);
    let details = Details {
        control: arms.shown[0].clone(),
        candidate: arms.shown[1].clone(),
        aa: arms.shown[0] == arms.shown[1],
        rate: comparison.scenarios.iter().map(|asked| asked.rate).collect(),
        looks,
        rollback: Rollback::of(&judgement, &prepared.policy),
        judgement,
    };
    if tool.common.format == Format::Human && !tool.common.quiet {
        say(&told(&details));
    }
    let found = Found {
        checks,
        scenarios,
        beside: kept::beside(&details.judgement),
        reasons: details.judgement.reasons.clone(),
        next: next(arguments, &details),
        details: Some(serde_json::to_value(&details).expect("it always encodes")),
        ..Found::default()
    };
    tool.end(found)
}

/// What to do with the release, before the table of rows.
fn told(details: &Details) -> String {
    let Details { judgement, rollback, .. } = details;
    let words = |list: &[RunVerdict]| {
        list.iter().map(|verdict| verdict.word()).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "{} → {}: {}\n  roll back on {}; hold on {}\n",
        details.control,
        details.candidate,
        rollback.because,
        words(&rollback.rollback_on),
        words(&rollback.hold_on),
    );
    if judgement.verdict == RunVerdict::Pass {
        for line in &judgement.would_have_caught {
            text += &format!("  {line}\n");
        }
        text += &format!("  {}\n", judgement.cannot_see);
    }
    text
}

/// What to type next.
fn next(arguments: &Arguments, details: &Details) -> Vec<String> {
    let Details { control, candidate, judgement, .. } = details;
    let again = format!("sendcat canary --control-url {control} --candidate-url {candidate}");
    match judgement.verdict {
        RunVerdict::Pass => Vec::new(),
        RunVerdict::Fail => vec![
            format!("sendcat snapshot --base-url {candidate}"),
            format!("sendcat canary --control-url {control} --aa"),
        ],
        RunVerdict::Inconclusive if arguments.max_looks == 1 => vec![again + " --max-looks 2"],
        RunVerdict::Inconclusive => vec![again + " --samples 12000"],
        RunVerdict::Invalid | RunVerdict::Aborted => {
            vec![format!("sendcat probe --base-url {candidate}"), again]
        }
    }
}

/// Why nothing is compared.
enum Ending {
    /// Said already.
    Code(ExitCode),
    /// An arm is broken beforehand.
    Unfit(Unfit),
}

/// What is compared, once both arms have passed the same probes.
async fn fitting(
    tool: &Tool,
    arguments: &Arguments,
    (arms, prepared): (&Arms, &Prepared),
    owners: &Owners,
) -> Result<Comparison, Ending> {
    let prober = |url: &String| {
        prober_of(tool, url, (Vec::new(), PROBE_RETRIES), &arguments.caller).map_err(Ending::Code)
    };
    let probers = [prober(&arms.urls[0])?, prober(&arms.urls[1])?];
    arms::fit(&probers, owners).await.map_err(Ending::Unfit)?;
    let compared = prepared.comparison(arms, &arguments.caller, (tool.seed(), tool.common.timeout));
    compared.await.map_err(|why| Ending::Unfit(Unfit::because(why)))
}

/// Ends a run before its first request that counts: exit code 5.
fn unreachable(tool: Tool, unfit: Unfit) -> ExitCode {
    let Unfit { reasons, checks } = unfit;
    let beside = vec![Circumstance::Unreachable];
    tool.end(Found { beside, reasons, checks, ..Found::default() })
}

#[expect(clippy::print_stderr, reason = "whoever ran the command reads why it failed")]
fn misused(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(super::EXIT_USAGE)
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn say(text: &str) {
    print!("{text}");
}
