//! The operators' console in a real browser: what an operator sees and does, that nobody else is
//! asked anything, and that the browser has nothing to complain of. Its pages, as they are served.

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::expected::{of, whole};
use crate::support::node::node;
use crate::support::scene::{Scene, get};
use crate::support::server::{Server, Setup};
use crate::support::stand_in::StandIns;
use crate::support::webhook::{
    OPS_READ_TOKEN, OPS_TOKEN, accepted, delivery, delivery_of, message, replayed,
    sandboxed_receiver,
};
use sendcat::console::{ops, runbook};
use sendcat::contract::code::ErrorCode;

fn scene_of(server: Server) -> Scene {
    let (stand_ins, caller) = (StandIns::within(&server), Caller::of(&server));
    let token = server.banner("chat token").to_owned();
    Scene { server, stand_ins, caller, token }
}

/// With every token, and stand-ins for every provider.
fn sandboxed() -> Scene {
    scene_of(sandboxed_receiver().start())
}

/// What a case showed; its browser asked nobody else, and complained of this alone.
#[track_caller]
fn plays_with(scene: &Scene, case: &str, token: &str, complaints: &Value) -> (Value, Vec<String>) {
    let mut played = node(scene, "ops.mjs", &[case, token]);
    assert_eq!(played["elsewhere"], json!([]), "{case}");
    assert_eq!(played["complaints"], *complaints, "{case}");
    let requests = serde_json::from_value(played["requests"].take()).expect("a list of texts");
    (played["seen"].take(), requests)
}

#[track_caller]
fn plays(scene: &Scene, case: &str) -> Value {
    plays_with(scene, case, OPS_TOKEN, &json!([])).0
}

/// A browser tells its console of every status of failure.
fn failed(status: u16, words: &str) -> String {
    format!("Failed to load resource: the server responded with a status of {status} ({words})")
}

/// An event that is done, one that comes again, a mail, and a dead letter.
fn some_traffic(scene: &Scene) {
    let caller = &scene.caller;
    run(async {
        let odd = delivery(&[message("m1", "hello"), json!({})]);
        assert_eq!(answer(caller.delivers(odd)).await, accepted());
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, replayed());
        let push = include_str!("samples/gmail_push_wrapped.json");
        assert_eq!(answer(caller.pushes(push)).await, accepted());
        caller.worked_off(3).await;
    });
}

#[test]
fn every_panel_shows_what_is_so() {
    let scene = sandboxed();
    some_traffic(&scene);
    let (seen, requests) = plays_with(&scene, "panels", OPS_TOKEN, &json!([]));
    let titles = [
        "Alerts",
        "Circuits",
        "Rate limits",
        "Bulkheads",
        "Tool queue",
        "Inbox",
        "Dead letters",
        "Replays",
        "Tool cache",
        "Supervision tree",
        "Configuration",
        "Done from this page",
    ];
    let branches = [
        "journal",
        "limits",
        "guards: circuits",
        "guards: bulkheads",
        "replay",
        "tools",
        "answers",
    ];
    let letter = "[invalid_function_args:whatsapp.processWebhook] \
                  entry[0].changes[0].value.messages[1].id: expected a message id";
    let expected = json!({"titles": titles, "circuits": 10, "letter": letter, "branches": branches,
        "shards": 16, "knob": "set", "verdict": "✓ All well", "readOnly": false});
    assert_eq!(seen, expected);
    let asked = [
        "GET /ops",
        "GET /ops/assets/*",
        "GET /ops/cache",
        "GET /ops/config",
        "GET /ops/dead-letters",
        "GET /ops/stream",
    ];
    assert_eq!(requests, asked);
}

#[test]
fn a_circuit_that_opens_is_seen_at_once_and_reset_by_a_button() {
    let scene = scene_of(sandboxed_receiver().with("CIRCUIT_OPENROUTER_THRESHOLD", 3).start());
    let seen = plays(&scene, "circuit");
    let undo = "Undo: force it open. If the provider still fails, it opens again by itself.";
    let expected = json!({"isSoon": true, "playbook": "/ops/runbook#circuit-open",
        "countdown": ", probe in N s", "question": "Reset the circuit openrouter_chat?",
        "undo": undo, "afterNo": 0,
        "log": "✓ well: POST /ops/circuits/openrouter_chat/reset openrouter_chat is closed T UTC"});
    assert_eq!(seen, expected);
}

