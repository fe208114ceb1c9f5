//! Knobs of the log that no other test turns: each changes what it is said to change
//! (CONFORMANCE.md §12). That all are listed with their defaults, and refused out of range, is
//! checked beside the table in `src/config`.

use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::client::run;
use crate::support::mailbox::{JWT_SECRET, Office, user_token};
use crate::support::scene::{Scene, get, until};
use crate::support::tools::{SERPAPI, SERPER, asked, ran, shops};
use crate::support::webhook::eventually;

const MODEL: &str = "openrouter_chat";

/// Asks until it is refused for want of room, which must be at this call; the wait it names.
#[track_caller]
fn refused_at(call: usize, ask: impl Fn() -> Answer) -> u64 {
    for _ in 1..call {
        let answer = ask();
        assert_ne!(answer.status, 429, "{answer:?}");
    }
    let refused = ask();
    assert_eq!(refused.status, 429, "{refused:?}");
    let wait = refused.header("retry-after").expect("a refusal names a wait");
    wait.parse().expect("it is in seconds")
}

#[test]
fn rate_limit_gmail_push_window_ms_is_how_long_a_sender_waits() {
    let scene = Scene::with(&[
        ("RATE_LIMIT_GMAIL_PUSH_MAX", "2"),
        ("RATE_LIMIT_GMAIL_PUSH_WINDOW_MS", "7200000"),
    ]);
    let wait = refused_at(3, || get(scene.caller.post_json("/api/gmail/push", "{}")));
    assert!((7100..=7200).contains(&wait), "{wait}");
}

#[test]
fn rate_limit_gmail_oauth_window_ms_is_how_long_a_browser_waits() {
    let scene = Scene::with(&[
        ("RATE_LIMIT_GMAIL_OAUTH_MAX", "1"),
        ("RATE_LIMIT_GMAIL_OAUTH_WINDOW_MS", "7200000"),
    ]);
    // A redirect is not followed: the front end that it leads to is not there.
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("the system has CAs");
    let path = format!("{}/api/gmail/auth/callback", scene.server.url());
    let wait = refused_at(2, || get(client.get(&path)));
    assert!((7100..=7200).contains(&wait), "{wait}");
}

#[test]
fn rate_limit_wa_link_code_max_and_window_ms_bound_the_codes_of_a_user() {
    let scene = Scene::with(&[
        ("RATE_LIMIT_WA_LINK_CODE_MAX", "2"),
        ("RATE_LIMIT_WA_LINK_CODE_WINDOW_MS", "7200000"),
        ("AUTH_JWT_SECRET", JWT_SECRET),
        ("WHATSAPP_ACCESS_TOKEN", "key"),
        ("WHATSAPP_PHONE_NUMBER_ID", "1"),
    ]);
    let asks = |user: &str| {
        get(scene.caller.post("/api/whatsapp/link-code").bearer_auth(user_token(user)))
    };
    let wait = refused_at(3, || asks("ada"));
    assert!((7100..=7200).contains(&wait), "{wait}");
    assert_eq!(asks("bob").status, 200, "another user's codes are counted apart");
}

/// The lease that a provider's bulkhead gives out, in milliseconds, while one call stands still.
fn lease_of(scene: &Scene, provider: &str) -> u64 {
    let mut lease = Value::Null;
    until("a call holds a slot", || {
        lease = scene.sees("/ops/bulkheads")["bulkheads"][provider]["leases"][0].clone();
        lease.is_object()
    });
    lease["ageMs"].as_u64().unwrap() + lease["endsInMs"].as_u64().unwrap()
}

#[test]
fn bulkhead_openrouter_lease_ttl_ms_is_how_long_a_silent_answer_keeps_its_slot() {
    let scene = Scene::with(&[("BULKHEAD_OPENROUTER_LEASE_TTL_MS", "77000")]);
    scene.stand_ins.fail(MODEL, "stall_headers", 1);
    let _held = scene.raw("a", "hello", &[]);
    assert_eq!(lease_of(&scene, MODEL), 77_000);
}

#[test]
fn bulkhead_serper_lease_ttl_ms_is_how_long_a_silent_search_keeps_its_slot() {
    let scene = Scene::with(&[("BULKHEAD_SERPER_LEASE_TTL_MS", "66000")]);
    scene.stand_ins.fail(SERPER, "stall_headers", 1);
    let _held = scene.raw("a", "search cats", &[]);
    assert_eq!(lease_of(&scene, SERPER), 66_000);
}

#[test]
fn bulkhead_gmail_oauth_lease_ttl_ms_is_how_long_a_silent_exchange_keeps_its_slot() {
    let office = Office::with(|setup| setup.with("BULKHEAD_GMAIL_OAUTH_LEASE_TTL_MS", 55_000));
    run(async {
        let back = office.consents(&office.asks_to_connect("ada").await).await;
        office.stand_ins.arms("gmail_oauth", "stall_headers", 1).await;
        let lease = async || {
            let seen = office.caller.sees("/ops/bulkheads").await;
            let lease = &seen["bulkheads"]["gmail_oauth"]["leases"][0];
            Some(lease["ageMs"].as_u64()? + lease["endsInMs"].as_u64()?)
        };
        tokio::select! {
            word = office.comes_back(&back) => panic!("it was answered {word}"),
            lease = eventually("the exchange holds a slot", lease) => assert_eq!(lease, 55_000),
        }
    });
}

