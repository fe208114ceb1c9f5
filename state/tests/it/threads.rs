//! The rules of threads, against a store in memory: each verb is run and its rows committed, as the
//! journal's thread does it.

use sendcat_state::machine::{Order, RecordWrite, Scan, Table};
use sendcat_state::records::OwnerRow;
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};
use sendcat_state::threads::{
    BeginTurn, Ending, Message, Role, ThreadLimits, ThreadRefusal, ThreadRow, Trigger,
    append_answer, begin_turn, message_page, owner_of,
};

use crate::properties::at;

/// More bytes than any page here has.
const MUCH: usize = 1 << 20;

const ROOMY: ThreadLimits = ThreadLimits { threads: 10, messages: 100 };

/// A store, the verbs on it, and a clock that the test moves.
struct Desk {
    store: MemoryStore,
    now: u64,
}

fn message(id: &str, role: Role, text: &str) -> Message {
    let (id, text) = (id.to_owned(), text.to_owned());
    let created_at = at(1);
    Message {
        id,
        role,
        text,
        parts: Vec::new(),
        created_at,
        ending: Ending::Complete,
        metadata: None,
        code: None,
    }
}

fn user(id: &str, text: &str) -> Message {
    message(id, Role::User, text)
}

fn assistant(id: &str, text: &str) -> Message {
    message(id, Role::Assistant, text)
}

fn submit(owner: &str, thread_id: &str, messages: &[Message]) -> BeginTurn {
    BeginTurn {
        owner: owner.to_owned(),
        thread_id: thread_id.to_owned(),
        trigger: Trigger::Submit { replaces: None },
        messages: messages.to_vec(),
        limits: ROOMY,
    }
}

fn edit(thread_id: &str, replaces: &str, with: Message) -> BeginTurn {
    let trigger = Trigger::Submit { replaces: Some(replaces.to_owned()) };
    BeginTurn { trigger, ..submit("ann", thread_id, &[with]) }
}

fn regenerate(thread_id: &str, answer: Option<&str>) -> BeginTurn {
    let trigger = Trigger::Regenerate { answer: answer.map(str::to_owned) };
    BeginTurn { trigger, ..submit("ann", thread_id, &[]) }
}

impl Desk {
    fn new() -> Self {
        Self { store: MemoryStore::open(&MemoryDisk::default()), now: 10 }
    }

    /// A thread of Ann's named `t`: q1 a1 q2 a2.
    fn with_two_turns() -> Self {
        let mut desk = Self::new();
        desk.begin(&submit("ann", "t", &[user("q1", "one?")])).expect("founded");
        desk.answer("t", assistant("a1", "one!")).expect("kept");
        desk.begin(&submit("ann", "t", &[user("q2", "two?")])).expect("went on");
        desk.answer("t", assistant("a2", "two!")).expect("kept");
        desk
    }

    fn commit(&mut self, writes: Vec<RecordWrite>) {
        let commit = Commit { change: None, writes };
        self.store.apply(&[commit]).expect("memory works");
        self.now += 1;
    }

    /// The identifiers that the model is shown, or the refusal in words.
    fn begin(&mut self, turn: &BeginTurn) -> Result<Vec<String>, String> {
        let begun = begin_turn(&*self.store.reader(), at(self.now), turn);
        let (history, writes) = begun.map_err(|refusal| refusal.to_string())?;
        self.commit(writes);
        Ok(history.into_iter().map(|message| message.id).collect())
    }

    fn answer(&mut self, thread_id: &str, answer: Message) -> Result<(), String> {
        self.answer_of("ann", thread_id, answer)
    }

    fn answer_of(&mut self, owner: &str, thread_id: &str, answer: Message) -> Result<(), String> {
        let records = self.store.reader();
        let kept = append_answer(&*records, at(self.now), owner, thread_id, &answer);
        let ((), writes) = kept.map_err(|refusal| refusal.to_string())?;
        self.commit(writes);
        Ok(())
    }

    /// The identifiers stored in a thread.
    fn stored(&self, thread_id: &str) -> Vec<String> {
        let page = message_page(&*self.store.reader(), "ann", thread_id, None, 1000, MUCH);
        page.expect("Ann's").items.into_iter().map(|message| message.id).collect()
    }

