//! Counts and histograms of one arm: written by one worker without a lock, merged at the end.
//!
//! # Invariants
//! - Every arrival is counted once: `planned = started + dropped`, and
//!   `started = Σ statuses + Σ errors`.
//! - No sample is ever made up: what was not measured is in no histogram.

use std::collections::BTreeMap;

use super::plan::{Model, Plan, Samples};
use super::sample::{Received, Sample};
use crate::slo::gates::Schedule;
use crate::slo::report::{
    Histogram, Lag, Latencies, Measured, Scenario, Second, Stage, StageLatency,
};

/// From so late on a request counts as late in the report.
const LATE_US: u64 = 100_000;

/// What one arm of a run was, until then.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    stages: Vec<StageCount>,
    all: Timed,
    by_class: BTreeMap<String, Timed>,
    lag: Histogram,
    lag_self: Histogram,
    lag_cap: Histogram,
    first_byte: Histogram,
    gap: Histogram,
    bare_refusals: u64,
    seconds: Vec<SecondCount>,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, Default)]
struct Timed {
    corrected: Histogram,
    service: Histogram,
}

#[derive(Clone, Debug, Default)]
struct StageCount {
    stage: Stage,
    corrected: Histogram,
    begin_us: Option<u64>,
    end_us: u64,
}

#[derive(Clone, Debug, Default)]
struct SecondCount {
    started: u64,
    done: u64,
    bad: u64,
    ended: u64,
    corrected_us: Vec<u32>,
}

/// Which class of its own a status is reported in: answers of design are fast and many, and would
/// hide the handler's (OPERATIONS.md §5.1).
pub fn class_of(status: u16) -> String {
    match status {
        401 | 403 | 429 | 503 => status.to_string(),
        _ => format!("{}xx", status / 100),
    }
}

impl Recorder {
    /// Counts one arrival that has ended; `bad` is for the series.
    pub fn record(&mut self, sample: Sample, bad: bool, keep: Samples) {
        let stage = usize::from(sample.stage);
        if self.stages.len() <= stage {
            self.stages.resize_with(stage + 1, StageCount::default);
        }
        self.stages[stage].record(&sample);
        let ended = self.second(sample.end_us);
        ended.bad += u64::from(bad);
        if sample.result != Received::Dropped {
            ended.ended += 1;
            self.second(sample.sent_us).started += 1;
            self.lag.record_us(sample.lag_us());
            self.lag_self.record_us(sample.lag_self_us());
        }
        self.lag_cap.record_us(sample.lag_cap_us);
        self.bare_refusals += u64::from(sample.bare_refusal);
        if let Some(first_byte_us) = sample.first_byte_us {
            self.first_byte.record_us(first_byte_us.saturating_sub(sample.due_us));
        }
        if let Some(gap_us) = sample.gap_us {
            self.gap.record_us(gap_us);
        }
        if let Some(status) = sample.status() {
            let ended = self.second(sample.end_us);
            ended.done += 1;
            let corrected_us = u32::try_from(sample.corrected_us()).unwrap_or(u32::MAX);
            ended.corrected_us.push(corrected_us);
            self.all.record(&sample);
            self.by_class.entry(class_of(status)).or_default().record(&sample);
        }
        if keep == Samples::Kept {
            self.samples.push(sample);
        }
    }

    fn second(&mut self, us: u64) -> &mut SecondCount {
        let second = usize::try_from(us / 1_000_000).unwrap_or(0);
        if self.seconds.len() <= second {
            self.seconds.resize_with(second + 1, SecondCount::default);
        }
        &mut self.seconds[second]
    }

    /// Adds what another worker counted of the same arm.
    pub fn merge(&mut self, other: Self) {
        let stages = self.stages.len().max(other.stages.len());
        self.stages.resize_with(stages, StageCount::default);
        for (own, other) in self.stages.iter_mut().zip(&other.stages) {
            own.merge(other);
        }
        self.all.merge(&other.all);
        for (class, timed) in &other.by_class {
            self.by_class.entry(class.clone()).or_default().merge(timed);
        }
        self.lag.merge(&other.lag);
        self.lag_self.merge(&other.lag_self);
        self.lag_cap.merge(&other.lag_cap);
        self.first_byte.merge(&other.first_byte);
        self.gap.merge(&other.gap);
        self.bare_refusals += other.bare_refusals;
        let seconds = self.seconds.len().max(other.seconds.len());
        self.seconds.resize_with(seconds, SecondCount::default);
        for (own, other) in self.seconds.iter_mut().zip(other.seconds) {
            own.started += other.started;
            own.done += other.done;
            own.bad += other.bad;
            own.ended += other.ended;
            own.corrected_us.extend(other.corrected_us);
        }
        self.samples.extend(other.samples);
        self.samples.sort_unstable_by_key(|sample| (sample.arm, sample.index));
    }

    /// Says what was planned; of a run that was ended early, or of a closed one, what came of it.
    pub(super) fn settle(&mut self, plan: &Plan, whole: bool) {
        self.stages.resize_with(plan.stages.len(), StageCount::default);
        for (count, planned) in self.stages.iter_mut().zip(&plan.stages) {
            let stage = &mut count.stage;
            stage.rate = planned.rate;
            stage.pause_after_ms = u64::try_from(planned.pause_after.as_millis()).unwrap_or(0);
            let counted = plan.model == Model::Open && whole;
            stage.planned = if counted { planned.requests } else { stage.started + stage.dropped };
            // Of arrivals over a time, the last one's gap is part of it.
            let took_us = count.end_us.saturating_sub(count.begin_us.unwrap_or_default());
            let planned_us = planned.duration().as_micros() as u64;
            let over_us = if counted { took_us.max(planned_us) } else { took_us };
            let answers: u64 = stage.statuses.values().sum();
            stage.throughput = answers as f64 / (over_us.max(1) as f64 / 1e6);
            stage.latency_ms = StageLatency::of(&count.corrected);
        }
    }

