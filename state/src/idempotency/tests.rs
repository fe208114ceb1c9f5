//! The claims, told as stories; what always holds is in `tests/it/properties/claims.rs`.

use super::*;

const LEASE: Duration = Duration::from_secs(30);
const ME: Claimant = Claimant(1);
const OTHER: Claimant = Claimant(2);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn key(id: &str) -> IdempotencyKey {
    IdempotencyKey::whatsapp_message(id)
}

fn claim(claims: &mut Claims, seconds: u64, by: Claimant, ids: &[&str]) -> Vec<Claim> {
    let keys: Vec<_> = ids.iter().map(|id| key(id)).collect();
    claims.claim(at(seconds), by, &keys, LEASE).settle(claims)
}

fn pending(seconds: u64) -> Claim {
    Claim::Pending { retry_after: Duration::from_secs(seconds) }
}

#[test]
fn a_claim_is_first_once_pending_while_worked_on_and_then_a_duplicate() {
    let mut claims = Claims::new(10);
    assert_eq!(
        claim(&mut claims, 0, ME, &["a", "b", "a"]),
        [Claim::First, Claim::First, pending(30)]
    );
    assert_eq!(claim(&mut claims, 10, OTHER, &["a"]), [pending(20)]);
    claims.done(&[key("a")], at(1000)).settle(&mut claims);
    assert_eq!(
        claim(&mut claims, 11, OTHER, &["a", "c"]),
        [Claim::Duplicate { hits: 1 }, Claim::First]
    );
    assert_eq!(claim(&mut claims, 12, OTHER, &["a"]), [Claim::Duplicate { hits: 2 }]);
    let counts = ScopeCount { keys: 1, duplicates: 2 };
    assert_eq!(claims.by_scope(), BTreeMap::from([("whatsapp_message".into(), counts)]));
}

#[test]
fn a_claim_asked_again_by_its_holder_is_still_its_own() {
    let mut claims = Claims::new(10);
    assert_eq!(claim(&mut claims, 0, ME, &["a"]), [Claim::First]);
    assert_eq!(claim(&mut claims, 1, ME, &["a"]), [Claim::First]);
    assert_eq!(claim(&mut claims, 1, OTHER, &["a"]), [pending(30)]);
}

#[test]
fn a_holder_that_vanished_loses_its_claim_with_its_lease() {
    let mut claims = Claims::new(10);
    assert_eq!(claim(&mut claims, 0, ME, &["a"]), [Claim::First]);
    assert_eq!(claim(&mut claims, 30, OTHER, &["a"]), [Claim::First]);
    claims.give_back(ME, &[key("a")]).settle(&mut claims);
    assert_eq!(claim(&mut claims, 31, ME, &["a"]), [pending(29)], "it is not ME's to give");
    claims.give_back(OTHER, &[key("a")]).settle(&mut claims);
    assert_eq!(claim(&mut claims, 31, ME, &["a"]), [Claim::First]);
}

#[test]
fn done_claims_end_by_time_and_the_oldest_go_first_when_memory_is_full() {
    let mut claims = Claims::new(2);
    for id in ["a", "b", "c"] {
        assert_eq!(claim(&mut claims, 0, ME, &[id]), [Claim::First]);
        claims.done(&[key(id)], at(100)).settle(&mut claims);
    }
    assert_eq!(claim(&mut claims, 1, ME, &["b"]), [Claim::Duplicate { hits: 1 }]);
    assert_eq!(claims.len(), 2, "the store's row of \"a\" remembers it");
    claims.sweep(at(100)).settle(&mut claims);
    assert!(claims.is_empty());
}

#[test]
fn a_key_that_stands_twice_among_duplicates_counts_twice() {
    let mut claims = Claims::new(10);
    claims.done(&[key("a")], at(100)).settle(&mut claims);
    let hits = |hits| Claim::Duplicate { hits };
    assert_eq!(claim(&mut claims, 0, ME, &["a", "a"]), [hits(1), hits(2)]);
    assert_eq!(claim(&mut claims, 0, ME, &["a"]), [hits(3)]);
}

#[test]
fn a_full_memory_does_not_drop_a_lease_for_what_its_key_was_before() {
    let mut claims = Claims::new(2);
    claims.done(&[key("a")], at(10)).settle(&mut claims);
    assert_eq!(claim(&mut claims, 10, ME, &["a"]), [Claim::First], "its life had ended");
    for id in ["b", "c", "d"] {
        claims.done(&[key(id)], at(100)).settle(&mut claims);
    }
    assert_eq!(claim(&mut claims, 11, OTHER, &["a"]), [pending(29)]);
}

#[test]
fn a_holder_that_vanished_for_ever_costs_no_memory_for_ever() {
    let mut claims = Claims::new(10);
    assert_eq!(claim(&mut claims, 0, ME, &["a"]), [Claim::First]);
    claims.sweep(at(29)).settle(&mut claims);
    assert_eq!(claims.len(), 1);
    claims.sweep(at(30)).settle(&mut claims);
    assert!(claims.is_empty());
}
