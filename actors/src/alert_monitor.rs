//! The monitor: single writer of limiter events and of the alerts that are raised of them.
//!
//! An event is offered and never waited for: whoever was refused is not held up by the telling of
//! it, and what finds no room is counted as dropped. [`Monitor::watch`] evaluates every five
//! minutes, when it begins, and when an operator asks; it hands alerts to the sink outside the
//! actor's turn, under a deadline. An alert that was not taken stays, and is handed over again by
//! the next round. Rounds come one after the other, so none is handed over twice at once.

mod said;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use sendcat_state::alert_monitor::{AlertMonitor, Evaluated, MonitorChange, MonitorRules};
use sendcat_state::alert_rules::{Alert, Alerts, Delivery};
use sendcat_state::events::{Events, Recorded, Refused};
use sendcat_state::key::{PerProvider, ProviderId, TimedId};
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::chance;
use crate::clock::SharedClock;
use crate::failure::{AskError, Concern};
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine};
use crate::ports::{AlertSink, Undelivered};
use crate::supervisor::Subtree;
use said::Said;

/// How often events are evaluated (log 1.4).
pub const EVERY: Duration = Duration::from_secs(5 * 60);

/// Alerts that one round hands over at most; the rest waits for the next.
const MOST_DELIVERIES: usize = 20;

/// How long a sink may take for one alert; it has clocks of its own, and this ends one without.
const SINK_DEADLINE: Duration = Duration::from_secs(3);

/// How long a round goes on handing alerts over.
const ROUND: Duration = Duration::from_secs(8);

/// How long an operator waits for a round: for the one that goes on and for their own.
const RUN_DEADLINE: Duration = Duration::from_secs(25);

/// Operators that may wait for a round at once.
const MOST_WAITING: usize = 16;

/// How long whoever looks waits for the newest, before what was published has to do.
const LOOK_DEADLINE: Duration = Duration::from_millis(100);

/// How often a full bulkhead is told to the monitor at most, whose cooldown decides.
const FULL_EVERY: Duration = Duration::from_millis(250);

