//! `sendcat gameday`: breaks one thing on purpose, and says whether what was expected came true.

mod ending;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;

use super::tool::{Common, Tool};
use crate::config::Secret;
use crate::load::gameday::catalog::{self, KINDS, Maker};
use crate::load::gameday::journal;
use crate::load::gameday::plan::Plan;
use crate::load::gameday::run::{Played, Stage, TimelineRow, play};
use crate::load::gameday::server::{BoardError, Target};
use crate::slo::policy::{Policy as _, SloBaseline};
use crate::slo::report::Kind;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
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
    /// Signs deliveries as the server expects them; without it none are sent.
    #[arg(long, hide = true, env = "WHATSAPP_APP_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Of whoever chats; anonymous sessions without it.
    #[arg(long, hide = true, env = "RELIABILITY_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// 3 s of baseline, at most 20 s of fault.
    Quick,
    /// As they ship.
    Standard,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        return list(arguments);
    }
    let begun = Tool::begin(Kind::GameDay, arguments.common.clone());
    let begun = begun.and_then(|tool| {
        let promised = tool.policy::<SloBaseline>(SloBaseline::FILE)?;
        Ok((plans(arguments, &tool)?, promised, tool))
    });
    let (plans, promised, tool) = match begun {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    if arguments.common.dry_run {
        return show(&plans);
    }
    let prepared = consent(arguments, &plans).and_then(|()| {
        let out = &arguments.common.out;
        std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok((target(arguments)?, runtime.map_err(|error| error.to_string())?))
    });
    let (target, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return refuse(&why),
    };
    let (played, error) = runtime.block_on(play_all(arguments, (target, promised), plans, &tool));
    // What is still on its way has nobody to tell.
    runtime.shutdown_background();
    ending::end(tool, &played, error)
}

/// Plays one after the other; one that was aborted is the last.
async fn play_all(
    arguments: &Arguments,
    (target, promised): (Target, SloBaseline),
    plans: Vec<Plan>,
    tool: &Tool,
) -> (Vec<Played>, Option<BoardError>) {
    let interrupted = Arc::<AtomicBool>::default();
    let (told, cancelled) = (Arc::clone(&interrupted), tool.cancelled());
    tokio::spawn(async move {
        cancelled.cancelled().await;
        told.store(true, Ordering::Release);
    });
    let progress = tool.progress();
    let run = ending::millis(tool.started());
    let mut all = Vec::new();
    for (nth, plan) in plans.into_iter().enumerate() {
        let stage = Stage {
            target: target.clone(),
            run: format!("{run:x}-{:x}-{nth}", std::process::id()),
            out: arguments.common.out.clone(),
            promised: promised.clone(),
            interrupted: Arc::clone(&interrupted),
        };
        let id = plan.id.clone();
        let mut phase = None;
        let tell = |row: &TimelineRow| {
            if phase.replace(row.phase) != Some(row.phase) && !arguments.common.quiet {
                begins(&id, row);
            }
            progress.line(&said(&id, row));
        };
        match play(plan, stage, tell).await {
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

/// Says where a game day stands from here on: nobody should wonder whether a fault is in force.
#[expect(clippy::print_stderr, reason = "how far it is, for whoever waits")]
fn begins(id: &str, row: &TimelineRow) {
    eprintln!("{id}: {:?} from {} s on", row.phase, row.t_ms / 1000);
}

/// One second, as it is said on the way.
fn said(id: &str, row: &TimelineRow) -> String {
    let hurt: u64 = row.scenarios.values().map(|tally| tally.hurt()).sum();
    let total: u64 = row.scenarios.values().map(|tally| tally.total).sum();
    let (at, phase, witness) = (row.t_ms / 1000, row.phase, row.witness);
    format!("{id} {at:>3} s {phase:?}: {total} requests, {hurt} hurt, witness {witness}")
}

fn plans(arguments: &Arguments, tool: &Tool) -> Result<Vec<Plan>, ExitCode> {
    if let Some(file) = &arguments.plan {
        return tool.policy_at::<Plan>(Some(file)).map(|plan| vec![plan]);
    }
    if arguments.faults.is_empty() {
        return Err(refuse("name a fault: --faults noop, or --plan FILE; --list has them all"));
    }
    let shipped = arguments.faults.iter().map(|fault| shipped(fault, arguments.profiles));
    shipped.collect::<Result<_, _>>().map_err(|why: String| refuse(&why))
}

fn shipped(fault: &str, profile: Profile) -> Result<Plan, String> {
    let kind = catalog::of(fault);
    let plan = catalog::plan_for(fault).ok_or_else(|| match kind {
        Some(kind) => format!("{fault}: {}", kind.about),
        None => format!("there is no fault {fault:?}; --list has them all"),
    })?;
    Ok(match profile {
        Profile::Standard => plan,
        Profile::Quick => {
            Plan { baseline_s: plan.baseline_s.min(3), fault_s: plan.fault_s.min(20), ..plan }
        }
    })
}

fn target(arguments: &Arguments) -> Result<Target, String> {
    let first = |texts: &String| texts.split(',').next().unwrap_or_default().trim().to_owned();
    let webhook = arguments.webhook_secret.as_ref().map(first).map(Secret::new);
    let chat = arguments.auth_token.clone().map(Secret::new);
    let target = Target::at(&arguments.common.base_url);
    let target = target.ok_or("--base-url is no address of a server")?;
    Ok(Target { ops: super::operators_token(), webhook, chat, ..target })
}

/// Asks whether it is meant, unless that was said before.
#[expect(clippy::print_stderr, reason = "a question to whoever sits there")]
fn consent(arguments: &Arguments, plans: &[Plan]) -> Result<(), String> {
    if arguments.yes {
        return Ok(());
    }
    let faults: Vec<_> = plans.iter().map(|plan| plan.fault.as_str()).collect();
    let whose = if plans.iter().all(Plan::needs_own_server) {
        "a server of its own"
    } else {
        &arguments.common.base_url
    };
    let what = format!("this breaks {whose} by {}", faults.join(", "));
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
    let exercised = journal::exercised(&journal::read(&arguments.common.out));
    for kind in KINDS {
        let maker = match kind.maker {
            Maker::Server => "server",
            Maker::Client => "client",
            Maker::Own => "own   ",
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
