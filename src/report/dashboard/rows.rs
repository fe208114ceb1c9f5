//! The page as a report's rows, so that a CI and Prometheus read it like every other tool's.

use super::{BurnCell, Dashboard, Objective, Standing};
use crate::slo::report::Check;
use crate::slo::verdict::CheckVerdict;

impl Dashboard {
    /// Two rows an objective, named as the gate names them: `burn.SCENARIO.SLI.short` and `.long`.
    pub fn checks(&self) -> Vec<Check> {
        let both = |row: &Objective| {
            [("short", &row.short), ("long", &row.long)]
                .map(|(window, cell)| check(row, window, cell))
        };
        self.objectives.iter().flat_map(both).collect()
    }
}

fn check(row: &Objective, window: &str, cell: &BurnCell) -> Check {
    let (scenario, sli) = row.id.split_once('.').unwrap_or((row.id.as_str(), ""));
    let fresh = !matches!(row.standing(), Standing::NoData | Standing::Stale);
    Check {
        id: format!("burn.{}.{window}", row.id),
        scenario: scenario.to_owned(),
        sli: sli.to_owned(),
        bad: cell.bad,
        total: cell.total,
        observed: cell.burn,
        ci95: None,
        op: "<=".to_owned(),
        threshold: cell.limit,
        verdict: cell.verdict.filter(|_| fresh).unwrap_or(CheckVerdict::NoData),
        burn: cell.burn,
        owner: row.owner.clone(),
        runbook: row.runbook.clone(),
        why: cell.why.clone(),
    }
}