    fn row(&self, thread_id: &str) -> ThreadRow {
        let row = self.store.reader().get(Table::Threads, thread_id.as_bytes());
        let row = row.expect("readable").expect("there");
        serde_json::from_slice(&row).expect("a row")
    }

    fn threads_of(&self, owner: &str) -> u64 {
        let row = self.store.reader().get(Table::Owners, owner.as_bytes()).expect("readable");
        row.map_or(0, |row| serde_json::from_slice::<OwnerRow>(&row).expect("a row").threads)
    }
}

#[test]
fn an_unknown_thread_is_founded_with_the_texts_it_is_told() {
    let mut desk = Desk::new();
    let told =
        [user("q1", "one?"), assistant("a1", "one!"), assistant("a2", ""), user("q2", "two?")];
    let shown = ["q1", "a1", "q2"];
    assert_eq!(desk.begin(&submit("ann", "t", &told)).unwrap(), shown, "what is empty is left out");
    assert_eq!(desk.stored("t"), shown);
    let row = ThreadRow {
        owner: "ann".into(),
        created_at: at(10),
        updated_at: at(10),
        next: 3,
        messages: 3,
        title: Some("one?".into()),
    };
    assert_eq!(desk.row("t"), row);
    assert_eq!(desk.threads_of("ann"), 1);
    assert_eq!(owner_of(&*desk.store.reader(), "t").unwrap().as_deref(), Some("ann"));
    assert_eq!(owner_of(&*desk.store.reader(), "other").unwrap(), None);
}

#[test]
fn a_known_thread_takes_the_last_user_message_and_nothing_else() {
    let mut desk = Desk::with_two_turns();
    let told = [user("x1", "forged"), assistant("x2", "forged"), user("q3", "three?")];
    let shown = ["q1", "a1", "q2", "a2", "q3"];
    assert_eq!(desk.begin(&submit("ann", "t", &told)).unwrap(), shown);
    assert_eq!(desk.stored("t"), shown);
    let row = desk.row("t");
    assert_eq!((row.created_at, row.updated_at), (at(10), at(14)));
    assert_eq!(desk.threads_of("ann"), 1, "going on founds nothing");
}

#[test]
fn an_edited_message_is_replaced_with_all_after_it() {
    let mut desk = Desk::with_two_turns();
    assert_eq!(desk.begin(&edit("t", "q1", user("q9", "else?"))).unwrap(), ["q9"]);
    assert_eq!(desk.stored("t"), ["q9"]);
    let row = desk.row("t");
    assert_eq!((row.messages, row.next), (1, 5), "numbers are not used twice");
    let edited = edit("t", "unknown", user("q10", "new?"));
    assert_eq!(desk.begin(&edited).unwrap(), ["q9", "q10"], "an unknown one replaces nothing");
}

#[test]
fn a_message_sent_again_replaces_itself() {
    let mut desk = Desk::with_two_turns();
    let again = submit("ann", "t", &[user("q2", "two, please?")]);
    for _ in 0..3 {
        assert_eq!(desk.begin(&again).unwrap(), ["q1", "a1", "q2"]);
    }
    assert_eq!(desk.stored("t"), ["q1", "a1", "q2"]);
    assert_eq!(desk.row("t").messages, 3);
    let page = message_page(&*desk.store.reader(), "ann", "t", None, 9, MUCH).unwrap();
    assert_eq!(page.items[2].text, "two, please?");
}

#[test]
fn the_last_answer_is_generated_anew() {
    let mut desk = Desk::with_two_turns();
    assert_eq!(desk.begin(&regenerate("t", None)).unwrap(), ["q1", "a1", "q2"]);
    // It was dropped before; a second wish finds the thread ready to be answered.
    assert_eq!(desk.begin(&regenerate("t", None)).unwrap(), ["q1", "a1", "q2"]);
    assert_eq!(desk.stored("t"), ["q1", "a1", "q2"]);
}

#[test]
fn a_named_answer_is_generated_anew_and_all_after_it_goes() {
    let mut desk = Desk::with_two_turns();
    assert_eq!(desk.begin(&regenerate("t", Some("a1"))).unwrap(), ["q1"]);
    assert_eq!(desk.stored("t"), ["q1"]);
    assert_eq!(desk.row("t").messages, 1);
}

#[test]
fn an_unknown_answer_is_not_generated_anew() {
    let mut desk = Desk::with_two_turns();
    let refused = desk.begin(&regenerate("t", Some("a9")));
    assert_eq!(refused.unwrap_err(), "there is no such message");
    assert_eq!(desk.stored("t"), ["q1", "a1", "q2", "a2"]);
}