/// What the page concludes from snapshots that no test could bring about at once.
#[test]
fn the_verdict_names_what_is_wrong_worst_first_with_its_playbook() {
    let now = "2026-11-23T03:10:00.000Z";
    let actor = |name: &str, oldest: Value, panic: Value| {
        let (work, last) = ("oldestWorkMs", "lastPanic");
        json!({"name": name, work: oldest, last: panic})
    };
    let panic = json!({"at": "2026-11-23T03:09:00.000Z", "message": "boom"});
    let old = json!({"at": "2026-11-23T02:09:00.000Z", "message": "boom"});
    let alert = json!({"alertKey": "http:chat_stream:blocked", "count": 30, "threshold": 25,
        "windowMinutes": 5, "createdAt": "2026-11-23T03:08:00.000Z"});
    let bad = json!({
        "generatedAt": now,
        "windowMinutes": 15,
        "process": {"status": "degraded", "reasons": [
            "tool_cache is down", "the disk has failed for 900 ms",
            "the saved state of idempotency was put aside"]},
        "actors": [actor("journal", json!(4000), Value::Null),
            actor("idempotency", Value::Null, panic), actor("stream_log", json!(12), old)],
        "circuits": [{"provider": "openrouter_chat", "state": "half_open", "retryAfterMs": 0},
            {"provider": "jwks", "state": "forced_open", "retryAfterMs": 1000}],
        "bulkheads": {"openrouter_chat": {"inFlight": 24, "max": 24, "waiting": 3},
            "jwks": {"inFlight": 7, "max": 8, "waiting": 0}},
        "rateLimitPressure": {"recentAlerts": [alert], "summary": {
            "http:chat_stream:blocked": 30, "http:chat_stream:contention_fallback": 2}},
        "toolJobs": {"oldestQueuedAgeMs": 61_000, "pressureByTool": {
            "search_web": {"queued": 200, "queuedMax": 200},
            "search_global": {"queued": 96, "queuedMax": 120},
            "search_products": {"queued": 95, "queuedMax": 120}}},
        "inbox": {"oldestAgeMs": 301_000, "byStatus": {"dead": 1}},
    });
    let well = json!({"generatedAt": now, "windowMinutes": 15, "circuits":
        [{"provider": "openrouter_chat", "state": "closed"}], "inbox": {"byStatus": {"dead": 2}}});
    let snapshots = json!([bad, well]).to_string();
    let scene = Scene::with(&[]);
    let played = node(&scene, "ops.mjs", &["verdict", "ops", &snapshots]);
    let found = [
        "bad #journal-failing the disk has failed for 900 ms",
        "bad #backlog-growing queue search_web: 200 of 200 places are taken",
        "bad #oldest-event-age the oldest accepted event has waited 5 min 1 s",
        "warn #actor-down tool_cache is down",
        "warn #state-put-aside the saved state of idempotency was put aside",
        "warn #actor-stuck journal has had work in hand for 4.0 s",
        "warn #actor-restarts idempotency panicked 1 min 0 s ago: boom",
        "warn #circuit-open circuit openrouter_chat is half open: new chats are refused",
        "warn #circuit-open circuit jwks is forced open: users whose key is not known yet cannot \
         sign in, until it is released",
        "warn #bulkhead-saturated bulkhead openrouter_chat is full: 24 of 24 in flight, 3 wait",
        "warn #rate-limit-pressure alert http:chat_stream:blocked: 30 in 5 min, from 25 on it is \
         raised",
        "warn #contention-fallback http:chat_stream:contention_fallback: 2 refusals in 15 min",
        "warn #backlog-growing queue search_global: 96 of 120 places are taken",
        "warn #backlog-growing the oldest tool call has waited 1 min 1 s",
        "note #rate-limit-pressure http:chat_stream:blocked: 30 refusals in 15 min",
        "note #dead-letters 1 dead letter to look at",
    ];
    let failing = "bad Failing: the disk has failed for 900 ms, and 13 more things";
    let expected = json!([{"headline": failing, "found": found},
        {"headline": "good All well", "found": ["note #dead-letters 2 dead letters to look at"]}]);
    assert_eq!(played["seen"], expected);
}

#[test]
fn a_circuit_is_held_open_and_released() {
    let seen = plays(&sandboxed(), "force");
    let verdict = "! Degraded: circuit serper_search is forced open";
    assert_eq!(seen, json!({"verdict": verdict, "log": 2}));
}

#[test]
fn a_dead_letter_is_redelivered_and_a_cache_is_cleared() {
    let scene = sandboxed();
    some_traffic(&scene);
    assert_eq!(plays(&scene, "letters"), json!({"log": 2}));
}

