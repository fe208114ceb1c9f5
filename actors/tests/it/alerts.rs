//! Rounds of the monitor: what they hand over, and what a sink, a flood or a restart costs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sendcat_actors::alert_monitor::{EVERY, Round};
use sendcat_actors::failure::{AskError, Concern};
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::observe::Status;
use sendcat_actors::ports::{AlertSink, Delivering, Undelivered};
use sendcat_actors::tree::Tree;
use sendcat_state::alert_rules::{Alert, AlertSubject, Delivery};
use sendcat_state::key::ProviderId;
use sendcat_state::timestamp::Timestamp;

use crate::containment::refused;
use crate::failure_direction::times;
use crate::support::{
    Disk, in_virtual_time, millis, once, pass, seen, settle, stopwatch, tree_without_workers,
};

/// What a sink says to the alerts that come; the last word holds for all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Yes,
    Later,
    Never,
    Panics,
    Hangs,
}

#[derive(Clone)]
struct Sink {
    says: Arc<Mutex<Says>>,
    given: Arc<Mutex<Vec<Alert>>>,
}

impl Sink {
    fn saying(says: Says) -> Self {
        Self { says: Arc::new(Mutex::new(says)), given: Arc::default() }
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn given(&self) -> usize {
        self.given.lock().unwrap().len()
    }
}

impl AlertSink for Sink {
    fn deliver(&self, alert: Alert, _: Timestamp) -> Delivering {
        self.given.lock().unwrap().push(alert);
        let says = *self.says.lock().unwrap();
        Box::pin(async move {
            match says {
                Says::Yes => Ok(()),
                Says::Later => Err(Undelivered::NotNow("busy".into())),
                Says::Never => Err(Undelivered::Refused("odd".into())),
                Says::Panics => panic!("a sink panicked"),
                Says::Hangs => std::future::pending().await,
            }
        })
    }
}

/// A tree whose monitor is watched.
async fn watched(disk: &Disk, sink: &Sink) -> Tree {
    let tree = tree_without_workers(disk).await;
    let sink: Arc<dyn AlertSink> = Arc::new(sink.clone());
    tokio::task::spawn_local(tree.monitor.clone().watch(Some(sink)));
    settle().await;
    tree
}

/// So many callers are refused: three are an alert.
fn refuses(tree: &Tree, callers: std::ops::Range<u64>) {
    callers.for_each(|number| tree.monitor.record(refused(number)));
}

const NONE: Round = Round { created: 0, delivered: 0 };

async fn deliveries(tree: &Tree) -> Vec<bool> {
    let alerts = tree.monitor.look().await;
    let taken = |alert: &Alert| matches!(alert.delivery, Delivery::Delivered(_));
    alerts.alerts.newest_first().map(taken).collect()
}

#[test]
fn three_callers_refused_are_one_alert_that_is_handed_over_once() {
    in_virtual_time(|| async {
        let sink = Sink::saying(Says::Yes);
        let tree = watched(&Disk::default(), &sink).await;
        refuses(&tree, 0..2);
        refuses(&tree, 0..2);
        assert_eq!(tree.monitor.run().await, Ok(NONE), "equal events are one");
        refuses(&tree, 2..3);
        assert_eq!(tree.monitor.run().await, Ok(Round { created: 1, delivered: 1 }));
        assert_eq!(tree.monitor.run().await, Ok(NONE));
        assert_eq!((sink.given(), deliveries(&tree).await), (1, vec![true]));
    });
}

#[test]
fn the_timer_evaluates_every_five_minutes_and_when_it_begins() {
    in_virtual_time(|| async {
        let sink = Sink::saying(Says::Yes);
        let tree = tree_without_workers(&Disk::default()).await;
        refuses(&tree, 0..3);
        let watching: Arc<dyn AlertSink> = Arc::new(sink.clone());
        tokio::task::spawn_local(tree.monitor.clone().watch(Some(watching)));
        settle().await;
        assert_eq!(sink.given(), 1, "at once");
        pass(EVERY - Duration::from_secs(5)).await;
        refuses(&tree, 0..3);
        settle().await;
        assert_eq!(sink.given(), 1);
        pass(Duration::from_secs(6)).await;
        assert_eq!(sink.given(), 2, "after five minutes");
    });
}

#[test]
fn an_alert_that_was_not_taken_stays_and_is_handed_over_by_the_next_round() {
    for says in [Says::Later, Says::Panics, Says::Hangs] {
        in_virtual_time(|| async {
            let sink = Sink::saying(says);
            let tree = watched(&Disk::default(), &sink).await;
            refuses(&tree, 0..3);
            let began = stopwatch();
            assert_eq!(tree.monitor.run().await, Ok(Round { created: 1, delivered: 0 }));
            assert!(began.elapsed() <= Duration::from_secs(4), "a round has its deadline");
            assert_eq!(deliveries(&tree).await, [false], "{says:?}");
            sink.says(Says::Yes);
            assert_eq!(tree.monitor.run().await, Ok(Round { created: 0, delivered: 1 }));
            assert_eq!(deliveries(&tree).await, [true], "{says:?}");
        });
    }
}

#[test]
fn an_alert_that_was_refused_for_good_is_kept_and_never_sent_again() {
    in_virtual_time(|| async {
        let sink = Sink::saying(Says::Never);
        let tree = watched(&Disk::default(), &sink).await;
        refuses(&tree, 0..3);
        assert_eq!(tree.monitor.run().await, Ok(Round { created: 1, delivered: 0 }));
        assert_eq!(tree.monitor.run().await, Ok(NONE));
        assert_eq!((sink.given(), deliveries(&tree).await), (1, vec![false]));
    });
}

#[test]
fn alerts_and_their_cooldowns_outlive_the_process() {
    let disk = Disk::default();
    let sink = Sink::saying(Says::Later);
    in_virtual_time(|| async {
        let tree = watched(&disk, &sink).await;
        refuses(&tree, 0..3);
        assert_eq!(tree.monitor.run().await, Ok(Round { created: 1, delivered: 0 }));
        pass(Duration::from_secs(2)).await;
    });
    disk.contents.cut_power();
    in_virtual_time(|| async {
        sink.says(Says::Yes);
        let tree = watched(&disk, &sink).await;
        assert_eq!(deliveries(&tree).await, [true], "the first round delivers what waited");
        assert_eq!(tree.monitor.run().await, Ok(NONE), "and the cooldown goes on");
    });
}

#[test]
fn who_is_refused_is_held_up_by_no_monitor_and_what_finds_no_room_is_counted() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let lost = |error| times(Concern::MonitorEvent, error);
        let (full, gone) =
            (AskError::Overloaded, AskError::Restarting { retry_after: Duration::ZERO });
        let before = lost(full);
        refuses(&tree, 0..5000);
        assert_eq!(lost(full) - before, 5000 - 4096);
        assert_eq!(seen(&tree, "alert_monitor").mailbox_depth, 4096);
        pass(millis(10)).await;
        assert_eq!(seen(&tree, "alert_monitor").mailbox_depth, 0);
        let before = lost(gone);
        tree.arm("alert_monitor", Fault { kind: FaultKind::PanicTimer, after: 0, times: 100 });
        pass(Duration::from_secs(3)).await;
        assert_eq!(seen(&tree, "alert_monitor").status, Status::Down);
        refuses(&tree, 5000..5010);
        assert_eq!(lost(gone) - before, 10, "nobody is there to be told");
        assert_eq!(tree.monitor.run().await, Err(AskError::Down), "and nobody watches");
    });
}

