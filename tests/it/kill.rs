//! `kill -9`: what was acknowledged is there, and is done once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::RequestBuilder;
use sendcat_state::job::EventStatus;

use crate::support::client::{Caller, answer, run};
use crate::support::ledger::Ledger;
use crate::support::random::{Random, times};
use crate::support::webhook::{
    accepted, delivery_of, eventually, keys, push_of, receiver, replayed, sandboxed_receiver,
};

#[test]
fn a_batch_acknowledged_a_moment_before_is_there_after_and_is_not_taken_twice() {
    let mut server = receiver().start();
    let ids = || (0..30).map(|number| format!("m{number:02}"));
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(ids()))).await, accepted());
    });
    server.kill_and_restart();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(ids()))).await, replayed());
        let rows = caller.worked_off(30).await;
        let expected: Vec<_> = ids().map(|id| format!("whatsapp_message/{id}")).collect();
        assert_eq!(keys(&rows), expected);
        for row in rows {
            assert_eq!(row["status"], "done", "{row}");
            // An attempt that the kill cut off is made again, once.
            assert!([1, 2].contains(&row["attempts"].as_u64().unwrap()), "{row}");
        }
    });
}

/// What a sender sends again until it hears yes.
#[derive(Clone)]
enum Sent {
    Messages(Vec<String>),
    Push(u64),
}

/// The mailbox of all pushes.
const MAILBOX: &str = "user@example.com";

impl Sent {
    fn by(&self, caller: &Caller) -> RequestBuilder {
        match self {
            Self::Messages(ids) => caller.delivers(delivery_of(ids.clone())),
            Self::Push(history) => caller.pushes(push_of(MAILBOX, *history)),
        }
    }

    fn keys(&self) -> Vec<String> {
        match self {
            Self::Messages(ids) => ids.iter().map(|id| format!("whatsapp_message/{id}")).collect(),
            Self::Push(history) => vec![format!("gmail_push_history/{MAILBOX}:{history}")],
        }
    }
}

/// What a server has said yes to, over all its lives.
#[derive(Default)]
struct Told {
    acknowledged: RefCell<Vec<Sent>>,
    /// Cut off by a kill: nobody knows, and it comes again.
    in_doubt: RefCell<Vec<Sent>>,
    /// Questions that were being answered.
    asked: RefCell<Vec<Chat>>,
}

struct Chat {
    token: String,
    thread: String,
    question: &'static str,
    /// Whether its answer came to its end.
    finished: bool,
}

impl Told {
    /// Sends it once; `false` if the server was gone.
    async fn send(&self, caller: &Caller, sent: Sent) -> bool {
        match sent.by(caller).send().await {
            Ok(response) => {
                assert_eq!(response.status(), 200, "a server that is there accepts");
                self.acknowledged.borrow_mut().push(sent);
                true
            }
            Err(_) => {
                self.in_doubt.borrow_mut().push(sent);
                false
            }
        }
    }

    /// Sends again what is in doubt.
    async fn send_again(&self, caller: &Caller) {
        for sent in self.in_doubt.take() {
            self.send(caller, sent).await;
        }
    }

