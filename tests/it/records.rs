//! `/api/favorites`, `/api/packages`, `/api/evidence` and `/api/preferences`: small records of the
//! caller's own.

use sendcat::contract::code::ErrorCode;
use sendcat_state::machine::{RecordWrite, Table};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::Caller;
use crate::support::expected::{assert_problem, of, refusal, whole};
use crate::support::scene::{Scene, get, session};
use crate::support::server::Setup;

const COLLECTIONS: [&str; 3] = ["favorites", "packages", "evidence"];
const JSON: [(&str, &str); 2] =
    [("cache-control", "no-store"), ("content-type", "application/json")];

fn keep(scene: &Scene, token: &str, of: &str, body: &Value) -> Answer {
    get(scene.caller.post_json(&format!("/api/{of}"), body.to_string()).bearer_auth(token))
}

fn read(scene: &Scene, token: &str, path: &str) -> Answer {
    get(scene.caller.get(&format!("/api/{path}")).bearer_auth(token))
}

fn remove(scene: &Scene, token: &str, path: &str) -> Answer {
    get(scene.caller.request("DELETE", &format!("/api/{path}")).bearer_auth(token))
}

/// Checks an answer with one record whole, but for its times, which it returns.
#[track_caller]
fn assert_record(answer: &Answer, status: u16, id: &str, data: &Value) -> [String; 2] {
    assert_eq!(*answer, whole(status, &JSON, &answer.body));
    let json = answer.json();
    let times = ["createdAt", "updatedAt"].map(|name| json[name].as_str().unwrap().to_owned());
    assert!(times.iter().all(|time| time.len() == 24 && time.ends_with('Z')), "{times:?}");
    let expected = json!({"id": id, "createdAt": times[0], "updatedAt": times[1], "data": data});
    assert_eq!(json, expected);
    times
}

#[test]
fn a_record_is_kept_replaced_listed_and_removed() {
    let scene = Scene::with(&[]);
    let token = &scene.token;
    for of_what in COLLECTIONS {
        let first = json!({"price": 1.5, "tags": ["é", null], "deep": {"a": {}}});
        let made = keep(&scene, token, of_what, &json!({"id": "r", "data": first}));
        let times = assert_record(&made, 201, "r", &first);
        assert_eq!(times[0], times[1]);
        let second = json!({"price": 2});
        let replaced = keep(&scene, token, of_what, &json!({"id": "r", "data": second}));
        let later = assert_record(&replaced, 200, "r", &second);
        assert!(later[0] == times[0] && later[1] >= times[1], "{later:?}");
        let unnamed = keep(&scene, token, of_what, &json!({"data": {}}));
        let id = unnamed.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 32);
        assert_record(&unnamed, 201, &id, &json!({}));
        let list = read(&scene, token, of_what);
        assert_eq!(list, whole(200, &JSON, &list.body));
        let expected = json!({"items": [unnamed.json(), replaced.json()], "nextCursor": null});
        assert_eq!(list.json(), expected);
        let gone = remove(&scene, token, &format!("{of_what}/r"));
        assert_eq!(gone, whole(204, &[], ""));
        assert_eq!(remove(&scene, token, &format!("{of_what}/r")), of(ErrorCode::NotFound, &[]));
        let expected = json!({"items": [unnamed.json()], "nextCursor": null});
        assert_eq!(read(&scene, token, of_what).json(), expected);
    }
}

#[test]
fn another_owners_records_are_not_there_and_collections_do_not_mix() {
    let scene = Scene::with(&[]);
    let other = session(&scene.caller);
    let none = json!({"items": [], "nextCursor": null});
    for of_what in COLLECTIONS {
        keep(&scene, &scene.token, of_what, &json!({"id": of_what, "data": {"mine": true}}));
    }
    for of_what in COLLECTIONS {
        assert_eq!(read(&scene, &other, of_what).json(), none);
        let path = format!("{of_what}/{of_what}");
        assert_eq!(remove(&scene, &other, &path), of(ErrorCode::NotFound, &[]));
        // A record of the same name is another's own.
        let body = json!({"id": of_what, "data": {"mine": false}});
        assert_eq!(keep(&scene, &other, of_what, &body).status, 201);
        let mine = read(&scene, &scene.token, of_what).json();
        assert_eq!(mine["items"].as_array().unwrap().len(), 1);
        assert_eq!(mine["items"][0]["data"], json!({"mine": true}));
    }
}

#[test]
fn pages_follow_each_other_and_a_cursor_is_of_one_list() {
    let scene = Scene::with(&[]);
    let token = &scene.token;
    for at in 0..5 {
        keep(&scene, token, "favorites", &json!({"id": format!("r{at}"), "data": {}}));
    }
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = read(&scene, token, "favorites?limit=2").json();
    assert_eq!(ids(&first), ["r4", "r3"]);
    let cursor = first["nextCursor"].as_str().unwrap();
    // Replaced, a record keeps its place; new ones come before all.
    keep(&scene, token, "favorites", &json!({"id": "r1", "data": {"again": 1}}));
    keep(&scene, token, "favorites", &json!({"id": "r9", "data": {}}));
    remove(&scene, token, "favorites/r3");
    let rest = read(&scene, token, &format!("favorites?limit=3&cursor={cursor}")).json();
    assert_eq!(
        (ids(&rest), &rest["nextCursor"]),
        (vec!["r2".into(), "r1".into(), "r0".into()], &Value::Null)
    );
    let sentence = "The parameter cursor must be the nextCursor of the page before.";
    let refused = refusal(400, "invalid_request", sentence, &[]);
    for path in [format!("packages?cursor={cursor}"), format!("favorites?cursor={cursor}A")] {
        assert_eq!(read(&scene, token, &path), refused, "{path}");
    }
    let sentence = "The parameter limit must be a number from 1 to 100.";
    let refused = refusal(400, "invalid_request", sentence, &[]);
    assert_eq!(read(&scene, token, "evidence?limit=101"), refused);
}

