//! A bare connection: for bytes that no client would send, and for clients that go away.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::answer::Answer;

/// How long a test waits for bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection with a request on it; the server notices when it is dropped.
pub(crate) struct Raw {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Raw {
    /// Sends these bytes to the server at `url`; `{host}` in them becomes its address.
    pub(crate) fn send(url: &str, request: &str) -> Self {
        let host = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        stream.set_nodelay(true).expect("the socket is open");
        let request = request.replace("{host}", host);
        stream.write_all(request.as_bytes()).expect("the server reads");
        Self { stream, seen: Vec::new() }
    }

    /// Posts a JSON body to `path`, with these lines of headers besides.
    pub(crate) fn post(url: &str, path: &str, lines: &[String], body: &str) -> Self {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        Self::send(
            url,
            &format!(
                "POST {path} HTTP/1.1\r\nhost: {{host}}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n{lines}\r\n{body}"
            ),
        )
    }

    /// Waits until these letters have come.
    pub(crate) fn until(&mut self, letters: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(letters) {
            assert!(self.read_on(), "{letters:?} never came: {}", self.text());
        }
    }

    /// Waits until these letters have come so many times.
    pub(crate) fn until_times(&mut self, letters: &str, times: usize) {
        while self.text().matches(letters).count() < times {
            assert!(self.read_on(), "{letters:?} came not {times} times: {}", self.text());
        }
    }

    /// What has come.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// The whole answer, which must have a length of its own and end the connection's use.
    pub(crate) fn answer(mut self) -> Answer {
        self.until("\r\n\r\n");
        let text = self.text();
        let (head, _) = text.split_once("\r\n\r\n").expect("it was waited for");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let status = status.parse().expect("a status is a number");
        let mut headers = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let twice = headers.insert(name.to_ascii_lowercase(), value.to_owned());
            assert_eq!(twice, None, "the header {name} stands twice");
        }
        let length: usize = headers.get("content-length").map_or(0, |it| it.parse().unwrap());
        let begin = head.len() + 4;
        while self.seen.len() < begin + length {
            assert!(self.read_on(), "the body ends early: {}", self.text());
        }
        assert_eq!(self.seen.len(), begin + length, "more than the answer came");
        let body = String::from_utf8(self.seen.split_off(begin)).expect("the body is text");
        headers.remove("date").expect("every response has a date");
        headers.remove("connection");
        headers.remove("x-request-id").expect("every response has an id");
        Answer { status, headers, body }
    }

    fn read_on(&mut self) -> bool {
        let mut some = [0; 16 * 1024];
        match self.stream.read(&mut some) {
            Ok(count) => {
                self.seen.extend_from_slice(&some[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}: {}", self.text()),
        }
    }
}
