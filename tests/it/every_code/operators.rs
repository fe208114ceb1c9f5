//! The codes that only operators' routes have.

use super::{Wanted, each};
use crate::every_code::world::World;
use crate::support::client::run;
use crate::support::scene::get;
use crate::support::webhook::{OPS_TOKEN, delivery_of, receiver};

pub(super) const REDELIVER: &str = "/ops/dead-letters/{id}/redeliver";

const RUN: &str = "/ops/alerts/run";

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

pub(super) fn without_an_answer(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| {
        let actor = if route.path == RUN { "alert_monitor" } else { "tool_cache" };
        world.arms(&format!("{actor}:panic_decide@0"));
        let path = route.path.replace("{namespace}", "search_web_json_v1");
        world.caller.request(route.method, &path).bearer_auth(OPS_TOKEN)
    });
}