#[test]
fn a_paused_page_stands_still_and_counts_what_it_does_not_show() {
    let scene = sandboxed();
    let said = "PAUSED at N:N:N UTC. N updates not shown.";
    let expected = json!({"isFrozen": true, "said": said, "isOver": true});
    assert_eq!(plays(&scene, "pause"), expected);
}

#[test]
fn a_filter_leaves_what_matches_and_stays_in_the_address() {
    let scene = sandboxed();
    let titles = ["Circuits", "Bulkheads", "Supervision tree", "Configuration"];
    let expected = json!({"titles": titles, "rows": ["serper_search"], "hash": "#q=serper",
        "kept": "serper", "trouble": "#trouble=1"});
    assert_eq!(plays(&scene, "filter"), expected);
}

#[test]
fn who_may_only_read_sees_no_button_and_is_refused_by_the_server() {
    let scene = sandboxed();
    let complaints = json!([failed(401, "Unauthorized")]);
    let (seen, _) = plays_with(&scene, "reader", OPS_READ_TOKEN, &complaints);
    let banner = "Read only. This token may look and change nothing; the server refuses whatever \
         else it asks.";
    assert_eq!(seen, json!({"banner": banner, "verbs": 0, "status": 401}));
}

#[test]
fn a_token_stays_in_its_tab_and_goes_with_it() {
    let scene = sandboxed();
    let complaints = json!([failed(401, "Unauthorized")]);
    let (seen, _) = plays_with(&scene, "signing", OPS_TOKEN, &complaints);
    let kept = json!({"tab": 1, "browser": 0, "cookies": ""});
    assert_eq!(seen, json!({"isEmpty": true, "isKept": kept, "left": 0}));
}

#[test]
fn all_of_it_is_done_with_keys_and_what_has_the_focus_is_seen() {
    let seen = plays(&sandboxed(), "keyboard");
    let reached =
        ["/ops#panels", "pause", "theme", "help", "/ops/runbook", "out", "filter", "trouble"];
    let expected = json!({"reached": reached, "first": "panel-alerts", "second": "panel-circuits",
        "back": "panel-alerts", "keys": true, "isDeaf": true, "theme": "light", "kept": "jwks",
        "isAsked": true});
    assert_eq!(seen, expected);
}

#[test]
fn a_small_phone_has_all_of_it_without_scrolling_sideways() {
    let seen = plays(&sandboxed(), "narrow");
    let expected = json!({"light": false, "inDialog": false, "dark": "rgb(14, 17, 22)",
        "runbook": false});
    assert_eq!(seen, expected);
}

#[test]
fn the_runbook_opens_at_the_playbook_that_was_asked_for() {
    let (seen, requests) = plays_with(&sandboxed(), "runbook", OPS_TOKEN, &json!([]));
    let headings = runbook::TEXT.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(seen, json!({"target": "Circuit open", "headings": headings}));
    assert_eq!(requests, ["GET /ops/assets/*", "GET /ops/runbook"]);
}

#[test]
fn pages_are_served_without_a_token_and_with_a_strict_policy() {
    let scene = Scene::with(&[]);
    let fields = [
        ("cache-control", "no-store"),
        ("content-security-policy", ops::POLICY),
        ("content-type", "text/html; charset=utf-8"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    for (path, text) in [("/ops", ops::PAGE), ("/ops/runbook", runbook::page())] {
        assert_eq!(get(scene.caller.get(path)), whole(200, &fields, text), "{path}");
    }
    for asset in ops::ASSETS {
        let fields = [
            ("cache-control", "no-store"),
            ("content-type", asset.media_type),
            ("x-content-type-options", "nosniff"),
        ];
        let path = format!("/ops/assets/{}", asset.name);
        assert_eq!(get(scene.caller.get(&path)), whole(200, &fields, asset.text), "{path}");
    }
    let refused = of(ErrorCode::NotFound, &[]);
    assert_eq!(get(scene.caller.get("/ops/assets/console.html")), refused);
}

#[test]
fn without_operators_there_is_no_console() {
    let server = Setup::bare().with("OPS_READ_TOKEN", OPS_READ_TOKEN).start();
    let caller = Caller::of(&server);
    let refused = of(ErrorCode::NotFound, &[]);
    for path in ["/ops", "/ops/runbook", "/ops/assets/console.js", "/ops/stream"] {
        assert_eq!(get(caller.get(path).bearer_auth(OPS_READ_TOKEN)), refused, "{path}");
    }
}
