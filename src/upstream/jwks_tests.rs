//! The set's ages, the keys in it, and who fetches it, with a clock that the test moves.

use jsonwebtoken::AlgorithmFamily;
use serde_json::json;

use std::sync::atomic::{AtomicUsize, Ordering};

use sendcat_actors::clock::ManualClock;
use tokio::sync::oneshot;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn ec(kid: Option<&str>) -> Value {
    let point = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    let mut key = json!({"kty": "EC", "crv": "P-256", "x": point, "y": point});
    if let Some(kid) = kid {
        key["kid"] = json!(kid);
    }
    key
}

fn rsa(modulus_bytes: usize) -> Value {
    let modulus = BASE64_URL_SAFE_NO_PAD.encode(vec![0xc7; modulus_bytes]);
    json!({"kty": "RSA", "kid": "r", "n": modulus, "e": "AQAB"})
}

fn set(keys: &[Value]) -> Vec<SetKey> {
    read_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn kept(keys: &[Value]) -> Kept {
    let (fetched_at, tried_at) = (Some(at(1000)), Some(at(1000)));
    Kept { keys: set(keys), fetched_at, tried_at, fresh_for: MAX_AGE }
}

fn word(found: &Found) -> &'static str {
    match found {
        Found::Fresh(_) => "fresh",
        Found::Stale(_) => "stale",
        Found::NoSuchKey => "no such key",
        Found::NoSet => "no set",
    }
}

#[test]
fn a_set_is_fresh_then_stale_then_nothing() {
    let kept = kept(&[ec(Some("k"))]);
    for (seconds, expected) in
        [(1000, "fresh"), (1600, "fresh"), (1601, "stale"), (4600, "stale"), (4601, "no set")]
    {
        assert_eq!(word(&kept.find(Some("k"), at(seconds))), expected, "{seconds}");
    }
    assert_eq!(word(&kept.find(Some("other"), at(1000))), "no such key");
    assert_eq!(word(&kept.find(Some("other"), at(4601))), "no set");
    assert_eq!(word(&Kept::default().find(Some("k"), at(1000))), "no set");
}

#[test]
fn a_fetch_is_not_tried_again_within_the_cooldown_whatever_came_of_it() {
    assert!(Kept::default().may_fetch(at(0)));
    let kept = kept(&[]);
    for (seconds, may) in [(1000, false), (1029, false), (1030, true)] {
        assert_eq!(kept.may_fetch(at(seconds)), may, "{seconds}");
    }
}

#[test]
fn a_token_that_names_no_key_is_checked_by_the_only_one() {
    let find = |keys: &[Value]| word(&kept(keys).find(None, at(1000)));
    assert_eq!(find(&[ec(Some("a"))]), "fresh");
    assert_eq!(find(&[ec(None)]), "fresh");
    assert_eq!(find(&[ec(Some("a")), ec(Some("b"))]), "no such key");
    assert_eq!(find(&[]), "no such key");
}

#[test]
fn only_what_signs_is_a_key() {
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let good = [
        ec(Some("k")),
        rsa(256),
        with(ec(None), "use", json!("sig")),
        with(ec(None), "alg", json!("ES256")),
        with(rsa(512), "alg", json!("RS256")),
    ];
    assert_eq!(set(&good).len(), good.len());
    assert_eq!(set(&[rsa(256)])[0].key.family(), AlgorithmFamily::Rsa);
    assert_eq!(set(&[ec(None)])[0].key.family(), AlgorithmFamily::Ec);
    let bad = [
        with(ec(None), "use", json!("enc")),
        with(ec(None), "alg", json!("ES384")),
        with(ec(None), "alg", json!("RS256")),
        with(rsa(256), "alg", json!("HS256")),
        with(ec(None), "crv", json!("P-384")),
        with(ec(None), "x", json!("AAAA")),
        with(ec(None), "y", json!("not base64!")),
        rsa(128),
        with(rsa(256), "n", json!(7)),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kid": "k"}),
        json!("key"),
        Value::Null,
    ];
    for key in bad {
        assert_eq!(set(&[key.clone(), ec(None)]).len(), 1, "{key}");
    }
}

#[test]
fn what_is_no_set_or_too_large_a_one_is_malformed() {
    let many = vec![ec(None); MAX_KEYS + 1];
    let large = vec![json!("x".repeat(1000)); 70];
    for body in [
        "<html>".to_owned(),
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        json!({ "keys": many }).to_string(),
        json!({ "keys": large }).to_string(),
    ] {
        let read = read_set(body.as_bytes());
        assert!(matches!(read, Err(UpstreamError::Malformed { .. })), "{body:.40}");
    }
}

