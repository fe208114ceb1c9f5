//! The queue against a list of jobs.

mod model;

use proptest::prelude::*;
use sendcat_state::job::{AttemptOutcome, JobKind, JobRules, NewJob, PartitionRules, QueueRules};
use sendcat_state::job_queue::{ClaimAnswer, JobChange, JobQueue, Report};
use sendcat_state::key::{InboxSource, LeaseId, TimedId, ToolKind};
use sendcat_state::machine::{Apply, Decision, RecordWrite, Table};
use sendcat_state::timestamp::Timestamp;

use self::model::Ledger;
use super::{Driven, Timed, at, cases, ms, recent, timed};

const MAX_ATTEMPTS: u32 = 3;

const KINDS: [JobKind; 3] = [
    JobKind::Tool(ToolKind::SearchWeb),
    JobKind::Tool(ToolKind::SearchProducts),
    JobKind::Inbox(InboxSource::Whatsapp),
];

/// What hands in, works, and sweeps.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Jobs of some kinds; the same number at the same moment is the same identifier.
    Enqueue {
        jobs: Vec<(usize, u64)>,
        cap: usize,
    },
    Claim {
        running: usize,
    },
    Renew {
        back: usize,
    },
    Report {
        back: usize,
        outcome: AttemptOutcome,
        random: u64,
    },
    GiveBack {
        back: usize,
    },
    Sweep,
}

fn rules(queued_max: usize, running_max: usize) -> QueueRules {
    let job = JobRules {
        lease: ms(30),
        max_attempts: MAX_ATTEMPTS,
        retry_base: ms(10),
        retry_cap: ms(15),
        ttl: None,
    };
    let mut kinds = [(PartitionRules { queued_max, running_max }, job); JobKind::COUNT];
    kinds[KINDS[1].index()].1.ttl = Some(ms(60));
    QueueRules { kinds, claim_scan: usize::MAX }
}

fn asks() -> impl Strategy<Value = Ask> {
    let jobs = prop::collection::vec((0..3_usize, 0..5_u64), 1..4);
    let cap = prop_oneof![4 => Just(4_usize), 1 => 0..5_usize];
    let running = prop_oneof![4 => Just(2_usize), 1 => 0..4_usize];
    let error = || "it failed".to_owned();
    let after = prop::option::of(prop::sample::select(vec![ms(0), ms(40)]));
    let write = RecordWrite::remove(Table::Evidence, b"effect".as_slice());
    let outcome = prop_oneof![
        2 => Just(AttemptOutcome::Done { writes: vec![write] }),
        3 => after.prop_map(move |after| AttemptOutcome::Retry { error: error(), after }),
        1 => Just(AttemptOutcome::Dead { error: error() }),
    ];
    let report = (0..4_usize, outcome, any::<u64>());
    prop_oneof![
        3 => (jobs, cap).prop_map(|(jobs, cap)| Ask::Enqueue { jobs, cap }),
        6 => running.prop_map(|running| Ask::Claim { running }),
        2 => (0..4_usize).prop_map(|back| Ask::Renew { back }),
        4 => report.prop_map(|(back, outcome, random)| Ask::Report { back, outcome, random }),
        1 => (0..4_usize).prop_map(|back| Ask::GiveBack { back }),
        2 => Just(Ask::Sweep),
    ]
}

fn new_jobs(now: Timestamp, jobs: &[(usize, u64)]) -> Vec<NewJob> {
    let job = |(kind, number): &(usize, u64)| NewJob {
        id: TimedId::new(now, *number),
        kind: KINDS[*kind],
        key: TimedId::new(now, *number).to_string(),
        payload: (*number > 2).then(|| "a query".to_owned()),
    };
    jobs.iter().map(job).collect()
}

/// What a worker holds, or once held.
pub(crate) type Ticket = (TimedId, LeaseId);

impl Driven for JobQueue {
    type Command = Ask;
    type Change = JobChange;
    type Memory = Vec<Ticket>;

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ask>>> {
        timed(asks(), 30, 80)
    }

    fn decide(
        &self,
        tickets: &mut Vec<Ticket>,
        command: &Timed<Ask>,
    ) -> Decision<String, JobChange> {
        let now = command.now;
        let rules = |cap, running| rules(cap, running);
        match &command.what {
            Ask::Enqueue { jobs, cap } => self
                .enqueue(now, &rules(*cap, 2), new_jobs(now, jobs), Vec::new())
                .map(|answer| format!("{answer:?}")),
            Ask::Claim { running } => {
                let decision = self.claim(now, &rules(4, *running), "a worker");
                if let ClaimAnswer::Claimed(job) = &decision.answer {
                    tickets.push((job.id, job.lease));
                }
                decision.map(|answer| format!("{answer:?}"))
            }
            Ask::Sweep => self.sweep(now, &rules(4, 2)).map(|()| "swept".into()),
            Ask::Renew { back } | Ask::Report { back, .. } | Ask::GiveBack { back } => {
                match recent(tickets, *back) {
                    Some(ticket) => self.of_worker(now, ticket, &command.what),
                    None => Decision::unchanged("no ticket".into()),
                }
            }
        }
    }
}

