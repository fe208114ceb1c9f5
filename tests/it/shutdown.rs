//! How a process ends: told by a signal, with what runs told to end, and nothing new begun.

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::webhook::{
    SOON, delivery_of, eventually, receiver, refused, sandboxed_receiver, whole,
};

/// Nothing that ends by itself takes this long.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(10);

#[test]
fn an_idle_process_ends_at_once_by_either_signal() {
    for signal in ["TERM", "INT"] {
        let server = Setup::bare().start();
        let caller = Caller::of(&server);
        assert_eq!(run(answer(caller.get("/livez"))).status, 200);
        let (code, log) = run(async {
            let ending = tokio::task::spawn_blocking(move || server.end_by(signal));
            tokio::time::timeout(AT_ONCE, ending).await.expect("it ends at once").unwrap()
        });
        assert_eq!(code, Some(0), "{signal}: {log}");
        assert!(!log.contains("\"level\":\"ERROR\""), "{signal}: {log}");
    }
}

#[test]
fn answers_that_outlive_the_drain_are_told_to_end_and_end_whole() {
    let server = sandboxed_receiver().with("SENDCAT_DRAIN_MS", 500).start();
    let caller = Caller::of(&server);
    let token = server.banner("chat token").to_owned();
    run(async {
        let begun = (0..20).map(|number| {
            let chat = caller.chat(&token, &format!("t{number}"), "slow 200 20");
            async { chat.send().await.expect("the server answers") }
        });
        let begun = join_all(begun).await;
        assert!(begun.iter().all(|response| response.status() == 200));
        let ending = tokio::task::spawn_blocking(move || server.end_by("TERM"));
        let answers = join_all(begun.into_iter().map(Answer::of)).await;
        for answer in &answers {
            let last = answer.parts().pop().expect("there are parts");
            assert_eq!(last["type"], "abort", "{last}");
            assert!(!answer.text().is_empty());
        }
        let (code, log) = tokio::time::timeout(SOON, ending).await.expect("it ends").unwrap();
        assert_eq!(code, Some(0), "{log}");
    });
}

#[test]
fn answers_that_end_within_the_drain_are_finished() {
    let server = sandboxed_receiver().with("SENDCAT_DRAIN_MS", 20_000).start();
    let caller = Caller::of(&server);
    let token = server.banner("chat token").to_owned();
    run(async {
        let begun = caller.chat(&token, "t1", "slow 40 20").send().await.unwrap();
        let ending = tokio::task::spawn_blocking(move || server.end_by("INT"));
        let parts = Answer::of(begun).await.parts();
        assert_eq!(parts.last().unwrap()["type"], "finish");
        let deltas = parts.iter().filter(|part| part["type"] == "text-delta");
        let texts = deltas.map(|part| part["delta"].as_str().unwrap());
        let expected: String = (1..=40).map(|number| format!("{number} ")).collect();
        assert_eq!(texts.collect::<String>(), expected);
        let (code, log) = tokio::time::timeout(AT_ONCE, ending).await.expect("it ends").unwrap();
        assert_eq!(code, Some(0), "{log}");
    });
}

#[test]
fn while_it_drains_it_says_so_and_begins_nothing_and_a_second_signal_ends_it() {
    let server = sandboxed_receiver().with("SENDCAT_LAME_DUCK_MS", 60_000).start();
    let caller = Caller::of(&server);
    let token = server.banner("chat token").to_owned();
    run(async {
        let running = caller.chat(&token, "t1", "slow 2000 50").send().await.unwrap();
        server.signal("TERM");
        let draining = r#"{"status":"unready","reasons":["draining"]}"#;
        let json = [("content-type", "application/json")];
        eventually("readiness says so", async || {
            let readyz = answer(caller.get("/readyz")).await;
            (readyz == whole(503, &json, draining)).then_some(())
        })
        .await;
        let sentence = "All places are taken right now; try again in 1 second.";
        let overloaded = refused(503, "overloaded", sentence, &[("retry-after", "1")]);
        let delivery = caller.delivers(delivery_of(["m1".into()]));
        assert_eq!(answer(delivery).await, overloaded);
        let chat = answer(caller.chat(&token, "t2", "hello")).await;
        assert_eq!((chat.status, chat.code()), (503, Some("overloaded")));
        let session = answer(caller.post("/api/sessions/anonymous")).await;
        assert_eq!((session.status, session.code()), (503, Some("overloaded")));
        // Who looks on may look on.
        assert_eq!(answer(caller.get("/livez")).await.status, 200);
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
        let ending = tokio::task::spawn_blocking(move || server.end_by("TERM"));
        let (code, log) = tokio::time::timeout(AT_ONCE, ending).await.expect("it ends").unwrap();
        assert_eq!(code, Some(130), "{log}");
        drop(running);
    });
}

#[test]
fn what_was_accepted_and_counted_before_an_orderly_end_is_there_after_it() {
    let mut server = receiver().with("RATE_LIMIT_WHATSAPP_MAX", 3).start();
    let caller = Caller::of(&server);
    run(async {
        for id in ["m1", "m2"] {
            assert_eq!(answer(caller.delivers(delivery_of([id.into()]))).await.status, 200);
        }
    });
    server.restart_by("TERM");
    let caller = Caller::of(&server);
    run(async {
        let again = answer(caller.delivers(delivery_of(["m1".into(), "m2".into()]))).await;
        assert_eq!(again.header("x-idempotent-replay"), Some("1"));
        // The window did not begin anew.
        let over = answer(caller.delivers(delivery_of(["m3".into()]))).await;
        assert_eq!(over.code(), Some("rate_limited"));
        let rows = caller.worked_off(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done" && row["attempts"] == 1));
    });
}
