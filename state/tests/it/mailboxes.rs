//! The rules of connected mailboxes: each verb is run and its rows committed, as the journal's
//! thread does it.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sendcat_state::machine::{ReadError, RecordWrite, Records, Table};
use sendcat_state::mailboxes::{
    self, ASKING_MAX, Asking, Death, Found, Held, Mailbox, ask, change, connect, disconnect, found,
    get, missing, owners_of, redeem,
};
use sendcat_state::records::{Collection, RecordLimits, RecordRefusal, page};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};
use sendcat_state::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use crate::properties::{at, cases};

const LIMITS: RecordLimits = RecordLimits { records: 4, data_bytes: 64 };
const ADA: &str = "user:ada";
const BOB: &str = "user:bob";

struct Post(MemoryStore);

impl Post {
    fn new() -> Self {
        Self(MemoryStore::open(&MemoryDisk::default()))
    }

    fn run<T, E>(
        &mut self,
        verb: impl FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), E>,
    ) -> Result<T, E> {
        let (answer, writes) = verb(self.0.reader().as_ref())?;
        self.0.apply(&[Commit { change: None, writes }]).expect("memory works");
        Ok(answer)
    }

    fn asks(&mut self, now: Timestamp, owner: &str, nonce: &str) {
        let asking = Asking {
            nonce: nonce.into(),
            verifier: format!("proof of {nonce}"),
            redirect: "https://api.example/callback".into(),
            ends: now.after(Duration::from_secs(600)),
        };
        self.run(|rows| ask(rows, now, owner, asking)).expect("memory works");
    }

    fn redeems(&mut self, now: Timestamp, owner: &str, nonce: &str) -> Option<String> {
        let asking = self.run(|rows| redeem(rows, now, owner, nonce)).expect("memory works");
        asking.map(|asking| asking.verifier)
    }

    fn connects(&mut self, now: Timestamp, owner: &str, address: &str, history_id: u64) {
        let new = (address, format!("token of {now:?}"), history_id);
        self.run(|rows| connect(rows, now, owner, new)).expect("memory works");
    }

    fn mailbox(&self, owner: &str) -> Option<Mailbox> {
        get(self.0.reader().as_ref(), owner).expect("memory works")
    }

    fn owners(&self, address: &str) -> Vec<String> {
        owners_of(self.0.reader().as_ref(), address, 100).expect("memory works")
    }

    fn finds(
        &mut self,
        now: Timestamp,
        of: (&str, Timestamp),
        ids: &[&str],
        up_to: u64,
    ) -> Result<bool, RecordRefusal> {
        let messages = ids.iter().map(|id| ((*id).to_owned(), data(id))).collect();
        let what = Found { messages, history_id: up_to, at_end: true };
        self.run(|rows| found(rows, now, of, LIMITS, what))
    }

    fn evidence(&self, owner: &str) -> Vec<String> {
        let reader = self.0.reader();
        let page =
            page(reader.as_ref(), Collection::Evidence, owner, None, 100).expect("memory works");
        let mut ids: Vec<_> = page.items.into_iter().map(|it| it.id).collect();
        ids.sort_unstable();
        ids
    }

    /// How many pieces of evidence the owner's row counts.
    fn counted(&self, owner: &str) -> u64 {
        let row = self.0.reader().get(Table::Owners, owner.as_bytes()).expect("memory works");
        let row: Value =
            row.map_or(Value::Null, |row| serde_json::from_slice(&row).expect("memory works"));
        row["evidence"].as_u64().unwrap_or(0)
    }
}

fn data(id: &str) -> Map<String, Value> {
    json!({ "id": id }).as_object().expect("an object").clone()
}

#[test]
fn a_question_is_redeemed_once_in_time_and_by_whoever_asked() {
    let mut post = Post::new();
    post.asks(at(0), ADA, "one");
    post.asks(at(1), ADA, "two");
    post.asks(at(1), BOB, "three");
    assert_eq!(post.redeems(at(2), BOB, "one"), None);
    assert_eq!(post.redeems(at(2), ADA, "one").as_deref(), Some("proof of one"));
    assert_eq!(post.redeems(at(2), ADA, "one"), None);
    assert_eq!(post.redeems(at(600_001), ADA, "two"), None);
    assert_eq!(post.redeems(at(600_000), BOB, "three").as_deref(), Some("proof of three"));
    assert_eq!(post.redeems(at(2), ADA, "never"), None);
}

