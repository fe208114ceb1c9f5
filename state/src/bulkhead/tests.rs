//! The bulkhead by hand; `tests/it/properties/bulkhead.rs` has its invariants.

use super::*;

const TWO_SLOTS: BulkheadRules =
    BulkheadRules { capacity: 2, lease_ttl: Duration::from_millis(30), wait: Duration::ZERO };

/// Who asks.
const TEST: (&str, Priority) = ("test", Priority::Interactive);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn take(bulkhead: &mut Bulkhead, millis: u64) -> Option<LeaseId> {
    match bulkhead.acquire(at(millis), &TWO_SLOTS, TEST).settle(bulkhead) {
        Acquisition::Held(lease) => Some(lease.id),
        Acquisition::Saturated { .. } | Acquisition::Queued(_) => None,
    }
}

#[test]
fn a_vanished_caller_costs_its_slot_for_one_lease_only() {
    let mut bulkhead = Bulkhead::default();
    let _vanished = take(&mut bulkhead, 0).unwrap();
    let _held = take(&mut bulkhead, 20).unwrap();
    assert_eq!(take(&mut bulkhead, 29), None);
    assert!(take(&mut bulkhead, 30).is_some());
    assert_eq!(bulkhead.view().overruns, 1);
}

#[test]
fn a_slot_given_back_twice_is_one_slot() {
    let mut bulkhead = Bulkhead::default();
    let first = take(&mut bulkhead, 0).unwrap();
    let _second = take(&mut bulkhead, 0).unwrap();
    assert_eq!(
        bulkhead.give_back(at(1), &TWO_SLOTS, first).settle(&mut bulkhead),
        LeaseState::Live
    );
    assert_eq!(
        bulkhead.give_back(at(1), &TWO_SLOTS, first).settle(&mut bulkhead),
        LeaseState::Gone
    );
    assert!(take(&mut bulkhead, 1).is_some());
    assert_eq!(take(&mut bulkhead, 1), None);
}

#[test]
fn a_renewed_lease_lives_on_and_one_that_ran_out_cannot_be_renewed() {
    let mut bulkhead = Bulkhead::default();
    let lease = take(&mut bulkhead, 0).unwrap();
    let renew = |bulkhead: &mut Bulkhead, millis| {
        bulkhead.renew(at(millis), &TWO_SLOTS, lease).settle(bulkhead)
    };
    assert_eq!(renew(&mut bulkhead, 29), LeaseState::Live);
    assert_eq!(bulkhead.in_flight(at(58)), 1);
    assert_eq!(renew(&mut bulkhead, 59), LeaseState::Gone);
    bulkhead.sweep(at(59), &TWO_SLOTS).settle(&mut bulkhead);
    assert_eq!(bulkhead.view().leases, []);
}

#[test]
fn a_lease_that_ran_out_is_not_there_to_give_back() {
    let mut bulkhead = Bulkhead::default();
    let lease = take(&mut bulkhead, 0).unwrap();
    assert_eq!(
        bulkhead.give_back(at(30), &TWO_SLOTS, lease).settle(&mut bulkhead),
        LeaseState::Gone
    );
    bulkhead.sweep(at(30), &TWO_SLOTS).settle(&mut bulkhead);
    assert_eq!(bulkhead.view().overruns, 1, "whoever held it too long is counted");
}

#[test]
fn lowering_the_capacity_lets_calls_in_flight_drain() {
    let mut bulkhead = Bulkhead::default();
    let first = take(&mut bulkhead, 0).unwrap();
    let _second = take(&mut bulkhead, 0).unwrap();
    let one_slot = BulkheadRules { capacity: 1, ..TWO_SLOTS };
    let full = |bulkhead: &Bulkhead| {
        matches!(bulkhead.acquire(at(1), &one_slot, TEST).answer, Acquisition::Saturated { .. })
    };
    assert!(full(&bulkhead));
    bulkhead.give_back(at(1), &TWO_SLOTS, first).settle(&mut bulkhead);
    assert!(full(&bulkhead), "one is still in flight");
}

/// One slot, and up to four callers in line for a second.
const LINED: BulkheadRules =
    BulkheadRules { capacity: 1, lease_ttl: Duration::from_secs(30), wait: Duration::from_secs(1) };

fn queue(bulkhead: &mut Bulkhead, millis: u64, priority: Priority) -> TicketId {
    match bulkhead.acquire(at(millis), &LINED, ("waits", priority)).settle(bulkhead) {
        Acquisition::Queued(ticket) => ticket.id,
        other @ (Acquisition::Held(_) | Acquisition::Saturated { .. }) => panic!("{other:?}"),
    }
}

fn held(bulkhead: &mut Bulkhead) -> LeaseId {
    match bulkhead.acquire(at(0), &LINED, TEST).settle(bulkhead) {
        Acquisition::Held(lease) => lease.id,
        other @ (Acquisition::Queued(_) | Acquisition::Saturated { .. }) => panic!("{other:?}"),
    }
}

fn granted(bulkhead: &mut Bulkhead, millis: u64, ticket: TicketId) -> Option<LeaseId> {
    match bulkhead.pick_up(at(millis), &LINED, ticket).settle(bulkhead) {
        TicketState::Granted(lease) => Some(lease.id),
        TicketState::Waiting | TicketState::Gone { .. } => None,
    }
}

