//! Every code that a row of ROUTES lists is answered by its route.
//!
//! [`way_of`] says for each route and code by which way it is reached; a code that no way reaches
//! fails [`every_code_of_every_route_has_a_way`]. Each way is a test of its own, made with the way
//! itself, that goes it for every route and code it is named for. What answers look like as a whole
//! is in the files of the routes; and that no answer has a code that its row does not list is
//! checked wherever a test reads one (`support/documented.rs`).

mod failing;
mod operators;
mod world;

use reqwest::RequestBuilder;
use sendcat::contract::code::ErrorCode as Code;
use sendcat::http::routes::{Guard, ROUTES, Route};
use serde_json::json;

use failing::{with_a_failing_model, without_keys};
use operators::{
    REDELIVER, RELOAD, STREAM, from_a_bad_file, from_outside, once_it_is_done, once_too_often,
    with_a_full_backlog, without_its_actor,
};
use world::{World, good_body, path_of};

use crate::records::with_full_owner;
use crate::support::answer::Answer;
use crate::support::client::Caller;
use crate::support::raw::Raw;
use crate::support::scene::{Scene, get, until};
use crate::support::server::Setup;
use crate::support::webhook::{OPS_TOKEN, receiver};

const STOP: &str = "/api/chat/{chatId}/stop";
const SOURCE: &str = "/api/webhooks/{source}";