/// What a worker that was given a ticket does with it.
trait OfWorker {
    fn of_worker(&self, now: Timestamp, ticket: Ticket, ask: &Ask) -> Decision<String, JobChange>;
}

impl OfWorker for JobQueue {
    fn of_worker(
        &self,
        now: Timestamp,
        (id, lease): Ticket,
        ask: &Ask,
    ) -> Decision<String, JobChange> {
        let rules = rules(4, 2);
        match ask {
            Ask::Renew { .. } => {
                self.renew(now, &rules, id, lease).map(|renewed| format!("{renewed}"))
            }
            Ask::Report { outcome, random, .. } => self
                .report(now, &rules, (id, lease), outcome.clone(), *random)
                .map(|answer| format!("{answer:?}")),
            Ask::GiveBack { .. } => self.give_back(now, id, lease).map(|()| "given back".into()),
            Ask::Enqueue { .. } | Ask::Claim { .. } | Ask::Sweep => {
                Decision::unchanged("not a worker's".into())
            }
        }
    }
}

/// Sweeps until nothing changes, as the actor does.
fn sweep(queue: &mut JobQueue, now: Timestamp) {
    while queue.sweep(now, &rules(4, 2)).change.is_some() {
        queue.sweep(now, &rules(4, 2)).settle(queue);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn jq1_one_worker_holds_a_job(asks in JobQueue::commands()) {
        let (mut queue, mut tickets) = (JobQueue::default(), Vec::new());
        let mut held: Vec<(TimedId, Timestamp)> = Vec::new();
        for ask in asks {
            let known = tickets.len();
            let decision = queue.decide(&mut tickets, &ask);
            held.retain(|(_, ends)| ask.now < *ends);
            for (id, _) in &tickets[known..] {
                prop_assert!(held.iter().all(|(other, _)| other != id), "{} has a holder", id);
                held.push((*id, ask.now.after(ms(30))));
            }
            if let Some(change) = &decision.change {
                match change {
                    JobChange::Renewed { id, ends } => {
                        let lease = held.iter_mut().find(|(held, _)| held == id);
                        lease.expect("only who holds it renews").1 = *ends;
                    }
                    JobChange::Requeued { id, .. } | JobChange::Ended { id, .. } => {
                        held.retain(|(held, _)| held != id);
                    }
                    JobChange::Enqueued { .. }
                    | JobChange::Redelivered { .. }
                    | JobChange::Claimed { .. } => {}
                }
                queue.apply(change);
            }
        }
    }

    #[test]
    fn jq2_the_queue_decides_as_the_list_of_jobs_does(asks in JobQueue::commands()) {
        let (mut queue, mut ledger) = (JobQueue::default(), Ledger::default());
        let mut tickets = Vec::new();
        for ask in asks {
            let expected = ledger.turn(&tickets, &ask);
            prop_assert_eq!(queue.turn(&mut tickets, &ask), expected, "{:?}", ask);
            for kind in KINDS {
                prop_assert_eq!(queue.view(kind), ledger.view(kind));
            }
            let running: Vec<_> = queue.running_ids().filter(|id| queue.is_running(*id)).collect();
            prop_assert_eq!(running.len(), ledger.running());
        }
    }

    #[test]
    fn jq2_a_job_finishes_once_and_a_lapsed_lease_reports_nothing(asks in JobQueue::commands()) {
        let (mut queue, mut tickets) = (JobQueue::default(), Vec::new());
        let (mut ended, mut ends): (Vec<TimedId>, Vec<(Ticket, Timestamp)>) = Default::default();
        for ask in asks {
            let reporter = match &ask.what {
                Ask::Report { back, .. } | Ask::Renew { back } => recent(&tickets, *back),
                Ask::Enqueue { .. } | Ask::Claim { .. } | Ask::GiveBack { .. } | Ask::Sweep => None,
            };
            let known = tickets.len();
            let decision = queue.decide(&mut tickets, &ask);
            let new = tickets[known..].iter().map(|ticket| (*ticket, ask.now.after(ms(30))));
            ends.extend(new);
            let lease = ends.iter_mut().find(|(ticket, _)| Some(*ticket) == reporter);
            if let Some((_, ends)) = lease {
                prop_assert!(ask.now < *ends || decision.change.is_none(), "it had lapsed");
                if let Some(JobChange::Renewed { ends: renewed, .. }) = &decision.change {
                    *ends = *renewed;
                }
            }
            if decision.answer == format!("{:?}", Report::Stale) {
                prop_assert_eq!(&decision.change, &None);
                prop_assert_eq!(decision.writes.len(), 0, "dropped work writes nothing");
            }
            match &decision.change {
                Some(JobChange::Ended { id, .. }) => {
                    prop_assert!(!ended.contains(id), "{} ended twice", id);
                    ended.push(*id);
                }
                // What is handed in anew under an old identifier is a job of its own.
                Some(JobChange::Enqueued { jobs, .. }) => {
                    ended.retain(|id| jobs.iter().all(|job| job.id != *id));
                }
                Some(
                    JobChange::Claimed { .. }
                    | JobChange::Redelivered { .. }
                    | JobChange::Renewed { .. }
                    | JobChange::Requeued { .. },
                )
                | None => {}
            }
            decision.settle(&mut queue);
        }
    }

    #[test]
    fn jq3_a_backlog_never_passes_its_cap(asks in JobQueue::commands()) {
        let (mut queue, mut tickets) = (JobQueue::default(), Vec::new());
        for ask in asks {
            let before = KINDS.map(|kind| queue.view(kind).queued);
            queue.turn(&mut tickets, &ask);
            let after = KINDS.map(|kind| queue.view(kind).queued);
            if let Ask::Enqueue { cap, .. } = ask.what {
                for (before, after) in before.into_iter().zip(after) {
                    prop_assert!(after == before || after <= cap);
                }
            } else {
                // What comes back from a worker is never lost, even when the line is full.
                let grown = before.into_iter().zip(after).map(|(a, b)| b.saturating_sub(a));
                prop_assert!(grown.sum::<usize>() <= 1);
            }
        }
    }

    #[test]
    fn jq4_attempts_never_pass_the_maximum(
        asks in JobQueue::commands(),
        crashes in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (mut queue, mut tickets) = (JobQueue::default(), Vec::new());
        let crashes: Vec<_> = crashes.iter().map(|index| index.index(asks.len())).collect();
        for (place, ask) in asks.iter().enumerate() {
            let answer = queue.turn(&mut tickets, ask);
            let attempt = answer.split("attempt: ").nth(1).and_then(|rest| rest.split(',').next());
            let attempt: u32 = attempt.map_or(0, |number| number.parse().expect("a number"));
            prop_assert!(attempt <= MAX_ATTEMPTS, "{}", answer);
            if crashes.contains(&place) {
                queue.forget_leases(ask.now);
                sweep(&mut queue, ask.now);
                prop_assert_eq!(queue.running_ids().count(), 0);
            }
        }
    }

    #[test]
    fn jq5_a_full_tool_never_holds_up_another(asks in JobQueue::commands(), flood in 0..2_usize) {
        let (mut queue, mut tickets) = (JobQueue::default(), Vec::new());
        let mut now = at(0);
        for ask in asks {
            queue.turn(&mut tickets, &ask);
            now = ask.now;
        }
        let now = now.after(ms(1000));
        sweep(&mut queue, now);
        // One tool is flooded, and its runners are all taken.
        let flooded = vec![(flood, 90), (flood, 91), (flood, 92)];
        queue.enqueue(now, &rules(1000, 2), new_jobs(now, &flooded), vec![]).settle(&mut queue);
        while let ClaimAnswer::Claimed(_) =
            queue.claim(now, &rules(4, 2), "w").settle(&mut queue) {}
        let other = new_jobs(now, &[(flood + 1, 93)]);
        let mut rules = rules(0, 0);
        rules.kinds[KINDS[flood + 1].index()].0 =
            PartitionRules { queued_max: 1000, running_max: 1000 };
        let id = other[0].id;
        queue.enqueue(now, &rules, other, vec![]).settle(&mut queue);
        let claimed = std::iter::from_fn(|| {
            match queue.claim(now, &rules, "w").settle(&mut queue) {
                ClaimAnswer::Claimed(job) => Some((job.id, job.kind)),
                ClaimAnswer::Nothing { .. } => None,
            }
        });
        let claimed: Vec<_> = claimed.collect();
        prop_assert!(claimed.iter().any(|(job, _)| *job == id));
        prop_assert!(claimed.iter().all(|(_, kind)| *kind == KINDS[flood + 1]));
    }
}