/// Keys whose clock the test moves, and how often they were fetched.
struct World {
    jwks: Jwks,
    clock: Arc<ManualClock>,
    fetched: Arc<AtomicUsize>,
    /// What is said with a set that is fetched.
    cache_control: Option<String>,
}

fn whole(keys: &[Value], cache_control: Option<&str>) -> Whole {
    let body = json!({ "keys": keys }).to_string().into_bytes();
    Whole { body, cache_control: cache_control.map(str::to_owned) }
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(at(1000));
        let jwks = Jwks::new("http://id.example".into(), Duration::from_secs(5), clock.clone());
        Self { jwks, clock, fetched: Arc::default(), cache_control: None }
    }

    /// The same, where every set comes with these words.
    fn saying(cache_control: &str) -> Self {
        Self { cache_control: Some(cache_control.to_owned()), ..Self::new() }
    }

    /// Asks for a key at an address that answers so; whether it is there, or why not.
    async fn ask(&self, kid: &str, answer: Result<&[Value], ()>) -> Result<(), NoKey> {
        let fetched = Arc::clone(&self.fetched);
        let answer = match answer {
            Ok(keys) => Ok(whole(keys, self.cache_control.as_deref())),
            Err(()) => Err(UpstreamError::NoContent { provider: PROVIDER }),
        };
        let fetch = move || async move {
            fetched.fetch_add(1, Ordering::Relaxed);
            answer
        };
        self.jwks.key_by(Some(kid), fetch).await.map(drop)
    }

    fn passes(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn fetches(&self) -> usize {
        self.fetched.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_set_is_fetched_once_and_again_when_it_is_old() {
    let world = World::new();
    let keys = [ec(Some("k"))];
    for _ in 0..100 {
        assert_eq!(world.ask("k", Ok(&keys)).await, Ok(()));
    }
    world.passes(600);
    assert_eq!((world.ask("k", Ok(&keys)).await, world.fetches()), (Ok(()), 1));
    world.passes(1);
    assert_eq!((world.ask("k", Ok(&keys)).await, world.fetches()), (Ok(()), 2));
}

#[tokio::test]
async fn a_rotated_key_is_found_and_the_old_one_is_gone_with_its_set() {
    let world = World::new();
    assert_eq!(world.ask("old", Ok(&[ec(Some("old"))])).await, Ok(()));
    world.passes(29);
    let both = [ec(Some("old")), ec(Some("new"))];
    assert_eq!(world.ask("new", Ok(&both)).await, Err(NoKey::Unknown), "too soon to look again");
    world.passes(1);
    assert_eq!(world.ask("new", Ok(&both)).await, Ok(()));
    assert_eq!((world.ask("old", Ok(&both)).await, world.fetches()), (Ok(()), 2));
    world.passes(601);
    let new = [ec(Some("new"))];
    assert_eq!(world.ask("old", Ok(&new)).await, Err(NoKey::Unknown));
    assert_eq!((world.ask("new", Ok(&new)).await, world.fetches()), (Ok(()), 3));
}

#[tokio::test]
async fn a_thousand_unknown_keys_cost_one_fetch_a_cooldown() {
    let world = World::new();
    let keys = [ec(Some("k"))];
    for round in 1..=3 {
        for number in 0..1000 {
            let asked = world.ask(&format!("x{number}"), Ok(&keys)).await;
            assert_eq!(asked, Err(NoKey::Unknown));
        }
        assert_eq!(world.fetches(), round);
        world.passes(30);
    }
}

#[tokio::test]
async fn an_outage_is_bridged_for_an_hour_and_not_longer() {
    let world = World::new();
    let keys = [ec(Some("k"))];
    assert_eq!(world.ask("k", Ok(&keys)).await, Ok(()));
    for _ in 0..60 {
        world.passes(60);
        assert_eq!(world.ask("k", Err(())).await, Ok(()));
        assert_eq!(world.ask("other", Err(())).await, Err(NoKey::Unknown));
    }
    assert!(world.fetches() <= 61, "{}", world.fetches());
    world.passes(1);
    assert_eq!(world.ask("k", Err(())).await, Err(NoKey::Unavailable));
    world.passes(30);
    assert_eq!(world.ask("k", Ok(&keys)).await, Ok(()), "it is over");
}

#[tokio::test]
async fn where_none_can_be_fetched_nothing_is_said_about_the_token() {
    let world = World::new();
    for _ in 0..10 {
        assert_eq!(world.ask("k", Err(())).await, Err(NoKey::Unavailable));
    }
    assert_eq!(world.fetches(), 1);
    world.passes(30);
    assert_eq!(world.ask("k", Ok(&[])).await, Err(NoKey::Unknown), "an empty set is a set");
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_fetch_also_when_the_first_of_them_goes_away() {
    let world = World::new();
    let (answers, answered) = oneshot::channel::<()>();
    let (begins, begun) = oneshot::channel::<()>();
    let body = whole(&[ec(Some("k"))], None);
    let slow = move || async move {
        let _ = begins.send(());
        let _ = answered.await;
        Ok(body)
    };
    let jwks = world.jwks.clone();
    let first = tokio::spawn(async move { jwks.key_by(Some("k"), slow).await.map(drop) });
    begun.await.unwrap();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let others = (0..50).map(|_| world.ask("k", Err(())));
    let others = futures_util::future::join_all(others);
    let answer = async {
        // The others stand in line before the answer comes.
        tokio::task::yield_now().await;
        answers.send(()).unwrap();
    };
    let (others, ()) = tokio::join!(others, answer);
    assert_eq!(others, vec![Ok(()); 50]);
    assert_eq!(world.fetches(), 0, "nobody fetched beside the first");
}

#[test]
fn an_age_is_read_as_it_is_written_and_kept_within_bounds() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let table = [
        (None, MAX_AGE),
        (Some(""), MAX_AGE),
        (Some("public, max-age=19845, must-revalidate"), Duration::from_secs(19_845)),
        (Some("Public,Max-Age = 1800"), minutes(30)),
        (Some("max-age=\"1800\""), minutes(30)),
        (Some("s-maxage=5, max-age=1800"), minutes(30)),
        (Some("max-age=1800, max-age=60"), minutes(1)),
        (Some("max-age=60, max-age=1800"), minutes(1)),
        (Some("max-age=0"), SHORTEST_AGE),
        (Some("max-age=59"), SHORTEST_AGE),
        (Some("no-store"), SHORTEST_AGE),
        (Some("max-age=1800, no-cache"), SHORTEST_AGE),
        (Some("max-age=86400"), LONGEST_AGE),
        (Some("max-age=18446744073709551616"), LONGEST_AGE),
        (Some("max-age=-1"), MAX_AGE),
        (Some("max-age"), MAX_AGE),
        (Some("max-age=x"), MAX_AGE),
        (Some("x-max-age=1800"), MAX_AGE),
    ];
    for (text, expected) in table {
        assert_eq!(fresh_for(text), expected, "{text:?}");
    }
}

#[tokio::test]
async fn a_set_is_fetched_again_when_its_owner_says_so() {
    let keys = [ec(Some("k"))];
    let table = [
        ("public, max-age=1800", 1800),
        ("max-age=0", SHORTEST_AGE.as_secs()),
        ("no-store", SHORTEST_AGE.as_secs()),
        ("max-age=31536000", LONGEST_AGE.as_secs()),
    ];
    for (said, seconds) in table {
        let world = World::saying(said);
        assert_eq!(world.ask("k", Ok(&keys)).await, Ok(()));
        world.passes(seconds);
        assert_eq!((world.ask("k", Ok(&keys)).await, world.fetches()), (Ok(()), 1), "{said}");
        world.passes(1);
        assert_eq!((world.ask("k", Ok(&keys)).await, world.fetches()), (Ok(()), 2), "{said}");
    }
}

#[tokio::test]
async fn a_key_that_is_unknown_is_looked_for_however_long_the_set_is_good() {
    let world = World::saying("max-age=20000");
    assert_eq!(world.ask("old", Ok(&[ec(Some("old"))])).await, Ok(()));
    world.passes(COOLDOWN.as_secs());
    assert_eq!(world.ask("new", Ok(&[ec(Some("new"))])).await, Ok(()));
    assert_eq!((world.ask("old", Err(())).await, world.fetches()), (Err(NoKey::Unknown), 2));
}

#[tokio::test]
async fn an_outage_is_bridged_from_when_the_set_has_become_old() {
    let world = World::saying("max-age=3600");
    let keys = [ec(Some("k"))];
    assert_eq!(world.ask("k", Ok(&keys)).await, Ok(()));
    world.passes(3600 + BRIDGED_FOR.as_secs());
    assert_eq!(world.ask("k", Err(())).await, Ok(()));
    world.passes(1);
    assert_eq!(world.ask("k", Err(())).await, Err(NoKey::Unavailable));
}