#[test]
fn an_owner_has_a_few_questions_open_at_most_and_the_oldest_give_way() {
    let mut post = Post::new();
    for number in 0..=ASKING_MAX {
        post.asks(at(1), ADA, &number.to_string());
    }
    assert_eq!(post.redeems(at(2), ADA, "0"), None);
    for number in 1..=ASKING_MAX {
        assert!(post.redeems(at(2), ADA, &number.to_string()).is_some(), "{number}");
    }
    assert!(post.0.reader().get(Table::Askings, ADA.as_bytes()).unwrap().is_none());
}

#[test]
fn a_connection_takes_the_place_of_the_one_before() {
    let mut post = Post::new();
    post.connects(at(1), ADA, "a@x.y", 10);
    post.connects(at(1), BOB, "a@x.y", 20);
    assert_eq!(post.owners("a@x.y"), [ADA, BOB]);
    // No address is found by the beginning of its name.
    assert!(post.owners("a@x.").is_empty() && post.owners("").is_empty());
    post.connects(at(2), ADA, "other@x.y", 5);
    assert_eq!(
        (post.owners("a@x.y"), post.owners("other@x.y")),
        (vec![BOB.into()], vec![ADA.into()])
    );
    let was = post.run(|rows| disconnect(rows, ADA)).unwrap();
    assert_eq!(was.map(|was| was.address).as_deref(), Some("other@x.y"));
    assert_eq!((post.mailbox(ADA), post.owners("other@x.y")), (None, vec![]));
    assert_eq!(post.run(|rows| disconnect(rows, ADA)).unwrap(), None);
}

#[test]
fn the_same_address_is_read_on_from_where_it_was_read_to() {
    let mut post = Post::new();
    post.connects(at(1), ADA, "a@x.y", 10);
    post.run(|rows| change(rows, ADA, at(1), |mailbox| mailbox.die(at(5)))).unwrap();
    assert_eq!(post.mailbox(ADA).unwrap().death, Some(Death { at: at(5), told: false }));
    post.connects(at(9), ADA, "a@x.y", 50);
    let mailbox = post.mailbox(ADA).unwrap();
    assert_eq!((mailbox.history_id, mailbox.death, mailbox.connected_at), (10, None, at(9)));
    // Another address has a history of its own.
    post.connects(at(10), ADA, "b@x.y", 50);
    assert_eq!(post.mailbox(ADA).unwrap().history_id, 50);
}

#[test]
fn what_was_begun_under_one_connection_changes_nothing_of_the_next() {
    let mut post = Post::new();
    post.connects(at(1), ADA, "a@x.y", 10);
    // Within the same millisecond, too.
    post.connects(at(1), ADA, "b@x.y", 20);
    let now = post.mailbox(ADA).unwrap();
    assert!(now.connected_at > at(1));
    assert!(!post.finds(at(2), (ADA, at(1)), &["m"], 15).unwrap());
    let died = post.run(|rows| change(rows, ADA, at(1), |mailbox| mailbox.die(at(2)))).unwrap();
    assert_eq!((died, post.mailbox(ADA)), (None, Some(now)));
    assert!(post.evidence(ADA).is_empty());
}

#[test]
fn a_mailbox_dies_once() {
    let mut post = Post::new();
    post.connects(at(1), ADA, "a@x.y", 10);
    let mut dies = |now| post.run(|rows| change(rows, ADA, at(1), |it| it.die(now))).unwrap();
    assert!(dies(at(2)).is_some());
    assert_eq!(dies(at(3)), None);
    assert_eq!(post.mailbox(ADA).unwrap().death, Some(Death { at: at(2), told: false }));
}

