//! `GET /ops/snapshot`: everything of reliability in one answer.

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::webhook::{
    accepted, delivery, delivery_of, eventually, message, receiver, refused, replayed,
    sandboxed_receiver,
};

fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_snapshot_has_every_section_and_the_rules_in_force() {
    let server = receiver()
        .with("RATE_LIMIT_WHATSAPP_MAX", 17)
        .with("RATE_LIMIT_WHATSAPP_WINDOW_MS", 45_000)
        .with("CIRCUIT_SERPER_THRESHOLD", 9)
        .with("BULKHEAD_OPENROUTER_MAX_CONCURRENT", 5)
        .with("OPS_DEFAULT_WINDOW_MINUTES", 30)
        .start();
    let caller = Caller::of(&server);
    run(async {
        let snapshot = caller.sees("/ops/snapshot").await;
        let sections = [
            "actors",
            "bulkheads",
            "circuits",
            "config",
            "generatedAt",
            "inbox",
            "rateLimitPressure",
            "replayProtection",
            "toolCache",
            "toolJobs",
            "windowMinutes",
        ];
        assert_eq!(members(&snapshot), sections);
        assert_eq!(snapshot["windowMinutes"], 30);
        let config = &snapshot["config"];
        let limit = &config["rateLimits"]["whatsapp_webhook"];
        assert_eq!(*limit, json!({"max": 17, "windowMs": 45_000}));
        assert_eq!(config["rateLimits"]["chat_stream"]["max"], 100_000);
        let circuit = json!({"threshold": 9, "cooldownMs": 20_000, "slowMs": null});
        assert_eq!(config["circuits"]["serper_search"], circuit);
        let bulkhead = json!({"maxConcurrent": 5, "leaseTtlMs": 180_000, "waitMs": 0});
        assert_eq!(config["bulkheads"]["openrouter_chat"], bulkhead);
        let bulkhead = json!({"inFlight": 0, "max": 5, "waiting": 0});
        assert_eq!(snapshot["bulkheads"]["openrouter_chat"], bulkhead);
        let circuit = json!({"provider": "openrouter_chat", "state": "closed", "failures": 0,
            "openedAt": null, "retryAfterMs": null});
        assert_eq!(snapshot["circuits"][0], circuit);
        assert_eq!(snapshot["circuits"].as_array().unwrap().len(), 10);
        let wider = caller.sees("/ops/snapshot?windowMinutes=60&limit=5").await;
        assert_eq!(wider["windowMinutes"], 60);
    });
}

#[test]
fn a_snapshot_counts_what_has_happened() {
    let server = sandboxed_receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let odd = delivery(&[message("m1", "hello"), json!({}), message("m2", "hello")]);
        assert_eq!(answer(caller.delivers(odd)).await, accepted());
        let again = || caller.delivers(delivery_of(["m1".into(), "m2".into()]));
        assert_eq!(answer(again()).await, replayed());
        assert_eq!(answer(again()).await, replayed());
        let push = include_str!("samples/gmail_push_wrapped.json");
        assert_eq!(answer(caller.pushes(push)).await, accepted());
        let token = server.banner("chat token");
        assert_eq!(answer(caller.chat(token, "t1", "search rust actors")).await.status, 200);
        caller.worked_off(4).await;
        let counted = eventually("everything is counted", async || {
            let snapshot = caller.sees("/ops/snapshot").await;
            let tools = &snapshot["toolJobs"]["byTool"]["search_web"];
            let counted = snapshot["inbox"]["byStatus"]["done"] == 3
                && tools["done"] == 1
                // A slot comes back a moment after its answer has ended.
                && snapshot["bulkheads"]["openrouter_chat"]["inFlight"] == 0
                && snapshot["replayProtection"]["byScope"]["whatsapp_message"]["duplicates"] == 4;
            counted.then_some(snapshot)
        })
        .await;
        let by_status = json!({"pending": 0, "running": 0, "done": 3, "dead": 1});
        assert_eq!(counted["inbox"]["byStatus"], by_status);
        assert_eq!(counted["inbox"]["bySource"], json!({"whatsapp": 3, "gmail": 1, "generic": 0}));
        assert_eq!(counted["inbox"]["oldestAgeMs"], Value::Null);
        let scopes = &counted["replayProtection"]["byScope"];
        assert_eq!(scopes["whatsapp_message"], json!({"keys": 2, "duplicates": 4}));
        assert_eq!(scopes["gmail_push_history"], json!({"keys": 1, "duplicates": 0}));
        assert_eq!(counted["toolJobs"]["byStatus"]["done"], 1);
        assert_eq!(counted["toolJobs"]["oldestRunningAgeMs"], Value::Null);
        assert_eq!(counted["bulkheads"]["openrouter_chat"]["inFlight"], 0);
    });
}

#[test]
fn a_snapshot_shows_calls_in_flight() {
    let server = sandboxed_receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let token = server.banner("chat token");
        let first = caller.chat(token, "t1", "slow 200 50").send().await.unwrap();
        let second = caller.chat(token, "t2", "slow 200 50").send().await.unwrap();
        let flying = |count: u64| {
            let caller = &caller;
            eventually("the bulkhead counts them", async move || {
                let snapshot = caller.sees("/ops/snapshot").await;
                (snapshot["bulkheads"]["openrouter_chat"]["inFlight"] == count).then_some(())
            })
        };
        flying(2).await;
        drop((first, second));
        flying(0).await;
    });
}

#[test]
fn a_window_out_of_range_is_refused_by_name() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        for query in ["windowMinutes=0", "windowMinutes=1441", "windowMinutes=x"] {
            let request = caller.operates("GET", &format!("/ops/snapshot?{query}"));
            let sentence = "The parameter windowMinutes must be a number from 1 to 1440.";
            assert_eq!(answer(request).await, refused(400, "invalid_request", sentence, &[]));
        }
    });
}
