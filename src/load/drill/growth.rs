//! What grows while a server soaks: its own figures over time, and whether they have a slope.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Url};

use crate::slo::policy::Owners;
use crate::slo::report::Check;
use crate::slo::stats::slope;
use crate::slo::verdict::CheckVerdict;

/// What is watched: the row, the metric that says it, and its unit.
const WATCHED: [(&str, &str, &str); 5] = [
    ("memory", "sendcat_process_resident_memory_bytes", "bytes"),
    ("openFiles", "sendcat_process_open_files", "files"),
    ("tasks", "sendcat_process_threads", "threads"),
    ("mailboxDepth", "sendcat_actor_mailbox_depth", "commands"),
    ("stateBytes", "sendcat_journal_disk_size_bytes", "bytes"),
];

/// Figures of a server, each a line over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    lines: BTreeMap<&'static str, Vec<(f64, f64)>>,
}

impl Growth {
    /// Reads `/metrics` once; what it does not say has no point.
    pub(super) async fn look(&mut self, client: &Client, base: &Url, at: Duration) {
        let url = base.join("/metrics").expect("a path of ours is one");
        let Ok(answer) = client.get(url).send().await else { return };
        let Ok(text) = answer.text().await else { return };
        self.read(&text, at);
    }

    fn read(&mut self, text: &str, at: Duration) {
        for (row, metric, _) in WATCHED {
            let values = text.lines().filter_map(|line| value(line, metric));
            let sum = values.reduce(|sum, value| sum + value);
            if let Some(sum) = sum {
                self.lines.entry(row).or_default().push((at.as_secs_f64(), sum));
            }
        }
    }

    /// A row for each figure. The first quarter is left out: a server that warms up grows.
    pub(super) fn rows(&self, owners: &Owners) -> Vec<Check> {
        let row = |(row, metric, unit)| {
            let line = self.lines.get(row).map_or(&[][..], Vec::as_slice);
            let mut check = judged(row, metric, unit, &line[line.len() / 4..]);
            let (owner, runbook) = owners.of("process");
            check.owner = owner.clone();
            check.runbook = runbook.map(str::to_owned);
            check
        };
        WATCHED.into_iter().map(row).collect()
    }
}

/// The value of a line of Prometheus' text form, if it is of that metric.
fn value(line: &str, metric: &str) -> Option<f64> {
    let rest = line.strip_prefix(metric)?;
    let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
    rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()
}

fn judged(row: &str, metric: &str, unit: &str, line: &[(f64, f64)]) -> Check {
    let found = slope(line);
    let hour = 3600.0;
    let (verdict, why) = match found {
        None => (CheckVerdict::NoData, format!("{metric} was not seen often enough")),
        Some([low, middle, high]) => {
            let grows = low > 0.0;
            let verdict = if grows { CheckVerdict::Fail } else { CheckVerdict::Pass };
            let says = if grows { "grows by" } else { "has no rising slope:" };
            let (middle, low, high) = (middle * hour, low * hour, high * hour);
            (verdict, format!("{metric} {says} {middle:.1} {unit}/h (95 %: {low:.1} to {high:.1})"))
        }
    };
    Check {
        id: format!("soak.{row}"),
        scenario: String::new(),
        sli: row.to_owned(),
        bad: 0,
        total: line.len() as u64,
        observed: found.map(|[_, middle, _]| middle * hour),
        ci95: found.map(|[low, _, high]| [low * hour, high * hour]),
        op: "slope includes".to_owned(),
        threshold: 0.0,
        verdict,
        burn: None,
        owner: Default::default(),
        runbook: None,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(values: impl Iterator<Item = f64>) -> Vec<(&'static str, CheckVerdict)> {
        let mut growth = Growth::default();
        for (at, value) in (0..).zip(values) {
            let text = format!(
                "# TYPE sendcat_process_resident_memory_bytes gauge\n\
                 sendcat_process_resident_memory_bytes {value}\n\
                 sendcat_actor_mailbox_depth{{actor=\"a\"}} 1\n\
                 sendcat_actor_mailbox_depth{{actor=\"b\"}} {}\n",
                at % 2
            );
            growth.read(&text, Duration::from_secs(at));
        }
        let rows = growth.rows(&Owners::built_in());
        let names = WATCHED.iter().map(|(name, _, _)| *name);
        names.zip(rows.into_iter().map(|row| row.verdict)).collect()
    }

    use crate::slo::policy::Policy as _;

    #[test]
    fn a_leak_fails_noise_passes_and_what_was_not_told_is_no_data() {
        use CheckVerdict::{Fail, NoData, Pass};
        let leak = over((0..40).map(|at| 1e8 + f64::from(at) * 1e4 + f64::from(at * 7 % 5) * 1e3));
        assert_eq!(leak[0], ("memory", Fail));
        assert_eq!(leak[3], ("mailboxDepth", Pass));
        assert_eq!(leak[4], ("stateBytes", NoData));
        let noise = over((0..40).map(|at| 1e8 + f64::from(at * 7 % 5) * 1e6));
        assert_eq!(noise[0], ("memory", Pass));
        // Warm: what grew in the first quarter only.
        let warm = over((0..40).map(|at| 1e8 + f64::from(at.min(9)) * 1e6 + f64::from(at % 2)));
        assert_eq!(warm[0], ("memory", Pass));
    }
}
