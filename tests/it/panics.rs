//! A thousand panics at every point of a serving process: it never ends by one.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use sendcat_state::key::{Bucket, ClientKey, SHARDS};
use serde_json::Value;

use crate::support::client::{Caller, answer, run};
use crate::support::webhook::{WHATSAPP, accepted, delivery_of, eventually, sandboxed_receiver};

/// Panics while deciding, which restart nobody: so many an actor.
const OF_A_SHARD: usize = 40;
const OF_CLAIMS: usize = 120;
const OF_THE_QUEUE: usize = 60;
const OF_A_GUARD: usize = 40;
const OF_ANSWERS: usize = 40;
const OF_HANDLERS: usize = 60;
const DECIDED: usize = SHARDS * OF_A_SHARD + OF_CLAIMS + OF_THE_QUEUE + 2 * OF_A_GUARD + OF_ANSWERS;

/// Panics that restart an actor: as many as each subtree bears in its period, and no more.
const BORNE: usize = 5;
const SUBTREES: usize = 5;

/// Chats at once: no more than calls may be in flight while a bulkhead does not count them.
const CHATS: usize = 10;

const _A_THOUSAND: () = assert!(DECIDED + OF_HANDLERS + BORNE * SUBTREES >= 1000);

#[test]
fn a_thousand_panics_at_every_point_end_no_process() {
    let server = sandboxed_receiver().with("TRUSTED_PROXIES", "127.0.0.1/32").start();
    let token = server.banner("chat token").to_owned();
    let caller = Caller::of(&server);
    run(async {
        while_handlers_run(&caller).await;
        while_shards_decide(&caller).await;
        while_the_queue_decides(&caller).await;
        while_claims_are_decided(&caller).await;
        while_guards_decide(&caller, &token).await;
        while_answers_are_opened(&caller, &token).await;
        assert_eq!(panics(&caller, &["decide"]).await, DECIDED);
        assert_eq!(panics(&caller, &["apply", "death"]).await, 0);
        for round in 0..BORNE {
            one_restart_in_each_subtree(&caller, &token, round).await;
        }
        assert_eq!(panics(&caller, &["decide"]).await, DECIDED);
        assert_eq!(panics(&caller, &["apply", "death"]).await, BORNE * SUBTREES);
        all_is_well(&caller, &token).await;
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    let noted = log.matches("panicked at ").count();
    let struck = DECIDED + OF_HANDLERS + BORNE * SUBTREES;
    assert_eq!(noted, struck, "each was one panic, and there was no other");
}

/// Arms a fault so many times.
async fn arm(caller: &Caller, actor: &str, kind: &str, times: usize) {
    for _ in 0..times {
        caller.arms(&format!("{actor}:{kind}@0")).await;
    }
}

/// What all actors have counted of these causes.
async fn panics(caller: &Caller, causes: &[&str]) -> usize {
    let seen = caller.sees("/ops/actors").await;
    let actors = seen["actors"].as_array().expect("actors is a list").iter();
    let counts = actors.flat_map(|actor| {
        let by_cause = &actor["restarts"]["byCause"];
        causes.iter().map(|cause| by_cause[cause].as_u64().unwrap_or(0))
    });
    usize::try_from(counts.sum::<u64>()).unwrap()
}

async fn until_struck(caller: &Caller, actor: &str, cause: &str, times: usize) {
    eventually("every fault has struck", async || {
        let seen = caller.actor(actor).await;
        let struck = seen["restarts"]["byCause"][cause].as_u64().unwrap_or(0) >= times as u64;
        (struck && seen["status"] == "running").then_some(())
    })
    .await;
}

async fn while_handlers_run(caller: &Caller) {
    arm(caller, "http", "panic_decide", OF_HANDLERS).await;
    for _ in 0..OF_HANDLERS {
        let struck = answer(caller.get("/livez")).await;
        assert_eq!((struck.status, struck.code()), (500, Some("internal_error")));
    }
    assert_eq!(answer(caller.get("/livez")).await.status, 200);
}

/// Addresses of one shard, each another: what one is refused for hits no other.
fn addresses(shard: usize) -> impl Iterator<Item = IpAddr> {
    let all = (0x0a00_0000..).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    all.filter(move |ip| ClientKey::ip(Bucket::WhatsappWebhook, *ip).shard() == shard)
}

/// The status of a call that is not signed, from that address.
async fn call_from(caller: &Caller, address: IpAddr) -> u16 {
    let call = caller.post_json(WHATSAPP, "{}").header("x-forwarded-for", address.to_string());
    answer(call).await.status
}

async fn while_shards_decide(caller: &Caller) {
    for shard in 0..SHARDS {
        arm(caller, &format!("rate_limiter-{shard}"), "panic_decide", OF_A_SHARD).await;
        for address in addresses(shard).take(OF_A_SHARD) {
            assert_eq!(call_from(caller, address).await, 429, "a limiter fails closed");
        }
        let next = addresses(shard).nth(OF_A_SHARD).expect("there are more");
        assert_eq!(call_from(caller, next).await, 403, "it decides again");
    }
}

/// Nothing is queued: those who ask for work are struck.
async fn while_the_queue_decides(caller: &Caller) {
    arm(caller, "job_queue", "panic_decide", OF_THE_QUEUE).await;
    until_struck(caller, "job_queue", "decide", OF_THE_QUEUE).await;
}

async fn while_claims_are_decided(caller: &Caller) {
    arm(caller, "idempotency", "panic_decide", OF_CLAIMS).await;
    for number in 0..OF_CLAIMS {
        let delivery = caller.delivers(delivery_of([format!("m-{number}")]));
        assert_eq!(answer(delivery).await, accepted(), "claims fail open");
    }
}

/// Asks so many questions, a few at once; the statuses.
async fn chats(caller: &Caller, token: &str, name: &str, questions: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for round in 0..questions / CHATS {
        let chat = async |nth: usize| {
            let thread = format!("{name}-{round}-{nth}");
            let answer = answer(caller.chat(token, &thread, "chunks 3")).await;
            if answer.status == 200 {
                assert_eq!(answer.parts().pop().unwrap()["type"], "finish", "{}", answer.body);
            }
            answer.status
        };
        statuses.extend(join_all((0..CHATS).map(chat)).await);
    }
    statuses
}

async fn while_guards_decide(caller: &Caller, token: &str) {
    for guard in ["bulkhead-openrouter_chat", "circuit_breaker-openrouter_chat"] {
        arm(caller, guard, "panic_decide", OF_A_GUARD).await;
        let statuses = chats(caller, token, guard, OF_A_GUARD).await;
        assert_eq!(statuses, [200; OF_A_GUARD], "{guard}");
        until_struck(caller, guard, "decide", OF_A_GUARD).await;
    }
}

async fn while_answers_are_opened(caller: &Caller, token: &str) {
    arm(caller, "stream_log", "panic_decide", OF_ANSWERS).await;
    let statuses = chats(caller, token, "stream_log", OF_ANSWERS).await;
    assert_eq!(statuses, [503; OF_ANSWERS], "what cannot be kept is not begun");
}

/// Panics while applying, and outside every guard.
async fn one_restart_in_each_subtree(caller: &Caller, token: &str, round: usize) {
    let (kind, cause) = [("panic_apply", "apply"), ("panic_timer", "death")][round % 2];
    let times = round / 2 + 1;
    let shard = format!("rate_limiter-{round}");
    let table = [
        (shard.as_str(), 1),
        ("bulkhead-openrouter_chat", times),
        ("idempotency", times),
        ("job_queue", times),
        ("stream_log", times),
    ];
    for (actor, _) in table {
        arm(caller, actor, kind, 1).await;
    }
    // Each of them is asked for something, whatever it then says.
    call_from(caller, addresses(round).nth(1000 + round).expect("there are more")).await;
    answer(caller.delivers(delivery_of([format!("r-{round}")]))).await;
    for nth in 0..3 {
        answer(caller.chat(token, &format!("r-{round}-{nth}"), "chunks 3")).await;
    }
    for (actor, times) in table {
        until_struck(caller, actor, cause, times).await;
    }
    eventually("what was hit is accepted when it comes again", async || {
        let delivery = caller.delivers(delivery_of([format!("r-{round}")]));
        (answer(delivery).await.status == 200).then_some(())
    })
    .await;
}

/// Checks that every actor runs, every event is done, no slot is held, and chats go on.
async fn all_is_well(caller: &Caller, token: &str) {
    let rows = caller.worked_off(OF_CLAIMS + BORNE).await;
    let not_done: Vec<&Value> = rows.iter().filter(|row| row["status"] != "done").collect();
    assert!(not_done.is_empty(), "{not_done:?}");
    assert_eq!(chats(caller, token, "well", 2 * CHATS).await, [200; 2 * CHATS]);
    eventually("nothing is in flight", async || {
        let snapshot = caller.sees("/ops/snapshot").await;
        let actors = snapshot["actors"].as_array().expect("actors is a list").iter();
        let well = |actor: &Value| actor["status"] == "running" && actor["mailboxDepth"] == 0;
        let free = snapshot["bulkheads"]["openrouter_chat"]["inFlight"] == 0;
        (actors.clone().all(well) && free).then_some(())
    })
    .await;
}
