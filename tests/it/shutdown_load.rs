//! Told to end at a random moment under two hundred live answers: each of them ends whole, the
//! process ends in time and in order, and counts what it counted before.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::random::{Random, times};
use crate::support::server::Server;
use crate::support::webhook::{accepted, delivery_of, replayed, sandboxed_receiver};

/// Answers that are live at once.
const STREAMS: u64 = 200;

/// Deliveries of each life: some new, some known.
const DELIVERIES: u64 = 10;

/// What the process gives itself in all: two seconds for answers to end, three for those that were
/// told to, five for its actors.
const DEADLINE: Duration = Duration::from_secs(2 + 3 + 5);

/// One thread's last answer.
struct Ended {
    thread: String,
    answer: Answer,
}

impl Ended {
    /// How it ended: `finish` or `abort`, and nothing else does.
    fn by(&self) -> String {
        let last = self.answer.parts().pop().expect("a stream has parts");
        last["type"].as_str().expect("a part has a type").to_owned()
    }
}

#[test]
fn told_to_end_at_random_moments_under_two_hundred_answers_it_cuts_none_and_forgets_nothing() {
    let terms = times("TERMS", 5);
    let mut random = Random::seeded();
    let mut server = sandboxed_receiver()
        .with("SENDCAT_DRAIN_MS", 2000)
        .with("BULKHEAD_OPENROUTER_MAX_CONCURRENT", 2 * STREAMS)
        // One window holds every call of all lives, exactly.
        .with("RATE_LIMIT_WHATSAPP_MAX", terms * DELIVERIES)
        .with("RATE_LIMIT_WHATSAPP_WINDOW_MS", 3_600_000)
        .start();
    let (mut finished, mut aborted) = (0, 0);
    for term in 0..terms {
        let signal = if term == 1 { "INT" } else { "TERM" };
        let moment = Duration::from_millis(random.below(2000));
        let (ended, token) = run(live_until_told_to_end(&mut server, term, signal, moment));
        aborted += ended.iter().filter(|ended| ended.by() == "abort").count();
        finished += ended.iter().filter(|ended| ended.by() == "finish").count();
        server.start_again();
        let caller = Caller::of(&server);
        run(async {
            for nth in 0..DELIVERIES / 2 {
                assert_eq!(answer(caller.delivers(delivery(term, nth))).await, replayed());
            }
            join_all(ended.iter().map(|ended| is_kept(&caller, &token, ended))).await;
        });
    }
    eprintln!("{terms} signals: {finished} answers were finished, {aborted} told to end");
    assert!(finished > 0 && aborted > 0, "some end by themselves and some do not");
    let caller = Caller::of(&server);
    run(async {
        let rows = caller.worked_off(usize::try_from(terms * DELIVERIES / 2).unwrap()).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
        // Not one count was lost, and none was made twice.
        let over = answer(caller.delivers(delivery(terms, 0))).await;
        assert_eq!(over.code(), Some("rate_limited"), "{over:?}");
    });
}

fn delivery(term: u64, nth: u64) -> String {
    delivery_of([format!("{term}-{nth}")])
}

/// Keeps so many answers live, has the process told to end, and waits for all of that; what the
/// answers were that it ended under, and whose.
async fn live_until_told_to_end(
    server: &mut Server,
    term: u64,
    signal: &str,
    moment: Duration,
) -> (Vec<Ended>, String) {
    let caller = Caller::of(server);
    let session = answer(caller.post("/api/sessions/anonymous")).await.json();
    let token = session["token"].as_str().expect("a session has a token").to_owned();
    for nth in 0..DELIVERIES / 2 {
        assert_eq!(answer(caller.delivers(delivery(term, nth))).await, accepted());
    }
    let live = tokio::sync::Semaphore::new(0);
    let chats = (0..STREAMS).map(|sender| {
        let of = format!("t-{term}-{sender}");
        chats_until_refused(&caller, &token, (of, sender), &live)
    });
    let mut chats = Box::pin(join_all(chats));
    let all = live.acquire_many(u32::try_from(STREAMS).unwrap());
    tokio::select! {
        all = all => all.expect("it is never closed").forget(),
        _ = &mut chats => unreachable!("they go on until they are refused"),
    }
    assert!(tokio::time::timeout(moment, &mut chats).await.is_err(), "they go on");
    server.signal(signal);
    let end = tokio::time::timeout(DEADLINE, server.ended_elsewhere());
    let (ended, end) = tokio::join!(chats, end);
    let (code, log) = end.expect("it ends within its deadlines");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
    (ended, token)
}

/// One answer after the other until nothing new is begun; the last of them.
async fn chats_until_refused(
    caller: &Caller,
    token: &str,
    (threads, sender): (String, u64),
    live: &tokio::sync::Semaphore,
) -> Ended {
    let mut last = None;
    for nth in 0.. {
        let thread = format!("{threads}-{nth}");
        // A few seconds: some end before the signal, some in the drain, some are told to.
        let question = format!("slow {} 100", 5 + sender % 60);
        let sent = caller.chat(token, &thread, &question).send().await;
        // Once it drains nothing new begins: refused while it listens, not heard after that.
        let Ok(response) = sent else { break };
        if response.status() != 200 {
            let refusal = Answer::of(response).await;
            assert_eq!(refusal.header("retry-after"), Some("1"), "{refusal:?}");
            // Limits that give no answer refuse: on a machine too busy for them, and in the moment
            // between the door and their own end. Whoever is refused so comes again.
            if (refusal.status, refusal.code()) == (429, Some("rate_limited")) {
                continue;
            }
            assert_eq!((refusal.status, refusal.code()), (503, Some("overloaded")), "{refusal:?}");
            break;
        }
        if last.is_none() {
            live.add_permits(1);
        }
        let ended = Ended { thread, answer: Answer::of(response).await };
        assert!(["finish", "abort"].contains(&ended.by().as_str()), "{}", ended.answer.body);
        last = Some(ended);
    }
    last.expect("the first answer was begun")
}

/// Checks that a thread shows, after the end, what its reader was told before.
async fn is_kept(caller: &Caller, token: &str, ended: &Ended) {
    let path = format!("/api/threads/{}/messages", ended.thread);
    let messages = answer(caller.get(&path).bearer_auth(token)).await;
    assert_eq!(messages.status, 200, "{messages:?}");
    let messages = messages.json()["items"].take();
    let kept = messages[1]["parts"].as_array().expect("an answer has parts").iter();
    let kept: String = kept.filter_map(|part| part["text"].as_str()).collect();
    assert_eq!(kept, ended.answer.text(), "{messages}");
    let status = if ended.by() == "finish" { "complete" } else { "cut" };
    assert_eq!(messages[1]["status"], Value::from(status), "{messages}");
}
