//! Injected panics: whoever is hit gets an answer, nobody else notices, and nothing is lost.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use sendcat_state::key::{Bucket, ClientKey};
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::stand_in::arm;
use crate::support::webhook::{
    OPS_TOKEN, WHATSAPP, accepted, delivery_of, eventually, receiver, refused, replayed,
    sandboxed_receiver,
};

/// Addresses whose bucket lives on that shard, or on any other.
fn addresses(shard: usize, on_it: bool) -> impl Iterator<Item = IpAddr> {
    let all = (1..=u8::MAX).map(|last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)));
    all.filter(move |ip| (ClientKey::ip(Bucket::WhatsappWebhook, *ip).shard() == shard) == on_it)
}

/// Calls from that address, one after the other; how many were looked at, until one was refused.
async fn looked_at(caller: &Caller, address: IpAddr, most: usize) -> usize {
    for count in 0..most {
        let call = caller.post_json(WHATSAPP, "{}").header("x-forwarded-for", address.to_string());
        match answer(call).await.status {
            403 => {}
            429 => return count,
            other => panic!("{other} is neither"),
        }
    }
    most
}

/// A shard hit by a fault, and how many more calls its caller is let through after it.
async fn hit(caller: &Caller, kind: &str, cause: &str, left: usize) {
    let address = addresses(3, true).next().unwrap();
    assert_eq!(looked_at(caller, address, 10).await, 10);
    let neighbours: Vec<_> = addresses(3, false).take(40).collect();
    let calm = async || {
        let calls = neighbours.iter().map(|neighbour| looked_at(caller, *neighbour, 2));
        assert!(join_all(calls).await.into_iter().all(|count| count == 2), "{kind}");
    };
    caller.arms(&format!("rate_limiter-3:{kind}@0")).await;
    let strike = async {
        if kind != "panic_timer" {
            // Who is hit is refused: a limiter that gives no answer lets nobody through.
            assert_eq!(looked_at(caller, address, 1).await, 0, "{kind}");
        }
        eventually("the shard was hit and runs", async || {
            let actor = caller.actor("rate_limiter-3").await;
            let hit = actor["restarts"]["byCause"][cause] == 1;
            (hit && actor["status"] == "running").then_some(())
        })
        .await;
    };
    tokio::join!(strike, calm());
    calm().await;
    assert_eq!(looked_at(caller, address, 100).await, left, "{kind}");
    let actor = caller.actor("rate_limiter-3").await;
    assert_eq!(actor["restarts"]["byCause"], json!({ cause: 1 }), "{actor}");
    let panicked = actor["lastPanic"]["message"].as_str();
    if kind != "panic_timer" {
        assert_eq!(panicked, Some(format!("injected: {} panic", &kind[6..]).as_str()));
    }
    for shard in (0..16).filter(|shard| *shard != 3) {
        let neighbour = caller.actor(&format!("rate_limiter-{shard}")).await;
        assert_eq!(neighbour["incarnation"], 1, "{neighbour}");
    }
}

fn limited_to_twenty() -> Setup {
    receiver().with("TRUSTED_PROXIES", "127.0.0.1/32").with("RATE_LIMIT_WHATSAPP_MAX", 20)
}

#[test]
fn a_shard_that_panics_while_it_counts_loses_no_count() {
    let server = limited_to_twenty().start();
    // The call that was hit is counted: it was refused after it had been written down.
    run(hit(&Caller::of(&server), "panic_apply", "apply", 9));
}

#[test]
fn a_shard_that_panics_while_it_decides_has_counted_nothing() {
    let server = limited_to_twenty().start();
    run(hit(&Caller::of(&server), "panic_decide", "decide", 10));
}

#[test]
fn a_shard_that_dies_comes_back_with_its_counts() {
    let server = limited_to_twenty().start();
    run(hit(&Caller::of(&server), "panic_timer", "death", 10));
}

