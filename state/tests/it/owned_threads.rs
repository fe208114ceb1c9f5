//! What an owner does with threads beside chatting, against a store in memory.

use sendcat_state::key::TimedId;
use sendcat_state::machine::{Order, RecordWrite, Scan, Table};
use sendcat_state::records::OwnerRow;
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::store::{Commit, Store};
use sendcat_state::threads::{
    BeginTurn, Ending, Message, NewThread, Role, Thread, ThreadLimits, ThreadRefusal, ThreadRow,
    Trigger, Written, append_answer, begin_turn, create, delete, get, message_page, owned_page,
    rename,
};

use crate::properties::at;

const LIMITS: ThreadLimits = ThreadLimits { threads: 5, messages: 100 };

/// A store, and the verbs on it at a time that goes on with each.
struct Desk {
    store: MemoryStore,
    now: u64,
}

fn message(id: &str, role: Role, text: &str) -> Message {
    let (id, text) = (id.to_owned(), text.to_owned());
    Message {
        id,
        role,
        text,
        parts: vec![],
        created_at: at(1),
        ending: Ending::Complete,
        metadata: None,
        code: None,
    }
}

impl Desk {
    fn new() -> Self {
        Self { store: MemoryStore::open(&MemoryDisk::default()), now: 10 }
    }

    fn done<T>(&mut self, written: Written<T>) -> Result<T, String> {
        let (answer, writes) = written.map_err(|refusal| refusal.to_string())?;
        self.store.apply(&[Commit { change: None, writes }]).expect("memory works");
        self.now += 1;
        Ok(answer)
    }

    fn create(&mut self, owner: &str, id: &str, title: Option<&str>) -> Result<Thread, String> {
        let (title, limits) = (title.map(str::to_owned), LIMITS);
        let new = NewThread { owner: owner.into(), id: id.into(), title, limits };
        let written = create(&*self.store.reader(), at(self.now), new);
        self.done(written)
    }

    fn ask(&mut self, id: &str, text: &str) -> Result<Vec<Message>, String> {
        let turn = BeginTurn {
            owner: "ann".into(),
            thread_id: id.into(),
            trigger: Trigger::Submit { replaces: None },
            messages: vec![message(&format!("q{}", self.now), Role::User, text)],
            limits: LIMITS,
        };
        let written = begin_turn(&*self.store.reader(), at(self.now), &turn);
        self.done(written)
    }

    /// Stores an answer that began at a time.
    fn answer(&mut self, id: &str, began: u64) -> Result<(), String> {
        let answer = message(&format!("msg_{}", TimedId::new(at(began), 7)), Role::Assistant, "!");
        let written = append_answer(&*self.store.reader(), at(self.now), "ann", id, &answer);
        self.done(written)
    }

    fn delete(&mut self, owner: &str, id: &str) -> Result<(), String> {
        let written = delete(&*self.store.reader(), owner, id);
        self.done(written)
    }

    fn rename(&mut self, owner: &str, id: &str, title: Option<&str>) -> Result<Thread, String> {
        let title = title.map(str::to_owned);
        let written = rename(&*self.store.reader(), at(self.now), owner, id, title);
        self.done(written)
    }

    fn listed(&self, owner: &str, limit: usize) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = owned_page(&*self.store.reader(), owner, after.as_deref(), limit);
            let page = page.expect("readable");
            assert!(page.items.len() <= limit);
            all.extend(page.items.into_iter().map(|thread| thread.id));
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    fn count(&self, owner: &str) -> u64 {
        let row = self.store.reader().get(Table::Owners, owner.as_bytes());
        let row = row.expect("readable");
        let row = row.map(|row| serde_json::from_slice::<OwnerRow>(&row).expect("a row"));
        row.map_or(0, |row| row.threads)
    }

    fn title(&self, id: &str) -> Option<String> {
        get(&*self.store.reader(), "ann", id).expect("Ann's").row.title
    }
}

#[test]
fn a_thread_that_is_founded_empty_is_there_at_once() {
    let mut desk = Desk::new();
    let row = ThreadRow {
        owner: "ann".into(),
        created_at: at(10),
        updated_at: at(10),
        next: 0,
        messages: 0,
        title: Some("Shoes".into()),
    };
    let expected = Thread { id: "t".into(), row };
    assert_eq!(desk.create("ann", "t", Some("Shoes")), Ok(expected.clone()));
    assert_eq!(get(&*desk.store.reader(), "ann", "t").unwrap(), expected);
    assert_eq!((desk.listed("ann", 9), desk.count("ann")), (vec!["t".to_owned()], 1));
    let taken = Err("there is a thread of that name already".to_owned());
    assert_eq!(desk.create("ann", "t", None), taken);
    let foreign = Err("the thread belongs to another owner".to_owned());
    assert_eq!(desk.create("bob", "t", None), foreign);
    assert_eq!((desk.count("ann"), desk.count("bob")), (1, 0));
    assert_eq!(desk.ask("t", "one?").unwrap().len(), 1, "a turn goes on in it");
    assert_eq!(desk.title("t").as_deref(), Some("Shoes"), "a question does not rename it");
}

#[test]
fn the_first_question_names_a_thread_that_a_turn_founds() {
    let mut desk = Desk::new();
    desk.ask("short", "  \n Which shoes? \nThe red ones.").unwrap();
    assert_eq!(desk.title("short").as_deref(), Some("Which shoes?"));
    desk.ask("long", &"é".repeat(200)).unwrap();
    assert_eq!(desk.title("long"), Some("é".repeat(80) + "…"));
    desk.ask("blank", " \u{2003} ").unwrap();
    assert_eq!(desk.title("blank"), None);
}