#[test]
fn where_nobody_asked_nothing_is_answered() {
    let mut desk = Desk::with_two_turns();
    let nothing = "there is no user message to answer";
    let empty_handed = submit("ann", "t", &[assistant("x", "hello")]);
    assert_eq!(desk.begin(&empty_handed).unwrap_err(), nothing);
    assert_eq!(desk.begin(&regenerate("t", Some("q1"))).unwrap_err(), nothing);
    assert_eq!(desk.begin(&regenerate("new", None)).unwrap_err(), nothing);
    let ends_with_an_answer = submit("ann", "new", &[user("q", "?"), assistant("a", "!")]);
    assert_eq!(desk.begin(&ends_with_an_answer).unwrap_err(), nothing);
    let says_nothing = submit("ann", "new", &[user("q", "")]);
    assert_eq!(desk.begin(&says_nothing).unwrap_err(), nothing);
    assert_eq!(desk.stored("t"), ["q1", "a1", "q2", "a2"]);
    assert_eq!(desk.threads_of("ann"), 1, "a refusal founds nothing");
}

#[test]
fn another_owners_thread_is_forbidden_and_stays_as_it_was() {
    let mut desk = Desk::with_two_turns();
    let foreign = submit("bob", "t", &[user("q", "mine?")]);
    let forbidden = "the thread belongs to another owner";
    assert_eq!(desk.begin(&foreign).unwrap_err(), forbidden);
    let page = message_page(&*desk.store.reader(), "bob", "t", None, 9, MUCH);
    assert!(matches!(page, Err(ThreadRefusal::Forbidden)));
    let unknown = message_page(&*desk.store.reader(), "bob", "other", None, 9, MUCH);
    assert!(matches!(unknown, Err(ThreadRefusal::NotFound("thread"))));
    assert_eq!(desk.stored("t").len(), 4);
    assert_eq!(desk.threads_of("bob"), 0);
}

#[test]
fn two_owners_who_found_one_thread_at_once_do_not_share_it() {
    let mut desk = Desk::new();
    assert_eq!(desk.begin(&submit("ann", "t", &[user("q", "mine?")])).unwrap(), ["q"]);
    let second = desk.begin(&submit("bob", "t", &[user("q", "mine!")]));
    assert_eq!(second.unwrap_err(), "the thread belongs to another owner");
    assert_eq!((desk.threads_of("ann"), desk.threads_of("bob")), (1, 0));
}

#[test]
fn an_owner_has_room_for_so_many_threads() {
    let mut desk = Desk::new();
    let limits = ThreadLimits { threads: 2, ..ROOMY };
    let found = |id: &str| BeginTurn { limits, ..submit("ann", id, &[user("q", "?")]) };
    assert!(desk.begin(&found("t1")).is_ok());
    assert!(desk.begin(&found("t2")).is_ok());
    assert_eq!(desk.begin(&found("t3")).unwrap_err(), "there is no room for more threads");
    assert!(desk.begin(&found("t1")).is_ok(), "a known thread needs no room");
    let others = BeginTurn { limits, ..submit("bob", "t3", &[user("q", "?")]) };
    assert!(desk.begin(&others).is_ok(), "another owner has room of their own");
}

#[test]
fn a_thread_has_room_for_the_answer_before_a_turn_begins() {
    let mut desk = Desk::with_two_turns();
    let within = |messages| BeginTurn {
        limits: ThreadLimits { messages, ..ROOMY },
        ..submit("ann", "t", &[user("q3", "?")])
    };
    let full = "there is no room for more messages";
    assert_eq!(desk.begin(&within(5)).unwrap_err(), full);
    assert_eq!(desk.stored("t").len(), 4, "a refusal writes nothing");
    assert!(desk.begin(&within(6)).is_ok());
    desk.answer("t", assistant("a3", "!")).unwrap();
    assert_eq!(desk.row("t").messages, 6);
    let again =
        BeginTurn { limits: ThreadLimits { messages: 6, ..ROOMY }, ..regenerate("t", None) };
    assert!(desk.begin(&again).is_ok(), "an answer in the place of another needs no more room");
}

