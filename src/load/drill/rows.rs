//! What one scenario's run comes to: its rows, and whether they may be believed.

use serde_json::json;

use super::{Drilled, Order, Ran};
use crate::load::recorder::Recorder;
use crate::slo::gates::{self, Tally};
use crate::slo::policy::slo::ScenarioSlo;
use crate::slo::report::{Check, Histogram, Scenario};
use crate::slo::stats::Share;
use crate::slo::verdict::{CheckVerdict, Circumstance};

pub(super) fn judge(order: &Order, ran: Ran<'_>, found: &mut Drilled) {
    let Ran { name, slo, run, aborted } = ran;
    let run = match run {
        Ok(run) => run,
        Err(error) => return found.beside(Circumstance::Invalid, format!("{name}: {error}")),
    };
    let Some(recorder) = run.arms.first() else { return };
    let scenario = recorder.scenario(&name, run.model);
    let limits = [slo.slis.latency, slo.slis.first_byte];
    let tightest = limits.iter().flatten().map(|limit| limit.max_ms).min();
    if let Some(why) = recorder.schedule(tightest).invalid() {
        found.beside(Circumstance::Invalid, format!("{name}: {why}"));
    }
    if !scenario.conserves() {
        let why = format!("{name}: not every arrival is accounted for once");
        found.beside(Circumstance::Invalid, why);
    }
    match Tally::of(&scenario, slo) {
        Ok(tally) => found.checks.extend(gates::rows(&name, slo, &tally, &order.owners)),
        Err(error) => found.beside(Circumstance::Invalid, format!("{name}: {error}")),
    }
    found.checks.extend(refusals(order, &name, slo, &scenario, recorder));
    if let Some(gate) = aborted {
        // The rows of what was seen say the same, unless the last answers made it good again.
        found.beside(Circumstance::Inconclusive, format!("{name}: ended early, {gate}"));
    }
    let told = |histogram: &Histogram| {
        let at = |q| histogram.quantile_ms(q);
        json!({ "p50": at(0.5), "p99": at(0.99), "max": histogram.max_ms() })
    };
    let generator = json!({
        "lagSelfMs": told(recorder.lag_self()),
        "lagCapMs": told(recorder.lag_cap()),
        "streamGapMs": told(recorder.gap()),
        "cpuMs": run.cpu.map(|cpu| cpu.as_secs_f64() * 1000.0),
    });
    found.generator.insert(name, generator);
    found.scenarios.push(scenario);
}

/// Every refusal by a limit says when to come again (INTERFACE.md HT-2); a rule, not a rate.
fn refusals(
    order: &Order,
    name: &str,
    slo: &ScenarioSlo,
    scenario: &Scenario,
    recorder: &Recorder,
) -> Option<Check> {
    let statuses = scenario.statuses();
    let total = [429, 503].iter().filter_map(|status| statuses.get(status)).sum();
    let share = Share::new(recorder.bare_refusals(), total);
    let observed = share.rate()?;
    let (owner, runbook) = order.owners.of(&slo.subject());
    Some(Check {
        id: format!("{name}.retryAfter"),
        scenario: name.to_owned(),
        sli: "retryAfter".to_owned(),
        bad: share.bad,
        total,
        observed: Some(observed),
        ci95: None,
        op: "<=".to_owned(),
        threshold: 0.0,
        verdict: if share.bad == 0 { CheckVerdict::Pass } else { CheckVerdict::Fail },
        burn: None,
        owner: owner.clone(),
        runbook: runbook.map(str::to_owned),
        why: format!("{} of {total} refusals (429, 503) had no Retry-After", share.bad),
    })
}
