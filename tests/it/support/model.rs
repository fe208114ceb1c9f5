//! A model that says what a test tells it to.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value;

/// The address of a model that answers one call after the other with these events, and all later
/// ones with the last.
pub(crate) fn model_of(answers: Vec<Vec<Value>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for (at, mut stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut asked = [0; 64 * 1024];
            let _ = stream.read(&mut asked);
            let events = answers[at.min(answers.len() - 1)].iter();
            let body: String = events.map(|event| format!("data: {event}\n\n")).collect();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        connection: close\r\n\r\n";
            // The server may have heard enough.
            let _ = stream.write_all(format!("{head}{body}data: [DONE]\n\n").as_bytes());
        }
    });
    address
}
