//! The cache's rules, one case each.

use super::*;
use crate::key::ToolKind;

const ROOMY: CacheRules = CacheRules { entries_max: 10, bytes_max: 10_000, value_bytes_max: 100 };
const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn question(text: &str) -> CacheKey {
    CacheKey::of(ToolKind::SearchWeb, "v1", &[text])
}

fn fill(cache: &ToolCache, text: &str) -> Fill {
    match cache.get(at(0), &question(text)).answer {
        Lookup::Miss(fill) => fill,
        Lookup::Hit(value) => panic!("{text} is known as {value}"),
    }
}

fn found(text: &str, fill: Fill, value: &str) -> NewResult {
    NewResult { key: question(text), fill, value: value.into(), ttl: MINUTE }
}

fn keep(cache: &mut ToolCache, text: &str, value: &str) {
    let result = found(text, fill(cache, text), value);
    assert_eq!(cache.put(at(0), &ROOMY, result).settle(cache), Kept::Kept);
}

#[test]
fn a_result_is_served_to_its_end_and_not_at_it() {
    let mut cache = ToolCache::default();
    keep(&mut cache, "cats", "a cat");
    let cats = |now| cache.get(now, &question("cats")).answer;
    assert_eq!(cats(at(59)), Lookup::Hit("a cat".into()));
    assert!(matches!(cats(at(60)), Lookup::Miss(_)));
    cache.sweep(at(60)).settle(&mut cache);
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
    assert_eq!(cache.sweep(at(60)).change, None);
}

#[test]
fn a_result_under_way_while_its_namespace_is_cleared_is_not_kept() {
    let mut cache = ToolCache::default();
    keep(&mut cache, "dogs", "a dog");
    let under_way = fill(&cache, "cats");
    assert_eq!(cache.clear(at(1), "search_web_json_v1").settle(&mut cache), 1);
    assert!(cache.is_empty());
    let late = found("cats", under_way, "an old cat");
    assert_eq!(cache.put(at(2), &ROOMY, late).settle(&mut cache), Kept::Outdated);
    keep(&mut cache, "cats", "a new cat");
    assert_eq!(cache.clear(at(3), "search_products_v1").settle(&mut cache), 0);
    assert_eq!(cache.get(at(3), &question("cats")).answer, Lookup::Hit("a new cat".into()));
}

#[test]
fn clearings_beyond_those_remembered_count_for_every_namespace() {
    let mut cache = ToolCache::default();
    let under_way = fill(&cache, "cats");
    for number in 0..=CLEARED_MAX {
        cache.clear(at(1), &format!("gone_v{number}")).settle(&mut cache);
    }
    assert_eq!(cache.cleared.len(), CLEARED_MAX);
    let late = found("cats", under_way, "an old cat");
    assert_eq!(cache.put(at(2), &ROOMY, late).answer, Kept::Outdated);
    keep(&mut cache, "cats", "a new cat");
}

#[test]
fn what_is_full_drops_what_has_ended_and_then_what_was_written_first() {
    let two = CacheRules { entries_max: 2, ..ROOMY };
    let mut cache = ToolCache::default();
    let put = |cache: &mut ToolCache, now, text: &str, ttl| {
        let result = NewResult { ttl, ..found(text, fill(cache, text), text) };
        assert_eq!(cache.put(now, &two, result).settle(cache), Kept::Kept);
    };
    let known = |cache: &ToolCache| {
        let hit = |text: &&str| matches!(cache.get(at(20), &question(text)).answer, Lookup::Hit(_));
        ["a", "b", "c", "d"].into_iter().filter(hit).collect::<Vec<_>>()
    };
    put(&mut cache, at(0), "a", MINUTE);
    put(&mut cache, at(1), "b", Duration::from_secs(5));
    put(&mut cache, at(10), "c", MINUTE);
    assert_eq!(known(&cache), ["a", "c"]);
    put(&mut cache, at(11), "d", MINUTE);
    assert_eq!(known(&cache), ["c", "d"]);
}

#[test]
fn what_is_too_long_is_not_kept_and_drops_nothing() {
    let mut cache = ToolCache::default();
    keep(&mut cache, "dogs", "a dog");
    let long = found("cats", fill(&cache, "cats"), &"x".repeat(101));
    assert_eq!(cache.put(at(0), &ROOMY, long).settle(&mut cache), Kept::TooLong);
    let none = CacheRules { entries_max: 0, ..ROOMY };
    let refused = found("cats", fill(&cache, "cats"), "a cat");
    assert_eq!(cache.put(at(0), &none, refused).answer, Kept::TooLong);
    assert_eq!(cache.len(), 1);
}
