//! The codes that only operators' routes have.

use super::{Wanted, assert_reached, each};
use crate::dead_letters;
use crate::every_code::world::World;
use crate::support::client::{Caller, run};
use crate::support::scene::{get, until};
use crate::support::webhook::{OPS_TOKEN, delivery_of, receiver};

pub(super) const REDELIVER: &str = "/ops/dead-letters/{id}/redeliver";

pub(super) fn redelivery_of(id: &str) -> String {
    REDELIVER.replace("{id}", id)
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

pub(super) fn without_the_cache(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| {
        world.arms("tool_cache:panic_decide@0");
        let path = route.path.replace("{namespace}", "search_web_json_v1");
        world.caller.request(route.method, &path).bearer_auth(OPS_TOKEN)
    });
}
