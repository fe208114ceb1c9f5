//! The chat page in a real browser: what a person sees, and that nobody else is asked anything.

use serde_json::{Value, json};

use crate::support::node::node;
use crate::support::scene::{Scene, until};

const MODEL: &str = "openrouter_chat";
const RESUME: &str = "GET /api/chat/{thread}/stream";

/// What a case showed. The browser asked nobody but the server, these requests and no others, and
/// complained of nothing.
#[track_caller]
fn plays(scene: &Scene, case: &str, requests: &[&str]) -> (Value, Value) {
    let mut played = node(scene, "page.mjs", &[case]);
    let thread = played["thread"].take();
    let thread = thread.as_str().expect("a page has a thread");
    let made: Vec<_> = requests.iter().map(|it| it.replace("{thread}", thread)).collect();
    assert_eq!(played["requests"], json!(made), "{played}");
    let (seen, messages) = (played["seen"].take(), played["messages"].take());
    (seen, messages)
}

fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number} ")).collect()
}

fn busy() -> Value {
    json!({"sending": false, "stopping": true})
}

fn idle() -> Value {
    json!({"sending": true, "stopping": false})
}

#[test]
fn a_person_asks_and_sees_the_answer_grow() {
    let scene = Scene::sandboxed();
    let (seen, messages) = plays(&scene, "grow", &["GET /", "POST /api/chat"]);
    assert_eq!(seen, json!({"grew": true, "busy": busy(), "idle": idle(), "complaints": []}));
    assert_eq!(messages, json!(["slow 30 50", numbers(30)]));
}

#[test]
fn a_search_is_a_card_with_links() {
    let scene = Scene::sandboxed();
    let (seen, messages) = plays(&scene, "search", &["GET /", "POST /api/chat"]);
    let card = [
        "search_web",
        "rust actors",
        "done",
        "rust actors: an introduction",
        "What it is, where it comes from and how to begin.",
        "rust actors: the reference",
        "Every part described, with examples.",
        "rust actors: compared",
        "We looked at nine of them for a month …",
        "rust actors: questions and answers",
        "People ask, people answer.",
        "rust actors: news",
        "What changed this week.",
    ];
    assert_eq!(seen, json!({"card": card, "links": 5, "complaints": []}));
    assert_eq!(messages[0], "search rust actors");
    let answer = messages[1].as_str().expect("an answer has a text");
    assert!(answer.contains("I found 5 results for “rust actors”:"), "{answer}");
}

#[test]
fn a_person_stops_an_answer_and_the_provider_is_told() {
    let scene = Scene::sandboxed();
    let requests = ["GET /", "POST /api/chat", "POST /api/chat/{thread}/stop"];
    let (seen, messages) = plays(&scene, "stop", &requests);
    assert_eq!(seen, json!({"idle": idle(), "complaints": []}));
    assert_eq!(messages[0], "slow 600 50");
    let answer = messages[1].as_str().expect("an answer has a text");
    let said = answer.strip_suffix("\nStopped.").expect("it says that it was stopped");
    assert!(said.len() > 5 && numbers(600).starts_with(said), "{answer}");
    until("the provider is told", || scene.stand_ins.count(MODEL, "clientGone") == 1);
    scene.settles();
}

#[test]
fn a_reload_in_the_middle_takes_the_answer_up_and_a_later_one_finds_it() {
    let scene = Scene::sandboxed();
    let load = ["GET /", "GET /api/threads/{thread}/messages?limit=100", RESUME];
    let requests = [&["GET /", "POST /api/chat"][..], &load, &load].concat();
    let (seen, messages) = plays(&scene, "reload", &requests);
    let whole = json!(["slow 60 50", numbers(60)]);
    let expected = json!({"resumed": busy(), "live": whole, "idle": idle(), "complaints": []});
    assert_eq!(seen, expected);
    assert_eq!(messages, whole);
    assert_eq!(scene.model_calls(), 1);
    assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 0);
}

#[test]
fn a_failure_is_a_sentence_in_sight_on_a_small_phone_too() {
    let scene = Scene::sandboxed();
    let requests = ["GET /", "POST /api/chat", "POST /api/chat"];
    let (seen, messages) = plays(&scene, "failure", &requests);
    // A browser tells its console of every status of failure.
    let told = "Failed to load resource: the server responded with a status of 503 \
                (Service Unavailable)";
    let sight = json!({"isWhole": true, "isWide": false, "idle": idle(), "complaints": [told]});
    assert_eq!(seen, sight);
    let sentence = "The service is not set up for this call. Try again in 60 s. (HTTP 503) \
                    misconfigured";
    assert_eq!(messages, json!(["chunks 100", numbers(100), "chunks 4", sentence]));
}
