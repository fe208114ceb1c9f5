//! `sendcat drill`: scenarios under load, held against what is promised of them
//! (OPERATIONS.md §3, §5.1, §5.2).

mod maths;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::{Value, json};

use super::tool::{Common, Found, Tool};
use crate::config::Secret;
use crate::load::drill::{self, Order, Profile, self_test};
use crate::load::plan::Gaps;
use crate::load::scenarios;
use crate::slo::policy::{Owners, Policy as _, SloBaseline};
use crate::slo::report::Kind;
use crate::slo::verdict::Circumstance;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    caller: Caller,
    /// The shape of load.
    #[arg(long, default_value = "standard", value_parser = profile_parser())]
    profile: Profile,
    /// The same as --profile=quick.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quick: Option<bool>,
    /// Only these, by comma; one that cannot run makes the drill inconclusive.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(scenarios::ALL))]
    scenarios: Vec<String>,
    /// Requests at planned times, or callers that wait for their answers.
    #[arg(long, value_enum, default_value = "open")]
    model: Model,
    /// Requests a second, in place of every stage's own.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Gaps between requests.
    #[arg(long, value_enum, default_value = "constant")]
    arrival: Arrival,
    /// How long all stages of a scenario last together, pauses apart.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Callers of --model closed; 10 unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Requests of a scenario without an answer at most; those due above it wait up to 10 s.
    #[arg(long, value_name = "N", default_value = "512",
        value_parser = clap::value_parser!(u32).range(1..))]
    max_inflight: u32,
    /// What is promised, in place of slo-baseline.json.
    #[arg(long, value_name = "FILE")]
    slo: Option<PathBuf>,
    /// Ends the drill once a gate is certainly broken, from so long after its start on.
    #[arg(long, value_name = "DELAY", num_args = 0..=1, default_missing_value = "0s",
        value_parser = humantime::parse_duration)]
    abort_on_fail: Option<Duration>,
    /// Addresses that requests come from: 127.0.0.2 and up, by x-forwarded-for elsewhere.
    #[arg(long, value_name = "N", default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    client_ips: u16,
    /// Shows on this machine that corrected latencies are true; asks no other server.
    #[arg(long)]
    self_test: bool,
}

/// Whom the chats of a drill are from; anonymous sessions unless a token is given.
#[derive(Clone, Default, clap::Args)]
pub(super) struct Caller {
    /// A user's token.
    #[arg(long, hide = true, env = "RELIABILITY_AUTH_TOKEN", hide_env_values = true)]
    pub(super) auth_token: Option<String>,
    /// A thread of the user's.
    #[arg(long, hide = true, env = "RELIABILITY_THREAD_ID", hide_env_values = true)]
    pub(super) thread_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    /// At planned times, whether or not answers have come.
    Open,
    /// So many callers, each waiting for its answer.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arrival {
    /// All gaps the same.
    Constant,
    /// Exponential gaps.
    Poisson,
}

/// What a drill is to be, whoever asks for it.
pub(super) struct Wanted {
    /// The shape of load.
    pub(super) profile: Profile,
    /// Scenarios that must run; all that can, else.
    pub(super) named: Option<Vec<String>>,
    /// Callers of the closed model; the open one else.
    pub(super) concurrency: Option<u32>,
    /// In place of every stage's own.
    pub(super) rate: Option<f64>,
    /// Between requests.
    pub(super) gaps: Gaps,
    /// Of all stages of a scenario together.
    pub(super) lasting: Option<Duration>,
    /// Requests of a scenario without an answer at most.
    pub(super) max_inflight: u32,
    /// What is promised, in place of slo-baseline.json.
    pub(super) slo: Option<PathBuf>,
    /// From when on a broken gate ends it.
    pub(super) abort_on_fail: Option<Duration>,
    /// Addresses that requests come from.
    pub(super) client_ips: u16,
    /// Whom chats are from.
    pub(super) caller: Caller,
}

/// A stream may take longer than `--timeout`, which is meant for short answers.
const CHAT_TIMEOUT: Duration = Duration::from_secs(60);

impl Caller {
    /// The token, if one is set: an empty variable is one that nobody set.
    pub(super) fn token(&self) -> Option<Secret> {
        set(&self.auth_token).map(Secret::new)
    }

    /// The thread, if one is set.
    pub(super) fn thread(&self) -> Option<String> {
        set(&self.thread_id)
    }
}

fn set(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.trim().is_empty())
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Caller")
    }
}

impl Wanted {
    /// A profile as it is.
    pub(super) fn of(profile: Profile) -> Self {
        Self {
            profile,
            named: None,
            concurrency: None,
            rate: None,
            gaps: Gaps::Constant,
            lasting: None,
            max_inflight: 512,
            slo: None,
            abort_on_fail: None,
            client_ips: 1,
            caller: Caller::default(),
        }
    }