#[test]
fn one_holds_a_mailbox_for_its_time_and_no_longer_than_its_process_lives() {
    let mut post = Post::new();
    post.connects(at(1), ADA, "a@x.y", 10);
    let mut holds = |now: u64, until: u64, by: u64| {
        let held = Held { until: at(until), by };
        post.run(|rows| change(rows, ADA, at(1), |it| it.hold(at(now), held))).unwrap().is_some()
    };
    assert!(holds(1, 30, 7));
    assert!(!holds(29, 60, 7));
    assert!(holds(30, 60, 7));
    assert!(holds(31, 90, 8), "the process that held it is gone");
    assert!(!holds(89, 99, 8));
}

#[test]
fn what_has_no_room_is_not_half_kept() {
    let mut post = Post::new();
    post.connects(at(1), ADA, "a@x.y", 10);
    assert!(post.finds(at(2), (ADA, at(1)), &["a", "b", "c"], 11).unwrap());
    let refused = post.finds(at(3), (ADA, at(1)), &["d", "e"], 12);
    assert!(matches!(refused, Err(RecordRefusal::Full("evidence"))), "{refused:?}");
    assert_eq!((post.evidence(ADA).len(), post.mailbox(ADA).unwrap().history_id), (3, 11));
    // What is known needs no room.
    assert!(post.finds(at(4), (ADA, at(1)), &["a", "d"], 12).unwrap());
    assert_eq!((post.evidence(ADA).len(), post.counted(ADA)), (4, 4));
    let unknown = missing(post.0.reader().as_ref(), ADA, ["a", "x", "x"].map(String::from).into());
    assert_eq!(unknown.unwrap(), ["x"]);
}

proptest! {
    #![proptest_config(cases(128))]

    /// Readers find overlapping pages in any order, some of them twice.
    #[test]
    fn each_message_is_evidence_once_whatever_is_found_again(
        pages in vec((vec(0_u8..20, 0..8), 1_u64..50), 1..20)
    ) {
        let limits = RecordLimits { records: 100, data_bytes: 64 };
        let mut post = Post::new();
        post.connects(at(1), ADA, "a@x.y", 0);
        let mut first_at: BTreeMap<String, u64> = BTreeMap::new();
        let mut furthest = 0;
        for (second, (ids, up_to)) in (2_u64..).zip(&pages) {
            let ids: Vec<_> = ids.iter().map(|id| format!("m{id}")).collect();
            for id in &ids {
                first_at.entry(id.clone()).or_insert(second);
            }
            furthest = furthest.max(*up_to);
            let messages = ids.iter().map(|id| (id.clone(), data(id))).collect();
            let what = Found { messages, history_id: *up_to, at_end: false };
            let kept = post.run(|rows| found(rows, at(second), (ADA, at(1)), limits, what));
            prop_assert!(kept.unwrap());
        }
        let reader = post.0.reader();
        let page = page(reader.as_ref(), Collection::Evidence, ADA, None, 200).unwrap();
        let kept: BTreeMap<_, _> =
            page.items.iter().map(|it| (it.id.clone(), it.created_at)).collect();
        let expected = first_at.iter().map(|(id, s)| (id.clone(), at(*s)));
        let expected: BTreeMap<_, _> = expected.collect();
        prop_assert_eq!(page.items.len(), kept.len());
        prop_assert_eq!(kept, expected);
        prop_assert_eq!(post.counted(ADA), first_at.len() as u64);
        prop_assert_eq!(post.mailbox(ADA).unwrap().history_id, furthest);
    }
}

#[test]
fn every_mailbox_is_looked_at_page_by_page() -> Result<(), ReadError> {
    let mut post = Post::new();
    for number in 0..7 {
        post.connects(at(1), &format!("user:{number}"), "a@x.y", 10);
    }
    let reader = post.0.reader();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = mailboxes::all(reader.as_ref(), after.as_deref(), 3)?;
        let Some(last) = page.last() else { break };
        after = Some(last.owner.clone());
        seen.extend(page.into_iter().map(|it| it.owner));
    }
    let expected: Vec<_> = (0..7).map(|number| format!("user:{number}")).collect();
    assert_eq!(seen, expected);
    Ok(())
}
