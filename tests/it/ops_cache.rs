//! `/ops/cache`: what tools found before, and how an operator forgets it.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::expected::{refusal, whole};
use crate::support::scene::{Scene, get, until};

const SERPER: &str = "serper_search";
const WEB: &str = "search_web_json_v1";

/// What operators see of the cache, once it has that many results.
fn cache_of(scene: &Scene, entries: u64) -> Value {
    let mut seen = Value::Null;
    until("the cache is seen as it is", || {
        let answer = scene.operates("GET", "/ops/cache");
        assert_eq!(answer.status, 200, "{answer:?}");
        seen = answer.json();
        let namespaces = seen["namespaces"].as_object().expect("they have names");
        namespaces.values().filter_map(|it| it["entries"].as_u64()).sum::<u64>() == entries
    });
    seen
}

fn json_answer(body: &Value) -> Answer {
    let fields = [("cache-control", "no-store"), ("content-type", "application/json")];
    whole(200, &fields, &body.to_string())
}

#[test]
fn the_cache_is_told_by_namespace_with_how_look_ups_went() {
    let scene = Scene::with(&[("TOOL_CACHE_PRODUCTS_NS_VER", "v7")]);
    let empty = json!({"inForce": true, "entries": 0, "bytes": 0, "oldestAgeMs": null});
    let answer = scene.operates("GET", "/ops/cache");
    let expected = json!({
        "generatedAt": answer.json()["generatedAt"], "bytes": 0, "maxBytes": 4_194_304,
        "hits": 0, "misses": 0,
        "namespaces": {"search_global_v7": empty, "search_products_v7": empty,
            WEB: empty},
    });
    let told = json_answer(&Value::Null);
    assert_eq!((answer.status, answer.json()), (told.status, expected));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for text in ["search cats", "search dogs", "search  CATS", "search_products docks"] {
        assert_eq!(scene.ask(&format!("t{}", text.len()), text).status, 200);
    }
    let seen = cache_of(&scene, 3);
    assert_eq!((&seen["hits"], &seen["misses"]), (&json!(1), &json!(3)));
    let web = &seen["namespaces"][WEB];
    assert_eq!((&web["inForce"], &web["entries"]), (&json!(true), &json!(2)));
    assert!(web["oldestAgeMs"].is_u64(), "{seen}");
    let products = &seen["namespaces"]["search_products_v7"];
    assert_eq!(products["entries"], 1);
    let bytes = |namespace: &Value| namespace["bytes"].as_u64().expect("it costs something");
    assert_eq!(seen["bytes"], bytes(web) + bytes(products));
    let section = json!({"sampledActiveEntries": 3, "byNamespace":
        {WEB: 2, "search_products_v7": 1}});
    assert_eq!(scene.snapshot()["toolCache"], section);
}

#[test]
fn an_operator_forgets_what_was_found_in_one_namespace() {
    let scene = Scene::with(&[]);
    let asked = || scene.stand_ins.count(SERPER, "requests");
    for text in ["search cats", "search dogs", "search_products docks"] {
        let _ = scene.ask("before", text);
    }
    assert_eq!(asked(), 3);
    let path = format!("/ops/cache/{WEB}");
    assert_eq!(scene.operates("DELETE", &path), json_answer(&json!({"cleared": 2})));
    assert_eq!(scene.operates("DELETE", &path), json_answer(&json!({"cleared": 0})));
    let seen = cache_of(&scene, 1);
    assert_eq!(seen["namespaces"]["search_products_v1"]["entries"], 1);
    let _ = scene.ask("after", "search cats");
    assert_eq!(asked(), 4, "it is fetched anew");
    let _ = scene.ask("after", "search_products docks");
    assert_eq!(asked(), 4, "other namespaces are as they were");
}

#[test]
fn what_was_under_way_while_it_was_forgotten_is_given_to_its_asker_alone() {
    let scene = Scene::with(&[]);
    // The first attempt waits as long as the provider says, and the second one is answered.
    scene.stand_ins.fail(SERPER, "429", 1);
    let mut reading = scene.raw("t", "search cats", &[]);
    until("the search is under way", || scene.stand_ins.count(SERPER, "completed") == 1);
    let path = format!("/ops/cache/{WEB}");
    assert_eq!(scene.operates("DELETE", &path), json_answer(&json!({"cleared": 0})));
    reading.until("[DONE]");
    assert!(reading.text().contains("cats: an introduction"), "{}", reading.text());
    let _ = scene.ask("again", "search cats");
    assert_eq!(scene.stand_ins.count(SERPER, "requests"), 3, "it was not kept");
}

#[test]
fn a_namespace_that_nobody_uses_is_not_found() {
    let scene = Scene::with(&[]);
    let nothing = refusal(404, "not_found", "There is nothing here; check the address.", &[]);
    assert_eq!(scene.operates("DELETE", "/ops/cache/search_web_json_v9"), nothing);
}

#[test]
fn another_method_is_told_which_there_are() {
    let scene = Scene::with(&[]);
    let sentence = "This address does not take that method; use one that the Allow header names.";
    for (path, allow) in [("/ops/cache", "GET"), ("/ops/cache/search_web_json_v1", "DELETE")] {
        let expected = refusal(405, "method_not_allowed", sentence, &[("allow", allow)]);
        assert_eq!(scene.operates("PUT", path), expected);
    }
}

#[test]
fn a_cache_that_does_not_answer_is_not_told_to_be_cleared() {
    let scene = Scene::with(&[]);
    let body = json!({"fault": "tool_cache:deaf@0:60000ms"}).to_string();
    let armed = get(scene.caller.post_json("/ops/faults", body).bearer_auth("ops"));
    assert_eq!(armed.status, 204, "{armed:?}");
    let path = format!("/ops/cache/{WEB}");
    assert_eq!(scene.operates("DELETE", &path), json_answer(&json!({"cleared": 0})));
    let sentence = "The cache gave no answer; look what it holds, and try again.";
    let busy = refusal(503, "overloaded", sentence, &[("retry-after", "1")]);
    assert_eq!(scene.operates("DELETE", &path), busy);
}