#[test]
fn circuit_gmail_oauth_threshold_is_how_many_failures_in_a_row_open_it() {
    let office = Office::with(|setup| setup.with("CIRCUIT_GMAIL_OAUTH_THRESHOLD", 2));
    run(async {
        office.stand_ins.arms("gmail_oauth", "500", 1000).await;
        let mut words = Vec::new();
        for _ in 0..3 {
            let back = office.consents(&office.asks_to_connect("ada").await).await;
            words.push(office.comes_back(&back).await);
        }
        assert_eq!(words, ["error", "error", "busy"]);
    });
}

#[test]
fn tool_cache_product_search_ttl_ms_is_how_long_offers_are_served_again() {
    let scene = shops(&[("TOOL_CACHE_PRODUCT_SEARCH_TTL_MS", "1")]);
    for thread in ["one", "two"] {
        assert!(!ran(&scene.ask(thread, "search_global teapot"), "search_global").first.is_empty());
    }
    assert_eq!(asked(&scene), [0, 0, 2]);
}

#[test]
fn tool_job_lease_ms_is_how_long_a_worker_may_be_silent() {
    let scene = Scene::with(&[("TOOL_JOB_LEASE_MS", "7200000")]);
    scene.stand_ins.fail(SERPER, "stall_headers", 1);
    let _held = scene.raw("a", "search cats", &[]);
    let mut job = Value::Null;
    until("it runs", || {
        job = scene.sees("/ops/jobs?status=running")["items"][0].clone();
        job.is_object()
    });
    let at = |name: &str| {
        let time = job[name].as_str().expect("a running call has it");
        humantime::parse_rfc3339(time).expect("it is a time")
    };
    let lease = at("leaseEndsAt").duration_since(at("runningSince")).expect("it ends later");
    assert!((7200..7300).contains(&lease.as_secs()), "{job}");
}

#[test]
fn tool_job_poll_ms_is_how_often_an_idle_worker_looks() {
    let asked = |scene: &Scene| {
        let actors = scene.sees("/ops/actors")["actors"].clone();
        let actors = actors.as_array().expect("there are actors").iter();
        let queue = actors.clone().find(|actor| actor["name"] == "job_queue");
        queue.and_then(|queue| queue["handled"].as_u64()).expect("the queue counts")
    };
    let seldom = Scene::with(&[("TOOL_JOB_POLL_MS", "3600000")]);
    let often = Scene::with(&[("TOOL_JOB_POLL_MS", "20")]);
    let (seldom_before, often_before) = (asked(&seldom), asked(&often));
    until("the busy one has looked often", || asked(&often) > often_before + 2000);
    let looked = asked(&seldom) - seldom_before;
    assert!(looked < 500, "{looked} looks of those who rest an hour");
}

/// How many calls of a tool were given up.
fn given_up(scene: &Scene, tool: &str) -> u64 {
    scene.snapshot()["toolJobs"]["byTool"][tool]["dead"].as_u64().expect("they are counted")
}

#[test]
fn tool_job_ttl_ms_is_how_long_a_call_may_wait() {
    let scene = Scene::with(&[("TOOL_JOB_TTL_MS", "300"), ("TOOL_JOB_RUNMAX_WEB", "1")]);
    scene.stand_ins.fail(SERPER, "stall_headers", 1);
    let _running = scene.raw("a", "search cats", &[]);
    until("one runs", || scene.sees("/ops/jobs?status=running")["items"][0].is_object());
    let mut waiting = scene.raw("b", "search dogs", &[]);
    waiting.until("longer than its time to live");
    assert_eq!(given_up(&scene, "search_web"), 1);
}

#[test]
fn bulkhead_tool_job_lease_ms_is_how_long_a_call_keeps_its_place_among_all_tools() {
    let scene = Scene::with(&[("BULKHEAD_TOOL_JOB_LEASE_MS", "300")]);
    scene.stand_ins.fail(SERPER, "stall_headers", 1);
    let _running = scene.raw("a", "search cats", &[]);
    until("it is given up", || given_up(&scene, "search_web") == 1);
    until("its call too", || scene.stand_ins.count(SERPER, "inFlight") == 0);
}

/// One call of a tool runs and one waits; the words of a third.
fn third_call(knob: &str, tool: &str, provider: &str) -> String {
    let run_max = knob.replace("QMAX", "RUNMAX");
    let scene = shops(&[(knob, "1"), (&run_max, "1")]);
    scene.stand_ins.fail(provider, "stall_headers", 2);
    let of = |what: &str| scene.snapshot()["toolJobs"]["pressureByTool"][tool][what].as_u64();
    let _running = scene.raw("a", &format!("{tool} cats"), &[]);
    until("one runs", || of("running") == Some(1));
    let _waiting = scene.raw("b", &format!("{tool} dogs"), &[]);
    until("one waits", || of("queued") == Some(1));
    ran(&scene.ask("c", &format!("{tool} birds")), tool).words().to_owned()
}

#[test]
fn tool_job_qmax_prod_is_how_many_product_searches_may_wait() {
    let words = third_call("TOOL_JOB_QMAX_PROD", "search_products", SERPER);
    assert!(words.starts_with("[queue_saturated:"), "{words}");
}

#[test]
fn tool_job_qmax_glob_is_how_many_global_searches_may_wait() {
    let words = third_call("TOOL_JOB_QMAX_GLOB", "search_global", SERPAPI);
    assert!(words.starts_with("[queue_saturated:"), "{words}");
}
