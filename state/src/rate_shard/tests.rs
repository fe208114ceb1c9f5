//! The shard by hand; `tests/it/properties/rates.rs` has its invariants.

use super::*;

const ONE_PER_SECOND: Limit = Limit { calls: 1, per: Duration::from_secs(1) };

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn caller(name: &str) -> ClientKey {
    ClientKey::session(Bucket::ChatStream, name)
}

fn admitted(shard: &mut RateShard, millis: u64, name: &str) -> bool {
    let admission = shard.admit(at(millis), caller(name), ONE_PER_SECOND).settle(shard);
    matches!(admission, Admission::Admitted { .. })
}

#[test]
fn a_full_shard_counts_new_keys_together_and_drops_no_live_window() {
    let mut shard = RateShard::new(2);
    assert!(admitted(&mut shard, 0, "a"));
    assert!(admitted(&mut shard, 500, "b"));
    assert!(admitted(&mut shard, 600, "c"), "the overflow window admits its one call");
    assert!(!admitted(&mut shard, 700, "d"), "and refuses every other new key");
    assert!(!admitted(&mut shard, 999, "a"), "a live window was not dropped for them");
    assert!(admitted(&mut shard, 1000, "e"), "an ended window makes room");
    assert!(!admitted(&mut shard, 1001, "b"), "but only an ended one");
    assert_eq!(shard.view().windows, 2);
}

#[test]
fn ended_windows_go_as_new_ones_open() {
    let mut shard = RateShard::new(1000);
    for caller in 0..100 {
        assert!(admitted(&mut shard, 0, &caller.to_string()));
    }
    for caller in 100..200 {
        assert!(admitted(&mut shard, 1000, &caller.to_string()));
    }
    assert_eq!(shard.view().windows, 100);
}

#[test]
fn a_window_that_outlives_a_shortened_span_does_not_let_the_openings_grow() {
    let mut shard = RateShard::new(4);
    let hour = Limit { per: Duration::from_secs(3600), ..ONE_PER_SECOND };
    let _ = shard.admit(at(0), caller("old"), hour).settle(&mut shard);
    for second in 1..200 {
        assert!(admitted(&mut shard, second * 1000, "a"));
        assert!(admitted(&mut shard, second * 1000, "b"));
    }
    assert!(shard.openings[Bucket::ChatStream.index()].len() <= 2 * 4 + 1);
}

#[test]
fn a_restored_shard_drops_ended_windows_in_the_order_of_the_saved_one() {
    let mut shard = RateShard::new(6);
    for name in ["a", "b", "c", "d", "e", "f"] {
        assert!(admitted(&mut shard, 0, name));
    }
    let form = |shard: &RateShard| serde_json::to_string(shard).unwrap();
    let mut restored: RateShard = serde_json::from_str(&form(&shard)).unwrap();
    let opening = shard.admit(at(1000), caller("g"), ONE_PER_SECOND).change.unwrap();
    shard.apply(&opening);
    restored.apply(&opening);
    assert_eq!(form(&restored), form(&shard));
}

#[test]
fn a_saved_shard_refuses_whom_it_had_refused() {
    let mut shard = RateShard::new(2);
    assert!(admitted(&mut shard, 0, "a"));
    let saved = serde_json::to_string(&shard).unwrap();
    let mut restored: RateShard = serde_json::from_str(&saved).unwrap();
    assert!(!admitted(&mut restored, 1, "a"));
    assert!(admitted(&mut restored, 1, "b"));
    assert_eq!(serde_json::to_string(&shard).unwrap(), saved);
}

#[test]
fn rw1_a_shard_that_lost_its_counts_refuses_all_until_every_window_it_had_has_ended() {
    let mut shard = RateShard::without_counts(2, at(5000));
    let refused = shard.admit(at(5400), caller("a"), ONE_PER_SECOND).answer;
    let retry_after = Duration::from_millis(600);
    assert_eq!(refused, Admission::Refused { retry_after });
    let explained = shard.explain(at(5400), caller("a"), ONE_PER_SECOND);
    let resets_in = Some(retry_after);
    assert_eq!(explained, Explained { used: 1, resets_in, overflow: false });
    let saved = serde_json::to_string(&shard).unwrap();
    let restored: RateShard = serde_json::from_str(&saved).unwrap();
    let refused = restored.admit(at(5999), caller("a"), ONE_PER_SECOND).answer;
    assert_eq!(refused, Admission::Refused { retry_after: Duration::from_millis(1) });
    assert!(admitted(&mut shard, 6000, "a"));
    assert!(!admitted(&mut shard, 6001, "a"), "and counts from there");
}
