//! `GET /ops/stream`: the snapshot, then what of it has changed, once a second.

use std::time::Duration;

use sendcat::config::fixed;
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::raw::Raw;
use crate::support::scene::{timed, until};
use crate::support::server::Server;
use crate::support::webhook::{
    OPS_READ_TOKEN, OPS_TOKEN, accepted, delivery_of, receiver, refused,
};

/// A reader of the stream on a bare connection.
struct Reader(Raw);

/// An event: its id, its name, its data.
type Event = (Option<u64>, String, Value);

impl Reader {
    fn of(server: &Server, token: &str) -> Self {
        let head = "GET /ops/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer ";
        let mut raw = Raw::send(server.url(), &format!("{head}{token}\r\n\r\n"));
        // Sections stand in the order of their names, so this is the end of the snapshot.
        raw.until("\"windowMinutes\":15}\n\n");
        Self(raw)
    }

    /// What has come whole, without the sizes of chunks.
    fn events(&self) -> Vec<Event> {
        let text = self.0.text();
        let (_, body) = text.split_once("\r\n\r\n").expect("a head ends");
        let size = |line: &&str| line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lines: Vec<_> = body.split("\r\n").filter(|line| !size(line)).collect();
        let whole = lines.concat();
        let events = whole.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
        events.map(event_of).collect()
    }

    fn until(&mut self, letters: &str) {
        self.0.until(letters);
    }
}

fn event_of(text: &str) -> Event {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let data = serde_json::from_str(field("data: ").expect("an event has data")).expect("of JSON");
    let id = field("id: ").map(|id| id.parse().expect("an id is a number"));
    (id, field("event: ").expect("an event has a name").to_owned(), data)
}

#[test]
fn a_reader_is_told_everything_and_then_what_has_changed() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let mut reader = Reader::of(&server, OPS_TOKEN);
    let first = reader.events();
    assert_eq!(first[0], (None, "access".to_owned(), json!({"access": "operate"})));
    let (id, name, mut known) = first[1].clone();
    assert_eq!(name, "snapshot");
    let process = &known["process"];
    assert_eq!(process["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&process["status"], &process["reasons"]), (&json!("ok"), &json!([])));
    let snapshot = run(caller.sees("/ops/snapshot"));
    for section in snapshot.as_object().unwrap().keys() {
        assert!(!known[section].is_null(), "{section}");
    }
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        caller.worked_off(1).await;
    });
    let id = id.expect("a snapshot has an id");
    // One delta may have been made before the last count was.
    reader.until(&format!("id: {}\n", id + 3));
    let events = reader.events();
    for (expected, (id, name, delta)) in (id + 1..).zip(&events[2..]) {
        assert_eq!((*id, name.as_str()), (Some(expected), "delta"));
        assert!(delta["config"].is_null(), "what has not changed is not told");
        for (section, value) in delta.as_object().unwrap() {
            known[section] = value.clone();
        }
    }
    assert_eq!(known["inbox"]["byStatus"]["done"], 1, "{known}");
    assert_eq!(known["replayProtection"]["byScope"]["whatsapp_message"]["keys"], 1);
}

#[test]
fn all_readers_are_told_the_same_once_a_second() {
    let server = receiver().start();
    let mut readers = [Reader::of(&server, OPS_TOKEN), Reader::of(&server, OPS_READ_TOKEN)];
    let last = readers[0].events().last().unwrap().0.unwrap() + 3;
    let waited = timed(|| readers.iter_mut().for_each(|it| it.until(&format!("id: {last}\n")))).1;
    assert!(waited > Duration::from_secs(2), "{waited:?}");
    let [mine, other] = readers.map(|reader| reader.events());
    let deltas = |events: &[Event]| {
        let deltas = events.iter().filter(|event| event.1 == "delta" && event.0 < Some(last));
        deltas.rev().take(2).cloned().collect::<Vec<_>>()
    };
    assert_eq!(deltas(&mine), deltas(&other));
    assert_eq!(other[0].2, json!({"access": "read"}));
}

#[test]
fn there_is_a_bound_and_who_leaves_makes_room() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let mut readers: Vec<_> =
        (0..fixed::OPS_STREAMS_MAX).map(|_| Reader::of(&server, OPS_READ_TOKEN)).collect();
    let refusal = || run(answer(caller.operates("GET", "/ops/stream")));
    let sentence = "As many read this stream as may; close another console first.";
    let full = refused(503, "overloaded", sentence, &[("retry-after", "1")]);
    assert_eq!(refusal(), full);
    readers.pop();
    until("there is room", || {
        let asked = caller.operates("GET", "/ops/stream").send();
        run(async { asked.await.unwrap().status() }) == 200
    });
}

#[test]
fn a_drain_ends_the_stream_and_says_so() {
    let mut server = receiver().with("SENDCAT_DRAIN_MS", 20_000).start();
    let mut reader = Reader::of(&server, OPS_TOKEN);
    server.signal("TERM");
    reader.until("0\r\n\r\n");
    let last = reader.events().pop().unwrap();
    assert_eq!(last, (None, "end".to_owned(), json!({"reason": "draining"})));
    let ((code, log), waited) = timed(|| server.wait());
    assert_eq!(code, Some(0), "{log}");
    assert!(waited < Duration::from_secs(10), "a reader held the server up: {waited:?}");
}
