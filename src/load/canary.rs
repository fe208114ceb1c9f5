//! Drives two servers side by side and asks the judge: one generator sends each request to both,
//! in an order that is shuffled pair by pair, so that both share every hiccup of the host
//! (OPERATIONS.md §5.4, steps 1 and 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::generator::{Arm, Generator, NotStarted};
use super::plan::{Plan, Samples, StagePlan};
use super::pressure::Waiting;
use super::recorder::Recorder;
use super::sample::{Received, Sample};
use super::traffic::{Call, Target, Traffic};
use crate::slo::canary::kept::Looked;
use crate::slo::canary::{self, Block, Ended, Judgement, Look, Pair};
use crate::slo::gates::{self, Tally};
use crate::slo::policy::slo::ScenarioSlo;
use crate::slo::policy::{CanaryPolicy, Owners};
use crate::slo::report::{Check, ErrorKind, HistogramError, Latencies, Measured, Scenario, Second};
use crate::slo::verdict::{CheckVerdict, RunVerdict};

/// What is compared.
pub struct Comparison {
    /// The server in service, and the one that is to replace it.
    pub targets: [Target; 2],
    /// What is sent, scenario by scenario in this order.
    pub scenarios: Vec<Asked>,
    /// The looks that may be taken, in order.
    pub looks: Vec<Look>,
    /// Past what a difference fails.
    pub policy: CanaryPolicy,
    /// Of gaps and of the order of arms.
    pub seed: u64,
    /// How long one request may take.
    pub timeout: Duration,
}

/// One scenario of a comparison.
pub struct Asked {
    /// Its name.
    pub name: String,
    /// What the control is sent, and what the candidate is: the same but for whose token it is.
    pub traffic: [Arc<dyn Traffic>; 2],
    /// Requests a second of each arm.
    pub rate: f64,
    /// What is promised of it.
    pub slo: ScenarioSlo,
}

/// What came of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// Of the last look.
    pub judgement: Judgement,
    /// The looks that were taken.
    pub looks: Vec<Looked>,
    /// Both arms of each scenario, `NAME@control` and `NAME@candidate`.
    pub scenarios: Vec<Scenario>,
    /// The candidate's own rows against its objectives.
    pub objectives: Vec<Check>,
}

/// Why there is nothing to judge.
#[derive(Debug, thiserror::Error)]
pub enum NotCompared {
    /// The generator did not start.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// A histogram of ours could not be read again.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

/// Traffic from a later request on: runs of one scenario never send the same request twice.
struct Later {
    traffic: Arc<dyn Traffic>,
    by: u64,
}

impl Traffic for Later {
    fn call(&self, index: u64) -> Call {
        self.traffic.call(index + self.by)
    }

    fn is_bad(&self, status: u16) -> bool {
        self.traffic.is_bad(status)
    }
}

/// One scenario so far.
#[derive(Default)]
struct Driven {
    /// Requests of each arm, warm-up included.
    sent: u64,
    blocks: Vec<Block>,
    arms: [Scenario; 2],
}

impl Comparison {
    /// Drives scenario after scenario and judges them together, look after look until one decides
    /// or the run is cancelled. `progress` is told how far it is.
    ///
    /// # Errors
    /// [`NotCompared`].
    pub async fn run(
        &self,
        owners: &Owners,
        cancel: &CancellationToken,
        progress: &dyn Fn(String),
    ) -> Result<Compared, NotCompared> {
        let mut driven: Vec<Driven> = self.scenarios.iter().map(|_| Driven::default()).collect();
        let mut looks: Vec<Looked> = Vec::new();
        let mut before = 0;
        let waiting = Waiting::start();
        for look in &self.looks {
            for (asked, driven) in self.scenarios.iter().zip(&mut driven) {
                progress(format!("{} up to {} per arm", asked.name, look.samples));
                self.drive(asked, look.samples - before, driven, cancel).await?;
            }
            before = look.samples;
            let (judgement, objectives) = self.judge(&driven, *look, waiting, owners)?;
            let verdict = judgement.verdict;
            looks.push(Looked::at(*look, verdict));
            progress(format!("{} after {} per arm", verdict.word(), look.samples));
            let last = looks.len() == self.looks.len();
            if last || verdict != RunVerdict::Inconclusive || cancel.is_cancelled() {
                let scenarios = driven.into_iter().flat_map(|driven| driven.arms).collect();
                return Ok(Compared { judgement, looks, scenarios, objectives });
            }
        }
        let judgement = canary::judge(&[], &self.policy, Look::only(0, &self.policy));
        Ok(Compared { judgement, looks, scenarios: Vec::new(), objectives: Vec::new() })
    }

    /// Sends so many more requests of a scenario to both, after a block that is not counted: both
    /// arms begin warm.
    async fn drive(
        &self,
        asked: &Asked,
        requests: u64,
        driven: &mut Driven,
        cancel: &CancellationToken,
    ) -> Result<(), NotCompared> {
        if driven.blocks.is_empty() {
            let warm = self.plan(self.policy.block_requests, asked.rate, 0);
            self.generator(warm, asked, 0, cancel).run().await?;
            driven.sent = self.policy.block_requests;
        }
        let mut plan = self.plan(requests, asked.rate, driven.sent);
        plan.samples = Samples::Kept;
        let run = self.generator(plan, asked, driven.sent, cancel).run().await?;
        driven.sent += requests;
        let per_block = self.policy.block_requests;
        driven.blocks.extend(blocks(&run.arms, per_block, &asked.slo));
        for ((arm, name), whole) in
            run.arms.iter().zip(["control", "candidate"]).zip(&mut driven.arms)
        {
            let id = format!("{}@{name}", asked.name);
            *whole = joined(std::mem::take(whole), arm.scenario(&id, run.model))?;
        }
        Ok(())
    }