/// A route, and a code of it that has to be reached.
type Wanted = (&'static Route, Code);

/// Declares the ways, and a test for each.
macro_rules! ways {
    ($($way:ident: $test:ident by $go:ident;)+) => {
        /// How a code is reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Way { $($way,)+ }

        $(
            #[test]
            fn $test() {
                let wanted: Vec<_> = wanted().filter(|it| way_of(it) == Some(Way::$way)).collect();
                assert!(!wanted.is_empty(), "{:?} reaches nothing", Way::$way);
                $go(&wanted);
            }
        )+
    };
}

ways! {
    ForeignPage: a_page_of_a_foreign_origin_is_forbidden by from_a_foreign_page;
    Exposed: a_server_that_can_be_reached_arms_no_fault by from_outside;
    Unsigned: a_webhook_without_its_secret_is_forbidden by unsigned;
    Method: a_method_that_no_row_has_is_not_allowed by with_another_method;
    NoToken: who_has_no_token_is_unauthorized by without_a_token;
    NothingSet: where_nothing_is_set_routes_are_misconfigured_or_not_there by with_nothing_set;
    Limited: who_comes_too_often_is_limited by too_often;
    Type: what_is_not_declared_as_json_is_unsupported by as_plain_text;
    Large: what_is_too_large_is_refused by with_too_much;
    Slow: a_body_that_does_not_come_is_timed_out by too_slowly;
    NoJson: what_is_not_json_is_invalid by without_json;
    Shape: what_has_another_shape_is_invalid by in_another_shape;
    File: a_file_that_makes_no_sense_is_refused by from_a_bad_file;
    Unknown: what_is_not_there_is_not_found by for_what_is_not_there;
    Over: what_is_over_cannot_be_stopped by once_it_is_over;
    Deaf: an_actor_that_gives_no_answer_is_overloaded by without_its_actor;
    Backlog: a_dead_letter_for_which_there_is_no_room_waits by with_a_full_backlog;
    Key: a_key_with_another_body_is_a_mismatch by with_a_key_of_another_body;
    Crowded: who_is_one_reader_too_many_is_overloaded by once_too_often;
    Done: what_is_done_is_not_redelivered by once_it_is_done;
    Full: who_has_all_there_may_be_is_in_conflict by by_a_full_owner;
    Draining: a_process_that_drains_is_overloaded by while_it_drains;
    Disk: what_cannot_be_stored_or_read_is_unavailable by on_a_full_disk;
    Panic: a_panic_is_an_internal_error by with_a_panic;
    Keys: where_no_keys_can_be_had_callers_are_told_to_wait by without_keys;
    Model: a_model_that_fails_has_its_codes by with_a_failing_model;
}

fn wanted() -> impl Iterator<Item = Wanted> {
    ROUTES.iter().flat_map(|route| route.codes().into_iter().map(move |code| (route, code)))
}

fn way_of((route, code): &Wanted) -> Option<Way> {
    let operators = route.guards.contains(&Guard::Operator);
    let chat = route.path == "/api/chat";
    let stop = route.path == STOP;
    Some(match code {
        Code::Forbidden if route.guards.contains(&Guard::Origin) => Way::ForeignPage,
        Code::Forbidden if operators => Way::Exposed,
        Code::Forbidden => Way::Unsigned,
        Code::MethodNotAllowed => Way::Method,
        Code::Unauthorized => Way::NoToken,
        Code::RateLimited => Way::Limited,
        Code::UnsupportedMediaType => Way::Type,
        Code::PayloadTooLarge => Way::Large,
        Code::RequestTimeout => Way::Slow,
        Code::InvalidJson => Way::NoJson,
        Code::InvalidRequest if route.path == RELOAD => Way::File,
        Code::InvalidRequest => Way::Shape,
        Code::Misconfigured => Way::NothingSet,
        Code::NotFound if route.path.starts_with("/ops") || route.path == "/" => Way::NothingSet,
        Code::NotFound => Way::Unknown,
        Code::Conflict if stop => Way::Over,
        Code::Conflict if operators => Way::Done,
        Code::Conflict => Way::Full,
        Code::Overloaded if route.path == REDELIVER => Way::Backlog,
        Code::Overloaded if route.path == STREAM => Way::Crowded,
        Code::Overloaded if operators => Way::Deaf,
        Code::Overloaded => Way::Draining,
        Code::IdempotencyMismatch => Way::Key,
        Code::StorageUnavailable => Way::Disk,
        Code::InternalError => Way::Panic,
        Code::UpstreamUnavailable
        | Code::UpstreamRateLimited
        | Code::UpstreamError
        | Code::UpstreamRejected
        | Code::UpstreamConnectTimeout
        | Code::UpstreamHeadersTimeout
        | Code::UpstreamFirstContentTimeout
        | Code::UpstreamTotalTimeout
            if chat =>
        {
            Way::Model
        }
        Code::UpstreamUnavailable if route.guards.contains(&Guard::Bearer) => Way::Keys,
        Code::UpstreamUnavailable
        | Code::UpstreamRateLimited
        | Code::UpstreamError
        | Code::UpstreamRejected
        | Code::UpstreamConnectTimeout
        | Code::UpstreamHeadersTimeout
        | Code::UpstreamFirstContentTimeout
        | Code::UpstreamTotalTimeout
        | Code::UpstreamIdleTimeout
        | Code::UpstreamTooSlow
        | Code::UpstreamCut
        | Code::UpstreamTooLong => return None,
    })
}

#[test]
fn every_code_of_every_route_has_a_way() {
    let lost: Vec<_> = wanted().filter(|it| way_of(it).is_none()).collect();
    let lost: Vec<_> = lost.iter().map(|(it, code)| (it.method, it.path, code.name())).collect();
    assert!(lost.is_empty(), "no way of tests/it/every_code.rs reaches {lost:?}");
    assert!(wanted().count() > 200, "the table was not read");
}

/// Checks the code and its status, whatever else the answer says.
#[track_caller]
fn assert_reached((route, code): &Wanted, answer: &Answer) {
    let reached = (answer.status, answer.code());
    assert_eq!(reached, (code.status(), Some(code.name())), "{} {}", route.method, route.path);
}

fn each(wanted: &[Wanted], ask: impl Fn(&Route) -> RequestBuilder) {
    for it in wanted {
        assert_reached(it, &get(ask(it.0)));
    }
}

fn from_a_foreign_page(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| world.good(route).header("origin", "https://evil.example"));
}

fn unsigned(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| world.asks(route, route.method).body(good_body(route)));
}

fn with_another_method(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| world.asks(route, "TRACE"));
}

fn without_a_token(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| world.caller.request(route.method, &path_of(route)));
}

fn with_nothing_set(wanted: &[Wanted]) {
    let server = Setup::bare().start();
    let caller = Caller::of(&server);
    each(wanted, |route| caller.request(route.method, &path_of(route)).bearer_auth("token"));
}

fn too_often(wanted: &[Wanted]) {
    let buckets = ["ANON_IP", "WHATSAPP", "GMAIL_PUSH", "GMAIL_OAUTH", "CHAT_STREAM"];
    let buckets = buckets.into_iter().chain(["WEBHOOK", "WA_LINK_CODE"]);
    let once = |setup: Setup, bucket| setup.with(&format!("RATE_LIMIT_{bucket}_MAX"), 1);
    let world = World::of(buckets.fold(receiver(), once));
    for it in wanted {
        until("the limit is reached", || get(world.asks(it.0, it.0.method)).status == 429);
        assert_reached(it, &get(world.asks(it.0, it.0.method)));
    }
}