/// Delivers until it is accepted, as Meta would; anything but a 200 and a 503 is a fault.
async fn delivers_until_accepted(caller: &Caller, id: String) {
    eventually("the delivery is accepted", async || {
        let answer = answer(caller.delivers(delivery_of([id.clone()]))).await;
        match answer.status {
            200 => Some(()),
            503 => {
                assert_eq!(answer.code(), Some("storage_unavailable"));
                None
            }
            other => panic!("{other}: {answer:?}"),
        }
    })
    .await;
}

/// Runs webhooks and chats while `faults` strike one after the other.
fn strikes_under_load(actor: &str, faults: &[(&str, &str)]) {
    let server = sandboxed_receiver().start();
    let caller = Caller::of(&server);
    let token = server.banner("chat token");
    run(async {
        let deliver = async |sender: u32| {
            for nth in 0..30 {
                delivers_until_accepted(&caller, format!("{sender}-{nth}")).await;
            }
        };
        let chat = async |sender: u32| {
            for nth in 0..6 {
                let chat = caller.chat(token, &format!("t-{sender}-{nth}"), "search rust actors");
                let answer = answer(chat).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.parts().last().unwrap()["type"], "finish", "{}", answer.body);
            }
        };
        let strike = async {
            for (kind, cause) in faults {
                caller.arms(&format!("{actor}:{kind}@0")).await;
                // A circuit whose calls succeed has nothing to write down: give it a failure.
                arm(server.banner("sandbox"), "openrouter_chat", "500", 1).await;
                eventually("the fault strikes", async || {
                    let seen = caller.actor(actor).await;
                    let hit = seen["restarts"]["byCause"][*cause] == 1;
                    (hit && seen["status"] == "running").then_some(())
                })
                .await;
            }
        };
        // Chats go on until every fault has struck.
        let all_chats = async {
            let mut round = 0;
            loop {
                join_all((0..4).map(|sender| chat(round * 10 + sender))).await;
                round += 1;
            }
        };
        let load = async {
            join_all((0..4).map(deliver)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = strike => {}
            () = load => {}
            () = all_chats => {}
        }
        join_all((0..4).map(deliver)).await;
        let rows = caller.worked_off(120).await;
        let not_done: Vec<_> = rows.iter().filter(|row| row["status"] != "done").collect();
        assert!(not_done.is_empty(), "{not_done:?}");
        let again = (0..30).map(|nth| format!("0-{nth}"));
        assert_eq!(answer(caller.delivers(delivery_of(again))).await, replayed());
        let snapshot = caller.sees("/ops/snapshot").await;
        let in_flight = &snapshot["bulkheads"]["openrouter_chat"]["inFlight"];
        assert!(in_flight.as_u64().unwrap() <= 4, "{in_flight}");
    });
}

const EACH: [(&str, &str); 3] =
    [("panic_decide", "decide"), ("panic_apply", "apply"), ("panic_timer", "death")];

#[test]
fn claims_that_panic_lose_nothing_and_double_nothing() {
    strikes_under_load("idempotency", &EACH[..2]);
}

#[test]
fn claims_whose_actor_dies_are_free_again_at_once() {
    strikes_under_load("idempotency", &EACH[2..]);
}

#[test]
fn a_bulkhead_that_panics_is_noticed_by_nobody() {
    strikes_under_load("bulkhead-openrouter_chat", &EACH);
}

#[test]
fn a_circuit_breaker_that_panics_is_noticed_by_nobody() {
    strikes_under_load("circuit_breaker-openrouter_chat", &EACH);
}

#[test]
fn a_queue_that_panics_loses_nothing_and_does_nothing_twice() {
    strikes_the_queue(&EACH[..2]);
}

#[test]
fn events_of_a_queue_that_dies_are_taken_up_again_at_once() {
    strikes_the_queue(&EACH[2..]);
}

