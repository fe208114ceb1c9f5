//! Requests as bytes, for what no client would send.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::answer::Answer;
use super::server::Server;

/// Sends these bytes, and nothing more, and reads one whole answer.
pub(crate) fn exchange(server: &Server, request: &[u8]) -> Answer {
    let address = server.url().strip_prefix("http://").expect("it serves http");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a span above zero");
    stream.write_all(request).expect("the server reads");
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(answer) = whole_answer(&bytes) {
            return answer;
        }
        let read = stream.read(&mut chunk).expect("the server answers in time");
        let so_far = String::from_utf8_lossy(&bytes);
        assert!(read > 0, "the connection ended before the answer: {so_far}");
        bytes.extend_from_slice(&chunk[..read]);
    }
}

/// The head of a POST with a JSON body of `length` bytes, declared.
pub(crate) fn head(path: &str, length: usize, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{more}\r\n"
    )
}

fn whole_answer(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields = lines.filter_map(|line| line.split_once(": "));
    let mut headers: BTreeMap<_, _> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    headers.remove("x-request-id").expect("every response has an id");
    headers.remove("date").expect("every response has a date");
    let length: usize = headers.get("content-length")?.parse().ok()?;
    (body.len() >= length).then(|| Answer { status, headers, body: body[..length].to_owned() })
}

/// Sends these bytes and reads the first line that comes back.
pub(crate) fn status_line(server: &Server, request: &[u8]) -> String {
    let address = server.url().strip_prefix("http://").expect("it serves http");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a span above zero");
    stream.write_all(request).expect("the server reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("the server answers in time");
    line
}
