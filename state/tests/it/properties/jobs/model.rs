//! The queue as a list that is searched from end to end.

use sendcat_state::job::{AttemptOutcome, ClaimedJob, JobKind, NewJob};
use sendcat_state::job_queue::{ClaimAnswer, Enqueued, PartitionView, Report};
use sendcat_state::key::LeaseId;
use sendcat_state::timestamp::Timestamp;

use super::super::{Timed, ms, recent};
use super::{Ask, KINDS, MAX_ATTEMPTS, Ticket, new_jobs};

#[derive(Clone, Debug)]
struct Entry {
    job: NewJob,
    since: Timestamp,
    attempts: u32,
    stands: Stands,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Waits { due: Timestamp },
    Runs { lease: LeaseId, since: Timestamp, ends: Timestamp },
}

/// Every job that waits or runs, in no order, and of those that ended: which and how.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    leases: u64,
    over: Vec<(NewJob, bool)>,
}

impl Entry {
    /// The second kind lives for 60 ms.
    fn is_too_old(&self, now: Timestamp) -> bool {
        self.job.kind == KINDS[1] && now >= self.since.after(ms(60))
    }
}

impl Ledger {
    pub(super) fn turn(&mut self, tickets: &[Ticket], ask: &Timed<Ask>) -> String {
        let now = ask.now;
        match &ask.what {
            Ask::Enqueue { jobs, cap } => {
                format!("{:?}", self.enqueue(now, new_jobs(now, jobs), *cap))
            }
            Ask::Claim { running } => format!("{:?}", self.claim(now, *running)),
            Ask::Sweep => {
                self.sweep(now);
                "swept".into()
            }
            Ask::Renew { back } | Ask::Report { back, .. } | Ask::GiveBack { back } => {
                let Some(ticket) = recent(tickets, *back) else { return "no ticket".into() };
                let place = self.held(now, ticket);
                match &ask.what {
                    Ask::Report { outcome, random, .. } => {
                        let report = place.map(|place| self.report(now, place, outcome, *random));
                        format!("{:?}", report.unwrap_or(Report::Stale))
                    }
                    Ask::Renew { .. } => {
                        if let Some(place) = place {
                            let Stands::Runs { ends, .. } = &mut self.entries[place].stands else {
                                unreachable!("a held job runs")
                            };
                            *ends = now.after(ms(30));
                        }
                        format!("{}", place.is_some())
                    }
                    Ask::GiveBack { .. } | Ask::Enqueue { .. } | Ask::Claim { .. } | Ask::Sweep => {
                        if let Some(place) = place {
                            self.entries[place].attempts -= 1;
                            self.entries[place].stands = Stands::Waits { due: now };
                        }
                        "given back".into()
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, now: Timestamp, jobs: Vec<NewJob>, cap: usize) -> Enqueued {
        let mut fresh: Vec<NewJob> = Vec::new();
        for job in jobs {
            let known = self.entries.iter().map(|entry| entry.job.id);
            let known = known.chain(fresh.iter().map(|job| job.id));
            // An event that ended is known for a minute, which no run of this test lasts.
            let event = matches!(job.kind, JobKind::Inbox(_));
            let ended = self.over.iter().filter(|(over, _)| event && over.kind == job.kind);
            if known.chain(ended.map(|(over, _)| over.id)).all(|id| id != job.id) {
                fresh.push(job);
            }
        }
        for kind in KINDS {
            let more = fresh.iter().filter(|job| job.kind == kind).count();
            if more > 0 && self.view(kind).queued + more > cap {
                return Enqueued::Saturated(kind);
            }
        }
        let entry =
            |job| Entry { job, since: now, attempts: 0, stands: Stands::Waits { due: now } };
        self.entries.extend(fresh.into_iter().map(entry));
        Enqueued::Queued
    }

    fn claim(&mut self, now: Timestamp, running_max: usize) -> ClaimAnswer {
        let full = KINDS.map(|kind| self.view(kind).running >= running_max);
        let open = self.entries.iter_mut().filter_map(|entry| match entry.stands {
            Stands::Waits { due } if !entry.is_too_old(now) => Some((due, entry.job.id, entry)),
            Stands::Waits { .. } | Stands::Runs { .. } => None,
        });
        let open = open.filter(|(_, _, entry)| {
            KINDS.iter().zip(full).all(|(kind, full)| *kind != entry.job.kind || !full)
        });
        let Some((due, id, entry)) = open.min_by_key(|(due, id, _)| (*due, *id)) else {
            return ClaimAnswer::Nothing { due_in: None };
        };
        if due > now {
            return ClaimAnswer::Nothing { due_in: Some(now.until(due)) };
        }
        // A number not given before, and not below the time.
        self.leases = self.leases.max(now.as_millis());
        let (lease, ends) = (LeaseId(self.leases), now.after(ms(30)));
        self.leases += 1;
        entry.attempts += 1;
        entry.stands = Stands::Runs { lease, since: now, ends };
        let job = entry.job.clone();
        ClaimAnswer::Claimed(Box::new(ClaimedJob {
            id,
            kind: job.kind,
            key: job.key,
            payload: job.payload,
            attempt: entry.attempts,
            lease,
            ends,
            enqueued_at: entry.since,
        }))
    }

    fn report(
        &mut self,
        now: Timestamp,
        place: usize,
        outcome: &AttemptOutcome,
        random: u64,
    ) -> Report {
        let entry = &mut self.entries[place];
        let after = match outcome {
            AttemptOutcome::Done { .. } => return self.end(place, false),
            AttemptOutcome::Dead { .. } => return self.end(place, true),
            AttemptOutcome::Retry { after, .. } => after.unwrap_or_default(),
        };
        if entry.attempts == MAX_ATTEMPTS || entry.is_too_old(now) {
            return self.end(place, true);
        }
        // 10 ms, then 20 that are cut to 15, each give or take a fifth.
        let delay = if entry.attempts == 1 { ms(10) } else { ms(15) };
        let spread = delay * (800 + u32::try_from(random % 401).expect("401 fits")) / 1000;
        entry.stands = Stands::Waits { due: now.after(after.max(spread)) };
        Report::WillRetry
    }

    /// One job whose lease ended, the one whose lease ended first; if there is none, one that waits
    /// and is too old, the oldest first.
    fn sweep(&mut self, now: Timestamp) {
        let ended = |entry: &Entry| match entry.stands {
            Stands::Runs { ends, .. } if ends <= now => Some((ends, entry.job.id)),
            Stands::Runs { .. } | Stands::Waits { .. } => None,
        };
        let places = 0..self.entries.len();
        let first = places
            .filter(|place| ended(&self.entries[*place]).is_some())
            .min_by_key(|place| ended(&self.entries[*place]));
        match first {
            Some(place) => {
                let entry = &mut self.entries[place];
                if entry.attempts == MAX_ATTEMPTS || entry.is_too_old(now) {
                    self.end(place, true);
                } else {
                    entry.stands = Stands::Waits { due: now };
                }
            }
            None => {
                let waits = |entry: &Entry| matches!(entry.stands, Stands::Waits { .. });
                let oldest = (0..self.entries.len())
                    .filter(|place| waits(&self.entries[*place]))
                    .filter(|place| self.entries[*place].is_too_old(now))
                    .min_by_key(|place| {
                        let entry = &self.entries[*place];
                        (entry.since, entry.job.id)
                    });
                if let Some(place) = oldest {
                    self.end(place, true);
                }
            }
        }
    }

    fn end(&mut self, place: usize, dead: bool) -> Report {
        let entry = self.entries.swap_remove(place);
        self.over.push((entry.job, dead));
        Report::Ended
    }

    fn held(&self, now: Timestamp, (id, lease): Ticket) -> Option<usize> {
        self.entries.iter().position(|entry| {
            let holds = matches!(
                entry.stands,
                Stands::Runs { lease: live, ends, .. } if live == lease && now < ends
            );
            entry.job.id == id && holds
        })
    }

    pub(super) fn running(&self) -> usize {
        KINDS.iter().map(|kind| self.view(*kind).running).sum()
    }

    pub(super) fn view(&self, kind: JobKind) -> PartitionView {
        let mut view = PartitionView::default();
        for entry in self.entries.iter().filter(|entry| entry.job.kind == kind) {
            let (count, oldest, when) = match entry.stands {
                Stands::Waits { .. } => (&mut view.queued, &mut view.oldest_queued, entry.since),
                Stands::Runs { since, .. } => (&mut view.running, &mut view.oldest_running, since),
            };
            *count += 1;
            *oldest = Some(oldest.map_or(when, |oldest| oldest.min(when)));
        }
        for (_, dead) in self.over.iter().filter(|(over, _)| over.kind == kind) {
            *if *dead { &mut view.dead } else { &mut view.done } += 1;
        }
        view
    }
}
