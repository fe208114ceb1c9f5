//! What no policy file can know of itself: whether its limits can ever be passed by the others'
//! numbers, whether its probes exist, whether somebody owns what is promised.

use crate::slo::burn::WORKBOOK;
use crate::slo::burn::runs::budgets;
use crate::slo::policy::gate::Required;
use crate::slo::policy::{GatePolicy, Owners, Problem, SloBaseline};

/// Problems of the gate's policy beside those objectives and probes.
///
/// A burn limit is rejected where it can never be passed: everything bad burns `1/budget`, so a
/// limit of that or more would block nothing (OPERATIONS.md §5.3, a).
pub fn of_gate(policy: &GatePolicy, slo: &SloBaseline, probes: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let burn = &policy.burn_rate;
    let limits = [
        ("shortWindowMaxBurnRate", burn.short_window_max_burn_rate),
        ("longWindowMaxBurnRate", burn.long_window_max_burn_rate),
    ];
    for (key, limit) in limits {
        if let Some((of, budget)) = widest(slo).filter(|(_, budget)| limit * budget >= 1.0) {
            let what = format!("{limit} can never be passed by {of}, whose budget is {budget}");
            let fix = format!("write less than {:.2}", 1.0 / budget);
            problems.push(Problem::new(format!("burnRate.{key}"), what, fix));
        }
    }
    if let Required::These(ids) = &policy.probes.required {
        for (place, id) in ids.iter().enumerate() {
            if !probes.contains(&id.as_str()) {
                let fix = format!("write one of {}", probes.join(", "));
                let path = format!("probes.required[{place}]");
                problems.push(Problem::new(path, format!("there is no probe {id:?}"), fix));
            }
        }
    }
    problems
}

/// A problem for each promised route that nobody but the default answers for.
pub fn of_owners(owners: &Owners, slo: &SloBaseline) -> Vec<Problem> {
    let subjects: Vec<String> = slo.scenarios.values().map(|scenario| scenario.subject()).collect();
    owners.unowned(subjects.iter().map(String::as_str))
}

/// A sentence for each indicator that a page of the workbook can never be about; an outage of it is
/// seen by the rule beside the pairs only.
pub fn never_paged(slo: &SloBaseline) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, scenario) in &slo.scenarios {
        for (sli, budget) in budgets(scenario) {
            for pair in WORKBOOK.iter().filter(|pair| !pair.can_fire(budget)) {
                let (factor, percent) = (pair.factor, 100.0 * pair.threshold(budget));
                notes.push(format!(
                    "{name}.{sli}: the pair of {factor} can never fire, for it asks for \
                     {percent:.0} % errors; an outage is seen by 95 % bad in 2 min or 3 failed \
                     probes"
                ));
            }
        }
    }
    notes
}

fn widest(slo: &SloBaseline) -> Option<(String, f64)> {
    let all = slo.scenarios.iter().flat_map(|(name, scenario)| {
        let budgets = budgets(scenario).into_iter();
        budgets.map(move |(sli, budget)| (format!("{name}.{sli}"), budget))
    });
    all.max_by(|a, b| a.1.total_cmp(&b.1))
}
