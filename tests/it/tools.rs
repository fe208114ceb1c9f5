//! The tools of a chat answer: each once, several at once, and within their bounds.

use serde_json::{Value, json};

use crate::support::model::model_of;
use crate::support::scene::until;
use crate::support::tools::{SERPER, asked, ran, shops, went_on};

#[test]
fn a_product_search_asks_ebay_and_a_shopping_search_and_makes_one_list() {
    let scene = shops(&[]);
    let answer = scene.ask("t", "search_products usb-c dock");
    let ran = ran(&answer, "search_products");
    let shops = ran.shops();
    assert_eq!(shops[..4], ["eBay", "Shop 1", "eBay", "Shop 2"], "the best of each first");
    assert_eq!(shops.len(), 12);
    assert_eq!(ran.output()["note"], Value::Null);
    let offer = json!({"title": "usb-c dock lot 1", "price": "$19.49", "amount": 19.49,
        "shop": "eBay", "link": "https://www.ebay.example/itm/110553000001",
        "image": "https://i.ebayimg.example/g/110553000001/s-l225.jpg", "condition": "New",
        "delivery": "Free delivery"});
    assert_eq!(ran.output()["products"][0], offer);
    // One of the two was there before the other.
    let [first] = &ran.first[..] else { panic!("one preliminary output: {ran:?}") };
    let note = "These results are incomplete: not every shop has answered. Say so.";
    assert_eq!(first["output"]["note"], note);
    let named = "event: tool-output-partially-available\ndata: {\"type\":\"tool-output-available\"";
    assert_eq!(answer.body.matches(named).count(), 1);
    assert_eq!(asked(&scene), [2, 1, 0], "a token, and a search each");
    went_on(&scene, &answer, "t");
    let stored = &scene.messages("t")[1]["parts"][1];
    assert_eq!(
        (&stored["type"], &stored["output"]),
        (&json!("tool-search_products"), ran.output())
    );
}

#[test]
fn a_global_search_asks_the_shops_of_the_world() {
    let scene = shops(&[]);
    let answer = scene.ask("t", "search_global teapot");
    let ran = ran(&answer, "search_global");
    let expected = (1..=6).map(|number| format!("World Shop {number}")).collect::<Vec<_>>();
    assert_eq!(ran.shops(), expected);
    let link = &ran.output()["products"][0]["link"];
    assert_eq!(link, "https://world-shop-1.example/teapot", "a shop's own page");
    assert_eq!(ran.first.len(), 1, "what is queued is shown before it is settled");
    assert_eq!(ran.first[0]["output"], *ran.output());
    assert_eq!(asked(&scene), [0, 0, 1]);
    went_on(&scene, &answer, "t");
}

#[test]
fn all_tools_of_a_step_run_at_once() {
    let scene = shops(&[]);
    // The first two of three stand still; the last one ends all the same.
    scene.stand_ins.fail(SERPER, "stall_headers", 2);
    let mut reading = scene.raw("t", "search_all docks", &[]);
    reading.until("World Shop 1");
    assert_eq!(scene.stand_ins.count(SERPER, "inFlight"), 2);
    drop(reading);
    scene.settles();
}

#[test]
fn several_tools_of_a_step_are_all_answered_from() {
    let scene = shops(&[]);
    let answer = scene.ask("t", "search_all docks");
    let results = ran(&answer, "search_web").output()["results"].as_array().map(Vec::len);
    assert_eq!(results, Some(5));
    assert_eq!(ran(&answer, "search_products").shops().len(), 12);
    assert_eq!(ran(&answer, "search_global").shops().len(), 6);
    assert_eq!((asked(&scene), scene.model_calls()), ([2, 2, 1], 2));
    went_on(&scene, &answer, "t");
    scene.settles();
}

#[test]
fn arguments_that_cannot_be_used_are_answered_in_words_and_nobody_is_asked() {
    let call = |index: u32, name: &str, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        json!({"index": index, "id": format!("c{index}"), "type": "function", "function": function})
    };
    let calls = [
        call(0, "search_web", r#"{"query": 7}"#),
        call(1, "search_products", r#"{"query": "docks", "max_price": "cheap"}"#),
        call(2, "search_global", r#"{"country": "us"}"#),
    ];
    let called = json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]});
    let stop =
        |reason: &str| json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    let hello = json!({"choices": [{"index": 0, "delta": {"content": "hello"}}]});
    let url = model_of(vec![vec![called, stop("tool_calls")], vec![hello, stop("stop")]]);
    let scene = shops(&[("OPENROUTER_BASE_URL", &url)]);
    let answer = scene.ask("t", "buy something");
    let words = |tool: &str| ran(&answer, tool).words().to_owned();
    assert_eq!(words("search_web"), "The argument `query` must be a text.");
    let number = "The argument `max_price` must be a number of dollars.";
    assert_eq!(words("search_products"), number);
    assert_eq!(words("search_global"), "The argument `query` must be a text.");
    assert_eq!(answer.text(), "hello");
    assert_eq!(asked(&scene), [0, 0, 0]);
}

#[test]
fn an_answer_queues_so_many_calls_and_no_more() {
    let scene = shops(&[("TOOL_JOB_MAX_PER_RUN", "2")]);
    let answer = scene.ask("t", "search_all docks");
    let parts = answer.parts();
    let ends = |kind: &str| {
        let of_kind = |part: &&Value| part["type"] == kind && part["preliminary"].is_null();
        parts.iter().filter(of_kind).collect::<Vec<_>>()
    };
    assert_eq!(ends("tool-output-available").len(), 2);
    let words = "This answer has used up its 2 searches. Answer from the results that you have, \
                 and do not search again.";
    let [refused] = &ends("tool-output-error")[..] else { panic!("one is refused: {parts:?}") };
    assert_eq!(refused["errorText"], words);
    went_on(&scene, &answer, "t");
    // What was found before needs no queue, and the next answer has its own count.
    let again = scene.ask("again", "search_all docks");
    assert!(!again.body.contains("used up"), "{}", again.body);
}

#[test]
fn an_answer_takes_so_many_steps_and_no_more() {
    let scene = shops(&[("CHAT_MAX_STEPS", "1")]);
    let answer = scene.ask("t", "search cats");
    let parts = answer.parts();
    assert!(ran(&answer, "search_web").output()["results"].is_array());
    assert_eq!(parts.last().map(|last| &last["finishReason"]), Some(&json!("tool-calls")));
    assert_eq!(scene.model_calls(), 1);
    assert_eq!(scene.messages("t")[1]["status"], "complete");
}

#[test]
fn tools_together_run_no_more_calls_than_they_may() {
    let scene = shops(&[("BULKHEAD_TOOL_JOB_MAX", "1")]);
    scene.stand_ins.fail(SERPER, "stall_headers", 1);
    let first = scene.raw("first", "search cats", &[]);
    until("the first search runs", || scene.stand_ins.count(SERPER, "inFlight") == 1);
    let mut second = scene.raw("second", "search_global teapot", &[]);
    second.until("tool-input-available");
    let running =
        || scene.snapshot()["toolJobs"]["pressureByTool"]["search_global"]["running"].clone();
    until("a worker has the second", || running() == 1);
    assert_eq!(asked(&scene), [0, 1, 0], "it waits for a place");
    drop(first);
    second.until("World Shop 1");
    scene.settles();
}