/// What the monitor is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// A refusal, to be recorded.
    Record(Refused),
    /// A provider's bulkhead is full. The number tells its alert from others.
    Saturated(ProviderId, u64),
    /// What the events are worth. The number tells alerts from others.
    Evaluate(u64),
    /// Alerts that are still to be delivered.
    Pending,
    /// What became of an alert.
    Settle(TimedId, Delivery),
    /// All of it.
    Look,
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Record`].
    Recorded(Recorded),
    /// To [`Command::Saturated`]: whether an alert was raised.
    Saturated(bool),
    /// To [`Command::Evaluate`].
    Evaluated(Evaluated),
    /// To [`Command::Pending`].
    Pending(Vec<Alert>),
    /// To [`Command::Settle`].
    Settled,
    /// To [`Command::Look`].
    Seen(Arc<View>),
}

/// What operators see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The events of the last day.
    pub events: Events,
    /// The alerts of the last day.
    pub alerts: Alerts,
}

impl Machine for AlertMonitor {
    type Command = Command;
    type Answer = Answer;
    type Change = MonitorChange;
    type Rules = MonitorRules;
    type View = View;

    const KIND: &'static str = "alert_monitor";
    const CLASS: Class = Class::Snapshotted;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        now: Timestamp,
        rules: &MonitorRules,
        command: Command,
    ) -> Decision<Answer, MonitorChange> {
        match command {
            Command::Record(refused) => self.record(now, rules, refused).map(Answer::Recorded),
            Command::Saturated(provider, random) => {
                self.saturated(now, rules, random, provider).map(Answer::Saturated)
            }
            Command::Evaluate(random) => self.evaluate(now, rules, random).map(Answer::Evaluated),
            Command::Pending => Decision::unchanged(Answer::Pending(self.pending(MOST_DELIVERIES))),
            Command::Settle(id, delivery) => self.settle(id, delivery).map(|()| Answer::Settled),
            Command::Look => Decision::unchanged(Answer::Seen(Arc::new(Machine::view(self, now)))),
        }
    }

    fn housekeep(&self, now: Timestamp, _: &MonitorRules) -> Decision<(), MonitorChange> {
        self.sweep(now)
    }

    fn fingerprint(command: &Command) -> Option<u128> {
        match command {
            Command::Record(refused) => Some(refused.sameness()),
            Command::Saturated(..)
            | Command::Evaluate(_)
            | Command::Pending
            | Command::Settle(..)
            | Command::Look => None,
        }
    }

    fn view(&self, _: Timestamp) -> View {
        View { events: self.events().clone(), alerts: self.alerts().clone() }
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Alerts that it raised.
    pub created: usize,
    /// Alerts that the sink took in it.
    pub delivered: usize,
}

/// Where whoever asked for a round hears of it.
type Asked = oneshot::Sender<Result<Round, AskError>>;

/// The handle on the monitor.
#[derive(Clone)]
pub struct Monitor {
    monitor: Handle<AlertMonitor>,
    clock: SharedClock,
    inner: Arc<Inner>,
}

struct Inner {
    said: Said,
    /// When each provider's full bulkhead was told last, in milliseconds.
    full: PerProvider<AtomicU64>,
    /// Rung when there may be an alert to deliver.
    bell: Notify,
    rounds: mpsc::Sender<Asked>,
    asked: Mutex<Option<mpsc::Receiver<Asked>>>,
}

impl Monitor {
    pub(crate) fn new(
        subtree: &Arc<Subtree>,
        around: &Around,
        rules: MonitorRules,
        base: AlertMonitor,
    ) -> Self {
        let (rounds, asked) = mpsc::channel(MOST_WAITING);
        let inner = Inner {
            said: Said::default(),
            full: PerProvider::new(|_| AtomicU64::new(0)),
            bell: Notify::new(),
            rounds,
            asked: Mutex::new(Some(asked)),
        };
        Self {
            monitor: Handle::new("alert_monitor", subtree, around, rules, base),
            clock: around.clock.clone(),
            inner: Arc::new(inner),
        }
    }

    /// Offers a refusal to be recorded. Nobody waits; what finds no room is counted and dropped.
    pub fn record(&self, refused: Refused) {
        let now = self.clock.now();
        let same_for = self.monitor.rules().events.same_for;
        if self.inner.said.is_new(refused.sameness(), now, same_for) {
            self.monitor.offer(Concern::MonitorEvent, Command::Record(refused));
        }
    }

    /// Tells that every slot of a provider is taken. Of the one that alerts leave by nothing is
    /// told: an alert about it could not leave either.
    pub(crate) fn saturated(&self, provider: ProviderId) {
        if provider == ProviderId::SentryIngest {
            return;
        }
        let now = self.clock.now().as_millis();
        let told = self.inner.full.of(provider);
        let last = told.load(Ordering::Relaxed);
        let pause = FULL_EVERY.as_millis() as u64;
        if last != 0 && now < last.saturating_add(pause) {
            return;
        }
        told.store(now.max(1), Ordering::Relaxed);
        let full = Command::Saturated(provider, chance::number());
        self.monitor.offer(Concern::MonitorEvent, full);
        self.inner.bell.notify_one();
    }

    /// Evaluates now, beside the timer, and hands over what waits.
    ///
    /// # Errors
    /// [`AskError`] if nobody watches, too many wait already, or the monitor gives no answer.
    pub async fn run(&self) -> Result<Round, AskError> {
        if self.unwatched().is_some() {
            return Err(AskError::Down);
        }
        let (reply, round) = oneshot::channel();
        self.inner.rounds.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => AskError::Down,
        })?;
        match tokio::time::timeout(RUN_DEADLINE, round).await {
            Ok(Ok(round)) => round,
            Ok(Err(_)) => Err(AskError::Down),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// Evaluates when it begins and every five minutes, and hands alerts to the sink, for as long
    /// as it is polled. Without a sink alerts are raised and kept. A second watch ends at once.
    pub async fn watch(self, sink: Option<Arc<dyn AlertSink>>) {
        let Some(mut asked) = self.unwatched().take() else { return };
        let mut due = self.clock.now();
        loop {
            let wait = self.clock.now().until(due);
            tokio::select! {
                biased;
                // This handle is a sender too, so the channel does not close.
                Some(reply) = asked.recv() => {
                    let _ = reply.send(self.round(sink.as_ref()).await);
                }
                () = self.inner.bell.notified() => {
                    log(self.hand_over(sink.as_ref()).await);
                }
                () = tokio::time::sleep(wait) => {
                    due = self.clock.now().after(EVERY);
                    log(self.round(sink.as_ref()).await.map(|round| round.delivered));
                }
            }
        }
    }

    /// What a watch begins with, until one does.
    fn unwatched(&self) -> MutexGuard<'_, Option<mpsc::Receiver<Asked>>> {
        self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn round(&self, sink: Option<&Arc<dyn AlertSink>>) -> Result<Round, AskError> {
        let evaluating = self.monitor.ask(Command::Evaluate(chance::number()));
        let Answer::Evaluated(Evaluated { created }) = evaluating.await? else {
            return Err(AskError::Crashed);
        };
        let delivered = self.hand_over(sink).await?;
        Ok(Round { created, delivered })
    }

    /// Hands over what waits, oldest first, up to the first that is not taken; how many were.
    async fn hand_over(&self, sink: Option<&Arc<dyn AlertSink>>) -> Result<usize, AskError> {
        let Some(sink) = sink else { return Ok(0) };
        let Answer::Pending(pending) = self.monitor.ask(Command::Pending).await? else {
            return Err(AskError::Crashed);
        };
        let ends = self.clock.now().after(ROUND);
        let mut delivered = 0;
        for alert in pending {
            let now = self.clock.now();
            if now >= ends {
                break;
            }
            let id = alert.id;
            let handing = AssertUnwindSafe(sink.deliver(alert, now)).catch_unwind();
            let delivery = match tokio::time::timeout(SINK_DEADLINE, handing).await {
                Ok(Ok(Ok(()))) => {
                    delivered += 1;
                    Delivery::Delivered(now)
                }
                Ok(Ok(Err(Undelivered::Refused(why)))) => {
                    tracing::warn!(alert = %id, why, "an alert was refused for good");
                    Delivery::Refused(now)
                }
                Ok(Ok(Err(Undelivered::NotNow(why)))) => {
                    tracing::warn!(alert = %id, why, "an alert waits for the next round");
                    break;
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(alert = %id, "the sink panicked or hangs; alerts wait");
                    break;
                }
            };
            self.monitor.tell(Command::Settle(id, delivery));
        }
        Ok(delivered)
    }

    /// What there is now; if the monitor gives no answer at once, what it last published.
    pub async fn look(&self) -> Arc<View> {
        let asked = tokio::time::timeout(LOOK_DEADLINE, self.monitor.ask(Command::Look)).await;
        match asked {
            Ok(Ok(Answer::Seen(view))) => view,
            Ok(_) | Err(_) => self.monitor.view(),
        }
    }

    /// The actor.
    pub fn actor(&self) -> &Handle<AlertMonitor> {
        &self.monitor
    }
}

/// What a round by the timer came to is nobody's answer; a failure is somebody's to see.
fn log(round: Result<usize, AskError>) {
    if let Err(error) = round {
        tracing::warn!(%error, "alerts were not looked after; the next round does");
    }
}
