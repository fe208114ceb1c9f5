//! Workers: an attempt that fails is tried again, one job is in one worker's hands, and whoever
//! waits is told how it ended.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sendcat_actors::faults::FaultKind;
use sendcat_actors::job_queue::{Command, JobEnd, NoResult};
use sendcat_actors::ports::{Attempt, JobRunner, Running};
use sendcat_state::job::{AttemptOutcome, ClaimedJob, EventRow, EventStatus, JobKind};
use sendcat_state::job_queue::Enqueued;
use sendcat_state::machine::Table;
use sendcat_state::store::faulty::Times;

use crate::recovery::accept;
use crate::support::{
    Disk, INBOX, OTHER_TOOL, Runs, TOOL, done, in_virtual_time, job, millis, once, pass, restarts,
    seen, settle, stopwatch, tree_of, tree_with,
};

const LONG: Duration = Duration::from_secs(600);

/// Attempts so far, counted by the runner of a test.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn retry(error: &str) -> Attempt {
    let outcome = AttemptOutcome::Retry { error: error.into(), after: None };
    Attempt { outcome, result: None }
}

fn runs<F, R>(run: F) -> Arc<dyn JobRunner>
where
    F: Fn(ClaimedJob) -> R + Send + Sync + 'static,
    R: Future<Output = Attempt> + Send + 'static,
{
    Arc::new(Runs(run))
}

fn ended_well(result: &str) -> Result<JobEnd, NoResult> {
    Ok(JobEnd::Done(result.into()))
}

#[test]
fn a_result_reaches_whoever_waits_also_after_attempts_that_failed_or_panicked() {
    in_virtual_time(|| async {
        let runner = runs(|job: ClaimedJob| async move {
            match job.attempt {
                1 => retry("not yet"),
                2 => panic!("injected: job panic"),
                _ => done(format!("attempt {}", job.attempt)),
            }
        });
        let tree = tree_with(&Disk::default(), runner).await;
        let began = stopwatch();
        assert_eq!(tree.jobs.run(job(TOOL, 1), LONG).await, ended_well("attempt 3"));
        let waited = began.elapsed();
        assert!(millis(1200) <= waited && waited < millis(2500), "two delays: {waited:?}");
        let panics = (0..4).map(|number| restarts(&tree, &format!("tool_worker-{number}")));
        assert_eq!(panics.flatten().collect::<Vec<_>>(), [("decide", 1)]);
    });
}

#[test]
fn a_job_that_fails_every_time_is_a_dead_letter_after_its_last_attempt() {
    in_virtual_time(|| async {
        let (disk, attempts) = (Disk::default(), Count::default());
        let counted = attempts.clone();
        let runner = runs(move |_| {
            counted.up();
            async { panic!("injected: job panic") }
        });
        let tree = tree_with(&disk, runner).await;
        let given_up = Ok(JobEnd::GivenUp("the attempt panicked".into()));
        assert_eq!(tree.jobs.run(job(TOOL, 1), LONG).await, given_up);
        assert_eq!(attempts.get(), 3);
        assert_eq!(accept(&tree, 2).await, Ok(Enqueued::Queued));
        pass(Duration::from_secs(30)).await;
        let row = disk.record(Table::Events, &job(INBOX, 2).id.to_bytes()).unwrap();
        let row: EventRow = serde_json::from_slice(&row).unwrap();
        let seen = (row.status, row.attempts, row.error.as_deref());
        assert_eq!(seen, (EventStatus::Dead, 3, Some("the attempt panicked")));
    });
}

#[test]
fn a_lease_is_renewed_for_as_long_as_its_job_runs() {
    in_virtual_time(|| async {
        let attempts = Count::default();
        let counted = attempts.clone();
        let runner = runs(move |job: ClaimedJob| {
            counted.up();
            async move {
                tokio::time::sleep(Duration::from_secs(100)).await;
                done(job.key)
            }
        });
        let tree = tree_with(&Disk::default(), runner).await;
        assert_eq!(tree.jobs.run(job(TOOL, 1), LONG).await, ended_well("job-1"));
        assert_eq!(attempts.get(), 1, "three leases long, and nobody else got it");
    });
}

