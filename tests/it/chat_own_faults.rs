//! What is at fault is ours: a full disk, a panic.

use sendcat::contract::code::ErrorCode;
use serde_json::json;

use crate::support::expected::{assert_problem, of};
use crate::support::scene::{Scene, get, until};

const OPS: &str = "ops-token";

fn scene() -> Scene {
    // It is asked again and again until the disk works.
    let many = "1000000";
    let limits = [("RATE_LIMIT_CHAT_STREAM_MAX", many), ("RATE_LIMIT_ANON_IP_MAX", many)];
    Scene::with(&[&[("OPS_TOKEN", OPS)], limits.as_slice()].concat())
}

fn arm(scene: &Scene, fault: &str) {
    let body = json!({"fault": fault}).to_string();
    let armed = get(scene.caller.post_json("/ops/faults", body).bearer_auth(OPS));
    assert_eq!(armed.status, 204, "{armed:?}");
}

fn disarm(scene: &Scene) {
    let disarmed = get(scene.caller.request("DELETE", "/ops/faults").bearer_auth(OPS));
    assert_eq!(disarmed.status, 204);
}

#[test]
fn a_question_that_cannot_be_stored_is_refused_and_no_model_is_called() {
    let scene = scene();
    arm(&scene, "journal:disk_full@0");
    assert_eq!(scene.ask("t1", "hello"), of(ErrorCode::StorageUnavailable, &[]));
    assert_eq!(scene.model_calls(), 0);
    let ready = get(scene.caller.get("/readyz"));
    assert!(ready.body.contains("the disk has failed"), "{}", ready.body);
    disarm(&scene);
    until("the disk works again without a restart", || scene.ask("t1", "hello").status == 200);
}

#[test]
fn a_panic_in_a_handler_is_an_answer_to_its_caller_and_nothing_to_others() {
    let scene = scene();
    arm(&scene, "http:panic_decide@0");
    let plain = scene.ask("t1", "hello");
    assert_eq!(plain, of(ErrorCode::InternalError, &[]));
    arm(&scene, "http:panic_decide@0");
    let body = json!({"id": "t1", "message": "hello"}).to_string();
    let asked = scene.caller.post_json("/api/chat", body).bearer_auth(&scene.token);
    let problem = get(asked.header("accept", "application/problem+json"));
    assert_problem(&problem, &plain, "Internal Server Error", &json!({}));
    assert_eq!(scene.ask("t1", "hello").status, 200);
}