fn strikes_the_queue(faults: &[(&str, &str)]) {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let deliver = async |sender: u32| {
            for nth in 0..50 {
                delivers_until_accepted(&caller, format!("{sender}-{nth}")).await;
            }
        };
        let strike = async {
            for (kind, cause) in faults {
                caller.arms(&format!("job_queue:{kind}@3")).await;
                eventually("the fault strikes", async || {
                    let seen = caller.actor("job_queue").await;
                    let hit = seen["restarts"]["byCause"][*cause] == 1;
                    (hit && seen["status"] == "running").then_some(())
                })
                .await;
            }
        };
        let busy = async {
            join_all((0..4).map(deliver)).await;
            // Worked off or not, something still moves.
            join_all((4..6).map(deliver)).await;
        };
        tokio::join!(strike, busy);
        let rows = caller.worked_off(300).await;
        let not_done: Vec<_> = rows.iter().filter(|row| row["status"] != "done").collect();
        assert!(not_done.is_empty(), "{not_done:?}");
    });
}

#[test]
fn without_claims_webhooks_are_taken_and_what_was_done_is_still_known() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        for _ in 0..6 {
            caller.arms("idempotency:panic_timer@0").await;
        }
        eventually("the claims are given up", async || {
            (caller.actor("idempotency").await["status"] == "down").then_some(())
        })
        .await;
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, replayed());
        assert_eq!(answer(caller.delivers(delivery_of(["m2".into()]))).await, accepted());
        assert_eq!(answer(caller.delivers(delivery_of(["m2".into()]))).await, replayed());
        assert_eq!(caller.worked_off(2).await.len(), 2);
    });
    let (_, log) = server.end_by("TERM");
    assert!(log.contains("replay_claim"), "failing open is logged: {log}");
}

#[test]
fn a_schedule_that_makes_no_sense_keeps_the_process_from_serving() {
    for (schedule, why) in [
        ("nonsense", "SENDCAT_FAULTS: fault \"nonsense\": no actor; write actor:kind@n[:1500ms]"),
        ("idempotency:dance@0", "no such kind"),
        ("idempotency:panic_apply@soon", "the number of steps is not one"),
        ("idempotency:hang@0", "a hang needs its milliseconds"),
        ("nobody:panic_apply@0", "there is no actor nobody"),
        ("idempotency:panic_apply@0,x", "no actor"),
    ] {
        let (code, said) = Setup::bare().with("SENDCAT_FAULTS", schedule).refused();
        assert_eq!(code, Some(2), "{schedule}: {said}");
        assert!(said.contains(why), "{schedule}: {said}");
    }
}

#[test]
fn a_scheduled_fault_strikes_and_armed_ones_are_listed_and_disarmed() {
    let schedule = "idempotency:panic_decide@1, stream_log:panic_apply@5";
    let server = receiver().with("SENDCAT_FAULTS", schedule).start();
    let caller = Caller::of(&server);
    run(async {
        let armed = caller.sees("/ops/faults").await;
        let mut actors: Vec<_> = armed["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["actor"].clone())
            .collect();
        actors.sort_by_key(Value::to_string);
        assert_eq!(actors, ["idempotency", "stream_log"]);
        for id in ["m1", "m2"] {
            assert_eq!(answer(caller.delivers(delivery_of([id.into()]))).await, accepted());
        }
        eventually("it has struck", async || {
            let actor = caller.actor("idempotency").await;
            (actor["restarts"]["byCause"] == json!({"decide": 1})).then_some(())
        })
        .await;
        let cleared = answer(caller.operates("DELETE", "/ops/faults")).await;
        assert_eq!((cleared.status, cleared.body.as_str()), (204, ""));
        assert_eq!(caller.sees("/ops/faults").await, json!({"faults": []}));
    });
}

#[test]
fn a_fault_that_makes_no_sense_is_refused_by_name() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let shape = "The request is not valid: fault: expected";
    let table = [
        (
            r#"{"fault":"x"}"#,
            format!("{shape} fault \"x\": no actor; write actor:kind@n[:1500ms]."),
        ),
        (r#"{"fault":"nobody:panic_apply@0"}"#, format!("{shape} the name of an actor.")),
        (r#"{}"#, format!("{shape} fault \"\": no actor; write actor:kind@n[:1500ms].")),
    ];
    run(async {
        for (body, sentence) in table {
            let request = caller.post_json("/ops/faults", body).bearer_auth(OPS_TOKEN);
            assert_eq!(answer(request).await, refused(400, "invalid_request", &sentence, &[]));
        }
    });
}