    fn order(self, tool: &Tool) -> Result<Order, ExitCode> {
        let baseline: SloBaseline = tool.policy_at(self.slo.as_deref())?;
        let owners: Owners = tool.policy(Owners::FILE)?;
        Ok(Order {
            base_url: tool.common.base_url.clone(),
            profile: self.profile,
            named: self.named,
            concurrency: self.concurrency,
            rate: self.rate,
            lasting: self.lasting,
            gaps: self.gaps,
            max_inflight: self.max_inflight,
            client_ips: self.client_ips,
            abort_on_fail: self.abort_on_fail,
            seed: tool.seed(),
            timeout: tool.common.timeout,
            chat_timeout: tool.common.timeout.max(CHAT_TIMEOUT),
            token: self.caller.token(),
            thread: self.caller.thread(),
            baseline,
            owners,
        })
    }
}

/// Drills the tool's server; what was found is the caller's to end with, or to add to.
///
/// # Errors
/// Exit code 2, said why: a policy is wrong.
pub(super) async fn run_with(tool: &Tool, wanted: Wanted) -> Result<Found, ExitCode> {
    let order = wanted.order(tool)?;
    let before = snapshot(tool).await;
    let progress = tool.progress();
    let drilled = drill::run(&order, &tool.cancelled(), &|line| progress.line(&line)).await;
    drop(progress);
    let after = snapshot(tool).await;
    let details = Some(drilled.details());
    Ok(Found {
        checks: drilled.checks,
        scenarios: drilled.scenarios,
        beside: drilled.beside,
        reasons: drilled.reasons,
        server_delta: before
            .zip(after)
            .map(|(before, after)| json!({ "before": before, "after": after })),
        details,
        ..Found::default()
    })
}

/// The server's own view; none without a token of its operators.
async fn snapshot(tool: &Tool) -> Option<Value> {
    let snapshot = tool.ops()?.snapshot(None, None).await.ok()?;
    serde_json::to_value(snapshot).ok()
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let ended = actix::System::new().block_on(drilled(arguments));
    ended.unwrap_or_else(|code| code)
}

async fn drilled(arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let mut tool = Tool::begin(Kind::LoadDrill, arguments.common.clone())?;
    if arguments.self_test {
        return Ok(tested(tool).await);
    }
    let wanted = wanted(arguments).map_err(misused)?;
    tool.set_profile(wanted.profile.name());
    let profile = wanted.profile.name();
    if arguments.common.dry_run {
        print(&maths::text(&wanted.order(&tool)?));
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = run_with(&tool, wanted).await?;
    found.next = vec![format!("sendcat dashboard --out {}", tool.common.out.display())];
    if found.beside.contains(&Circumstance::Invalid) {
        let again = format!("sendcat drill --profile {profile}, on a machine that is less busy");
        found.next.insert(0, again);
    }
    Ok(tool.end(found))
}

fn wanted(arguments: &Arguments) -> Result<Wanted, &'static str> {
    let concurrency = match (arguments.model, arguments.concurrency) {
        (Model::Closed, callers) => Some(callers.unwrap_or(10)),
        (Model::Open, None) => None,
        (Model::Open, Some(_)) => {
            return Err("--concurrency is of --model closed; the open model has --rate");
        }
    };
    let quick = arguments.quick == Some(true);
    Ok(Wanted {
        named: (!arguments.scenarios.is_empty()).then(|| arguments.scenarios.clone()),
        concurrency,
        rate: arguments.rate,
        gaps: match arguments.arrival {
            Arrival::Constant => Gaps::Constant,
            Arrival::Poisson => Gaps::Poisson,
        },
        lasting: arguments.duration,
        max_inflight: arguments.max_inflight,
        slo: arguments.slo.clone(),
        abort_on_fail: arguments.abort_on_fail,
        client_ips: arguments.client_ips,
        caller: arguments.caller.clone(),
        ..Wanted::of(if quick { Profile::Quick } else { arguments.profile })
    })
}

async fn tested(mut tool: Tool) -> ExitCode {
    tool.set_profile("self-test");
    let mut found = Found::default();
    match self_test::run(tool.seed()).await {
        Ok((checks, scenario, schedule)) => {
            found.checks = checks;
            found.scenarios = vec![scenario];
            if let Some(why) = schedule.invalid() {
                found.beside.push(Circumstance::Invalid);
                found.reasons.push(why);
            }
        }
        Err(error) => {
            found.beside.push(Circumstance::Invalid);
            found.reasons.push(error.to_string());
        }
    }
    tool.end(found)
}

fn profile_parser() -> impl clap::builder::TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name))
        .map(|name| Profile::named(&name).unwrap_or(Profile::Standard))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=100_000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate from 0.01 to 100000 requests a second"))
}

#[expect(clippy::print_stdout, reason = "a plan is what was asked for")]
fn print(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "whoever ran the command reads why it failed")]
fn misused(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(super::EXIT_USAGE)
}