#[test]
fn a_returned_slot_goes_to_whoever_came_first() {
    let mut bulkhead = Bulkhead::default();
    let lease = held(&mut bulkhead);
    let first = queue(&mut bulkhead, 1, Priority::Interactive);
    let second = queue(&mut bulkhead, 2, Priority::Interactive);
    assert_eq!(granted(&mut bulkhead, 3, first), None);
    bulkhead.give_back(at(3), &LINED, lease).settle(&mut bulkhead);
    let lease = granted(&mut bulkhead, 3, first).unwrap();
    assert_eq!(granted(&mut bulkhead, 3, second), None);
    bulkhead.give_back(at(4), &LINED, lease).settle(&mut bulkhead);
    assert!(granted(&mut bulkhead, 4, second).is_some());
}

#[test]
fn a_screen_goes_before_a_tool_that_has_not_waited_three_times_as_long() {
    for (screen_at, screen_is_first) in [(299, false), (201, false), (200, true), (199, true)] {
        let mut bulkhead = Bulkhead::default();
        let lease = held(&mut bulkhead);
        let tool = queue(&mut bulkhead, 0, Priority::Tool);
        let screen = queue(&mut bulkhead, screen_at, Priority::Interactive);
        bulkhead.give_back(at(300), &LINED, lease).settle(&mut bulkhead);
        let is_first = granted(&mut bulkhead, 300, screen).is_some();
        assert_eq!(is_first, screen_is_first, "{screen_at}");
        assert_eq!(granted(&mut bulkhead, 300, tool).is_none(), screen_is_first);
    }
}

#[test]
fn a_ticket_that_left_or_came_too_late_gets_no_slot() {
    let mut bulkhead = Bulkhead::default();
    let lease = held(&mut bulkhead);
    let late = queue(&mut bulkhead, 0, Priority::Interactive);
    let left = queue(&mut bulkhead, 500, Priority::Interactive);
    let stays = queue(&mut bulkhead, 500, Priority::Tool);
    bulkhead.leave(at(600), &LINED, left).settle(&mut bulkhead);
    bulkhead.give_back(at(1000), &LINED, lease).settle(&mut bulkhead);
    assert_eq!(granted(&mut bulkhead, 1000, late), None);
    assert_eq!(granted(&mut bulkhead, 1000, left), None);
    assert!(granted(&mut bulkhead, 1000, stays).is_some());
    assert_eq!(bulkhead.view().waiting, 0);
}

#[test]
fn whoever_leaves_with_a_slot_granted_gives_it_to_the_next() {
    let mut bulkhead = Bulkhead::default();
    let lease = held(&mut bulkhead);
    let first = queue(&mut bulkhead, 0, Priority::Interactive);
    let second = queue(&mut bulkhead, 0, Priority::Interactive);
    bulkhead.give_back(at(1), &LINED, lease).settle(&mut bulkhead);
    bulkhead.leave(at(2), &LINED, first).settle(&mut bulkhead);
    assert!(granted(&mut bulkhead, 2, second).is_some());
}

#[test]
fn a_line_is_as_long_as_four_times_the_slots_and_no_longer() {
    let mut bulkhead = Bulkhead::default();
    let _held = held(&mut bulkhead);
    for _ in 0..4 {
        let _ticket = queue(&mut bulkhead, 0, Priority::Interactive);
    }
    let full = bulkhead.acquire(at(0), &LINED, TEST);
    assert_eq!(full.change, None);
    let saturated = Acquisition::Saturated { retry_after: Duration::from_secs(1) };
    assert_eq!(full.answer, saturated);
}

#[test]
fn nobody_waits_in_a_line_that_is_expected_to_take_too_long() {
    let mut bulkhead = Bulkhead::default();
    for _ in 0..40 {
        let lease = held(&mut bulkhead);
        bulkhead.give_back(at(2000), &LINED, lease).settle(&mut bulkhead);
    }
    let _held = held(&mut bulkhead);
    let _first = queue(&mut bulkhead, 0, Priority::Interactive);
    let refused = bulkhead.acquire(at(0), &LINED, TEST);
    assert_eq!(refused.change, None);
    let Acquisition::Saturated { retry_after } = refused.answer else {
        panic!("calls hold a slot for two seconds, a wait is one: {:?}", refused.answer)
    };
    assert!(retry_after > Duration::from_secs(3), "two calls come before: {retry_after:?}");
}

#[test]
fn a_slot_that_lapsed_goes_to_the_line_by_the_sweep() {
    let mut bulkhead = Bulkhead::default();
    let patient = BulkheadRules { wait: Duration::from_secs(60), ..LINED };
    let _vanished = held(&mut bulkhead);
    let Acquisition::Queued(ticket) = bulkhead.acquire(at(1), &patient, TEST).settle(&mut bulkhead)
    else {
        panic!("there is a line")
    };
    bulkhead.sweep(at(30_000), &patient).settle(&mut bulkhead);
    assert!(granted(&mut bulkhead, 30_000, ticket.id).is_some());
}
