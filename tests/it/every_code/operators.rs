//! The codes that only operators' routes have.

use sendcat_state::key::{Bucket, ClientKey};

use super::{Wanted, assert_reached, each};
use crate::dead_letters;
use crate::every_code::world::World;
use crate::support::client::{Caller, run};
use crate::support::raw::Raw;
use crate::support::scene::{get, until};
use crate::support::webhook::{OPS_TOKEN, delivery_of, receiver};
use sendcat::config::fixed;

pub(super) const REDELIVER: &str = "/ops/dead-letters/{id}/redeliver";

pub(super) const RELOAD: &str = "/ops/config/reload";
pub(super) const STREAM: &str = "/ops/stream";

pub(super) fn redelivery_of(id: &str) -> String {
    REDELIVER.replace("{id}", id)
}

pub(super) fn from_outside(wanted: &[Wanted]) {
    let world = World::of(receiver().with("SENDCAT_BIND", "0.0.0.0:0"));
    each(wanted, |route| world.good(route));
}

pub(super) fn once_it_is_done(wanted: &[Wanted]) {
    let world = World::of(receiver());
    let sent = world.caller.delivers(delivery_of(["wamid.1".to_owned()]));
    assert_eq!(get(sent).status, 200);
    let event = run(world.caller.worked_off(1)).remove(0);
    assert_eq!(event["status"], "done", "{event}");
    let path = redelivery_of(event["id"].as_str().unwrap());
    each(wanted, |route| world.caller.operates(route.method, &path));
}

pub(super) fn with_a_full_backlog(wanted: &[Wanted]) {
    for it in wanted {
        let server = dead_letters::narrow().start();
        let path = run(dead_letters::with_a_full_backlog(&server));
        let asks = || get(Caller::of(&server).operates(it.0.method, &path));
        // For the moment of an attempt there is room.
        let refused = || Some(asks()).filter(|answer| answer.status != 204);
        until("the backlog is full", || {
            refused().inspect(|it_is| assert_reached(it, it_is)).is_some()
        });
    }
}

pub(super) fn from_a_bad_file(wanted: &[Wanted]) {
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    let world = World::of(receiver().with("SENDCAT_CONFIG", file.path().display()));
    std::fs::write(file.path(), "nonsense").expect("it can be written");
    each(wanted, |route| world.good(route));
}

/// The actor that answers a route, and a path that asks it.
fn asks_an_actor(path: &str) -> (String, &'static str) {
    let (actor, path) = match path {
        "/ops/cache/{namespace}" => ("tool_cache", "/ops/cache/search_web_json_v1"),
        "/ops/circuits/{provider}/{verb}" => {
            ("circuit_breaker-jwks", "/ops/circuits/jwks/force-open")
        }
        "/ops/idempotency/{scope}" => ("idempotency", "/ops/idempotency/chat"),
        "/ops/jobs" => ("job_queue", "/ops/jobs"),
        "/ops/alerts/run" => ("alert_monitor", "/ops/alerts/run"),
        "/ops/explain" => {
            let shard = ClientKey::user(Bucket::ChatStream, "ada").shard();
            let path = "/ops/explain?bucket=chat_stream&key=user:ada";
            return (format!("rate_limiter-{shard}"), path);
        }
        other => panic!("say which actor answers {other}"),
    };
    (actor.to_owned(), path)
}

pub(super) fn without_its_actor(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| {
        let (actor, path) = asks_an_actor(route.path);
        world.arms(&format!("{actor}:panic_decide@0"));
        world.caller.request(route.method, path).bearer_auth(OPS_TOKEN)
    });
}

pub(super) fn once_too_often(wanted: &[Wanted]) {
    let world = World::of(receiver());
    let line = format!("authorization: Bearer {OPS_TOKEN}");
    let request = format!("GET {STREAM} HTTP/1.1\r\nhost: {{host}}\r\n{line}\r\n\r\n");
    let readers: Vec<_> = std::iter::repeat_with(|| {
        let mut reader = Raw::send(world.server.url(), &request);
        reader.until("event: snapshot");
        reader
    })
    .take(fixed::OPS_STREAMS_MAX)
    .collect();
    each(wanted, |route| world.good(route));
    drop(readers);
}