#[test]
fn what_is_wrong_with_a_record_is_named_and_a_large_one_is_refused() {
    let scene = Scene::with(&[]);
    let id = "an id of 1 to 128 characters of A-Z a-z 0-9 _ -";
    for (body, at, expected) in [
        (json!("x"), "$", "a JSON object"),
        (json!({}), "data", "a JSON object"),
        (json!({"data": []}), "data", "a JSON object"),
        (json!({"id": "a b", "data": {}}), "id", id),
    ] {
        let sentence = format!("The request is not valid: {at}: expected {expected}.");
        let plain = refusal(400, "invalid_request", &sentence, &[]);
        assert_eq!(keep(&scene, &scene.token, "packages", &body), plain);
        let problem = scene.caller.post_json("/api/packages", body.to_string());
        let problem =
            problem.bearer_auth(&scene.token).header("accept", "application/problem+json");
        let more = json!({"issues": [{"path": at, "expected": expected}]});
        assert_problem(&get(problem), &plain, "Bad Request", &more);
    }
    let of_bytes = |bytes: usize| json!({"id": "r", "data": {"x": "y".repeat(bytes - 8)}});
    let made = keep(&scene, &scene.token, "packages", &of_bytes(16 * 1024));
    assert_eq!(made.status, 201);
    let sentence = "The data may have at most 16384 bytes; send less.";
    let large = refusal(413, "payload_too_large", sentence, &[]);
    assert_eq!(keep(&scene, &scene.token, "packages", &of_bytes(16 * 1024 + 1)), large);
    let kept = read(&scene, &scene.token, "packages").json();
    assert_eq!(kept["items"][0], made.json(), "what was there is left as it was");
    let put = scene.caller.request("PUT", "/api/preferences").bearer_auth(&scene.token);
    let put = put.header("content-type", "application/json");
    assert_eq!(get(put.body(of_bytes(16 * 1024 + 1).to_string())), large);
    for path in ["packages/unknown", "packages/a.b", "packages/%00"] {
        assert_eq!(remove(&scene, &scene.token, path), of(ErrorCode::NotFound, &[]), "{path}");
    }
}

#[test]
fn preferences_are_one_set_that_is_written_whole_and_survives_a_kill() {
    let mut scene = Scene::with(&[]);
    let put = |scene: &Scene, body: &Value| {
        let request = scene.caller.request("PUT", "/api/preferences").bearer_auth(&scene.token);
        get(request.header("content-type", "application/json").body(body.to_string()))
    };
    let empty = read(&scene, &scene.token, "preferences");
    assert_eq!(empty, whole(200, &JSON, &empty.body));
    assert_eq!(empty.json(), json!({"updatedAt": null, "data": {}}));
    assert_eq!(put(&scene, &json!({"data": {"theme": "dark", "size": 3}})).status, 200);
    let set = put(&scene, &json!({"data": {"theme": "light"}}));
    assert_eq!(set, whole(200, &JSON, &set.body));
    let at = set.json()["updatedAt"].as_str().unwrap().to_owned();
    assert_eq!(set.json(), json!({"updatedAt": at, "data": {"theme": "light"}}));
    assert_eq!(read(&scene, &scene.token, "preferences"), set);
    let other = session(&scene.caller);
    assert_eq!(read(&scene, &other, "preferences").body, empty.body);
    let favorite = keep(&scene, &scene.token, "favorites", &json!({"data": {"a": 1}})).json();
    scene.server.kill_and_restart();
    scene.caller = Caller::of(&scene.server);
    assert_eq!(read(&scene, &scene.token, "preferences"), set);
    let list = read(&scene, &scene.token, "favorites").json();
    assert_eq!(list, json!({"items": [favorite], "nextCursor": null}));
}

/// An owner who has as much as anyone may have, and a token of theirs.
pub(crate) fn with_full_owner(setup: Setup) -> (Setup, String) {
    let secret = "user-secret";
    let row = json!({"threads": 1000, "evidence": 10_000, "favorites": 1000, "packages": 1000});
    let write = RecordWrite::put(Table::Owners, b"user:full".as_slice(), &row);
    let claims = json!({"iss": "https://id", "sub": "full", "exp": 4_102_444_800_u64});
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("claims can be signed");
    (setup.with("AUTH_JWT_SECRET", secret).with_records(vec![write]), token)
}

#[test]
fn who_has_as_much_as_there_may_be_is_told_to_delete_some() {
    let (setup, token) = with_full_owner(Setup::bare());
    let server = setup.start();
    let caller = Caller::of(&server);
    for what in ["favorites", "packages", "evidence", "threads"] {
        let request = caller.post_json(&format!("/api/{what}"), r#"{"data":{}}"#);
        let request = || request.try_clone().expect("its body is text").bearer_auth(&token);
        let sentence = format!("There is no room for more {what}; delete some first.");
        let plain = refusal(409, "conflict", &sentence, &[]);
        assert_eq!(get(request()), plain, "{what}");
        let problem = get(request().header("accept", "application/problem+json"));
        assert_problem(&problem, &plain, "Conflict", &json!({}));
    }
}
