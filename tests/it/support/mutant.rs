//! A server that is wrong in one way: what a real one answers, altered on its way to the caller.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// A request as it came.
pub(crate) struct Heard {
    /// Method and path with its query.
    pub(crate) line: String,
}

/// What becomes of an answer: it may change its bytes, and say how long they are held back.
pub(crate) type Mutation = fn(&Heard, &mut Vec<u8>) -> Duration;

/// Listens until the test's process ends.
pub(crate) struct Mutant {
    url: String,
}

impl Mutant {
    /// What the server there answers, altered. Every connection takes one request.
    pub(crate) fn of(server: &str, mutation: Mutation) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let server = server.trim_start_matches("http://").to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || pass_on(&stream, &server, mutation));
            }
        });
        Self { url }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn pass_on(mut caller: &TcpStream, server: &str, mutation: Mutation) -> Option<()> {
    let mut reader = BufReader::new(caller);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let mut body = vec![0; field("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let mut onward = TcpStream::connect(server).ok()?;
    let closing = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    onward.write_all(&[closing.as_bytes(), &body].concat()).ok()?;
    let mut answer = Vec::new();
    onward.read_to_end(&mut answer).ok()?;
    let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let held_back = mutation(&Heard { line }, &mut answer);
    // Nobody sends: the wait is for its end.
    let (_nobody, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(held_back);
    caller.write_all(&answer).ok()
}

/// Replaces the status line.
pub(crate) fn says(answer: &mut Vec<u8>, status: &str) {
    let end = answer.windows(2).position(|at| at == b"\r\n").expect("an answer has a status line");
    answer.splice(..end, format!("HTTP/1.1 {status}").into_bytes());
}

/// Takes a header out, if it is there.
pub(crate) fn without(answer: &mut Vec<u8>, name: &str) {
    let text: Vec<u8> = answer.to_ascii_lowercase();
    let wanted = format!("\r\n{name}:").into_bytes();
    let Some(start) = text.windows(wanted.len()).position(|at| at == wanted) else { return };
    let length = text[start + 2..].windows(2).position(|at| at == b"\r\n").expect("a line ends");
    answer.drain(start..start + 2 + length);
}

/// Adds a header.
pub(crate) fn with(answer: &mut Vec<u8>, line: &str) {
    let end = answer.windows(2).position(|at| at == b"\r\n").expect("an answer has a status line");
    answer.splice(end..end, format!("\r\n{line}").into_bytes());
}

/// Whether the answer's status is that one.
pub(crate) fn is(answer: &[u8], status: u16) -> bool {
    answer.starts_with(format!("HTTP/1.1 {status}").as_bytes())
}
