//! Those who wait, against two lists: who holds a slot, and who stands in line.

use proptest::prelude::*;
use sendcat_state::bulkhead::{
    Acquisition, Bulkhead, BulkheadChange, BulkheadRules, LeaseState, Priority, TicketId,
    TicketState,
};
use sendcat_state::key::LeaseId;
use sendcat_state::machine::Decision;
use sendcat_state::timestamp::Timestamp;

use super::super::{Driven, Timed, cases, ms, recent, timed};

/// What callers do, under the rules of the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    what: What,
    capacity: usize,
    wait_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Acquire(Priority),
    PickUp { back: usize },
    Leave { back: usize },
    GiveBack { back: usize },
    Renew { back: usize },
    Sweep,
}

impl Ask {
    fn rules(&self) -> BulkheadRules {
        let wait = ms(self.wait_ms);
        BulkheadRules { capacity: self.capacity, lease_ttl: ms(60), wait }
    }
}

fn asks() -> impl Strategy<Value = Ask> {
    let back = || 0..6_usize;
    let what = prop_oneof![
        6 => prop::sample::select(&Priority::ALL[..]).prop_map(What::Acquire),
        4 => back().prop_map(|back| What::PickUp { back }),
        1 => back().prop_map(|back| What::Leave { back }),
        4 => back().prop_map(|back| What::GiveBack { back }),
        1 => back().prop_map(|back| What::Renew { back }),
        1 => Just(What::Sweep),
    ];
    let capacity = prop_oneof![4 => Just(2_usize), 1 => 0..4_usize];
    let wait_ms = prop_oneof![4 => Just(40_u64), 1 => Just(0_u64), 1 => Just(5_u64)];
    (what, capacity, wait_ms).prop_map(|(what, capacity, wait_ms)| Ask { what, capacity, wait_ms })
}

/// What callers remember.
#[derive(Clone, Default)]
pub(crate) struct HandedOut {
    pub(super) leases: Vec<LeaseId>,
    tickets: Vec<TicketId>,
}

impl Driven for Bulkhead {
    type Command = Ask;
    type Change = BulkheadChange;
    type Memory = HandedOut;

    fn fresh() -> Self {
        Self::default()
    }

    fn commands() -> BoxedStrategy<Vec<Timed<Ask>>> {
        timed(asks(), 25, 120)
    }

    fn decide(
        &self,
        out: &mut HandedOut,
        command: &Timed<Ask>,
    ) -> Decision<String, BulkheadChange> {
        let (now, rules) = (command.now, command.what.rules());
        let nothing = || Decision::unchanged("nothing to speak of".into());
        let lease = |back| recent(&out.leases, back);
        let ticket = |back| recent(&out.tickets, back);
        match command.what.what {
            What::Acquire(priority) => {
                let decision = self.acquire(now, &rules, ("a caller", priority));
                match decision.answer {
                    Acquisition::Held(lease) => out.leases.push(lease.id),
                    Acquisition::Queued(ticket) => out.tickets.push(ticket.id),
                    Acquisition::Saturated { .. } => {}
                }
                decision.map(|answer| format!("{answer:?}"))
            }
            What::PickUp { back } => ticket(back).map_or_else(nothing, |ticket| {
                let decision = self.pick_up(now, &rules, ticket);
                if let TicketState::Granted(lease) = decision.answer {
                    out.leases.push(lease.id);
                }
                decision.map(|answer| format!("{answer:?}"))
            }),
            What::Leave { back } => ticket(back).map_or_else(nothing, |ticket| {
                self.leave(now, &rules, ticket).map(|()| "left".into())
            }),
            What::GiveBack { back } => lease(back).map_or_else(nothing, |id| {
                self.give_back(now, &rules, id).map(|answer| format!("{answer:?}"))
            }),
            What::Renew { back } => lease(back).map_or_else(nothing, |id| {
                self.renew(now, &rules, id).map(|answer| format!("{answer:?}"))
            }),
            What::Sweep => self.sweep(now, &rules).map(|()| "swept".into()),
        }
    }
}

/// Somebody with a slot.
#[derive(Clone, Copy, Debug)]
struct Holder {
    id: u64,
    since: Timestamp,
    ends: Timestamp,
    /// The ticket it was granted to, until it is picked up.
    ticket: Option<TicketId>,
}

