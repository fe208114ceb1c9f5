//! Shops that fail, stand still or are not set up: the model has something to read, and goes on.

use serde_json::{Value, json};

use crate::support::scene::{Scene, until};
use crate::support::tools::{EBAY, SERPAPI, SERPER, asked, ran, shops, went_on};

#[test]
fn one_shop_that_fails_leaves_what_the_others_found_and_is_named() {
    let scene = shops(&[("CIRCUIT_EBAY_THRESHOLD", "1000")]);
    scene.stand_ins.fail(EBAY, "500", 1);
    let answer = scene.ask("t", "search_products docks");
    let partial = ran(&answer, "search_products");
    assert_eq!(partial.shops(), (1..=5).map(|it| format!("Shop {it}")).collect::<Vec<_>>());
    let note = "These results are incomplete: eBay failed. Say so.";
    assert_eq!(partial.output()["note"], note);
    went_on(&scene, &answer, "t");
    // It is not kept for others.
    let whole = ran(&scene.ask("again", "search_products docks"), "search_products");
    assert_eq!((whole.shops().len(), &whole.output()["note"]), (12, &Value::Null));
    assert_eq!(asked(&scene), [3, 2, 0]);
}

#[test]
fn a_shop_whose_circuit_is_open_is_named_and_not_called() {
    let scene = shops(&[
        ("CIRCUIT_EBAY_THRESHOLD", "1"),
        ("CIRCUIT_EBAY_COOLDOWN_MS", "60000"),
        ("CIRCUIT_SERPAPI_THRESHOLD", "1"),
        ("CIRCUIT_SERPAPI_COOLDOWN_MS", "60000"),
    ]);
    scene.stand_ins.fail(EBAY, "500", 1);
    let _ = scene.ask("fails", "search_products docks");
    assert_eq!(asked(&scene), [1, 1, 0]);
    let answer = scene.ask("open", "search_products docks");
    let note = "These results are incomplete: eBay cannot be reached right now. Say so.";
    assert_eq!(ran(&answer, "search_products").output()["note"], note);
    assert_eq!(asked(&scene), [1, 2, 0], "eBay was not called");
    went_on(&scene, &answer, "open");
    // A 200 that makes no sense is a failure like any other, and opens a circuit as well.
    scene.stand_ins.fail(SERPAPI, "malformed", 1);
    for thread in ["nonsense", "left-alone"] {
        let answer = scene.ask(thread, &format!("search_global {thread}"));
        assert_eq!(ran(&answer, "search_global").shops()[0], "Shop 1", "{thread}");
    }
    assert_eq!(asked(&scene), [1, 4, 1], "SerpAPI was called once");
}

#[test]
fn a_shop_whose_places_are_all_taken_is_named_and_not_called() {
    let scene = shops(&[("BULKHEAD_EBAY_MAX_CONCURRENT", "1")]);
    let _ = scene.ask("token", "search_products birds");
    scene.stand_ins.fail(EBAY, "stall_headers", 1);
    let first = scene.raw("first", "search_products cats", &[]);
    until("eBay's one place is taken", || scene.stand_ins.count(EBAY, "inFlight") == 1);
    let answer = scene.ask("second", "search_products dogs");
    let note = "These results are incomplete: eBay is busy right now. Say so.";
    assert_eq!(ran(&answer, "search_products").output()["note"], note);
    assert_eq!(asked(&scene)[0], 3, "a token, the search for birds, the one for cats");
    went_on(&scene, &answer, "second");
    drop(first);
    scene.settles();
}

#[test]
fn a_shopping_search_that_fails_is_replaced_by_another() {
    let scene = shops(&[]);
    scene.stand_ins.fail(SERPER, "500", 1);
    let products = ran(&scene.ask("products", "search_products docks"), "search_products");
    assert_eq!(products.shops()[..2], ["eBay", "World Shop 1"]);
    assert_eq!(products.output()["note"], Value::Null, "nothing is missing");
    assert_eq!(asked(&scene), [2, 1, 1]);
    for fault in ["malformed", "error_mid", "html", "cut", "empty"] {
        scene.stand_ins.fail(SERPAPI, fault, 1);
        let answer = scene.ask(fault, &format!("search_global {fault}"));
        let shops = ran(&answer, "search_global");
        assert_eq!(shops.shops()[0], "Shop 1", "{fault}");
    }
    scene.settles();
}

#[test]
fn shops_that_all_fail_are_words_and_the_answer_goes_on() {
    let scene = shops(&[("TOOL_JOB_MAX_ATTEMPTS", "2")]);
    for provider in [EBAY, SERPER, SERPAPI] {
        scene.stand_ins.fail(provider, "503", 2);
    }
    let answer = scene.ask("t", "search_products docks");
    let words = "The search failed. Answer from what you know, and say that the search was not \
                 available.";
    assert_eq!(ran(&answer, "search_products").words(), words);
    assert_eq!(asked(&scene), [2, 2, 2], "each attempt asks everybody");
    went_on(&scene, &answer, "t");
}

#[test]
fn shops_that_are_not_set_up_are_left_out_and_none_at_all_is_words() {
    let scene = Scene::with(&[]);
    let products = ran(&scene.ask("one", "search_products docks"), "search_products");
    assert_eq!(products.shops().len(), 5);
    assert_eq!(products.output()["note"], Value::Null);
    assert_eq!(products.first.len(), 1, "what is queued is shown before it is settled");
    assert_eq!(asked(&scene), [0, 1, 0]);
    let scene = Scene::with(&[("SERPER_API_KEY", "")]);
    let answer = scene.ask("none", "search_global docks");
    let words = ran(&answer, "search_global").words().to_owned();
    assert!(words.starts_with("The search is not set up on this server."), "{words}");
    went_on(&scene, &answer, "none");
}

#[test]
fn a_shop_that_stands_still_is_not_waited_for_longer_than_the_answer_waits() {
    let scene = shops(&[("TOOL_JOB_WAIT_MS", "3000")]);
    scene.stand_ins.fail(EBAY, "stall_headers", 1);
    let mut reading = scene.raw("t", "search_products docks", &[]);
    reading.until("not every shop has answered");
    assert_eq!(scene.stand_ins.count(EBAY, "inFlight"), 1, "the first offers come meanwhile");
    reading.until("[DONE]");
    let stored = &scene.messages("t")[1];
    assert_eq!(stored["status"], "complete");
    let output = &stored["parts"][1]["output"];
    let note = "These results are incomplete: eBay did not answer in time. Say so.";
    assert_eq!(
        (&output["note"], output["products"].as_array().map(Vec::len)),
        (&json!(note), Some(5))
    );
    until("the stalled call is given up", || scene.stand_ins.count(EBAY, "inFlight") == 0);
}

#[test]
fn a_token_is_asked_for_once_and_anew_when_it_is_refused() {
    let scene = shops(&[]);
    for (thread, calls) in [("one", 2), ("two", 3)] {
        let _ = scene.ask(thread, &format!("search_products {thread}"));
        assert_eq!(asked(&scene)[0], calls, "{thread}");
    }
    scene.stand_ins.fail(EBAY, "401", 1);
    let renewed = ran(&scene.ask("three", "search_products three"), "search_products");
    assert_eq!((asked(&scene)[0], &renewed.output()["note"]), (6, &Value::Null));
    scene.stand_ins.fail(EBAY, "401", 3);
    let refused = ran(&scene.ask("four", "search_products four"), "search_products");
    let note = "These results are incomplete: eBay is not set up on this server. Say so.";
    assert_eq!((asked(&scene)[0], &refused.output()["note"]), (8, &json!(note)));
}
