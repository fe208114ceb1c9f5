//! `sendcat gameday`: breaks one thing on purpose, and says whether what was expected came true.

mod ending;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use reqwest::Url;
use tokio::signal::unix::{SignalKind, signal};

use self::ending::Ending;
use crate::config::Secret;
use crate::load::gameday::catalog::{self, KINDS, Maker};
use crate::load::gameday::journal;
use crate::load::gameday::plan::Plan;
use crate::load::gameday::run::{Played, Stage, TimelineRow, play};
use crate::load::gameday::server::{BoardError, Target};
use crate::slo::policy;

/// The server cannot be reached, or was not steady (OPERATIONS.md §3).
const EXIT_UNREACHABLE: u8 = 5;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The server.
    #[arg(long, env = "RELIABILITY_BASE_URL", default_value = "http://127.0.0.1:8787")]
    base_url: String,
    /// Where reports and the journal are written.
    #[arg(long, value_name = "DIR", default_value = ".output/reliability")]
    out: PathBuf,
    /// For people or for machines.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// A plan of one's own.
    #[arg(long, value_name = "FILE", conflicts_with = "faults")]
    plan: Option<PathBuf>,
    /// Faults whose plans ship with the program, by comma, one after the other.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Shortens the plans that ship.
    #[arg(long, value_enum, default_value = "standard")]
    profiles: Profile,
    /// Lists every fault, who makes it, its chapter of the runbook and when that was exercised.
    #[arg(long)]
    list: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    /// Checks the plans, prints them, and breaks nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also breaks a server that is not this machine.
    #[arg(long)]
    allow_remote: bool,
    /// Says nothing on the way.
    #[arg(long)]
    quiet: bool,
    /// Signs deliveries as the server expects them; without it none are sent.
    #[arg(long, hide = true, env = "WHATSAPP_APP_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Of whoever chats; anonymous sessions without it.
    #[arg(long, hide = true, env = "RELIABILITY_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Rows.
    Human,
    /// The report.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// 3 s of baseline, at most 10 s of fault.
    Quick,
    /// As they ship.
    Standard,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        return list(arguments);
    }
    let prepared = plans(arguments).and_then(|plans| Ok((target(arguments)?, plans)));
    let (target, plans) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return refuse(&why),
    };
    if arguments.dry_run {
        return show(&plans);
    }
    if let Err(why) = consent(arguments, &plans) {
        return refuse(&why);
    }
    if let Err(error) = std::fs::create_dir_all(&arguments.out) {
        return refuse(&format!("{}: {error}", arguments.out.display()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return refuse("no runtime can be made") };
    let ending = Ending::begin(arguments);
    let played = runtime.block_on(play_all(arguments, target, plans, &ending));
    // What is still on its way has nobody to tell.
    runtime.shutdown_background();
    ending.end(arguments, &played.0, played.1)
}

/// Plays one after the other; one that was aborted is the last.
async fn play_all(
    arguments: &Arguments,
    target: Target,
    plans: Vec<Plan>,
    ending: &Ending,
) -> (Vec<Played>, Option<BoardError>) {
    let interrupted = Arc::<AtomicBool>::default();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let interrupted = Arc::clone(&interrupted);
        if let Ok(mut signals) = signal(kind) {
            tokio::spawn(async move {
                signals.recv().await;
                interrupted.store(true, Ordering::Release);
            });
        }
    }
    let mut all = Vec::new();
    for (nth, plan) in plans.into_iter().enumerate() {
        let stage = Stage {
            target: target.clone(),
            run: format!("{}-{nth}", ending.run_id()),
            out: arguments.out.clone(),
            interrupted: Arc::clone(&interrupted),
        };
        let id = plan.id.clone();
        match play(plan, stage, |row| say(arguments, &id, row)).await {
            Ok(played) => {
                let last = played.day.aborted.is_some() || played.day.unsteady.is_some();
                all.push(played);
                if last {
                    break;
                }
            }
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// Says one second.
#[expect(clippy::print_stderr, reason = "how far it is, for whoever waits")]
fn say(arguments: &Arguments, id: &str, row: &TimelineRow) {
    if !arguments.quiet {
        let hurt: u64 = row.scenarios.values().map(|tally| tally.hurt()).sum();
        let total: u64 = row.scenarios.values().map(|tally| tally.total).sum();
        let (at, phase, witness) = (row.t_ms / 1000, row.phase, row.witness);
        eprintln!("{id} {at:>3} s {phase:?}: {total} requests, {hurt} hurt, witness {witness}");
    }
}

fn plans(arguments: &Arguments) -> Result<Vec<Plan>, String> {
    if let Some(file) = &arguments.plan {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let plan = policy::read::<Plan>(&name, &text);
        let said = |findings: Vec<policy::Finding>| {
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        return plan.map_err(said).map(|plan| vec![plan]);
    }
    if arguments.faults.is_empty() {
        return Err("name a fault: --faults noop, or --plan FILE; --list has them all".to_owned());
    }
    arguments.faults.iter().map(|fault| shipped(fault, arguments.profiles)).collect()
}

fn shipped(fault: &str, profile: Profile) -> Result<Plan, String> {
    let kind = catalog::of(fault);
    let kind = kind.ok_or_else(|| format!("there is no fault {fault:?}; --list has them all"))?;
    let plan = catalog::plan_for(fault).ok_or_else(|| format!("{fault}: {}", kind.about))?;
    Ok(match profile {
        Profile::Standard => plan,
        Profile::Quick => {
            Plan { baseline_s: plan.baseline_s.min(3), fault_s: plan.fault_s.min(10), ..plan }
        }
    })
}

fn target(arguments: &Arguments) -> Result<Target, String> {
    let wrong = "--base-url is no address of a server, such as http://127.0.0.1:8787";
    let base = Url::parse(&arguments.base_url).ok().filter(Url::has_host).ok_or(wrong)?;
    let host = base.host_str().unwrap_or_default().to_owned();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !here && !arguments.allow_remote {
        return Err(format!("{host} is not this machine: game-day needs --allow-remote to ask it"));
    }
    let first = |texts: &String| texts.split(',').next().unwrap_or_default().trim().to_owned();
    Ok(Target {
        base,
        ops: super::operators_token(),
        webhook: arguments.webhook_secret.as_ref().map(first).map(Secret::new),
        chat: arguments.auth_token.clone().map(Secret::new),
    })
}

/// Asks whether it is meant, unless that was said before.
#[expect(clippy::print_stderr, reason = "a question to whoever sits there")]
fn consent(arguments: &Arguments, plans: &[Plan]) -> Result<(), String> {
    if arguments.yes {
        return Ok(());
    }
    let faults: Vec<_> = plans.iter().map(|plan| plan.fault.as_str()).collect();
    let what = format!("this breaks {} by {}", arguments.base_url, faults.join(", "));
    if !std::io::stdin().is_terminal() {
        return Err(format!("{what}: nobody is there to ask, so say --yes"));
    }
    eprintln!("{what}; type yes to go on");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    let meant = read.is_ok() && line.trim() == "yes";
    if meant { Ok(()) } else { Err("nothing was done".to_owned()) }
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn show(plans: &[Plan]) -> ExitCode {
    for plan in plans {
        println!("{}", serde_json::to_string_pretty(plan).unwrap_or_default());
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn list(arguments: &Arguments) -> ExitCode {
    let exercised = journal::exercised(&journal::read(&arguments.out));
    for kind in KINDS {
        let maker = match kind.maker {
            Maker::Server => "server",
            Maker::Client => "client",
            Maker::Nobody => "nobody",
        };
        let last = exercised.get(kind.runbook).map_or("never exercised", String::as_str);
        let (fault, about, runbook) = (kind.fault, kind.about, kind.runbook);
        println!("{fault:<25} {maker}  {about}\n{:25} RUNBOOK.md#{runbook}, {last}", "");
    }
    ExitCode::SUCCESS
}

/// Says what is wrong and that it is the caller's to mend.
#[expect(clippy::print_stderr, reason = "whoever ran the command reads why it failed")]
fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(super::EXIT_USAGE)
}
