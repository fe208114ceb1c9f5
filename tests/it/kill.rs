//! `kill -9`: what was acknowledged is there, and is done once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::client::{Caller, answer, run};
use crate::support::server::Server;
use crate::support::webhook::{
    accepted, delivery_of, eventually, keys, receiver, replayed, sandboxed_receiver,
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

/// Numbers from a seed that is printed, so that a run can be had again.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = getrandom::u64().unwrap();
        eprintln!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a server has said yes to, over all its lives.
#[derive(Default)]
struct Acknowledged {
    /// Events' keys.
    events: Vec<String>,
    /// Texts of users, by their thread.
    texts: Vec<(String, String)>,
}

/// Sends without a pause until it is dropped; what was acknowledged goes to `to`.
async fn load(server: &Server, life: u64, token: &str, to: &std::cell::RefCell<Acknowledged>) {
    let caller = Caller::of(server);
    let deliver = async |sender: u64| {
        for nth in 0.. {
            let ids: Vec<_> = (0..3).map(|part| format!("{life}-{sender}-{nth}-{part}")).collect();
            let sent = caller.delivers(delivery_of(ids.clone())).send().await;
            if sent.is_ok_and(|response| response.status() == 200) {
                let keys = ids.iter().map(|id| format!("whatsapp_message/{id}"));
                to.borrow_mut().events.extend(keys);
            }
        }
    };
    let chat = async |sender: u64| {
        for nth in 0.. {
            let thread = format!("t-{life}-{sender}-{nth}");
            let sent = caller.chat(token, &thread, "slow 20 10").send().await;
            if sent.is_ok_and(|response| response.status() == 200) {
                to.borrow_mut().texts.push((thread, "slow 20 10".to_owned()));
            }
        }
    };
    tokio::join!(join_all((0..6).map(deliver)), join_all((0..3).map(chat)));
}

#[test]
fn killed_at_random_moments_under_load_nothing_acknowledged_is_lost_or_done_twice() {
    const LIVES: u64 = 5;
    let mut random = Random::seeded();
    let mut server = sandboxed_receiver().start();
    let token = server.banner("chat token").to_owned();
    let acknowledged = std::cell::RefCell::default();
    for life in 0..LIVES {
        let moment = std::time::Duration::from_millis(100 + random.below(500));
        run(async {
            let load = load(&server, life, &token, &acknowledged);
            assert!(tokio::time::timeout(moment, load).await.is_err(), "load never ends");
            server.signal("KILL");
        });
        server.kill_and_restart();
    }
    let Acknowledged { events, texts } = acknowledged.into_inner();
    eprintln!("{} events and {} texts were acknowledged", events.len(), texts.len());
    assert!(!events.is_empty() && !texts.is_empty(), "there was load");
    let caller = Caller::of(&server);
    run(async {
        let rows = eventually("all events are worked off", async || {
            let rows = caller.inbox("?limit=1000").await;
            rows.iter().all(|row| row["status"] == "done").then_some(rows)
        })
        .await;
        if rows.len() < 1000 {
            let mut known = BTreeMap::<_, usize>::new();
            for key in keys(&rows) {
                *known.entry(key.to_owned()).or_default() += 1;
            }
            let twice: Vec<_> = known.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "accepted twice: {twice:?}");
            let lost: Vec<_> = events.iter().filter(|key| !known.contains_key(*key)).collect();
            assert!(lost.is_empty(), "lost: {lost:?}");
        }
        // Each kill may have cut off one attempt.
        let sane = |row: &Value| row["attempts"].as_u64().unwrap() <= 1 + LIVES;
        assert!(rows.iter().all(sane), "{rows:?}");
        // Whatever the listing shows, each is known: none comes out as new.
        for keys in events.chunks(100) {
            let ids = keys.iter().map(|key| key.split_once('/').unwrap().1.to_owned());
            assert_eq!(answer(caller.delivers(delivery_of(ids))).await, replayed());
        }
        for (thread, text) in texts {
            let path = format!("/api/threads/{thread}/messages");
            let messages = answer(caller.get(&path).bearer_auth(&token)).await;
            assert_eq!(messages.status, 200, "{thread}: {messages:?}");
            let first = &messages.json()["items"][0];
            assert_eq!(first["role"], "user", "{first}");
            assert_eq!(first["parts"][0]["text"], Value::from(text), "{first}");
        }
    });
}
