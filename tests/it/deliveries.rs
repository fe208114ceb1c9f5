//! Many deliveries, as senders make them: some twice, some forged, in any order, sent again when
//! the server dies under them. Each that is signed has its effect once, and nothing else has one.
//!
//! `DELIVERIES=20000` sends so many.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::future::join_all;
use sendcat::contract::signature::sign_meta;
use sendcat_state::job::EventStatus;

use crate::support::client::{Caller, answer, run};
use crate::support::ledger::Ledger;
use crate::support::random::{Random, times};
use crate::support::webhook::{SECRET, WHATSAPP, delivery_of, eventually, receiver};

/// Deliveries that are under way at once.
const SENDERS: usize = 32;

#[derive(Clone, Debug)]
enum Sent {
    Signed(String),
    Forged(String),
}

impl Sent {
    fn by(&self, caller: &Caller) -> reqwest::RequestBuilder {
        let (id, secret) = match self {
            Self::Signed(id) => (id, SECRET),
            Self::Forged(id) => (id, "of somebody else"),
        };
        let body = delivery_of([id.clone()]);
        let signature = sign_meta(secret.as_bytes(), body.as_bytes());
        caller.post_json(WHATSAPP, body).header("x-hub-signature-256", signature)
    }
}

/// 65 in 100 of a kind, 30 that were sent before, 5 forged; in any order.
fn all(count: u64, random: &mut Random) -> VecDeque<Sent> {
    let unique = count * 65 / 100;
    let signed = (0..unique).map(|number| Sent::Signed(format!("m-{number}")));
    let mut all: Vec<_> = signed.collect();
    let again = (0..count * 30 / 100).map(|_| Sent::Signed(format!("m-{}", random.below(unique))));
    all.extend(again.collect::<Vec<_>>());
    all.extend((0..count * 5 / 100).map(|number| Sent::Forged(format!("forged-{number}"))));
    for place in (1..all.len()).rev() {
        let other = usize::try_from(random.below(place as u64 + 1)).unwrap();
        all.swap(place, other);
    }
    all.into()
}

/// What is still to be sent, and what was answered.
struct Load {
    waiting: RefCell<VecDeque<Sent>>,
    answered: Cell<u64>,
    refused: Cell<u64>,
    replays: Cell<u64>,
}

impl Load {
    /// Sends until nothing is left, or the server is gone; what got no answer comes again.
    async fn send(&self, caller: &Caller) {
        loop {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            let Ok(response) = next.by(caller).send().await else {
                self.waiting.borrow_mut().push_back(next);
                return;
            };
            let status = response.status().as_u16();
            match next {
                Sent::Signed(_) => {
                    assert_eq!(status, 200, "a signed delivery is accepted");
                    let replayed = response.headers().contains_key("x-idempotent-replay");
                    self.replays.set(self.replays.get() + u64::from(replayed));
                }
                Sent::Forged(_) => {
                    assert_eq!(status, 403, "a forged delivery is forbidden");
                    self.refused.set(self.refused.get() + 1);
                }
            }
            self.answered.set(self.answered.get() + 1);
        }
    }
}

#[test]
fn of_many_deliveries_each_that_is_signed_has_its_effect_once_whatever_dies() {
    let count = times("DELIVERIES", 1200);
    let mut random = Random::seeded();
    let mut server = receiver()
        .with("RATE_LIMIT_WHATSAPP_MAX", 1_000_000)
        .with("RATE_LIMIT_WEBHOOK_SENDER_MAX", 1_000_000)
        .start();
    let load = Load {
        waiting: RefCell::new(all(count, &mut random)),
        answered: Cell::new(0),
        refused: Cell::new(0),
        replays: Cell::new(0),
    };
    for third in [1, 2] {
        let caller = Caller::of(&server);
        run(async {
            let sending = join_all((0..SENDERS).map(|_| load.send(&caller)));
            tokio::pin!(sending);
            let enough = async {
                while load.answered.get() < count * third / 3 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = &mut sending => panic!("it was over before the kill"),
                () = enough => server.kill(),
            }
            sending.await;
        });
        server.start_again();
    }
    let caller = Caller::of(&server);
    run(async {
        join_all((0..SENDERS).map(|_| load.send(&caller))).await;
        let mut left = u64::MAX;
        while left > 0 {
            left = eventually("fewer events are left than before", async || {
                let counts = caller.sees("/ops/snapshot").await["inbox"]["byStatus"].take();
                let now = counts["pending"].as_u64()? + counts["running"].as_u64()?;
                (now < left).then_some(now)
            })
            .await;
        }
        assert_eq!(answer(caller.get("/readyz")).await.status, 200);
    });
    assert_eq!(load.answered.get(), count);
    assert_eq!(load.refused.get(), count * 5 / 100);
    assert_eq!(server.end("TERM").0, Some(0));
    each_has_its_effect_once(&Ledger::of(server.data()), count, &load);
}

fn each_has_its_effect_once(ledger: &Ledger, count: u64, load: &Load) {
    let unique = count * 65 / 100;
    let wanted: BTreeSet<_> =
        (0..unique).map(|number| format!("whatsapp_message/m-{number}")).collect();
    let effects = ledger.effects_by_key();
    let once: BTreeMap<_, _> = wanted.iter().map(|key| (key.clone(), 1)).collect();
    let lost = wanted.iter().filter(|key| !effects.contains_key(*key)).count();
    let twice = effects.values().filter(|times| **times > 1).count();
    let unasked = effects.keys().filter(|key| !wanted.contains(*key)).count();
    eprintln!(
        "{count} deliveries, 2 kills: {} events, {} replays, {} forged and refused; \
         {lost} lost, {twice} done twice, {unasked} unasked",
        effects.len(),
        load.replays.get(),
        load.refused.get(),
    );
    assert!(effects == once, "{lost} lost, {twice} done twice, {unasked} unasked");
    assert_eq!(ledger.events.len() as u64, unique, "each was accepted once");
    assert!(ledger.events.iter().all(|row| row.status == EventStatus::Done));
}