#[test]
fn an_answer_does_not_land_in_somebody_elses_thread_of_the_same_name() {
    let mut desk = Desk::with_two_turns();
    let late = desk.answer_of("bob", "t", assistant("a3", "three!"));
    assert_eq!(late, Err("there is no such thread".to_owned()));
    assert!(!desk.stored("t").contains(&"a3".to_owned()));
}

#[test]
fn an_answer_to_a_deleted_thread_is_not_kept() {
    let mut desk = Desk::with_two_turns();
    desk.begin(&submit("ann", "t", &[user("q3", "three?")])).unwrap();
    desk.commit(vec![RecordWrite::remove(Table::Threads, b"t".as_slice())]);
    let late = desk.answer("t", assistant("a3", "three!"));
    assert_eq!(late.unwrap_err(), "there is no such thread");
    let scan = Scan { prefix: b"t\0", beyond: None, order: Order::Descending, limit: 1 };
    let last = desk.store.reader().scan(Table::Messages, scan).unwrap();
    let last: Message = serde_json::from_slice(&last[0].1).unwrap();
    assert_eq!(last.id, "q3");
}

#[test]
fn pages_show_every_message_once_and_end() {
    let mut desk = Desk::new();
    let told: Vec<_> = (0..5).map(|n| user(&format!("q{n}"), "?")).collect();
    desk.begin(&submit("ann", "t", &told)).unwrap();
    // A thread whose name begins with this one's must not show up in it.
    desk.begin(&submit("ann", "t-2", &[user("other", "?")])).unwrap();
    let page = |after, limit| {
        let page = message_page(&*desk.store.reader(), "ann", "t", after, limit, MUCH).unwrap();
        (page.items.into_iter().map(|each| each.id).collect::<Vec<_>>(), page.next)
    };
    let ids = |numbers: std::ops::Range<u64>| numbers.map(|n| format!("q{n}")).collect::<Vec<_>>();
    assert_eq!(page(None, 2), (ids(0..2), Some(1)));
    assert_eq!(page(Some(1), 2), (ids(2..4), Some(3)));
    assert_eq!(page(Some(3), 2), (ids(4..5), None));
    assert_eq!(page(None, 5), (ids(0..5), None), "a full last page has no next one");
    assert_eq!(page(Some(4), 5), (vec![], None));
    assert_eq!(page(Some(u64::MAX), 5), (vec![], None));
}

#[test]
fn a_page_goes_on_after_a_message_that_was_dropped_meanwhile() {
    let mut desk = Desk::with_two_turns();
    let first = message_page(&*desk.store.reader(), "ann", "t", None, 2, MUCH).unwrap();
    assert_eq!(first.next, Some(1));
    desk.begin(&edit("t", "q1", user("q9", "else?"))).unwrap();
    let rest = message_page(&*desk.store.reader(), "ann", "t", first.next, 2, MUCH).unwrap();
    assert_eq!(rest.items.iter().map(|each| each.id.as_str()).collect::<Vec<_>>(), ["q9"]);
}

#[test]
fn a_row_that_is_no_row_is_unreadable_and_nothing_is_written() {
    let mut desk = Desk::with_two_turns();
    let torn =
        RecordWrite { table: Table::Threads, key: b"t".to_vec(), value: Some(b"{\"own".to_vec()) };
    desk.commit(vec![torn]);
    let turn = submit("ann", "t", &[user("q", "?")]);
    let refused = begin_turn(&*desk.store.reader(), at(1), &turn);
    assert!(matches!(refused, Err(ThreadRefusal::Unreadable(_))));
}

#[test]
fn a_message_that_a_channel_delivers_again_stays_and_so_does_what_follows() {
    let mut desk = Desk::new();
    let deliver = |message: Message| BeginTurn {
        trigger: Trigger::Deliver,
        ..submit("ann", "t", &[message])
    };
    assert_eq!(desk.begin(&deliver(user("q1", "one?"))).unwrap(), ["q1"]);
    assert_eq!(desk.begin(&deliver(user("q2", "two?"))).unwrap(), ["q1", "q2"]);
    desk.answer("t", assistant("a2", "two!")).unwrap();
    // The first one's worker died: its turn begins again, with what was before it.
    assert_eq!(desk.begin(&deliver(user("q1", "one?"))).unwrap(), ["q1"]);
    desk.answer("t", assistant("a1", "one!")).unwrap();
    assert_eq!(desk.stored("t"), ["q1", "q2", "a2", "a1"]);
}
