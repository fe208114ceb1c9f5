//! `/api/threads` and `/api/threads/{id}`: founded, listed, named and deleted by their owner only.

use reqwest::RequestBuilder;
use sendcat::contract::code::ErrorCode;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::Caller;
use crate::support::expected::{assert_problem, of, refusal, whole};
use crate::support::scene::{Scene, get, session, until};

const JSON: [(&str, &str); 2] =
    [("cache-control", "no-store"), ("content-type", "application/json")];

fn send(scene: &Scene, method: &str, path: &str, body: Option<&Value>) -> RequestBuilder {
    let request = scene.caller.request(method, path).bearer_auth(&scene.token);
    match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    }
}

fn ask(scene: &Scene, method: &str, path: &str, body: &Value) -> Answer {
    get(send(scene, method, path, Some(body)))
}

fn read(scene: &Scene, path: &str) -> Answer {
    get(send(scene, "GET", path, None))
}

/// Checks an answer with one thread whole, but for its times, which it returns.
#[track_caller]
fn assert_thread(
    answer: &Answer,
    status: u16,
    id: &str,
    title: &Value,
    messages: u64,
) -> [String; 2] {
    assert_eq!(*answer, whole(status, &JSON, &answer.body));
    let json = answer.json();
    let times = ["createdAt", "updatedAt"].map(|name| json[name].as_str().unwrap().to_owned());
    assert!(times.iter().all(|time| time.len() == 24 && time.ends_with('Z')), "{times:?}");
    let expected = json!({
        "id": id, "title": title, "messages": messages,
        "createdAt": times[0], "updatedAt": times[1],
    });
    assert_eq!(json, expected);
    times
}

#[test]
fn a_thread_is_founded_read_named_and_deleted() {
    let scene = Scene::with(&[]);
    let made = ask(&scene, "POST", "/api/threads", &json!({"id": "t", "title": " Shoes "}));
    let founded = assert_thread(&made, 201, "t", &json!("Shoes"), 0);
    assert_eq!(founded[0], founded[1]);
    let again = read(&scene, "/api/threads/t");
    assert_eq!(assert_thread(&again, 200, "t", &json!("Shoes"), 0), founded);
    let named = ask(&scene, "PATCH", "/api/threads/t", &json!({"title": "Boots"}));
    let times = assert_thread(&named, 200, "t", &json!("Boots"), 0);
    assert!(times[0] == founded[0] && times[1] >= founded[1], "{times:?}");
    let unnamed = ask(&scene, "PATCH", "/api/threads/t", &json!({"title": null}));
    assert_thread(&unnamed, 200, "t", &Value::Null, 0);
    let gone = get(send(&scene, "DELETE", "/api/threads/t", None));
    assert_eq!(gone, whole(204, &[], ""));
    let unknown = of(ErrorCode::NotFound, &[]);
    assert_eq!(get(send(&scene, "DELETE", "/api/threads/t", None)), unknown);
    assert_eq!(read(&scene, "/api/threads/t"), unknown);
    assert_eq!(read(&scene, "/api/threads/t/messages"), unknown);
    let unnamed = ask(&scene, "POST", "/api/threads", &json!({}));
    let id = unnamed.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32, "one is made up");
    assert_thread(&unnamed, 201, &id, &Value::Null, 0);
}

#[test]
fn a_chat_founds_a_thread_named_after_its_question_and_goes_on_in_one_that_is_there() {
    let scene = Scene::with(&[]);
    assert_eq!(scene.ask("chatted", "chunks 1").status, 200);
    until("the answer is stored", || read(&scene, "/api/threads/chatted").json()["messages"] == 2);
    assert_thread(&read(&scene, "/api/threads/chatted"), 200, "chatted", &json!("chunks 1"), 2);
    ask(&scene, "POST", "/api/threads", &json!({"id": "made", "title": "Mine"}));
    assert_eq!(scene.ask("made", "chunks 1").status, 200);
    until("the answer is stored", || read(&scene, "/api/threads/made").json()["messages"] == 2);
    assert_thread(&read(&scene, "/api/threads/made"), 200, "made", &json!("Mine"), 2);
}

#[test]
fn the_newest_thread_is_listed_first_and_pages_follow_each_other() {
    let scene = Scene::with(&[]);
    for at in 0..23 {
        let made = ask(&scene, "POST", "/api/threads", &json!({"id": format!("t{at:02}")}));
        assert_eq!(made.status, 201);
    }
    let other = session(&scene.caller);
    let others = scene.caller.post_json("/api/threads", r#"{"id":"other"}"#).bearer_auth(&other);
    assert_eq!(get(others).status, 201);
    let page = |query: &str| read(&scene, &format!("/api/threads{query}"));
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..23).rev().map(|at| format!("t{at:02}")).collect();
    let whole_list = page("?limit=100");
    assert_eq!(whole_list, whole(200, &JSON, &whole_list.body));
    assert_eq!(ids(&whole_list.json()), all);
    assert_eq!(whole_list.json()["nextCursor"], Value::Null);
    let first = page("").json();
    assert_eq!(ids(&first), all[..20]);
    let cursor = first["nextCursor"].as_str().unwrap().to_owned();
    // What is founded and deleted meanwhile moves nobody.
    ask(&scene, "POST", "/api/threads", &json!({"id": "new"}));
    get(send(&scene, "DELETE", "/api/threads/t10", None));
    get(send(&scene, "DELETE", "/api/threads/t03", None));
    let second = page(&format!("?limit=2&cursor={cursor}")).json();
    assert_eq!(
        (ids(&second), &second["nextCursor"]),
        (all[20..22].to_vec(), &second["nextCursor"])
    );
    let last = second["nextCursor"].as_str().unwrap();
    let third = page(&format!("?cursor={last}")).json();
    assert_eq!((ids(&third), &third["nextCursor"]), (all[22..].to_vec(), &Value::Null));
    let theirs = scene.caller.get(&format!("/api/threads?cursor={cursor}")).bearer_auth(&other);
    let sentence = "The parameter cursor must be the nextCursor of the page before.";
    let refused = refusal(400, "invalid_request", sentence, &[]);
    assert_eq!(get(theirs), refused, "a cursor is its owner's");
    for query in ["?cursor=", "?cursor=x", "?cursor=AAAAAAAAAAAAAAAA", "?cursor=%00"] {
        assert_eq!(page(query), refused, "{query}");
    }
    let sentence = "The parameter limit must be a number from 1 to 100.";
    for query in ["?limit=0", "?limit=101", "?limit=-1", "?limit="] {
        assert_eq!(page(query), refusal(400, "invalid_request", sentence, &[]), "{query}");
    }
}