fn as_plain_text(wanted: &[Wanted]) {
    let world = World::of(receiver());
    let typed = |guards: &[Guard], request: RequestBuilder| {
        let request = if guards.contains(&Guard::Bearer) {
            request.bearer_auth(&world.token)
        } else {
            request.bearer_auth(OPS_TOKEN)
        };
        request.header("content-type", "text/plain").body("{}")
    };
    each(wanted, |it| typed(it.guards, world.caller.request(it.method, &path_of(it))));
}

fn with_too_much(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| world.sends(route, &" ".repeat(262_145)));
}

fn too_slowly(wanted: &[Wanted]) {
    let world = World::of(receiver().with("SENDCAT_BODY_TIMEOUT_MS", 200));
    for it in wanted {
        let route = it.0;
        let operators = route.guards.contains(&Guard::Operator);
        let token = if operators { OPS_TOKEN } else { world.token.as_str() };
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: {{host}}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 10\r\n\r\n{{",
            route.method,
            path_of(route),
        );
        assert_reached(it, &Raw::send(world.server.url(), &head).answer());
    }
}

fn without_json(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| world.sends(route, "{"));
}

fn in_another_shape(wanted: &[Wanted]) {
    let world = World::of(receiver());
    let reads = |route: &Route| world.asks(route, route.method).query(&[("limit", "0")]);
    each(wanted, |route| {
        let has_body = route.guards.iter().any(|it| it.wants_json()) || route.path == STOP;
        if has_body { world.sends(route, "[]") } else { reads(route) }
    });
}

fn for_what_is_not_there(wanted: &[Wanted]) {
    let world = World::of(receiver());
    // The chat's thread is there; what is to be answered anew is not.
    let made = world.caller.post_json("/api/threads", r#"{"id":"chat"}"#).bearer_auth(&world.token);
    assert_eq!(get(made).status, 201);
    let again = json!({"id": "chat", "trigger": "regenerate-message", "messageId": "nobody"});
    each(wanted, |route| match route.path {
        "/api/chat" => world.sends(route, &again.to_string()),
        SOURCE => world.caller.post_json("/api/webhooks/nobody", "{}"),
        _ => world.good(route),
    });
}

fn by_a_full_owner(wanted: &[Wanted]) {
    let (setup, token) = with_full_owner(receiver());
    let world = World { token, ..World::of(setup) };
    each(wanted, |route| world.good(route));
}

fn once_it_is_over(wanted: &[Wanted]) {
    let world = World::of(receiver());
    let made = world.caller.post_json("/api/threads", r#"{"id":"x"}"#).bearer_auth(&world.token);
    assert_eq!(get(made).status, 201);
    each(wanted, |route| world.good(route));
}

fn with_a_key_of_another_body(wanted: &[Wanted]) {
    let scene = Scene::with(&[]);
    let asks = |route: &Route, text: &str| {
        let body = json!({"id": "x", "message": text}).to_string();
        let asked = scene.caller.post_json(route.path, body).bearer_auth(&scene.token);
        asked.header("idempotency-key", "k")
    };
    for it in wanted {
        assert_eq!(get(asks(it.0, "hello")).status, 200);
        assert_reached(it, &get(asks(it.0, "good-bye")));
    }
}

fn while_it_drains(wanted: &[Wanted]) {
    let world = World::of(receiver().with("SENDCAT_LAME_DUCK_MS", 120_000));
    world.server.signal("TERM");
    until("it drains", || get(world.caller.get("/readyz")).status == 503);
    each(wanted, |route| world.good(route));
}

fn on_a_full_disk(wanted: &[Wanted]) {
    let world = World::of(receiver());
    world.arms("journal:disk_full@0");
    for it in wanted {
        // A look at whether the disk works opens the store for a moment, in which it can be read.
        until("the store is closed", || get(world.good(it.0)).code() == Some(it.1.name()));
        if it.0.method != "GET" && it.0.path != STOP && it.0.path != REDELIVER {
            assert_reached(it, &get(world.good(it.0)));
        }
    }
}

fn with_a_panic(wanted: &[Wanted]) {
    let world = World::of(receiver());
    each(wanted, |route| {
        world.arms("http:panic_decide@0");
        world.good(route)
    });
}
