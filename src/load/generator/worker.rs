//! One thread's part of a run: it waits for each arrival's time and starts its request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::{Part, Shared, order};
use crate::load::clock::RunClock;
use crate::load::connections::Pool;
use crate::load::exchange::{Patience, Seen, exchange};
use crate::load::plan::{Arrival, Model};
use crate::load::recorder::Recorder;
use crate::load::sample::{Received, Sample};

/// How long requests under way may go on once a run is cancelled.
const GRACE: Duration = Duration::from_secs(2);

/// Connections that are made ahead, at most, by each worker to each server.
const WARM: u16 = 16;

struct Worker {
    shared: Arc<Shared>,
    clock: RunClock,
    pools: Vec<Rc<Pool>>,
    recorders: RefCell<Vec<Recorder>>,
}

pub(super) async fn work(part: Part, shared: Arc<Shared>) -> Vec<Recorder> {
    let clock = part.clock;
    let pool = |arm: &super::Arm| Pool::new(arm.target.clone(), clock, shared.plan.client_ips);
    let pools: Vec<_> = shared.arms.iter().map(pool).collect();
    let rate = shared.plan.stages.first().map_or(1.0, |stage| stage.rate);
    let rate = rate / f64::from(part.workers);
    // Answers of 50 ms at this rate keep so many busy.
    let warm = (rate * 0.05).ceil().clamp(1.0, f64::from(WARM)) as u16;
    for pool in &pools {
        let pool = Rc::clone(pool);
        tokio::task::spawn_local(async move { pool.warm(warm).await });
    }
    let recorders = RefCell::new(vec![Recorder::default(); pools.len()]);
    let worker = Rc::new(Worker { shared, clock, pools, recorders });
    let mut requests = JoinSet::new();
    match worker.shared.plan.model {
        Model::Open => worker.send(part.arrivals, &mut requests).await,
        Model::Closed { concurrency, lasting } => {
            let (workers, own) = (u32::from(part.workers), u32::from(part.worker));
            let callers = (concurrency.max(1) + workers - 1 - own) / workers;
            worker.take_turns(callers, lasting, &mut requests).await;
        }
    }
    let cancelled = worker.shared.cancel.clone();
    let late = async {
        cancelled.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = ended(&mut requests) => {}
        () = late => requests.shutdown().await,
    }
    worker.recorders.take()
}

async fn ended(requests: &mut JoinSet<()>) {
    while requests.join_next().await.is_some() {}
}

impl Worker {
    /// The open model: each request at its time.
    async fn send(self: &Rc<Self>, arrivals: Vec<Arrival>, requests: &mut JoinSet<()>) {
        let cancel = self.shared.cancel.clone();
        for arrival in arrivals {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(self.clock.at(arrival.due_us)) => {}
            }
            for arm in order(self.shared.plan.seed, arrival.index, self.pools.len()) {
                let worker = Rc::clone(self);
                requests.spawn_local(async move { worker.one(arm, arrival).await });
            }
            // What has ended is let go, so that memory does not grow with the run.
            while requests.try_join_next().is_some() {}
        }
    }

    /// The closed model: callers that wait for their answers, stage by stage.
    async fn take_turns(
        self: &Rc<Self>,
        callers: u32,
        lasting: Option<Duration>,
        requests: &mut JoinSet<()>,
    ) {
        tokio::time::sleep_until(self.clock.at(0)).await;
        for (stage, plan) in (0..).zip(&self.shared.plan.stages) {
            let lasting = lasting.map(|it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX));
            let until_us = lasting.map(|it| self.clock.now_us().saturating_add(it));
            for _ in 0..callers {
                let worker = Rc::clone(self);
                requests.spawn_local(async move { worker.caller(stage, until_us).await });
            }
            tokio::select! {
                () = self.shared.cancel.cancelled() => return,
                () = ended(requests) => {}
            }
            tokio::time::sleep(plan.pause_after).await;
        }
    }

    async fn caller(&self, stage: u16, until_us: Option<u64>) {
        let stages = &self.shared.plan.stages;
        let before: u64 = stages.iter().take(stage.into()).map(|it| it.requests).sum();
        let (all, begun) =
            (stages[usize::from(stage)].requests, &self.shared.begun[usize::from(stage)]);
        while !self.shared.cancel.is_cancelled() {
            let due_us = self.clock.now_us();
            let place = begun.fetch_add(1, Ordering::Relaxed);
            if place >= all || until_us.is_some_and(|until_us| due_us >= until_us) {
                return;
            }
            let arrival = Arrival { stage, index: before.saturating_add(place), due_us };
            for arm in order(self.shared.plan.seed, arrival.index, self.pools.len()) {
                self.one(arm, arrival).await;
            }
        }
    }

    /// One arrival, to its end.
    async fn one(&self, arm: usize, arrival: Arrival) {
        let (slot, lag_cap_us) = self.slot(arm).await;
        let sent_us = self.clock.now_us();
        let Arrival { stage, index, due_us } = arrival;
        let mut sample = Sample {
            arm: arm as u8,
            stage,
            index,
            due_us,
            sent_us,
            lag_cap_us,
            end_us: sent_us,
            first_byte_us: None,
            gap_us: None,
            bare_refusal: false,
            result: Received::Dropped,
        };
        if slot.is_some() {
            self.shared.live.sent(arm, stage, sample.lag_self_us(), sent_us);
            self.exchange(arm, &mut sample).await;
        }
        let traffic = &self.shared.arms[arm].traffic;
        let bad = sample.status().is_none_or(|status| traffic.is_bad(status));
        self.shared.live.ended(&sample, bad);
        self.recorders.borrow_mut()[arm].record(sample, bad, self.shared.plan.samples);
    }

    async fn exchange(&self, arm: usize, sample: &mut Sample) {
        let plan = &self.shared.plan;
        let call = self.shared.arms[arm].traffic.call(sample.index);
        let client = (sample.index % u64::from(plan.client_ips.max(1))) as u16;
        let patience = Patience { total: plan.timeout, stall: plan.stall };
        let mut seen = Seen::default();
        let pool = &self.pools[arm];
        let result = exchange(pool, self.clock, (call, client), patience, &mut seen).await;
        sample.end_us = self.clock.now_us();
        sample.first_byte_us = seen.first_byte_us;
        sample.gap_us = seen.gap_us;
        sample.bare_refusal = seen.bare_refusal;
        sample.result = result.map_or_else(Received::Failed, Received::Status);
    }

    /// A slot, and how long it was waited for; none once patience has ended.
    async fn slot(&self, arm: usize) -> (Option<OwnedSemaphorePermit>, u64) {
        let slots = &self.shared.slots[arm];
        // Slots that are given back go to those in line first, so nobody passes them here.
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return (Some(slot), 0);
        }
        let from_us = self.clock.now_us();
        let slot = Arc::clone(slots).acquire_owned();
        let slot = tokio::time::timeout(self.shared.plan.patience, slot).await;
        (slot.ok().and_then(Result::ok), self.clock.now_us().saturating_sub(from_us))
    }
}