#[test]
fn a_worker_goes_on_with_its_job_while_the_queue_is_deaf() {
    in_virtual_time(|| async {
        let disk = Disk::default();
        let runner = runs(|job: ClaimedJob| async move {
            for _ in 0..400 {
                tokio::time::sleep(millis(50)).await;
            }
            done(job.key)
        });
        let tree = tree_with(&disk, runner).await;
        let running = tree.jobs.run(job(TOOL, 1), LONG);
        let outage = async {
            pass(Duration::from_secs(5)).await;
            disk.faults.fail_opens(Times::Always);
            disk.faults.fail_writes(Times::Always);
            let _ = accept(&tree, 2).await;
            pass(Duration::from_secs(10)).await;
            disk.faults.fail_opens(Times::Never);
            disk.faults.fail_writes(Times::Never);
        };
        let began = stopwatch();
        let (ended, ()) = tokio::join!(running, outage);
        assert_eq!(ended, ended_well("job-1"));
        assert!(began.elapsed() < Duration::from_secs(21), "{:?}", began.elapsed());
    });
}

/// Drops with the attempt that holds it.
struct Dropped(Count);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.up();
    }
}

#[test]
fn jq2_an_attempt_whose_lease_was_lost_is_dropped_and_its_job_done_once_by_another() {
    in_virtual_time(|| async {
        let (begun, dropped) = (Count::default(), Count::default());
        let (begins, drops) = (begun.clone(), dropped.clone());
        let (tell, lease) = std::sync::mpsc::channel();
        let runner = runs(move |job: ClaimedJob| {
            let first = begins.up() == 1;
            let _ = tell.send(job.lease);
            let guard = first.then(|| Dropped(drops.clone()));
            async move {
                let _guard = guard;
                if first {
                    tokio::time::sleep(LONG).await;
                }
                done(format!("attempt {}", job.attempt))
            }
        });
        let tree = tree_with(&Disk::default(), runner).await;
        let taken_away = async {
            pass(millis(300)).await;
            let lease = lease.try_recv().expect("the first attempt has begun");
            tree.jobs.actor().ask(Command::GiveBack(job(TOOL, 1).id, lease)).await.unwrap();
        };
        let (ended, ()) = tokio::join!(tree.jobs.run(job(TOOL, 1), LONG), taken_away);
        assert_eq!(
            ended,
            ended_well("attempt 1"),
            "the attempt that was given back counts for none"
        );
        pass(Duration::from_secs(11)).await;
        assert_eq!((begun.get(), dropped.get()), (2, 1));
    });
}

/// A runner with a deadline of its own.
struct Slow;

impl JobRunner for Slow {
    fn run(&self, job: ClaimedJob) -> Running {
        Box::pin(async move {
            if job.attempt == 1 {
                tokio::time::sleep(LONG).await;
            }
            done(job.key)
        })
    }

    fn deadline(&self, _: JobKind) -> Duration {
        Duration::from_secs(7)
    }
}

#[test]
fn an_attempt_past_its_deadline_is_ended_and_tried_again() {
    in_virtual_time(|| async {
        let tree = tree_with(&Disk::default(), Arc::new(Slow)).await;
        let began = stopwatch();
        assert_eq!(tree.jobs.run(job(TOOL, 1), LONG).await, ended_well("job-1"));
        let waited = began.elapsed();
        assert!(Duration::from_secs(7) < waited && waited < Duration::from_secs(9), "{waited:?}");
    });
}

