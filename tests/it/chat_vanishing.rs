//! Hundreds of readers that go away at any moment of their chat leave nothing behind.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Response;

use crate::support::client::{Caller, answer, run};
use crate::support::random::Random;
use crate::support::webhook::{eventually, sandboxed_receiver};

/// Clients, this many at once.
const CLIENTS: u64 = 400;
const AT_ONCE: u64 = 40;

/// Calls to the model that may be in flight.
const SLOTS: u64 = 24;

#[test]
fn clients_that_vanish_at_random_moments_hold_no_slot_no_tool_and_no_answer_afterwards() {
    let mut random = Random::seeded();
    let server = sandboxed_receiver().with("BULKHEAD_OPENROUTER_MAX_CONCURRENT", SLOTS).start();
    let token = server.banner("chat token").to_owned();
    run(async {
        let caller = Caller::of(&server);
        let mut cut_off = 0;
        for round in 0..CLIENTS / AT_ONCE {
            let clients = (0..AT_ONCE).map(|client| {
                let patience = Duration::from_millis(random.below(400));
                let text = ["slow 100 20", "search rust actors", "hello"][client as usize % 3];
                let chat = caller.chat(&token, &format!("t-{round}-{client}"), text);
                async move {
                    // An answer that is dropped before its end takes its connection along.
                    let read = async { chat.send().await.expect("it answers").text().await };
                    tokio::time::timeout(patience, read).await.is_err()
                }
            });
            let cut: Vec<_> = join_all(clients).await;
            cut_off += cut.into_iter().filter(|cut| *cut).count();
        }
        eprintln!("{cut_off} of {CLIENTS} clients vanished in the middle");
        assert!(cut_off as u64 > CLIENTS / 4, "most are cut off in the middle: {cut_off}");
        eventually("nothing is in flight", async || {
            let snapshot = caller.sees("/ops/snapshot").await;
            let slots = ["openrouter_chat", "serper_search"].map(|provider| {
                let bulkhead = &snapshot["bulkheads"][provider];
                bulkhead["inFlight"] == 0 && bulkhead["waiting"] == 0
            });
            let tools = &snapshot["toolJobs"]["byStatus"];
            let tools = tools["queued"] == 0 && tools["running"] == 0;
            let actors = snapshot["actors"].as_array().expect("actors is a list").iter();
            let idle = actors.clone().all(|actor| actor["mailboxDepth"] == 0);
            (slots == [true; 2] && tools && idle).then_some(())
        })
        .await;
        every_slot_can_be_had(&caller, &token).await;
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
}

/// Takes as many slots as there are, all at once, and is refused one more.
async fn every_slot_can_be_had(caller: &Caller, token: &str) {
    let chat = |number: u64| caller.chat(token, &format!("after-{number}"), "slow 100 50").send();
    let held = join_all((0..SLOTS).map(chat)).await;
    let held: Vec<Response> = held.into_iter().map(|chat| chat.expect("it answers")).collect();
    assert!(held.iter().all(|response| response.status() == 200), "{held:?}");
    let over = answer(caller.chat(token, "over", "hello")).await;
    assert_eq!((over.status, over.code()), (503, Some("overloaded")), "{over:?}");
}