    fn plan(&self, requests: u64, rate: f64, turn: u64) -> Plan {
        let plan = Plan::open(vec![StagePlan::of(requests, rate)], self.seed.wrapping_add(turn));
        Plan { timeout: self.timeout, ..plan }
    }

    fn generator(
        &self,
        plan: Plan,
        asked: &Asked,
        by: u64,
        cancel: &CancellationToken,
    ) -> Generator {
        let arm = |at: usize, name: &str| Arm {
            name: name.to_owned(),
            target: self.targets[at].clone(),
            traffic: Arc::new(Later { traffic: Arc::clone(&asked.traffic[at]), by }),
        };
        let arms = vec![arm(0, "control"), arm(1, "candidate")];
        Generator::new(plan, arms).cancelled_by(cancel.clone())
    }

    fn judge(
        &self,
        driven: &[Driven],
        look: Look,
        waiting: Waiting,
        owners: &Owners,
    ) -> Result<(Judgement, Vec<Check>), HistogramError> {
        let (mut pairs, mut objectives) = (Vec::new(), Vec::new());
        for (asked, driven) in self.scenarios.iter().zip(driven) {
            let tally = Tally::of(&driven.arms[1], &asked.slo)?;
            let mut rows = gates::rows(&asked.name, &asked.slo, &tally, owners);
            for row in &mut rows {
                row.id = format!("candidate.{}", row.id);
            }
            pairs.push(Pair {
                scenario: asked.name.clone(),
                blocks: driven.blocks.clone(),
                candidate_meets_slo: rows.iter().all(|row| row.verdict != CheckVerdict::Fail),
            });
            objectives.extend(rows);
        }
        Ok((canary::judge_on(waiting.percent(), &pairs, &self.policy, look), objectives))
    }
}

/// Both arms' samples as the judge's blocks: a pair has the same number in both.
fn blocks(arms: &[Recorder], per_block: u64, slo: &ScenarioSlo) -> Vec<Block> {
    let mut blocks: BTreeMap<u64, Block> = BTreeMap::new();
    for (at, arm) in arms.iter().enumerate() {
        for sample in arm.samples() {
            let block = blocks.entry(sample.index / per_block.max(1)).or_default();
            let samples = if at == 0 { &mut block.control } else { &mut block.candidate };
            samples.push(judged(sample, slo));
        }
    }
    blocks.into_values().collect()
}

/// A sample as the judge sees it.
fn judged(sample: &Sample, slo: &ScenarioSlo) -> canary::Sample {
    let excluded = slo.slis.http5xx.as_ref().map_or(&[][..], |slo| &slo.exclude);
    let ended = match sample.result {
        Received::Status(status) if status >= 500 && !excluded.contains(&status) => Ended::Http5xx,
        Received::Status(status) if status < 500 && !slo.expected_statuses.contains(&status) => {
            Ended::UnknownStatus
        }
        Received::Status(_) => Ended::Expected,
        Received::Failed(ErrorKind::Connect | ErrorKind::Dns | ErrorKind::Tls) => Ended::Unreached,
        Received::Failed(_) | Received::Dropped => Ended::Network,
    };
    let ms = |us: u64| us as f64 / 1000.0;
    canary::Sample {
        latency_ms: ms(sample.corrected_us()),
        lag_ms: ms(sample.lag_self_us()),
        ended,
    }
}

/// Two parts of one arm's run as one: stages and seconds follow each other, histograms are added.
fn joined(first: Scenario, then: Scenario) -> Result<Scenario, HistogramError> {
    if first.stages.is_empty() {
        return Ok(then);
    }
    let mut whole = first;
    whole.latency_ms = both(&whole.latency_ms, &then.latency_ms)?;
    for (class, measured) in then.by_status_class {
        let sum = match whole.by_status_class.get(&class) {
            Some(before) => both(before, &measured)?,
            None => measured,
        };
        whole.by_status_class.insert(class, sum);
    }
    // Of two parts a percentile is no higher than the higher of theirs.
    whole.lag_ms.p50 = whole.lag_ms.p50.max(then.lag_ms.p50);
    whole.lag_ms.p99 = whole.lag_ms.p99.max(then.lag_ms.p99);
    whole.lag_ms.max = whole.lag_ms.max.max(then.lag_ms.max);
    let seconds = whole.series.len() as u64;
    let later = |second: Second| Second { t: second.t + seconds, ..second };
    whole.series.extend(then.series.into_iter().map(later));
    whole.stages.extend(then.stages);
    Ok(whole)
}

fn both(first: &Measured, then: &Measured) -> Result<Measured, HistogramError> {
    let first_byte: Vec<_> = first.first_byte.iter().chain(&then.first_byte).collect();
    Ok(Measured {
        corrected: Latencies::merged([&first.corrected, &then.corrected])?,
        service: Latencies::merged([&first.service, &then.service])?,
        first_byte: match first_byte.is_empty() {
            true => None,
            false => Some(Latencies::merged(first_byte)?),
        },
    })
}
