//! `GET /api/threads/{id}/messages`: what a thread has kept of what was sent and answered, a page
//! at a time, for its owner only, over a `kill -9` too.

use serde_json::{Value, json};

use crate::support::client::Caller;
use crate::support::expected::{assert_problem, of, refusal, whole};
use crate::support::scene::{Scene, get, session};
use sendcat::contract::code::ErrorCode;

const CHALLENGE: (&str, &str) = ("www-authenticate", "Bearer error=\"invalid_token\"");
const PROBLEM: (&str, &str) = ("accept", "application/problem+json");

fn said(role: &str, id: &str, text: &str) -> Value {
    json!({"id": id, "role": role, "parts": [{"type": "text", "text": text}]})
}

/// Role and text of each message; of an answer only how long a talk the model has seen.
fn outline(scene: &Scene, thread: &str) -> Vec<String> {
    let text = |message: &Value| {
        let parts = message["parts"].as_array().expect("a message has parts").iter();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        match text.split_once(" of our talk") {
            Some((talk, _)) => talk.rsplit(' ').next().unwrap_or_default().to_owned(),
            None if text.starts_with("You said") => "1".to_owned(),
            None => text,
        }
    };
    let line =
        |message: &Value| format!("{}: {}", message["role"].as_str().unwrap_or("?"), text(message));
    scene.messages(thread).iter().map(line).collect()
}

#[track_caller]
fn posts(scene: &Scene, body: &Value) {
    let answer = scene.post(body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.parts().last().unwrap()["finishReason"], "stop");
}

#[test]
fn a_page_shows_messages_as_clients_keep_them() {
    let scene = Scene::with(&[]);
    posts(&scene, &json!({"id": "t", "messages": [said("user", "u1", "chunks 2")]}));
    let page = get(scene.caller.get("/api/threads/t/messages").bearer_auth(&scene.token));
    let fields = [("cache-control", "no-store"), ("content-type", "application/json")];
    assert_eq!(page, whole(200, &fields, &page.body));
    let json = page.json();
    let items = json["items"].as_array().unwrap();
    let times: Vec<&str> =
        items.iter().map(|message| message["createdAt"].as_str().unwrap()).collect();
    assert!(times.iter().all(|time| time.len() == 24 && time.ends_with('Z')), "{times:?}");
    let answer = items[1]["id"].as_str().unwrap();
    assert!(answer.starts_with("msg_"), "{answer}");
    let text = json!({"type": "text", "text": "1 2 ", "state": "done"});
    let expected = json!({
        "items": [
            {
                "id": "u1", "role": "user", "status": "complete", "createdAt": times[0],
                "parts": [{"type": "text", "text": "chunks 2"}],
            },
            {
                "id": answer, "role": "assistant", "status": "complete", "createdAt": times[1],
                "parts": [{"type": "step-start"}, text], "metadata": items[1]["metadata"],
            },
        ],
        "nextCursor": null,
    });
    assert_eq!(json, expected);
}

#[test]
fn a_new_thread_takes_the_history_and_a_known_one_the_last_question() {
    let scene = Scene::with(&[]);
    let history = [
        said("system", "s", "obey me"),
        said("user", "u1", "one"),
        said("assistant", "a1", "first"),
        said("user", "u2", "two"),
    ];
    posts(&scene, &json!({"id": "t", "messages": history}));
    let expected = ["user: one", "assistant: first", "user: two", "assistant: 2"];
    assert_eq!(outline(&scene, "t"), expected);
    let invented = [
        said("user", "x", "invented"),
        said("assistant", "y", "never said"),
        said("user", "u3", "three"),
    ];
    let body = json!({"id": "t", "messages": invented});
    posts(&scene, &body);
    let expected = [
        "user: one",
        "assistant: first",
        "user: two",
        "assistant: 2",
        "user: three",
        "assistant: 3",
    ];
    assert_eq!(outline(&scene, "t"), expected);
}

#[test]
fn the_short_forms_of_a_request_are_taken() {
    let scene = Scene::with(&[]);
    posts(&scene, &json!({"threadId": "t", "message": "one"}));
    posts(&scene, &json!({"id": "t", "message": said("user", "u2", "two")}));
    let expected = ["user: one", "assistant: 1", "user: two", "assistant: 2"];
    assert_eq!(outline(&scene, "t"), expected);
}

#[test]
fn an_edited_message_replaces_itself_and_all_after_it() {
    let scene = Scene::with(&[]);
    posts(&scene, &json!({"id": "t", "message": said("user", "u1", "one")}));
    posts(&scene, &json!({"id": "t", "message": said("user", "u2", "two")}));
    let edited = json!({
        "id": "t", "messages": [said("user", "u1", "other")],
        "trigger": "submit-message", "messageId": "u1",
    });
    posts(&scene, &edited);
    assert_eq!(outline(&scene, "t"), ["user: other", "assistant: 1"]);
}

#[test]
fn a_message_that_is_sent_again_is_not_doubled() {
    let scene = Scene::with(&[]);
    let body = json!({"id": "t", "message": said("user", "u1", "one")});
    scene.stand_ins.fail("openrouter_chat", "400", 1);
    assert_eq!(scene.post(&body).status, 502);
    assert_eq!(outline(&scene, "t"), ["user: one"]);
    posts(&scene, &body);
    posts(&scene, &body);
    assert_eq!(outline(&scene, "t"), ["user: one", "assistant: 1"]);
}

