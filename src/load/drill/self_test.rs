//! `--self-test`: shows on this machine that corrected latencies are true, before they are used.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::Method;

use crate::load::generator::{Arm, Generator};
use crate::load::known_server::KnownServer;
use crate::load::plan::{Plan, StagePlan};
use crate::load::traffic::{Call, Target, Traffic};
use crate::slo::gates::Schedule;
use crate::slo::report::{Check, Scenario};
use crate::slo::verdict::CheckVerdict;

/// Stalls of a fifth of a second in every second: of four whole periods at 500 rps the 95th
/// percentile is 150 ms, the 99th 190 ms and the 99.9th 199 ms.
const STALL: Duration = Duration::from_millis(200);
const PERIOD: Duration = Duration::from_secs(1);
const PERIODS: u32 = 4;
const RATE: f64 = 500.0;

/// Why there was no self-test.
#[derive(Debug, thiserror::Error)]
pub enum NoSelfTest {
    /// No port or thread for the server.
    #[error("the server to test against cannot be started: {0}")]
    Server(#[from] std::io::Error),
    /// No thread for the generator.
    #[error(transparent)]
    Generator(#[from] crate::load::generator::NotStarted),
}

struct Get;

impl Traffic for Get {
    fn call(&self, _index: u64) -> Call {
        Call::new(Method::GET, "/")
    }
}

/// Drives a server that stands still at known times, in this process: a row for each quantile that
/// has a closed form, what was measured, and whether the schedule was kept.
///
/// # Errors
/// Neither server nor generator could be started.
pub async fn run(seed: u64) -> Result<(Vec<Check>, Scenario, Schedule), NoSelfTest> {
    let server = KnownServer::stalling(STALL, PERIOD)?;
    let target = Target::parse(&server.url()).expect("a loopback address is a target");
    let plan = Plan::open(vec![StagePlan::lasting(RATE, PERIOD * PERIODS)], seed);
    let arm = Arm { name: "self-test".to_owned(), target, traffic: Arc::new(Get) };
    let run = Generator::new(plan, vec![arm]).run().await?;
    let scenario = run.arms[0].scenario("self_test", run.model);
    let corrected = &scenario.latency_ms.corrected;
    let quantiles = [
        ("p95", 0.95, corrected.p95),
        ("p99", 0.99, corrected.p99),
        ("p999", 0.999, corrected.p999),
    ];
    let rows = quantiles.map(|(name, q, seen)| row(name, q, seen)).to_vec();
    let schedule = run.arms[0].schedule(None);
    Ok((rows, scenario, schedule))
}

fn row(name: &str, q: f64, seen: f64) -> Check {
    let (stall, period) = (STALL.as_secs_f64() * 1000.0, PERIOD.as_secs_f64() * 1000.0);
    let truth = stall * (1.0 - (1.0 - q) * period / stall);
    let (off, allowed) = ((seen - truth).abs(), f64::max(truth * 0.03, 10.0));
    Check {
        id: format!("self_test.{name}"),
        scenario: "self_test".to_owned(),
        sli: name.to_owned(),
        bad: 0,
        total: (RATE * (PERIOD * PERIODS).as_secs_f64()) as u64,
        observed: Some(off),
        ci95: None,
        op: "<=".to_owned(),
        threshold: allowed,
        verdict: if off <= allowed { CheckVerdict::Pass } else { CheckVerdict::Fail },
        burn: None,
        owner: Default::default(),
        runbook: None,
        why: format!("corrected {name} {seen:.1} ms, the truth is {truth:.1} ms"),
    }
}