/// Somebody in line.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: TicketId,
    priority: Priority,
    since: Timestamp,
    deadline: Timestamp,
}

impl Waiter {
    fn weight(&self, now: Timestamp) -> u128 {
        let factor = match self.priority {
            Priority::Interactive => 3,
            Priority::Reply => 2,
            Priority::Tool => 1,
        };
        now.since(self.since).as_millis() * factor
    }
}

/// Slots and line as two lists. What has lapsed stays listed until somebody looks.
#[derive(Default)]
struct Account {
    holders: Vec<Holder>,
    line: Vec<Waiter>,
    next_lease: u64,
    next_ticket: u64,
    mean_hold_ms: u64,
    /// Tickets that left or were too late while they had no slot.
    never: Vec<TicketId>,
}

impl Account {
    fn live(&self, now: Timestamp) -> usize {
        self.holders.iter().filter(|holder| now < holder.ends).count()
    }

    fn hold(&mut self, now: Timestamp, rules: &BulkheadRules, ticket: Option<TicketId>) {
        self.holders.retain(|holder| now < holder.ends);
        assert!(self.holders.len() < rules.capacity, "BH-1");
        let id = self.next_lease;
        self.next_lease += 1;
        let ends = now.after(rules.lease_ttl);
        self.holders.push(Holder { id, since: now, ends, ticket });
    }

    fn grant(&mut self, now: Timestamp, rules: &BulkheadRules) {
        self.holders.retain(|holder| now < holder.ends);
        let late = self.line.extract_if(.., |waiter| waiter.deadline <= now);
        self.never.extend(late.map(|waiter| waiter.ticket));
        while self.holders.len() < rules.capacity && !self.line.is_empty() {
            // The one whose wait weighs most; of equals the higher class, then the earlier.
            self.line.sort_by_key(|waiter| {
                (std::cmp::Reverse(waiter.weight(now)), waiter.priority, waiter.ticket)
            });
            let chosen = self.line.remove(0);
            assert!(!self.never.contains(&chosen.ticket), "BH-3");
            for other in &self.line {
                let waited = |waiter: &Waiter| now.since(waiter.since);
                assert!(waited(other) <= 3 * waited(&chosen), "who waits too long is next");
                let is_of_class = other.priority == chosen.priority;
                assert!(!is_of_class || chosen.ticket < other.ticket, "first come, first served");
            }
            self.hold(now, rules, Some(chosen.ticket));
        }
    }

    fn acquire(&mut self, now: Timestamp, rules: &BulkheadRules, priority: Priority) -> String {
        let waiting = self.line.iter().filter(|waiter| now < waiter.deadline).count();
        if self.live(now) + waiting < rules.capacity {
            self.hold(now, rules, None);
            return format!("held {}", self.next_lease - 1);
        }
        let likely_ms = self.mean_hold_ms * waiting as u64 / rules.capacity.max(1) as u64;
        let is_too_long = likely_ms > u64::try_from(rules.wait.as_millis()).expect("short");
        if rules.wait.is_zero() || is_too_long || waiting >= 4 * rules.capacity {
            return "saturated".into();
        }
        let (ticket, deadline) = (TicketId(self.next_ticket), now.after(rules.wait));
        self.next_ticket += 1;
        self.line.push(Waiter { ticket, priority, since: now, deadline });
        self.grant(now, rules);
        format!("queued {}", ticket.0)
    }

    fn pick_up(&mut self, now: Timestamp, ticket: TicketId) -> String {
        let mut live = self.holders.iter_mut().filter(|holder| now < holder.ends);
        if let Some(holder) = live.find(|holder| holder.ticket == Some(ticket)) {
            holder.ticket = None;
            return format!("granted {}", holder.id);
        }
        let mut line = self.line.iter();
        let waits = line.any(|waiter| waiter.ticket == ticket && now < waiter.deadline);
        if waits { "waiting".into() } else { "gone".into() }
    }