#[test]
fn a_thread_keeps_its_place_in_the_list_whatever_is_said_in_it() {
    let mut desk = Desk::new();
    for id in ["t1", "t2", "t3"] {
        desk.ask(id, "?").unwrap();
    }
    desk.create("bob", "b1", None).unwrap();
    desk.ask("t1", "again?").unwrap();
    desk.rename("ann", "t2", None).unwrap();
    for limit in [1, 2, 3, 9] {
        assert_eq!(desk.listed("ann", limit), ["t3", "t2", "t1"]);
    }
    assert_eq!(desk.listed("bob", 1), ["b1"]);
    let first = owned_page(&*desk.store.reader(), "ann", None, 2).unwrap();
    desk.delete("ann", "t2").unwrap();
    desk.create("ann", "t4", None).unwrap();
    let rest = owned_page(&*desk.store.reader(), "ann", first.next.as_deref(), 2).unwrap();
    assert_eq!(rest.items.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["t1"]);
    assert_eq!(rest.next, None);
}

#[test]
fn only_its_owner_names_reads_and_deletes_a_thread() {
    let mut desk = Desk::new();
    desk.ask("t", "?").unwrap();
    let (foreign, unknown) = ("the thread belongs to another owner", "there is no such thread");
    assert_eq!(desk.rename("bob", "t", Some("mine")).unwrap_err(), foreign);
    assert_eq!(desk.delete("bob", "t").unwrap_err(), foreign);
    assert_eq!(get(&*desk.store.reader(), "bob", "t").unwrap_err().to_string(), foreign);
    assert_eq!(desk.rename("ann", "u", None).unwrap_err(), unknown);
    assert_eq!(desk.delete("ann", "u").unwrap_err(), unknown);
    let renamed = desk.rename("ann", "t", Some("ours")).unwrap().row;
    assert_eq!((renamed.title.as_deref(), renamed.updated_at), (Some("ours"), at(11)));
    desk.rename("ann", "t", None).unwrap();
    assert_eq!(desk.title("t"), None);
}

#[test]
fn nothing_is_left_of_a_deleted_thread_and_its_room_is_free() {
    let mut desk = Desk::new();
    for id in ["a", "b", "c", "d", "t"] {
        desk.ask(id, "?").unwrap();
    }
    for _ in 0..20 {
        desk.ask("t", "?").unwrap();
    }
    let full = "there is no room for more threads";
    assert_eq!(desk.create("ann", "more", None).unwrap_err(), full);
    assert_eq!(desk.ask("more", "?").unwrap_err(), full);
    desk.delete("ann", "t").unwrap();
    assert_eq!(desk.delete("ann", "t").unwrap_err(), "there is no such thread");
    assert_eq!(desk.count("ann"), 4);
    let scan = Scan { prefix: b"t\0", beyond: None, order: Order::Ascending, limit: 9 };
    assert_eq!(desk.store.reader().scan(Table::Messages, scan).unwrap(), []);
    assert!(desk.create("ann", "more", None).is_ok());
    assert_eq!(desk.listed("ann", 9), ["more", "d", "c", "b", "a"]);
}

#[test]
fn an_answer_that_began_before_its_thread_was_deleted_does_not_land_in_the_next_of_its_name() {
    let mut desk = Desk::new();
    desk.ask("t", "?").unwrap();
    let began = desk.now;
    desk.now += 5;
    desk.delete("ann", "t").unwrap();
    assert_eq!(desk.answer("t", began).unwrap_err(), "there is no such thread");
    let founded = desk.now;
    desk.ask("t", "another?").unwrap();
    assert_eq!(desk.answer("t", began).unwrap_err(), "there is no such thread");
    assert_eq!(desk.answer("t", founded), Ok(()), "one of the turn that founded it does");
    let page = message_page(&*desk.store.reader(), "ann", "t", None, 9, 1 << 20).unwrap();
    assert_eq!(page.items.len(), 2);
}

#[test]
fn a_page_of_long_messages_ends_early_and_the_next_goes_on() {
    let mut desk = Desk::new();
    for _ in 0..20 {
        desk.ask("t", &"x".repeat(100)).unwrap();
    }
    let (mut lengths, mut after, mut seen) = (Vec::new(), None, 0);
    loop {
        let page = message_page(&*desk.store.reader(), "ann", "t", after, 15, 650).unwrap();
        seen += page.items.len();
        lengths.push(page.items.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((lengths, seen), (vec![7, 7, 6], 20));
    let tiny = message_page(&*desk.store.reader(), "ann", "t", None, 15, 0).unwrap();
    assert_eq!((tiny.items.len(), tiny.next), (1, Some(0)), "a page is never empty for size");
}

#[test]
fn a_row_of_a_later_or_an_earlier_version_is_read() {
    let mut desk = Desk::new();
    desk.ask("t", "?").unwrap();
    let row = serde_json::json!({
        "owner": "ann", "createdAt": 10, "updatedAt": 12, "next": 1, "messages": 1, "color": "red",
    });
    let write = RecordWrite::put(Table::Threads, b"t".as_slice(), &row);
    desk.store.apply(&[Commit { change: None, writes: vec![write] }]).unwrap();
    assert_eq!(desk.title("t"), None);
    assert_eq!(desk.listed("ann", 9), ["t"]);
    let missing = get(&*desk.store.reader(), "ann", "other");
    assert!(matches!(missing, Err(ThreadRefusal::NotFound("thread"))));
}
