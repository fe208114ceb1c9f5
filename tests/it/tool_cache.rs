//! What tools found before: served at once and without a call, for as long as it holds.

use serde_json::json;

use crate::support::client::Caller;
use crate::support::scene::{get, until};
use crate::support::tools::{SERPER, asked, ran, shops, went_on};

#[test]
fn what_was_found_before_is_served_without_a_call_and_at_once() {
    let scene = shops(&[]);
    for (tool, calls) in
        [("search_web", [0, 1, 0]), ("search_products", [2, 2, 0]), ("search_global", [2, 2, 1])]
    {
        let question = |text: &str| format!("{tool} {text}");
        let live = scene.ask(&format!("live-{tool}"), &question("red shoes"));
        assert_eq!(asked(&scene), calls, "{tool}");
        let again = scene.ask(&format!("again-{tool}"), &question("  Red   SHOES"));
        assert_eq!(asked(&scene), calls, "{tool}: nobody was asked again");
        let (live, again) = (ran(&live, tool), ran(&again, tool));
        assert_eq!(again.output(), live.output(), "{tool}");
        assert!(again.first.is_empty(), "{tool}: the final output comes at once");
    }
    let stored = scene.messages("again-search_products");
    let products = stored[1]["parts"][1]["output"]["products"].as_array().map(Vec::len);
    assert_eq!(products, Some(12), "products are in the message, whoever found them");
    assert_eq!(scene.snapshot()["toolJobs"]["byStatus"]["done"], 3, "hits are not queued");
}

#[test]
fn what_was_found_before_outlives_an_orderly_restart() {
    let mut scene = shops(&[]);
    let live = scene.ask("live", "search_products red shoes");
    let calls = asked(&scene);
    scene.server.restart_by("TERM");
    scene.caller = Caller::of(&scene.server);
    let again = scene.ask("again", "search_products red shoes");
    let tool = "search_products";
    assert_eq!(ran(&again, tool).output(), ran(&live, tool).output());
    assert_eq!(asked(&scene), calls);
}

#[test]
fn what_was_found_is_served_no_longer_than_it_holds() {
    let scene = shops(&[("TOOL_CACHE_WEB_SEARCH_TTL_MS", "1")]);
    for thread in ["one", "two"] {
        assert_eq!(ran(&scene.ask(thread, "search cats"), "search_web").first.len(), 1);
    }
    assert_eq!(asked(&scene), [0, 2, 0]);
}

#[test]
fn another_version_of_a_namespace_forgets_what_was_found() {
    let mut scene = shops(&[]);
    let _ = scene.ask("one", "search cats");
    scene.server.set("TOOL_CACHE_WEB_SEARCH_NAMESPACE_VERSION", "v2");
    scene.server.restart_by("TERM");
    scene.caller = Caller::of(&scene.server);
    let _ = scene.ask("two", "search cats");
    assert_eq!(asked(&scene), [0, 2, 0]);
    let namespaces = scene.snapshot()["toolCache"]["byNamespace"].clone();
    assert_eq!(namespaces, json!({"search_web_json_v1": 1, "search_web_json_v2": 1}));
}

#[test]
fn those_who_ask_the_same_at_once_make_one_call_and_outlive_the_first() {
    let scene = shops(&[]);
    scene.stand_ins.fail(SERPER, "stall_headers", 1);
    let first = scene.raw("first", "search cats", &[]);
    until("the first search runs", || scene.stand_ins.count(SERPER, "inFlight") == 1);
    let mut second = scene.raw("second", "search cats", &[]);
    second.until("tool-input-available");
    // Whoever asks something else is not held up, and is given time to show a second call by it.
    let _ = scene.ask("else", "search dogs");
    assert_eq!(asked(&scene), [0, 2, 0], "one call for cats, one for dogs");
    assert!(!second.text().contains("tool-output"), "{}", second.text());
    drop(first);
    second.until("[DONE]");
    assert!(second.text().contains("cats: an introduction"), "{}", second.text());
    assert_eq!(asked(&scene), [0, 3, 0]);
    scene.settles();
}

#[test]
fn a_cache_that_does_not_answer_is_a_miss_and_the_chat_goes_on() {
    let scene = shops(&[]);
    let _ = scene.ask("live", "search cats");
    let body = json!({"fault": "tool_cache:deaf@0:60000ms"}).to_string();
    let armed = get(scene.caller.post_json("/ops/faults", body).bearer_auth("ops"));
    assert_eq!(armed.status, 204, "{armed:?}");
    // Its last answer before it goes deaf.
    assert!(ran(&scene.ask("found", "search cats"), "search_web").first.is_empty());
    let answer = scene.ask("missed", "search cats");
    assert_eq!(ran(&answer, "search_web").first.len(), 1);
    assert_eq!(asked(&scene), [0, 2, 0]);
    went_on(&scene, &answer, "missed");
}