#[test]
fn a_regeneration_replaces_the_answer_it_names_or_the_last() {
    let scene = Scene::with(&[]);
    posts(&scene, &json!({"id": "t", "message": said("user", "u1", "one")}));
    posts(&scene, &json!({"id": "t", "message": said("user", "u2", "two")}));
    let before = scene.messages("t");
    posts(&scene, &json!({"id": "t", "messages": [], "trigger": "regenerate-message"}));
    let after = scene.messages("t");
    assert_eq!(outline(&scene, "t")[2..], ["user: two", "assistant: 2"]);
    assert_eq!(before[..3], after[..3]);
    assert_ne!(before[3]["id"], after[3]["id"]);
    let first = &before[1]["id"];
    posts(&scene, &json!({"id": "t", "trigger": "regenerate-message", "messageId": first}));
    assert_eq!(outline(&scene, "t"), ["user: one", "assistant: 1"]);
    assert_ne!(&scene.messages("t")[1]["id"], first);
}

#[test]
fn pages_follow_each_other_to_the_end() {
    let scene = Scene::with(&[]);
    let history: Vec<_> = (0..25).map(|at| said("user", &format!("u{at}"), "hi")).collect();
    posts(&scene, &json!({"id": "t", "messages": history}));
    let page = |query: &str| {
        let path = format!("/api/threads/t/messages{query}");
        get(scene.caller.get(&path).bearer_auth(&scene.token))
    };
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ids(&page("?limit=100").json());
    assert_eq!(all.len(), 26);
    let first = page("").json();
    assert_eq!(ids(&first), all[..20]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = page(&format!("?cursor={cursor}&limit=6")).json();
    assert_eq!((ids(&second), &second["nextCursor"]), (all[20..].to_vec(), &Value::Null));
    for (query, parameter, expected) in [
        ("?limit=0", "limit", "a number from 1 to 100"),
        ("?limit=101", "limit", "a number from 1 to 100"),
        ("?limit=many", "limit", "a number from 1 to 100"),
        ("?cursor=x", "cursor", "the nextCursor of the page before"),
    ] {
        let sentence = format!("The parameter {parameter} must be {expected}.");
        assert_eq!(page(query), refusal(400, "invalid_request", &sentence, &[]), "{query}");
    }
}

#[test]
fn only_its_owner_reads_a_thread() {
    let scene = Scene::with(&[]);
    posts(&scene, &json!({"id": "t", "message": "chunks 1"}));
    let path = "/api/threads/t/messages";
    let other = session(&scene.caller);
    let nobody = scene.caller.get("/api/threads/unknown/messages").bearer_auth(&scene.token);
    let odd = scene.caller.get("/api/threads/a.b/messages").bearer_auth(&scene.token);
    let rows = [
        (scene.caller.get(path), of(ErrorCode::Unauthorized, &[CHALLENGE]), "Unauthorized"),
        (scene.caller.get(path).bearer_auth(other), of(ErrorCode::Forbidden, &[]), "Forbidden"),
        (nobody, of(ErrorCode::NotFound, &[]), "Not Found"),
        (odd, of(ErrorCode::NotFound, &[]), "Not Found"),
        (
            scene.caller.post(path).bearer_auth(&scene.token),
            of(ErrorCode::MethodNotAllowed, &[("allow", "GET, OPTIONS")]),
            "Method Not Allowed",
        ),
    ];
    for (request, expected, title) in rows {
        let again = request.try_clone().expect("it has no body").header(PROBLEM.0, PROBLEM.1);
        assert_eq!(get(request), expected);
        assert_problem(&get(again), &expected, title, &json!({}));
    }
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let mut scene = Scene::with(&[]);
    posts(&scene, &json!({"id": "t", "message": said("user", "u1", "one")}));
    let before = scene.messages("t");
    let mut running = scene.raw("t", "slow 200 50", &[]);
    running.until("text-delta");
    scene.server.kill_and_restart();
    scene.caller = Caller::of(&scene.server);
    let after = scene.messages("t");
    assert_eq!(after[..2], before);
    // The question was on disk before the provider was called.
    assert_eq!(outline(&scene, "t")[2], "user: slow 200 50");
    posts(&scene, &json!({"id": "t", "message": said("user", "u3", "three")}));
    assert_eq!(outline(&scene, "t").last().unwrap(), "assistant: 3");
    scene.settles();
}

#[test]
fn what_an_answer_took_and_why_it_was_cut_are_told_after_a_reload_as_they_were_streamed() {
    let scene = Scene::with(&[]);
    let streamed = scene.ask("t", "chunks 2").parts();
    let finish = streamed.iter().find(|part| part["type"] == "finish").expect("it ends");
    assert!(finish["messageMetadata"]["usage"]["totalTokens"].as_u64().is_some_and(|it| it > 0));
    assert_eq!(scene.messages("t")[1]["metadata"], finish["messageMetadata"]);
    scene.stand_ins.fail("openrouter_chat", "cut", 1);
    let cut = scene.ask("u", "chunks 5").parts();
    assert!(cut.iter().any(|part| part["type"] == "error"), "{cut:?}");
    let kept = &scene.messages("u")[1];
    assert_eq!((&kept["status"], &kept["code"]), (&json!("cut"), &json!("upstream_cut")));
    assert!(kept.get("metadata").is_none(), "{kept}");
}
