//! The load generator: sends a plan's requests when they are due, to one server or to two.
//!
//! Each worker is a thread with a runtime of its own, so nothing of the caller's delays a send.
//! Workers share only the number of free slots, and the live view.
//!
//! # Invariants
//! - An arrival is sent, or counted as dropped; none is left out, unless the run is cancelled.
//! - Arms of a pair are sent together, in an order that the seed shuffles.
//!
//! # Use
//! ```text
//! let target = Target::parse("http://127.0.0.1:8787")?;
//! let traffic = Arc::new(scenarios::Webhook::whatsapp());
//! let plan = Plan::open(vec![StagePlan::of(300, 20.0)], seed);
//! let arms = vec![Arm { name: "control".into(), target, traffic }, candidate];
//! let generator = Generator::new(plan, arms).cancelled_by(token);
//! let live = generator.live();            // counts of each arm while it runs
//! let run = generator.run().await?;
//! run.arms[0].scenario("whatsapp_webhook", run.model);  // as a report keeps it
//! run.arms[0].schedule(Some(1500)).invalid();           // why it says nothing of the server
//! run.arms[1].samples();  // each arrival, with Plan { samples: Samples::Kept, .. }
//! ```

mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::clock::RunClock;
use super::live::Live;
use super::plan::{Arrival, Lots, Model, Plan};
use super::recorder::Recorder;
use super::traffic::{Target, Traffic};

/// In which connections are made before the first request is due.
const WARM_UP: Duration = Duration::from_millis(250);

/// One server of a run, and what is sent to it.
#[derive(Clone)]
pub struct Arm {
    /// What it is called in a report.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// What is sent.
    pub traffic: Arc<dyn Traffic>,
}

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the load generator's thread cannot be started: {0}")]
pub struct NotStarted(#[from] std::io::Error);

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// Arm by arm, in the order they were given.
    pub arms: Vec<Recorder>,
    /// Open or closed.
    pub model: Model,
    /// Whether it came to its planned end; a cancelled run counts only what had ended by then.
    pub whole: bool,
    /// Processor time of all its threads, where the system tells.
    pub cpu: Option<Duration>,
}

/// A run that has not begun.
pub struct Generator {
    shared: Arc<Shared>,
}

/// What the workers of a run share.
struct Shared {
    plan: Plan,
    arms: Vec<Arm>,
    slots: Vec<Arc<Semaphore>>,
    live: Arc<Live>,
    cancel: CancellationToken,
    /// Requests of each stage of the closed model that were begun.
    begun: Vec<AtomicU64>,
}

impl Generator {
    /// A plan for one server, or the same plan for several: each arrival is then sent to all.
    pub fn new(plan: Plan, arms: Vec<Arm>) -> Self {
        let slots = plan.max_inflight.max(1) as usize;
        let slots = arms.iter().map(|_| Arc::new(Semaphore::new(slots))).collect();
        let live = Arc::new(Live::of(arms.len()));
        let begun = plan.stages.iter().map(|_| AtomicU64::new(0)).collect();
        let cancel = CancellationToken::new();
        Self { shared: Arc::new(Shared { plan, arms, slots, live, cancel, begun }) }
    }

    /// The same, ended early by this token: nothing more is sent, what is under way gets 2 s.
    pub fn cancelled_by(mut self, cancel: CancellationToken) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.cancel = cancel.child_token();
        }
        self
    }

    /// Its counts while it runs.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.shared.live)
    }

    /// Runs it to its end, or until it is cancelled. Dropping the future leaves the threads to
    /// run on: cancel by the token.
    ///
    /// # Errors
    /// A thread could not be started; then nothing was sent that counts.
    pub async fn run(self) -> Result<Run, NotStarted> {
        let shared = self.shared;
        let workers = shared.plan.workers.max(1);
        let clock = RunClock::starting_in(WARM_UP);
        let arrivals = match shared.plan.model {
            Model::Open => shared.plan.arrivals(),
            Model::Closed { .. } => Vec::new(),
        };
        let mut ends = Vec::new();
        for worker in 0..workers {
            let own = arrivals.iter().skip(worker.into()).step_by(workers.into()).copied();
            let part = Part { worker, workers, clock, arrivals: own.collect() };
            match start(part, &shared) {
                Ok(end) => ends.push(end),
                Err(error) => {
                    shared.cancel.cancel();
                    return Err(error);
                }
            }
        }
        let mut arms = vec![Recorder::default(); shared.arms.len()];
        let mut cpu = Some(Duration::ZERO);
        for end in ends {
            let gone = || std::io::Error::other("it ended by a panic");
            let (recorders, used) = end.await.map_err(|_gone| gone())??;
            for (arm, recorder) in arms.iter_mut().zip(recorders) {
                arm.merge(recorder);
            }
            cpu = cpu.zip(used).map(|(sum, used)| sum + used);
        }
        let whole = !shared.cancel.is_cancelled();
        for arm in &mut arms {
            arm.settle(&shared.plan, whole);
        }
        Ok(Run { arms, model: shared.plan.model, whole, cpu })
    }
}

/// One worker's part of a run.
struct Part {
    worker: u16,
    workers: u16,
    clock: RunClock,
    arrivals: Vec<Arrival>,
}

type Ended = std::io::Result<(Vec<Recorder>, Option<Duration>)>;

fn start(part: Part, shared: &Arc<Shared>) -> Result<oneshot::Receiver<Ended>, NotStarted> {
    let (to, ended) = oneshot::channel();
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(format!("load-{}", part.worker));
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let recorders = runtime.map(|runtime| {
            let local = tokio::task::LocalSet::new();
            let recorders = local.block_on(&runtime, worker::work(part, shared));
            (recorders, used())
        });
        // Whoever asked may have left.
        drop(to.send(recorders));
    })?;
    Ok(ended)
}

/// Processor time of this thread until now.
fn used() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Which arm of a pair comes first: drawn from the seed and the arrival, so that it is the same
/// whoever sends it.
fn order(seed: u64, index: u64, arms: usize) -> impl Iterator<Item = usize> {
    let first = Lots::of(seed ^ index.wrapping_mul(0xA24B_AED4_963E_E407)).draw() as usize;
    (0..arms).map(move |place| (first % arms + place) % arms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_pair_each_arm_comes_first_half_of_the_time_and_both_come() {
        let pairs: Vec<Vec<_>> = (0..10_000).map(|index| order(7, index, 2).collect()).collect();
        assert!(pairs.iter().all(|pair| pair == &[0, 1] || pair == &[1, 0]));
        let first = pairs.iter().filter(|pair| pair[0] == 0).count();
        assert!((4_800..5_200).contains(&first), "{first}");
        let flips = pairs.windows(2).filter(|two| two[0] != two[1]).count();
        assert!((4_800..5_200).contains(&flips), "no pattern: {flips}");
    }
}
