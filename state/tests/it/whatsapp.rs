//! The rules of WhatsApp's rows, against a store in memory: codes, links, hints, replies, statuses.

use std::time::Duration;

use sendcat_state::key::TimedId;
use sendcat_state::machine::{ReadError, RecordWrite, Records};
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};
use sendcat_state::timestamp::Timestamp;
use sendcat_state::whatsapp::{self, Link, Reply, Sender};

use crate::properties::at;

const DAY: Duration = Duration::from_millis(1000);

struct Desk(MemoryStore);

impl Desk {
    fn new() -> Self {
        Self(MemoryStore::open(&MemoryDisk::default()))
    }

    /// Runs rules and commits what they write, as the journal's thread does.
    fn run<T>(
        &mut self,
        rules: impl FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), ReadError>,
    ) -> T {
        let (answer, writes) = rules(&*self.0.reader()).expect("readable");
        self.0.apply(&[Commit { change: None, writes }]).expect("memory has room");
        answer
    }

    fn issue(&mut self, owner: &str, digest: &str, expires: u64) {
        self.run(|records| Ok(((), whatsapp::issue_code(records, owner, digest, at(expires))?)));
    }

    fn link(&mut self, now: u64, digest: &str, sender: &Sender) -> Option<Link> {
        self.run(|records| whatsapp::link(records, at(now), digest, sender))
    }

    fn owner(&self, sender: &Sender) -> Option<String> {
        let link = whatsapp::link_of(&*self.0.reader(), sender).expect("readable");
        link.map(|link| link.owner)
    }

    fn advance(&mut self, status: &str) -> bool {
        self.run(|records| whatsapp::advance(records, at(1), "wamid.1", status))
    }
}

fn sender(number: Option<&str>, user_id: Option<&str>) -> Sender {
    Sender { number: number.map(str::to_owned), user_id: user_id.map(str::to_owned) }
}

fn event(number: u64) -> TimedId {
    TimedId::new(Timestamp::from_millis(1), number)
}

#[test]
fn a_code_links_whoever_sends_it_first_and_again_only_them() {
    let mut desk = Desk::new();
    let (ann, bob) = (sender(Some("1"), None), sender(Some("2"), None));
    desk.issue("user:ann", "d", 100);
    assert_eq!(desk.link(50, "other", &ann), None);
    assert_eq!(desk.link(50, "d", &Sender::default()), None);
    let link = desk.link(50, "d", &ann).expect("it is good");
    let (owner, thread_id) = ("user:ann".to_owned(), "whatsapp-1".to_owned());
    assert_eq!(link, Link { owner, thread_id, since: at(50) });
    // The worker died before it said so: the same event finds the same link, even late.
    assert_eq!(desk.link(200, "d", &ann), Some(link));
    assert_eq!(desk.link(60, "d", &bob), None);
    assert_eq!((desk.owner(&ann).as_deref(), desk.owner(&bob)), (Some("user:ann"), None));
}

#[test]
fn a_code_ends_with_its_time_and_with_the_next_one() {
    let mut desk = Desk::new();
    let ann = sender(Some("1"), None);
    desk.issue("user:ann", "late", 100);
    assert_eq!(desk.link(100, "late", &ann), None);
    desk.issue("user:ann", "new", 300);
    desk.issue("user:ann", "newer", 300);
    assert_eq!(desk.link(200, "new", &ann), None);
    assert!(desk.link(200, "newer", &ann).is_some());
}

#[test]
fn a_number_and_a_user_id_are_one_sender_and_the_last_code_says_whose() {
    let mut desk = Desk::new();
    let both = sender(Some("1"), Some("US.9"));
    desk.issue("user:ann", "a", 100);
    desk.issue("user:bob", "b", 100);
    assert!(desk.link(1, "a", &both).is_some());
    for name in [sender(Some("1"), None), sender(None, Some("US.9"))] {
        assert_eq!(desk.owner(&name).as_deref(), Some("user:ann"));
    }
    assert!(desk.link(2, "b", &sender(Some("1"), None)).is_some());
    assert_eq!(desk.owner(&both).as_deref(), Some("user:bob"));
    let by_id = {
        desk.issue("user:cid", "c", 100);
        desk.link(3, "c", &sender(None, Some("US.7"))).expect("it is good")
    };
    assert_eq!(by_id.thread_id, "whatsapp-US7");
}

#[test]
fn a_sender_is_told_once_in_a_while_and_again_for_the_same_event() {
    let mut desk = Desk::new();
    let ann = sender(Some("1"), None);
    let mut told = |now: u64, number: u64| {
        desk.run(|records| whatsapp::claim_hint(records, at(now), &ann, (event(number), DAY)))
    };
    assert!(told(0, 1));
    assert!(told(10, 1), "the worker died before it was sent");
    assert!(!told(10, 2));
    assert!(!told(999, 2));
    assert!(told(1000, 3));
    assert!(!told(1001, 2));
    let nobody = Sender::default();
    assert!(
        !desk.run(|records| { whatsapp::claim_hint(records, at(5000), &nobody, (event(4), DAY)) })
    );
}

#[test]
fn a_reply_that_may_have_left_is_released_by_hand_alone() {
    let mut desk = Desk::new();
    let of = |desk: &Desk| whatsapp::reply(&*desk.0.reader(), event(1)).expect("readable");
    assert_eq!(of(&desk), Reply::default());
    let leaving = Reply { parts: vec!["a".into()], leaving: true, ..Reply::default() };
    desk.run(|_| Ok(((), vec![whatsapp::keep_reply(event(1), &leaving)])));
    assert_eq!(of(&desk), leaving);
    let release = |records: &dyn Records| {
        let write = whatsapp::release_reply(records, event(1))?;
        Ok((write.is_some(), write.into_iter().collect()))
    };
    assert!(desk.run(release));
    assert_eq!(of(&desk), Reply { leaving: false, ..leaving });
    assert!(!desk.run(release));
    desk.run(|_| Ok(((), vec![whatsapp::forget_reply(event(1))])));
    assert_eq!(of(&desk), Reply::default());
}

#[test]
fn a_status_never_goes_back() {
    let mut desk = Desk::new();
    let steps = [
        ("sent", true),
        ("sent", false),
        ("failed", true),
        ("delivered", true),
        ("sent", false),
        ("failed", false),
        ("melted", false),
        ("played", true),
        ("read", false),
    ];
    for (status, moved) in steps {
        assert_eq!(desk.advance(status), moved, "{status}");
    }
    let now = whatsapp::status_of(&*desk.0.reader(), "wamid.1").expect("readable");
    assert_eq!(now.as_deref(), Some("played"));
}