    fn leave(&mut self, now: Timestamp, rules: &BulkheadRules, ticket: TicketId) {
        let before = self.line.len() + self.holders.len();
        let left = self.line.extract_if(.., |waiter| waiter.ticket == ticket);
        self.never.extend(left.map(|waiter| waiter.ticket));
        self.holders.retain(|holder| holder.ticket != Some(ticket));
        if self.line.len() + self.holders.len() < before {
            self.grant(now, rules);
        }
    }

    fn give_back(&mut self, now: Timestamp, rules: &BulkheadRules, id: LeaseId) -> LeaseState {
        let is_it = |holder: &Holder| holder.id == id.0 && now < holder.ends;
        let Some(place) = self.holders.iter().position(is_it) else { return LeaseState::Gone };
        let held = self.holders.remove(place);
        let held_ms = u64::try_from(now.since(held.since).as_millis()).expect("short");
        self.mean_hold_ms = (7 * self.mean_hold_ms + held_ms) / 8;
        self.grant(now, rules);
        LeaseState::Live
    }

    fn renew(&mut self, now: Timestamp, rules: &BulkheadRules, id: LeaseId) -> LeaseState {
        let mut live = self.holders.iter_mut().filter(|holder| now < holder.ends);
        match live.find(|holder| holder.id == id.0) {
            Some(holder) => {
                holder.ends = now.after(rules.lease_ttl);
                LeaseState::Live
            }
            None => LeaseState::Gone,
        }
    }
}

fn acquired(answer: Acquisition) -> String {
    match answer {
        Acquisition::Held(lease) => format!("held {}", lease.id.0),
        Acquisition::Queued(ticket) => format!("queued {}", ticket.id.0),
        Acquisition::Saturated { .. } => "saturated".into(),
    }
}

fn picked_up(answer: TicketState) -> String {
    match answer {
        TicketState::Granted(lease) => format!("granted {}", lease.id.0),
        TicketState::Waiting => "waiting".into(),
        TicketState::Gone { .. } => "gone".into(),
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn bh3_a_ticket_that_left_or_is_too_late_never_gets_a_slot(asks in Bulkhead::commands()) {
        let (mut bulkhead, mut account) = (Bulkhead::default(), Account::default());
        let (mut leases, mut tickets) = (Vec::new(), Vec::new());
        for Timed { now, what: ask } in asks {
            let rules = ask.rules();
            match ask.what {
                What::Acquire(priority) => {
                    let decision = bulkhead.acquire(now, &rules, ("a caller", priority));
                    let answer = decision.settle(&mut bulkhead);
                    match answer {
                        Acquisition::Held(lease) => leases.push(lease.id),
                        Acquisition::Queued(ticket) => tickets.push(ticket.id),
                        Acquisition::Saturated { .. } => {}
                    }
                    prop_assert_eq!(acquired(answer), account.acquire(now, &rules, priority));
                }
                What::PickUp { back } => {
                    let Some(ticket) = recent(&tickets, back) else { continue };
                    let answer = bulkhead.pick_up(now, &rules, ticket).settle(&mut bulkhead);
                    if let TicketState::Granted(lease) = answer {
                        leases.push(lease.id);
                    }
                    prop_assert_eq!(picked_up(answer), account.pick_up(now, ticket));
                }
                What::Leave { back } => {
                    let Some(ticket) = recent(&tickets, back) else { continue };
                    bulkhead.leave(now, &rules, ticket).settle(&mut bulkhead);
                    account.leave(now, &rules, ticket);
                }
                What::GiveBack { back } => {
                    let Some(id) = recent(&leases, back) else { continue };
                    let answer = bulkhead.give_back(now, &rules, id).settle(&mut bulkhead);
                    prop_assert_eq!(answer, account.give_back(now, &rules, id));
                }
                What::Renew { back } => {
                    let Some(id) = recent(&leases, back) else { continue };
                    let answer = bulkhead.renew(now, &rules, id).settle(&mut bulkhead);
                    prop_assert_eq!(answer, account.renew(now, &rules, id));
                }
                What::Sweep => {
                    bulkhead.sweep(now, &rules).settle(&mut bulkhead);
                    account.grant(now, &rules);
                }
            }
            prop_assert_eq!(bulkhead.in_flight(now), account.live(now));
            prop_assert_eq!(bulkhead.view().waiting, account.line.len());
        }
    }
}
