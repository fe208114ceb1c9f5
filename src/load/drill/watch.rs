//! A drill while it runs: a line each second, and the rule that ends it early.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Order, Say};
use crate::load::live::{Counts, Live};
use crate::load::plan::Plan;
use crate::slo::policy::slo::ScenarioSlo;
use crate::slo::stats::Share;

/// How many looks in a row latency must be past its limit.
const SLOW_LOOKS: u32 = 3;

pub(super) struct Watch<'a> {
    pub(super) order: &'a Order,
    pub(super) name: &'a str,
    pub(super) slo: &'a ScenarioSlo,
    pub(super) plan: &'a Plan,
    pub(super) live: &'a Live,
}

impl Watch<'_> {
    /// Looks each second; ends the run, and itself with the reason, where a gate is certainly
    /// broken and `--abort-on-fail` was given.
    pub(super) async fn look(&self, cancel: CancellationToken, say: &Say<'_>) -> String {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut slow = 0;
        for second in 0.. {
            ticks.tick().await;
            let counts = self.live.counts(0);
            let broken = self.broken(&counts, &mut slow);
            say(self.line(second, &counts, broken.is_none()));
            let due = self.order.abort_on_fail.is_some_and(|delay| second >= delay.as_secs());
            if let (true, Some(broken)) = (due, broken) {
                cancel.cancel();
                return broken;
            }
        }
        unreachable!("seconds do not end")
    }

    /// The gate that is broken whatever comes: by the lower bound of its rate, not by its rate.
    fn broken(&self, counts: &Counts, slow: &mut u32) -> Option<String> {
        let slis = &self.slo.slis;
        let excluded = slis
            .http5xx
            .as_ref()
            .map_or(0, |slo| slo.exclude.iter().map(|status| counts.status(*status)).sum());
        let of_5xx = Share::new(counts.http5xx().saturating_sub(excluded), counts.done);
        let network = Share::new(counts.failed(), counts.done + counts.failed());
        let rates = [
            ("http5xx", slis.http5xx.as_ref().map(|slo| slo.max_rate), of_5xx),
            ("network", slis.network.map(|slo| slo.max_rate), network),
        ];
        for (sli, budget, share) in rates {
            if let Some(budget) = budget.filter(|budget| share.bounds()[0] > *budget) {
                let (bad, total) = (share.bad, share.total);
                return Some(format!("{sli}: {bad} of {total}, {:.1} % allowed", budget * 100.0));
            }
        }
        let limit = slis.latency.filter(|slo| counts.p95_ms > slo.max_ms as f64);
        *slow = if limit.is_some() { *slow + 1 } else { 0 };
        let limit = limit.filter(|_| *slow >= SLOW_LOOKS)?;
        Some(format!("latency: p95 {:.0} ms, {} ms allowed", counts.p95_ms, limit.max_ms))
    }

    fn line(&self, second: u64, counts: &Counts, kept: bool) -> String {
        let stages = &self.plan.stages;
        let stage = usize::from(counts.stage).min(stages.len() - 1);
        let Counts { inflight, p95_ms, lag_self_p99_ms, .. } = counts;
        format!(
            "{} {}/{} {} {} rps {:02}:{:02} in-flight {inflight} p95 {p95_ms:.0}ms 5xx {} 429 {} \
             lag {lag_self_p99_ms:.1}ms {}slo",
            self.order.profile.name(),
            stage + 1,
            stages.len(),
            self.name,
            stages[stage].rate,
            second / 60,
            second % 60,
            counts.http5xx(),
            counts.status(429),
            if kept { "✓" } else { "✗" },
        )
    }
}