#[test]
fn only_its_owner_sees_a_thread_and_a_name_is_taken_once() {
    let scene = Scene::with(&[]);
    ask(&scene, "POST", "/api/threads", &json!({"id": "t"}));
    let other = session(&scene.caller);
    let forbidden = of(ErrorCode::Forbidden, &[]);
    for (method, path, body) in [
        ("GET", "/api/threads/t", None),
        ("DELETE", "/api/threads/t", None),
        ("PATCH", "/api/threads/t", Some(r#"{"title":"mine"}"#)),
        ("POST", "/api/threads", Some(r#"{"id":"t"}"#)),
    ] {
        let request = || {
            let request = scene.caller.request(method, path).bearer_auth(&other);
            let typed = request.header("content-type", "application/json");
            typed.body(body.unwrap_or_default().to_owned())
        };
        assert_eq!(get(request()), forbidden, "{method} {path}");
        let problem = get(request().header("accept", "application/problem+json"));
        assert_problem(&problem, &forbidden, "Forbidden", &json!({}));
    }
    let taken = "You have a thread of this name already; take another name.";
    let conflict = refusal(409, "conflict", taken, &[]);
    assert_eq!(ask(&scene, "POST", "/api/threads", &json!({"id": "t"})), conflict);
    for method in ["GET", "DELETE"] {
        for path in ["/api/threads/unknown", "/api/threads/a.b", "/api/threads/%00"] {
            let unknown = of(ErrorCode::NotFound, &[]);
            assert_eq!(get(send(&scene, method, path, None)), unknown, "{method} {path}");
        }
    }
    assert_thread(&read(&scene, "/api/threads/t"), 200, "t", &Value::Null, 0);
}

#[test]
fn what_is_wrong_with_a_body_is_named() {
    let scene = Scene::with(&[]);
    ask(&scene, "POST", "/api/threads", &json!({"id": "t"}));
    let id = "a thread id of 1 to 128 characters of A-Z a-z 0-9 _ -";
    let title = "a text of 1 to 200 characters, or null";
    for (method, path, body, at, expected) in [
        ("POST", "/api/threads", json!([]), "$", "a JSON object"),
        ("POST", "/api/threads", json!({"id": "a/b"}), "id", id),
        ("POST", "/api/threads", json!({"title": "x".repeat(201)}), "title", title),
        ("PATCH", "/api/threads/t", json!({}), "title", title),
        ("PATCH", "/api/threads/t", json!({"title": " "}), "title", title),
    ] {
        let sentence = format!("The request is not valid: {at}: expected {expected}.");
        let plain = refusal(400, "invalid_request", &sentence, &[]);
        assert_eq!(ask(&scene, method, path, &body), plain);
        let problem = send(&scene, method, path, Some(&body));
        let problem = get(problem.header("accept", "application/problem+json"));
        let more = json!({"issues": [{"path": at, "expected": expected}]});
        assert_problem(&problem, &plain, "Bad Request", &more);
    }
}

#[test]
fn an_answer_that_runs_while_its_thread_is_deleted_leaves_nothing_behind() {
    let scene = Scene::with(&[]);
    let mut running = scene.raw("t", "slow 20 50", &[]);
    running.until("text-delta");
    assert_eq!(get(send(&scene, "DELETE", "/api/threads/t", None)).status, 204);
    // One of the same name is founded before the answer ends.
    assert_eq!(scene.ask("t", "chunks 1").status, 200);
    running.until("[DONE]");
    assert!(running.text().contains(r#""finishReason":"stop""#), "it was not disturbed");
    scene.settles();
    let texts = |scene: &Scene| {
        let messages = scene.messages("t").into_iter();
        messages.map(|message| message["parts"].to_string()).collect::<Vec<_>>()
    };
    until("the second answer is stored", || texts(&scene).len() == 2);
    assert!(texts(&scene)[0].contains("chunks 1"), "{:?}", texts(&scene));
    assert!(!texts(&scene)[1].contains("50 "), "{:?}", texts(&scene));
}

#[test]
fn threads_and_their_names_are_there_after_a_kill() {
    let mut scene = Scene::with(&[]);
    ask(&scene, "POST", "/api/threads", &json!({"id": "kept", "title": "One"}));
    ask(&scene, "PATCH", "/api/threads/kept", &json!({"title": "Two"}));
    ask(&scene, "POST", "/api/threads", &json!({"id": "gone"}));
    get(send(&scene, "DELETE", "/api/threads/gone", None));
    let before = read(&scene, "/api/threads");
    scene.server.kill_and_restart();
    scene.caller = Caller::of(&scene.server);
    assert_eq!(read(&scene, "/api/threads"), before);
    assert_eq!(before.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(read(&scene, "/api/threads/gone"), of(ErrorCode::NotFound, &[]));
}