#[test]
fn a_full_bulkhead_is_an_alert_once_a_cooldown_and_the_alerts_own_is_none() {
    in_virtual_time(|| async {
        let sink = Sink::saying(Says::Yes);
        let tree = watched(&Disk::default(), &sink).await;
        let fills = async |provider| {
            let mut slots = Vec::new();
            while let Ok(slot) = tree.bulkheads.acquire(provider, "holds").await {
                slots.push(slot);
            }
            settle().await;
            slots
        };
        let own = fills(ProviderId::SentryIngest).await;
        assert_eq!(sink.given(), 0, "an alert about it could not leave either");
        let held = fills(ProviderId::SerperSearch).await;
        assert_eq!(sink.given(), 1, "at once, without a round");
        pass(Duration::from_secs(9)).await;
        drop((own, held));
        let held = fills(ProviderId::SerperSearch).await;
        assert_eq!(sink.given(), 1, "its cooldown runs");
        pass(Duration::from_secs(2)).await;
        let refused = tree.bulkheads.acquire(ProviderId::SerperSearch, "late").await;
        settle().await;
        assert!(refused.is_err());
        assert_eq!(sink.given(), 2);
        drop(held);
        let subjects: Vec<_> =
            sink.given.lock().unwrap().iter().map(|alert| alert.subject).collect();
        assert_eq!(subjects, [AlertSubject::Bulkhead(ProviderId::SerperSearch); 2]);
    });
}

#[test]
fn rounds_come_one_after_the_other_and_a_caller_who_leaves_costs_none() {
    in_virtual_time(|| async {
        let sink = Sink::saying(Says::Hangs);
        let tree = watched(&Disk::default(), &sink).await;
        refuses(&tree, 0..3);
        let left = tokio::time::timeout(millis(10), tree.monitor.run()).await;
        assert!(left.is_err(), "they left while it was handed over");
        sink.says(Says::Yes);
        let (one, other) = tokio::join!(tree.monitor.run(), tree.monitor.run());
        assert_eq!(one, Ok(Round { created: 0, delivered: 1 }));
        assert_eq!(other, Ok(NONE));
        assert_eq!(sink.given(), 2, "once by the round that failed, once by the next");
    });
}

#[test]
fn a_monitor_that_panics_answers_the_next_round() {
    in_virtual_time(|| async {
        let counted = AtomicUsize::new(0);
        let sink = Sink::saying(Says::Yes);
        let tree = watched(&Disk::default(), &sink).await;
        refuses(&tree, 0..3);
        settle().await;
        tree.arm("alert_monitor", once(FaultKind::PanicDecide));
        for _ in 0..3 {
            if let Ok(round) = tree.monitor.run().await {
                counted.fetch_add(round.created, Ordering::Relaxed);
            }
        }
        assert_eq!((counted.into_inner(), sink.given()), (1, 1));
    });
}
