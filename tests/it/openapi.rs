//! `GET /openapi.json`: it is OpenAPI 3.1, it has every route with every code and nothing else, and
//! real answers are what it says.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use sendcat::http::routes::ROUTES;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::Caller;
use crate::support::expected::whole;
use crate::support::scene::{Scene, get, until};
use crate::support::server::Setup;

fn document() -> Value {
    let server = Setup::bare().start();
    let answer = get(Caller::of(&server).get("/openapi.json"));
    assert_eq!(answer, whole(200, &[("content-type", "application/json")], &answer.body));
    answer.json()
}

/// Fails with everything that a value has against a schema.
#[track_caller]
fn assert_valid(schema: &Validator, value: &Value, what: &str) {
    let faults: Vec<_> =
        schema.iter_errors(value).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

/// Operations by method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths are an object") {
        for (method, operation) in item.as_object().expect("an item is an object") {
            all.insert((method.to_uppercase(), path.clone()), operation.clone());
        }
    }
    all
}

/// Every `$ref` below a value.
fn refs(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| refs(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn it_is_openapi_3_1_and_every_schema_in_it_is_one() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let meta: Value =
        serde_json::from_str(include_str!("samples/openapi-3.1.schema.json")).unwrap();
    let meta = jsonschema::draft202012::new(&meta).expect("the schema of OpenAPI is one");
    assert_valid(&meta, &document, "the document");
    let mut broken = document.clone();
    broken["paths"]["/livez"]["get"]["responses"]["200"] = json!({"content": {}});
    assert!(!meta.is_valid(&broken), "a response without a description is found");
    let schemas = document["components"]["schemas"].as_object().expect("there are schemas");
    for (name, schema) in schemas {
        if let Err(fault) = jsonschema::draft202012::meta::validate(schema) {
            panic!("{name}: {fault}");
        }
    }
    let mut named = BTreeSet::new();
    refs(&document, &mut named);
    let kept: BTreeSet<_> =
        schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    assert_eq!(named, kept, "what is named is there, and what is there is named");
}

#[test]
fn it_has_every_code_of_every_route_and_nothing_else() {
    let operations = operations(&document());
    let names: BTreeSet<_> = operations.keys().cloned().collect();
    let rows = ROUTES.iter().map(|row| (row.method.to_owned(), row.path.to_owned()));
    assert_eq!(names, rows.collect(), "routes");
    for row in ROUTES {
        let operation = &operations[&(row.method.to_owned(), row.path.to_owned())];
        let name = format!("{} {}", row.method, row.path);
        let mut listed = BTreeSet::new();
        for (status, response) in operation["responses"].as_object().unwrap() {
            let codes = &response["headers"]["x-sendcat-error-code"]["schema"]["enum"];
            for code in codes.as_array().into_iter().flatten() {
                listed.insert((status.clone(), code.as_str().unwrap().to_owned()));
            }
            let waits = response["headers"]["retry-after"].is_object();
            let must_wait = codes.is_array() && ["429", "503"].contains(&status.as_str());
            assert_eq!(waits, must_wait, "{name} {status}");
        }
        let codes = row.codes();
        let codes = codes.iter();
        let expected = codes.map(|code| (code.status().to_string(), code.name().to_owned()));
        assert_eq!(listed, expected.collect(), "{name}");
        // A redirect is what a browser on its way is answered.
        let good = |status: &String| status.starts_with('2') || status == "302";
        let good = operation["responses"].as_object().unwrap().keys().any(good);
        assert!(good, "{name} succeeds with nothing");
        let in_path = operation["parameters"].as_array().into_iter().flatten();
        let in_path = in_path.filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, row.path.matches('{').count(), "{name}");
    }
}

/// Checks that an answer is what the document says of its route, no member more.
#[track_caller]
fn assert_documented(document: &Value, method: &str, path: &str, answer: &Answer) {
    let what = format!("{method} {path} {}", answer.status);
    let operation = &operations(document)[&(method.to_owned(), path.to_owned())];
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{what}");
    if answer.status == 204 {
        assert!(response["content"].is_null() && answer.body.is_empty(), "{what}");
        return;
    }
    let media_type = answer.header("content-type").expect("a body has a type");
    let content = &response["content"][media_type.split(';').next().unwrap_or_default()];
    assert!(content["schema"].is_object(), "{what} {media_type}");
    let schema = json!({
        "components": document["components"],
        "allOf": [content["schema"]],
        "unevaluatedProperties": false,
    });
    let schema = jsonschema::draft202012::new(&schema).expect("it was checked to be one");
    assert_valid(&schema, &answer.json(), &what);
}

#[test]
fn real_answers_are_what_it_says() {
    let scene = Scene::with(&[]);
    let document = get(scene.caller.get("/openapi.json")).json();
    let ask = |method: &str, path: &str, pattern: &str, body: &Value| {
        let request = scene.caller.request(method, path);
        let operators = path.starts_with("/ops");
        let request = request.bearer_auth(if operators { "ops" } else { &scene.token });
        let request = request.header("content-type", "application/json");
        let request = request.header("accept", "application/problem+json");
        let answer = get(if body.is_null() { request } else { request.body(body.to_string()) });
        assert_documented(&document, method, pattern, &answer);
        answer.status
    };
    assert_eq!(scene.ask("t", "chunks 1").status, 200);
    until("the answer is stored", || scene.messages("t").len() == 2);
    let none = Value::Null;
    let record = json!({"id": "r", "data": {"a": [1, null]}});
    let mut seen = BTreeSet::new();
    for (method, path, pattern, body, status) in [
        ("POST", "/api/sessions/anonymous", "", &none, 200),
        ("POST", "/api/threads", "", &json!({"id": "x"}), 201),
        ("POST", "/api/threads", "", &json!({"id": "x"}), 409),
        ("POST", "/api/threads", "", &json!({"title": 7}), 400),
        ("GET", "/api/threads", "", &none, 200),
        ("GET", "/api/threads?limit=1", "/api/threads", &none, 200),
        ("GET", "/api/threads/x", "/api/threads/{id}", &none, 200),
        ("PATCH", "/api/threads/x", "/api/threads/{id}", &json!({"title": "y"}), 200),
        ("GET", "/api/threads/t/messages", "/api/threads/{id}/messages", &none, 200),
        ("DELETE", "/api/threads/x", "/api/threads/{id}", &none, 204),
        ("GET", "/api/threads/x", "/api/threads/{id}", &none, 404),
        ("POST", "/api/favorites", "", &record, 201),
        ("POST", "/api/favorites", "", &record, 200),
        ("GET", "/api/favorites", "", &none, 200),
        ("DELETE", "/api/favorites/r", "/api/favorites/{id}", &none, 204),
        ("GET", "/api/preferences", "", &none, 200),
        ("PUT", "/api/preferences", "", &record, 200),
        ("GET", "/livez", "", &none, 200),
        ("GET", "/readyz", "", &none, 200),
        ("GET", "/ops/actors", "", &none, 200),
        ("GET", "/ops/inbox", "", &none, 200),
        ("GET", "/ops/snapshot", "", &none, 200),
    ] {
        let pattern = if pattern.is_empty() { path } else { pattern };
        assert_eq!(ask(method, path, pattern, body), status, "{method} {path}");
        seen.insert(pattern);
    }
    assert!(seen.len() > 10, "{seen:?}");
}
