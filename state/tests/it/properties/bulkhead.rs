//! The bulkhead against a list of leases; `line.rs` has those who wait.

mod line;

use proptest::prelude::*;
use sendcat_state::bulkhead::{Acquisition, Bulkhead, BulkheadRules, Lease, LeaseState, Priority};
use sendcat_state::key::LeaseId;

use line::HandedOut;

use super::{Driven, Timed, cases, ms, recent, timed};

/// What callers do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Acquire { capacity: usize },
    GiveBack { back: usize },
    Renew { back: usize },
    Sweep,
}

const CALLER: (&str, Priority) = ("a caller", Priority::Interactive);

fn rules(capacity: usize) -> BulkheadRules {
    BulkheadRules { capacity, lease_ttl: ms(30), wait: ms(0) }
}

fn asks() -> impl Strategy<Value = Ask> {
    let capacity = prop_oneof![4 => Just(3_usize), 1 => 0..5_usize];
    prop_oneof![
        6 => capacity.prop_map(|capacity| Ask::Acquire { capacity }),
        3 => (0..5_usize).prop_map(|back| Ask::GiveBack { back }),
        3 => (0..5_usize).prop_map(|back| Ask::Renew { back }),
        1 => Just(Ask::Sweep),
    ]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn bh1_live_leases_never_exceed_the_capacity(asks in timed(asks(), 25, 80)) {
        let mut bulkhead = Bulkhead::default();
        let mut handed_out: Vec<LeaseId> = Vec::new();
        let mut live: Vec<Lease> = Vec::new();
        let mut lapsed = 0;
        for Timed { now, what } in asks {
            lapsed += live.extract_if(.., |lease| lease.ends <= now).count() as u64;
            match what {
                Ask::Acquire { capacity } => {
                    let asked = bulkhead.acquire(now, &rules(capacity), CALLER);
                    let answer = asked.settle(&mut bulkhead);
                    match answer {
                        Acquisition::Held(lease) => {
                            prop_assert!(live.len() < capacity);
                            prop_assert_eq!(lease.ends, now.after(ms(30)));
                            prop_assert!(!handed_out.contains(&lease.id), "an id given twice");
                            handed_out.push(lease.id);
                            live.push(lease);
                        }
                        Acquisition::Saturated { retry_after } => {
                            prop_assert!(live.len() >= capacity, "refused with room");
                            prop_assert!((1..=30).contains(&retry_after.as_secs()));
                        }
                        Acquisition::Queued(ticket) => {
                            prop_assert!(false, "in line where nobody waits: {ticket:?}");
                        }
                    }
                }
                Ask::GiveBack { back } => {
                    let Some(id) = recent(&handed_out, back) else { continue };
                    let known = live.extract_if(.., |lease| lease.id == id).next();
                    let answer = bulkhead.give_back(now, &rules(3), id).settle(&mut bulkhead);
                    prop_assert_eq!(answer == LeaseState::Live, known.is_some());
                }
                Ask::Renew { back } => {
                    let Some(id) = recent(&handed_out, back) else { continue };
                    let known = live.iter_mut().find(|lease| lease.id == id);
                    let answer = bulkhead.renew(now, &rules(3), id).settle(&mut bulkhead);
                    prop_assert_eq!(answer == LeaseState::Live, known.is_some());
                    if let Some(lease) = known {
                        lease.ends = now.after(ms(30));
                    }
                }
                Ask::Sweep => {
                    bulkhead.sweep(now, &rules(3)).settle(&mut bulkhead);
                    let seen: Vec<_> = bulkhead.view().leases.iter().map(|each| each.id).collect();
                    let ids: Vec<_> = live.iter().map(|lease| lease.id).collect();
                    prop_assert_eq!(seen, ids);
                    prop_assert_eq!(bulkhead.view().overruns, lapsed);
                }
            }
            prop_assert_eq!(bulkhead.in_flight(now), live.len());
        }
    }

    #[test]
    fn bh2_giving_a_lease_back_twice_frees_one_slot(
        asks in Bulkhead::commands(),
        back in 0..5_usize,
        times in 2..4_usize,
    ) {
        let (mut bulkhead, mut out) = (Bulkhead::default(), HandedOut::default());
        for ask in &asks {
            bulkhead.turn(&mut out, ask);
        }
        let id = recent(&out.leases, back);
        let (Some(last), Some(id)) = (asks.last(), id) else { return Ok(()) };
        let before = bulkhead.in_flight(last.now);
        let mut freed = 0;
        // Under no slots at all, so that what is freed goes to nobody in line.
        for _ in 0..times {
            let answer = bulkhead.give_back(last.now, &rules(0), id).settle(&mut bulkhead);
            freed += usize::from(answer == LeaseState::Live);
        }
        prop_assert!(freed <= 1);
        prop_assert_eq!(bulkhead.in_flight(last.now), before - freed);
    }
}