    /// Asks one question; `false` if the server was gone.
    async fn ask(&self, caller: &Caller, token: &str, thread: String, text: &'static str) -> bool {
        let Ok(response) = caller.chat(token, &thread, text).send().await else { return false };
        assert_eq!(response.status(), 200, "a server that is there answers");
        let body = response.text().await;
        let finished = body.as_ref().is_ok_and(|body| body.contains(r#"{"type":"finish""#));
        assert!(finished || body.is_err(), "an answer ends, or its server does: {body:?}");
        let chat = Chat { token: token.to_owned(), thread, question: text, finished };
        self.asked.borrow_mut().push(chat);
        finished
    }
}

/// Deliveries, pushes, answers and tools without a pause, until the server is gone.
async fn load(caller: &Caller, life: u64, told: &Told) {
    let token = answer(caller.post("/api/sessions/anonymous")).await.json();
    let token = token["token"].as_str().expect("a session has a token");
    let deliver = async |sender: u64| {
        for nth in 0.. {
            let ids = (0..3).map(|part| format!("{life}-{sender}-{nth}-{part}")).collect();
            if !told.send(caller, Sent::Messages(ids)).await {
                return;
            }
        }
    };
    let push = async |sender: u64| {
        for nth in 0.. {
            let history = life * 1_000_000 + sender * 100_000 + nth;
            if !told.send(caller, Sent::Push(history)).await {
                return;
            }
        }
    };
    let chat = async |sender: usize| {
        let text = ["slow 20 10", "search rust actors", "chunks 50"][sender % 3];
        for nth in 0.. {
            if !told.ask(caller, token, format!("t-{life}-{sender}-{nth}"), text).await {
                return;
            }
        }
    };
    tokio::join!(
        told.send_again(caller),
        join_all((0..6).map(deliver)),
        join_all((0..2).map(push)),
        join_all((0..6).map(chat)),
    );
}

#[test]
fn killed_at_random_moments_under_load_nothing_acknowledged_is_lost_or_done_twice() {
    let lives = times("LIVES", 15);
    let mut random = Random::seeded();
    let mut server = sandboxed_receiver().start();
    let told = Told::default();
    let mut effects = BTreeMap::new();
    for life in 0..lives {
        let caller = Caller::of(&server);
        let moment = Duration::from_millis(50 + random.below(550));
        run(async {
            let load = load(&caller, life, &told);
            tokio::pin!(load);
            assert!(tokio::time::timeout(moment, &mut load).await.is_err(), "load goes on");
            // Whatever is under way is cut off by the kill, not by its caller.
            server.kill();
            load.await;
        });
        remember(&mut effects, Ledger::of(server.data()));
        server.start_again();
    }
    let caller = Caller::of(&server);
    run(async {
        told.send_again(&caller).await;
        everything_is_known(&caller, &told).await;
    });
    assert_eq!(server.end("TERM").0, Some(0));
    let ledger = Ledger::of(server.data());
    each_event_was_done_once(&ledger, &told, lives);
    remember(&mut effects, ledger);
}

/// Checks that no effect that was there has gone or was written again: that would show by the time
/// that it carries.
fn remember(known: &mut BTreeMap<String, Vec<u8>>, ledger: Ledger) {
    for (id, effect) in &*known {
        assert_eq!(ledger.effects.get(id), Some(effect), "the effect of {id} is what it was");
    }
    *known = ledger.effects;
}

/// Asks the server that came last, over the wire.
async fn everything_is_known(caller: &Caller, told: &Told) {
    let acknowledged = told.acknowledged.borrow().clone();
    for sent in &acknowledged {
        assert_eq!(answer(sent.by(caller)).await, replayed(), "{:?}", sent.keys());
    }
    let asked = told.asked.take();
    assert!(!acknowledged.is_empty() && !asked.is_empty(), "there was load");
    for Chat { token, thread, question, finished } in &asked {
        let path = format!("/api/threads/{thread}/messages");
        let messages = answer(caller.get(&path).bearer_auth(token)).await;
        assert_eq!(messages.status, 200, "{thread}: {messages:?}");
        let messages = messages.json()["items"].take();
        assert_eq!(messages[0]["role"], "user", "{messages}");
        assert_eq!(messages[0]["parts"][0]["text"], *question, "{messages}");
        if *finished {
            assert_eq!(messages[1]["role"], "assistant", "{messages}");
            assert_eq!(messages[1]["status"], "complete", "{messages}");
        }
    }
    eventually("all events are worked off", async || {
        let counts = caller.sees("/ops/snapshot").await["inbox"]["byStatus"].take();
        (counts["pending"] == 0 && counts["running"] == 0).then_some(())
    })
    .await;
    let finished = asked.iter().filter(|chat| chat.finished).count();
    eprintln!("{} questions were asked and {finished} of them answered to the end", asked.len());
}

/// Reads the whole ledger: the operators' list shows its newest thousand rows alone.
fn each_event_was_done_once(ledger: &Ledger, told: &Told, lives: u64) {
    let wanted: Vec<_> = told.acknowledged.borrow().iter().flat_map(Sent::keys).collect();
    let sent: BTreeSet<_> = wanted.iter().cloned().collect();
    assert_eq!(sent.len(), wanted.len(), "no two deliveries are alike");
    let effects = ledger.effects_by_key();
    // A push about a mailbox that nobody has connected is done, and leaves nothing.
    let has_effect = |key: &String| !key.starts_with("gmail_");
    let lost: Vec<_> =
        sent.iter().filter(|key| has_effect(key) && !effects.contains_key(*key)).collect();
    let twice: Vec<_> = effects.iter().filter(|(_, times)| **times != 1).collect();
    let unasked: Vec<_> = effects.keys().filter(|key| !sent.contains(*key)).collect();
    eprintln!(
        "{lives} kills, {} events acknowledged, {} lost, {} done twice",
        sent.len(),
        lost.len(),
        twice.len()
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(twice.is_empty(), "done twice: {twice:?}");
    assert!(unasked.is_empty(), "done and never sent: {unasked:?}");
    let mut rows: Vec<_> = ledger.events.iter().map(|row| row.key.clone()).collect();
    rows.sort();
    assert_eq!(rows, sent.into_iter().collect::<Vec<_>>(), "each was accepted once");
    let events = ledger.events.iter().filter(|row| has_effect(&row.key));
    let mut ids: Vec<_> = events.map(|row| row.id.to_string()).collect();
    ids.sort();
    assert_eq!(ids, ledger.effects.keys().cloned().collect::<Vec<_>>(), "each has its effect");
    for row in &ledger.events {
        assert_eq!(row.status, EventStatus::Done, "{row:?}");
        // Each kill may have cut off one attempt.
        assert!((1..=1 + lives).contains(&u64::from(row.attempts)), "{row:?}");
    }
}
