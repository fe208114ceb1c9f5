//! `sendcat dashboard`: trend and budget from report files, or what Grafana and Prometheus need to
//! watch a running sendcat.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use super::tool::{Common, Format, Found, Tool, files};
use crate::load::gameday::journal;
use crate::report::dashboard::{self, Dashboard, Policies, Read};
use crate::report::{human, junit, prometheus};
use crate::slo::policy::{GatePolicy, Owners, Policy as _, SloBaseline};
use crate::slo::report::{Kind, Report};
use crate::slo::verdict::RunVerdict;
use crate::telemetry::alerts;

/// The most bytes of one report: an hour of soak has less.
const MAX_BYTES: u64 = 64 << 20;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Print a dashboard of every metric, as JSON that Grafana imports.
    #[arg(long, conflicts_with = "prometheus_rules")]
    grafana: bool,
    /// Print the alert rules, as YAML that Prometheus loads.
    #[arg(long)]
    prometheus_rules: bool,
    /// Reports of each objective that are looked at.
    #[arg(long, value_name = "N", default_value = "12",
        value_parser = clap::value_parser!(u16).range(1..))]
    max_reports: u16,
    /// Writes the page as Markdown; slo-dashboard.md beside the reports unless named.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "auto")]
    out_md: Option<PathBuf>,
    /// Writes it as JSON; slo-dashboard.json beside the reports unless named.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "auto")]
    out_json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(super) fn run(arguments: Arguments) -> ExitCode {
    if arguments.grafana {
        println!("{:#}", alerts::grafana_dashboard());
    } else if arguments.prometheus_rules {
        print!("{}", alerts::prometheus_rules());
    } else {
        return page(arguments).unwrap_or_else(|code| code);
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what the command is for")]
fn page(arguments: Arguments) -> Result<ExitCode, ExitCode> {
    let Arguments { common, max_reports, out_md, out_json, .. } = arguments;
    let tool = Tool::begin(Kind::SloDashboard, common)?;
    let slo: SloBaseline = tool.policy(SloBaseline::FILE)?;
    let mut gate: GatePolicy = tool.policy(GatePolicy::FILE)?;
    gate.burn_rate.lookback_reports = usize::from(max_reports);
    let owners: Owners = tool.policy(Owners::FILE)?;
    let read = reports(&tool.common.out);
    let exercised = journal::exercised(&journal::read(&tool.common.out));
    let slo_hash = tool.input_hash(SloBaseline::FILE);
    let policies = Policies {
        slo: &slo,
        slo_hash: &slo_hash,
        gate: &gate,
        owners: &owners,
        exercised: &exercised,
    };
    let now = tool.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let found = Dashboard::of(&read, policies, usize::from(max_reports), now);
    let json = serde_json::to_string_pretty(&found).expect("it always encodes") + "\n";
    let wanted = [
        (out_md, "slo-dashboard.md", dashboard::markdown as fn(&_) -> String),
        (tool.common.html.clone(), "slo-dashboard.html", dashboard::html),
    ];
    let texts = wanted.into_iter().map(|(path, name, text)| (path, name, text(&found)));
    for (path, name, text) in texts.chain([(out_json, "slo-dashboard.json", json.clone())]) {
        let Some(path) = path else { continue };
        let path = if path == Path::new("auto") { tool.common.out.join(name) } else { path };
        if let Err(error) = files::replace(&path, text.as_bytes()) {
            eprintln!("the page cannot be written: {error}");
            return Err(ExitCode::from(super::EXIT_USAGE));
        }
        if !tool.common.quiet {
            eprintln!("wrote {}", path.display());
        }
    }
    let report = told(&tool, &found);
    match tool.common.format {
        Format::Json => print!("{json}"),
        Format::Md => print!("{}", dashboard::markdown(&found)),
        Format::Human => {
            println!("{}{}", dashboard::human(&found), human::verdict_line(&report));
        }
        Format::Junit => print!("{}", junit::text(&report)),
        Format::Prom => print!("{}", prometheus::text(&report)),
    }
    Ok(ExitCode::from(report.exit_code))
}

/// The page as a report. What was not measured is said in its rows; it ends the command only where
/// `--strict` asks (OPERATIONS.md §3).
fn told(tool: &Tool, found: &Dashboard) -> Report {
    let mut report = tool.report(Found { checks: found.checks(), ..Found::default() });
    if report.verdict == RunVerdict::Inconclusive && !tool.common.strict {
        report.exit_code = 0;
    }
    report
}

/// Every file of a folder that may be a report; what cannot be read is named. A folder that is not
/// there has none.
fn reports(folder: &Path) -> Read {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        // It is what this command writes.
        .filter(|path| path.file_name().is_some_and(|name| name != "slo-dashboard.json"))
        .collect();
    paths.sort();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = paths.len().div_ceil(cores).max(1);
    let mut all = Read::default();
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            paths.chunks(share).map(|part| scope.spawn(move || read_all(part))).collect();
        for (part, read) in paths.chunks(share).zip(parts) {
            match read.join() {
                Ok(read) => {
                    all.reports.extend(read.reports);
                    all.skipped.extend(read.skipped);
                }
                // What could not be read is named, whatever the reason.
                Err(_) => all.skipped.extend(
                    part.iter()
                        .map(|path| (path.display().to_string(), "its reader failed".to_owned())),
                ),
            }
        }
    });
    all
}

fn read_all(paths: &[PathBuf]) -> Read {
    let mut read = Read::default();
    for path in paths {
        let name = path.display().to_string();
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        if size > MAX_BYTES {
            read.skipped.push((name, format!("it has more than {MAX_BYTES} bytes")));
            continue;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => read.file(&name, &text),
            Err(error) => read.skipped.push((name, error.to_string())),
        }
    }
    read
}
