//! Everything hangs: who looks on is answered at once, who asks is told no or goes on as his
//! concern says, and the watchdog bears three lost threads but not four.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::RequestBuilder;
use sendcat_state::key::{Bucket, ClientKey, SHARDS};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run, timed};
use crate::support::server::{Server, Setup};
use crate::support::webhook::{
    SOON, WHATSAPP, accepted, delivery_of, eventually, refused, replayed, sandboxed_receiver,
};

/// How soon whoever looks on is answered (SUPERVISION.md §8.10).
const AT_ONCE: Duration = Duration::from_millis(50);

/// Looks during one hang; the machine may be busy with other things for some of them.
const LOOKS: usize = 20;

/// One actor of each thread that is not the limiter's, and hangs with everything else on it.
const BLOCKED: [&str; 3] = ["job_queue", "idempotency", "bulkhead-openrouter_chat"];

/// Longer than any test: a thread that hangs does not come back.
const FOR_EVER: &str = "600000ms";

fn setup(placement: &str) -> Setup {
    sandboxed_receiver()
        .with("TRUSTED_PROXIES", "127.0.0.1/32")
        .with("SENDCAT_SHARD_PLACEMENT", placement)
}

/// An address that each shard counts.
fn one_address_a_shard() -> Vec<IpAddr> {
    let all = || (1..=u8::MAX).map(|last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)));
    let shard = |ip: &IpAddr| ClientKey::ip(Bucket::WhatsappWebhook, *ip).shard();
    (0..SHARDS).map(|wanted| all().find(|ip| shard(ip) == wanted).expect("there is one")).collect()
}

/// One call to each shard; every one gets this status.
async fn every_shard_says(caller: &Caller, status: u16) -> Vec<Answer> {
    let call = |ip: IpAddr| {
        answer(caller.post_json(WHATSAPP, "{}").header("x-forwarded-for", ip.to_string()))
    };
    let answers = join_all(one_address_a_shard().into_iter().map(call)).await;
    assert!(answers.iter().all(|answer| answer.status == status), "{answers:?}");
    answers
}

fn actors(seen: &Value) -> &Vec<Value> {
    seen["actors"].as_array().expect("actors is a list")
}

fn named<'a>(seen: &'a Value, name: &str) -> &'a Value {
    actors(seen).iter().find(|actor| actor["name"] == name).expect("the actor is there")
}

/// Whether something waits for it and does not get on.
fn is_stuck(actor: &Value) -> bool {
    actor["mailboxDepth"].as_u64() > Some(0) && actor["oldestWorkMs"].as_u64().is_some()
}

/// Waits until these have work that stands still.
async fn until_stuck(caller: &Caller, names: &[String]) {
    eventually("they hang", async || {
        let seen = caller.sees("/ops/actors").await;
        names.iter().all(|name| is_stuck(named(&seen, name))).then_some(())
    })
    .await;
}

