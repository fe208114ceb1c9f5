//! `--dry-run`: what a drill would send, and what so many requests can prove (OPERATIONS.md §5.1).

use std::fmt::Write as _;

use crate::load::drill::Order;
use crate::load::plan::Model;
use crate::slo::policy::slo::ScenarioSlo;
use crate::slo::stats::{events_to_prove, most_bad_to_prove};

/// The plan as people read it.
pub(super) fn text(order: &Order) -> String {
    let mut text = String::new();
    for name in order.names() {
        let plan = order.plan(&name);
        let requests = plan.requests();
        let model = match plan.model {
            Model::Open => "open",
            Model::Closed { lasting: None, .. } => "closed",
            Model::Closed { concurrency, lasting: Some(lasting) } => {
                let lasting = humantime::format_duration(lasting);
                let _ = writeln!(
                    text,
                    "{name}: as many requests as {concurrency} callers make in {lasting}, closed \
                     model: what they prove is known only after"
                );
                continue;
            }
        };
        let _ = writeln!(text, "{name}: {requests} requests, {model} model");
        for stage in &plan.stages {
            let (lasting, pause) = (stage.duration(), stage.pause_after);
            let _ = write!(text, "  {} @ {} rps, ", stage.requests, stage.rate);
            let _ = write!(text, "{:.1} s", lasting.as_secs_f64());
            if !pause.is_zero() {
                let _ = write!(text, ", pauseAfterMs {}", pause.as_millis());
            }
            text.push('\n');
        }
        match order.baseline.scenarios.get(&name) {
            Some(slo) => proofs(&mut text, slo, requests),
            None => text.push_str("  nothing is promised of it: skipped\n"),
        }
    }
    text
}

fn proofs(text: &mut String, slo: &ScenarioSlo, requests: u64) {
    let slis = &slo.slis;
    let budgets = [
        ("latency", slis.latency.map(|slo| slo.max_rate())),
        ("http5xx", slis.http5xx.as_ref().map(|slo| slo.max_rate)),
        ("network", slis.network.map(|slo| slo.max_rate)),
        ("unknownStatus", slis.unknown_status.map(|slo| slo.max_rate)),
        ("firstByte", slis.first_byte.map(|slo| slo.max_rate())),
        ("streamCut", slis.stream_cut.map(|slo| slo.max_rate)),
    ];
    for (sli, budget) in budgets {
        let Some(budget) = budget else { continue };
        // Of a binary fraction the product may end just below a whole number.
        let passes = (budget * requests as f64 + 1e-9).floor() as u64;
        let _ = write!(text, "  {sli} <= {:.2} %: passes up to {passes} bad", budget * 100.0);
        let said = match (most_bad_to_prove(requests, budget), events_to_prove(budget)) {
            (Some(most), _) => format!(", proved up to {most}"),
            (None, Some(needed)) => format!(", proves nothing: that takes {needed} requests"),
            (None, None) => String::new(),
        };
        let _ = writeln!(text, "{said}");
    }
}