#[test]
fn jq5_a_kind_at_its_cap_holds_up_no_other() {
    in_virtual_time(|| async {
        let (running, most) = (Count::default(), Arc::new(AtomicUsize::new(0)));
        let (counted, highest) = (running.clone(), Arc::clone(&most));
        let runner = runs(move |job: ClaimedJob| {
            let (counted, highest) = (counted.clone(), Arc::clone(&highest));
            async move {
                if job.kind == TOOL {
                    let now = counted.up();
                    highest.fetch_max(now, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    counted.0.fetch_sub(1, Ordering::SeqCst);
                }
                done(job.key)
            }
        });
        let tree = tree_with(&Disk::default(), runner).await;
        let flood = (0..100).map(|number| job(TOOL, number)).collect();
        assert_eq!(tree.jobs.enqueue(flood, Vec::new()).await, Ok(Enqueued::Queued));
        pass(millis(300)).await;
        let began = stopwatch();
        assert_eq!(tree.jobs.run(job(OTHER_TOOL, 1000), LONG).await, ended_well("job-1000"));
        assert!(began.elapsed() < millis(300), "{:?}", began.elapsed());
        pass(LONG).await;
        assert_eq!(most.load(Ordering::SeqCst), 2, "as many at once as the kind may run");
    });
}

#[test]
fn a_caller_that_waits_no_longer_hears_late_and_the_job_is_done_all_the_same() {
    in_virtual_time(|| async {
        let ends = Count::default();
        let counted = ends.clone();
        let runner = runs(move |job: ClaimedJob| {
            let counted = counted.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                counted.up();
                done(job.key)
            }
        });
        let tree = tree_with(&Disk::default(), runner).await;
        let late = tree.jobs.run(job(TOOL, 1), Duration::from_secs(1)).await;
        assert_eq!(late, Err(NoResult::Late));
        pass(Duration::from_secs(10)).await;
        assert_eq!(ends.get(), 1);
    });
}

#[test]
fn jq3_a_backlog_at_its_cap_refuses_by_the_tools_name() {
    in_virtual_time(|| async {
        let runner = runs(|_| std::future::pending());
        let tree = tree_of(&Disk::default(), runner, |options| {
            for (partition, _) in &mut options.jobs.kinds {
                partition.queued_max = 1;
                partition.running_max = 1;
            }
        })
        .await;
        for number in 0..2 {
            tree.jobs.enqueue(vec![job(TOOL, number)], Vec::new()).await.unwrap();
            pass(millis(1)).await;
        }
        let refused = tree.jobs.run(job(TOOL, 2), LONG).await;
        assert_eq!(refused, Err(NoResult::Saturated(TOOL)));
        assert_eq!(refused.unwrap_err().to_string(), "[queue_saturated:search_web]");
    });
}

#[test]
fn a_worker_that_dies_is_started_again_and_its_job_goes_to_another_when_the_lease_ends() {
    in_virtual_time(|| async {
        let tree =
            tree_with(&Disk::default(), runs(|job: ClaimedJob| async move { done(job.key) })).await;
        for number in 0..4 {
            tree.arm(&format!("tool_worker-{number}"), once(FaultKind::PanicTimer));
        }
        let began = stopwatch();
        let (ended, died) = tokio::join!(tree.jobs.run(job(TOOL, 1), LONG), async {
            pass(Duration::from_secs(5)).await;
            let views = (0..4).map(|number| seen(&tree, &format!("tool_worker-{number}")));
            let views: Vec<_> = views.collect();
            tree.clear_faults();
            assert!(
                views
                    .iter()
                    .all(|view| view.mailbox_depth == 0 && view.status.as_str() == "running")
            );
            views.iter().filter(|view| view.incarnation == 2).count()
        });
        assert_eq!((ended, died), (ended_well("job-1"), 1));
        let waited = began.elapsed();
        assert!(
            Duration::from_secs(30) <= waited && waited < Duration::from_secs(31),
            "{waited:?}"
        );
    });
}

#[test]
fn a_report_whose_answer_was_lost_still_reaches_whoever_waits() {
    in_virtual_time(|| async {
        let tree = tree_with(
            &Disk::default(),
            runs(|job: ClaimedJob| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                done(job.key)
            }),
        )
        .await;
        let struck = async {
            pass(millis(900)).await;
            // The next change of the queue is the end of the job, which the journal has by then.
            tree.arm("job_queue", once(FaultKind::PanicApply));
        };
        let (ended, ()) = tokio::join!(tree.jobs.run(job(TOOL, 1), LONG), struck);
        assert_eq!(ended, ended_well("job-1"));
        settle().await;
        assert_eq!(restarts(&tree, "job_queue"), [("apply", 1)]);
    });
}
