//! A report as Prometheus' text, for a node exporter's directory of text files or a pushgateway.

use std::fmt::Write as _;

use crate::slo::report::{Check, Report};

type Value = fn(&Check) -> Option<f64>;

/// One metric of each check: name, what it is, and its value where there is one.
const PER_CHECK: [(&str, &str, Value); 5] = [
    ("observed", "What was observed.", |row| row.observed),
    ("threshold", "What it was held against.", |row| Some(row.threshold)),
    ("bad", "Bad events.", |row| Some(row.bad as f64)),
    ("events", "All events.", |row| Some(row.total as f64)),
    ("burn_rate", "How often the budget is spent at this rate.", |row| row.burn),
];

/// The metrics, each with `# HELP` and `# TYPE`.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let tool = label(report.kind.word());
    head(&mut out, "sendcat_run_exit_code", "The exit code of the last run.");
    let verdict = report.verdict.word();
    let _ = writeln!(
        out,
        "sendcat_run_exit_code{{tool={tool},verdict=\"{verdict}\"}} {}",
        report.exit_code
    );
    if let Some(ended) = report.ended() {
        head(&mut out, "sendcat_run_ended_seconds", "When it ended, since the Unix epoch.");
        let at = ended.as_secs_f64();
        let _ = writeln!(out, "sendcat_run_ended_seconds{{tool={tool}}} {at:.3}");
    }
    if !report.checks.is_empty() {
        head(&mut out, "sendcat_check_verdict", "1 for the verdict of each check.");
    }
    for row in &report.checks {
        let (id, word) = (label(&row.id), word(row));
        let team = label(&row.owner.team);
        let _ = writeln!(
            out,
            "sendcat_check_verdict{{tool={tool},check={id},owner={team},verdict=\"{word}\"}} 1"
        );
    }
    for (name, help, value) in PER_CHECK {
        let values: Vec<_> =
            report.checks.iter().filter_map(|row| Some((row, value(row)?))).collect();
        if values.is_empty() {
            continue;
        }
        head(&mut out, &format!("sendcat_check_{name}"), help);
        for (row, value) in values {
            let id = label(&row.id);
            let _ = writeln!(out, "sendcat_check_{name}{{tool={tool},check={id}}} {value}");
        }
    }
    latencies(&mut out, report);
    out
}

fn latencies(out: &mut String, report: &Report) {
    if report.scenarios.is_empty() {
        return;
    }
    head(out, "sendcat_latency_ms", "Percentiles of each scenario, milliseconds.");
    for scenario in &report.scenarios {
        let id = label(&scenario.id);
        let latency = &scenario.latency_ms;
        for (clock, of) in [("corrected", &latency.corrected), ("service", &latency.service)] {
            for (quantile, value) in
                [("0.5", of.p50), ("0.95", of.p95), ("0.99", of.p99), ("0.999", of.p999)]
            {
                let _ = writeln!(
                    out,
                    "sendcat_latency_ms{{scenario={id},clock=\"{clock}\",\
                     quantile=\"{quantile}\"}} {value}"
                );
            }
        }
    }
}

fn word(row: &Check) -> &'static str {
    row.verdict.marked().split(' ').next_back().unwrap_or_default()
}

fn head(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A value of a label, quoted.
fn label(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{text}\"")
}