    /// Single samples in the order of arrival, if the plan kept them.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The same, with the recorder given up.
    pub fn into_samples(self) -> Vec<Sample> {
        self.samples
    }

    /// The lag that is the generator's own.
    pub fn lag_self(&self) -> &Histogram {
        &self.lag_self
    }

    /// The wait for a free slot, of all arrivals.
    pub fn lag_cap(&self) -> &Histogram {
        &self.lag_cap
    }

    /// The longest gap between chunks of each stream.
    pub fn gap(&self) -> &Histogram {
        &self.gap
    }

    /// Refusals, 429 and 503, that did not say when to come again.
    pub fn bare_refusals(&self) -> u64 {
        self.bare_refusals
    }

    /// What the generator did against what it had planned; the rule of INVALID is there.
    pub fn schedule(&self, tightest_limit_ms: Option<u64>) -> Schedule {
        let sum = |of: fn(&Stage) -> u64| self.stages.iter().map(|it| of(&it.stage)).sum();
        // A histogram holds nothing below 1 µs, and no wait is no wait.
        let lag_cap_max_ms = self.lag_cap.max_ms();
        Schedule {
            planned: sum(|stage| stage.planned),
            started: sum(|stage| stage.started),
            lag_self_p99_ms: self.lag_self.quantile_ms(0.99),
            lag_cap_max_ms: if lag_cap_max_ms <= 0.001 { 0.0 } else { lag_cap_max_ms },
            tightest_limit_ms,
        }
    }

    /// The scenario as a report keeps it.
    pub fn scenario(&self, id: &str, model: Model) -> Scenario {
        let first_byte = (self.first_byte.count() > 0).then(|| Latencies::of(&self.first_byte));
        let latency_ms = Measured { first_byte, ..self.all.measured() };
        let by_class = self.by_class.iter().map(|(class, it)| (class.clone(), it.measured()));
        Scenario {
            id: id.to_owned(),
            model: match model {
                Model::Open => "open".to_owned(),
                Model::Closed { .. } => "closed".to_owned(),
            },
            stages: self.stages.iter().map(|count| count.stage.clone()).collect(),
            lag_ms: Lag {
                p50: self.lag.quantile_ms(0.5),
                p99: self.lag.quantile_ms(0.99),
                max: self.lag.max_ms(),
            },
            latency_ms,
            by_status_class: by_class.collect(),
            series: self.series(),
        }
    }

    fn series(&self) -> Vec<Second> {
        let mut inflight = 0;
        let mut series = Vec::with_capacity(self.seconds.len());
        for (t, count) in (0..).zip(&self.seconds) {
            inflight = (inflight + count.started).saturating_sub(count.ended);
            let mut sorted = count.corrected_us.clone();
            sorted.sort_unstable();
            let at = |q| {
                let us = crate::slo::stats::quantile(&sorted, q).unwrap_or_default();
                f64::from(us) / 1000.0
            };
            series.push(Second {
                t,
                started: count.started,
                done: count.done,
                bad: count.bad,
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                inflight,
            });
        }
        series
    }
}

impl StageCount {
    fn record(&mut self, sample: &Sample) {
        let stage = &mut self.stage;
        match sample.result {
            Received::Dropped => {
                stage.dropped += 1;
                return;
            }
            Received::Status(status) => {
                *stage.statuses.entry(status).or_default() += 1;
                self.corrected.record_us(sample.corrected_us());
            }
            Received::Failed(kind) => *stage.errors.entry(kind).or_default() += 1,
        }
        stage.started += 1;
        stage.late_over_100_ms += u64::from(sample.lag_us() > LATE_US);
        self.begin_us =
            Some(self.begin_us.map_or(sample.due_us, |begin_us| begin_us.min(sample.due_us)));
        self.end_us = self.end_us.max(sample.end_us);
    }

    fn merge(&mut self, other: &Self) {
        let (own, it) = (&mut self.stage, &other.stage);
        own.started += it.started;
        own.dropped += it.dropped;
        own.late_over_100_ms += it.late_over_100_ms;
        for (status, count) in &it.statuses {
            *own.statuses.entry(*status).or_default() += count;
        }
        for (kind, count) in &it.errors {
            *own.errors.entry(*kind).or_default() += count;
        }
        self.corrected.merge(&other.corrected);
        self.begin_us = self.begin_us.into_iter().chain(other.begin_us).min();
        self.end_us = self.end_us.max(other.end_us);
    }
}

impl Timed {
    fn record(&mut self, sample: &Sample) {
        self.corrected.record_us(sample.corrected_us());
        self.service.record_us(sample.service_us());
    }

    fn merge(&mut self, other: &Self) {
        self.corrected.merge(&other.corrected);
        self.service.merge(&other.service);
    }

    fn measured(&self) -> Measured {
        Measured {
            corrected: Latencies::of(&self.corrected),
            service: Latencies::of(&self.service),
            first_byte: None,
        }
    }
}