/// Looks at both pages again and again while nothing moves; half of the looks must be answered at
/// once, all of them must be answered, and no actor may have done anything in between.
async fn is_seen_at_once(caller: &Caller) {
    let (mut live, mut seen) = (Vec::new(), Vec::new());
    let mut handled = None;
    for look in 0..LOOKS {
        let (livez, span) = timed(answer(caller.get("/livez"))).await;
        assert_eq!((livez.status, livez.body.as_str()), (200, r#"{"status":"ok"}"#));
        live.push(span);
        let (now, span) = timed(caller.sees("/ops/actors")).await;
        seen.push(span);
        let moved: Vec<_> = actors(&now)
            .iter()
            .filter(|actor| actor["name"] != "journal")
            .map(|actor| {
                (actor["name"].clone(), actor["handled"].clone(), actor["incarnation"].clone())
            })
            .collect();
        let before = handled.get_or_insert_with(|| moved.clone());
        assert_eq!(*before, moved, "look {look}: the watchdog acts after a second, or one moved");
    }
    for (page, mut spans) in [("/livez", live), ("/ops/actors", seen)] {
        spans.sort();
        let (best, median, worst) = (spans[0], spans[LOOKS / 2], spans[LOOKS - 1]);
        eprintln!("{page} while all hang: best {best:?}, median {median:?}, worst {worst:?}");
        assert!(median < AT_ONCE, "{page}: {spans:?}");
    }
}

/// Has the threads of claims, guards and tools hang, each with somebody waiting. Whoever asked is
/// left waiting: the answers.
async fn block_all_but_limits(
    caller: &Caller,
    token: &str,
) -> tokio::task::JoinHandle<(Answer, Answer)> {
    for actor in BLOCKED {
        caller.arms(&format!("{actor}:hang@0:{FOR_EVER}")).await;
    }
    let delivery = caller.delivers(delivery_of(["m1".into()]));
    let chat = caller.chat(token, "t1", "hello");
    let waiting = tokio::spawn(async { tokio::join!(answer(delivery), answer(chat)) });
    until_stuck(caller, &BLOCKED.map(str::to_owned)).await;
    waiting
}

fn shards() -> Vec<String> {
    (0..SHARDS).map(|number| format!("rate_limiter-{number}")).collect()
}

#[test]
fn with_every_thread_of_actors_blocked_it_is_seen_at_once_and_the_fourth_lost_ends_the_process() {
    let server = setup("dedicated").start();
    let token = server.banner("chat token").to_owned();
    run(async {
        let caller = Caller::of(&server);
        let waiting = block_all_but_limits(&caller, &token).await;
        for shard in shards() {
            caller.arms(&format!("{shard}:hang@0:{FOR_EVER}")).await;
        }
        let refusals = calls_every_shard(&server);
        until_stuck(&caller, &shards()).await;
        is_seen_at_once(&caller).await;
        are_refused_in_time(refusals).await;
        drop(waiting);
    });
    let (code, log) = run(async {
        let mut server = server;
        tokio::time::timeout(SOON, server.ended_elsewhere()).await.expect("it gives up")
    });
    assert_eq!(code, Some(70), "{log}");
    let abandoned = log.matches("an actor hangs and its thread is abandoned").count();
    assert_eq!(abandoned, 4, "{log}");
    assert!(log.contains("too much was given up: the process ends"), "{log}");
}

#[test]
fn with_deaf_shards_and_three_threads_blocked_it_is_seen_at_once_and_then_serves_again() {
    let server = setup("worker").start();
    let token = server.banner("chat token").to_owned();
    run(async {
        let caller = Caller::of(&server);
        let waiting = block_all_but_limits(&caller, &token).await;
        for shard in shards() {
            caller.arms(&format!("{shard}:deaf@0:{FOR_EVER}")).await;
        }
        // A shard is deaf as soon as it has answered.
        every_shard_says(&caller, 403).await;
        let refusals = calls_every_shard(&server);
        until_stuck(&caller, &shards()).await;
        is_seen_at_once(&caller).await;
        are_refused_in_time(refusals).await;
        let (delivery, chat) = waiting.await.unwrap();
        assert_eq!(delivery, not_stored(), "claims fail open, and what follows them closed");
        assert_eq!((chat.status, chat.code()), (503, Some("storage_unavailable")), "{chat:?}");
        serves_again(&caller, &token).await;
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "threads that never come back do not hold up the end: {log}");
}

/// Checks that whoever hung has a successor, and that all of them do their work.
async fn serves_again(caller: &Caller, token: &str) {
    eventually("every actor runs", async || {
        let seen = caller.sees("/ops/actors").await;
        actors(&seen).iter().all(|actor| actor["status"] == "running").then_some(())
    })
    .await;
    for actor in BLOCKED {
        let seen = caller.actor(actor).await;
        assert_eq!(seen["restarts"]["byCause"], json!({"hang": 1}), "{seen}");
    }
    every_shard_says(caller, 403).await;
    assert_eq!(answer(caller.delivers(delivery_of(["m2".into()]))).await, accepted());
    assert_eq!(answer(caller.delivers(delivery_of(["m2".into()]))).await, replayed());
    let chat = answer(caller.chat(token, "t2", "search rust actors")).await;
    assert_eq!(chat.parts().pop().unwrap()["type"], "finish", "{}", chat.body);
}

type Refusals = tokio::task::JoinHandle<(Vec<Answer>, Duration)>;

/// One call to each shard, all at once, in the background.
fn calls_every_shard(server: &Server) -> Refusals {
    let caller = Caller::of(server);
    tokio::spawn(async move { timed(every_shard_says(&caller, 429)).await })
}

async fn are_refused_in_time(refusals: Refusals) {
    let (refusals, span) = refusals.await.unwrap();
    assert!(refusals.iter().all(|answer| *answer == limited()), "{refusals:?}");
    assert!(span < Duration::from_millis(250) + SLACK, "{span:?}");
}

/// What a busy machine may add to a limit.
const SLACK: Duration = Duration::from_millis(1500);

/// What a caller is told whose limiter gives no answer.
fn limited() -> Answer {
    let sentence = "Rate limit reached; try again in 1 second.";
    refused(429, "rate_limited", sentence, &[("retry-after", "1")])
}

/// What a sender is told whose event is not on disk.
fn not_stored() -> Answer {
    let sentence = "The request cannot be stored right now; try again in 5 seconds.";
    refused(503, "storage_unavailable", sentence, &[("retry-after", "5")])
}

/// Has one actor hang, asks what needs it, and waits until it has a successor; the answer came
/// within that actor's own limit.
async fn hangs(caller: &Caller, fault: &str, limit: Duration, request: RequestBuilder) -> Answer {
    let (actor, _) = fault.split_once(':').expect("a fault names its actor");
    let before = caller.actor(actor).await["restarts"]["byCause"]["hang"].as_u64().unwrap_or(0);
    caller.arms(fault).await;
    let (given, span) = timed(answer(request)).await;
    assert!(span < limit + SLACK, "{fault}: {span:?}, {given:?}");
    eventually("it has a successor", async || {
        let seen = caller.actor(actor).await;
        let replaced = seen["restarts"]["byCause"]["hang"].as_u64() == Some(before + 1);
        (replaced && seen["status"] == "running").then_some(())
    })
    .await;
    given
}

#[test]
fn whoever_asks_an_actor_that_hangs_is_answered_in_its_direction_within_its_limit() {
    let server = setup("dedicated").start();
    let token = server.banner("chat token").to_owned();
    let caller = Caller::of(&server);
    let second = Duration::from_secs(1);
    let delivery = |id: &str| caller.delivers(delivery_of([id.into()]));
    let finished = |answer: &Answer| answer.parts().pop().unwrap()["type"] == "finish";
    run(async {
        let address = one_address_a_shard()[3].to_string();
        let call = caller.post_json(WHATSAPP, "{}").header("x-forwarded-for", address);
        let closed = hangs(&caller, "rate_limiter-3:hang@0:2000ms", second / 4, call).await;
        assert_eq!(closed, limited());
        let open = hangs(&caller, "idempotency:hang@0:3000ms", second, delivery("m1")).await;
        assert_eq!(open, accepted());
        let closed = hangs(&caller, "job_queue:hang@0:8000ms", 5 * second, delivery("m2")).await;
        assert_eq!(closed, not_stored());
        // Each asks something else: what one has found, the next would not have to look for.
        let chat = |thread: &str| caller.chat(&token, thread, &format!("search actors {thread}"));
        for (thread, actor) in [
            ("t1", "bulkhead-openrouter_chat"),
            ("t2", "bulkhead-serper_search"),
            ("t3", "circuit_breaker-openrouter_chat"),
            ("t4", "circuit_breaker-serper_search"),
        ] {
            // Whoever asks a guard asks its neighbour too, which lives on the same thread.
            let fault = format!("{actor}:hang@0:3000ms");
            let open = hangs(&caller, &fault, 3 * second, chat(thread)).await;
            assert!(finished(&open), "{actor}: {}", open.body);
        }
        let closed = hangs(&caller, "stream_log:hang@0:3000ms", second, chat("t5")).await;
        assert_eq!((closed.status, closed.code()), (503, Some("storage_unavailable")));
        // Deaf, not blocked: the log of answers lives on the same thread and is to go on.
        let open = hangs(&caller, "job_queue:deaf@0:8000ms", 6 * second, chat("t6")).await;
        assert!(finished(&open), "the model is told that the tool is busy: {}", open.body);
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
}
