//! A server in a few lines: for collectors, and for providers that answer what no stand-in would.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Listens until the test's process ends.
pub(crate) struct Listener {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Listener {
    /// Answers every request with what `answer` makes of it: a status, and a body of JSON.
    pub(crate) fn answering(answer: fn(&Heard) -> (u16, Vec<u8>)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(&stream, &kept, answer));
            }
        });
        Self { url, heard }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Every request so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, heard: &Mutex<Vec<Heard>>, answer: fn(&Heard) -> (u16, Vec<u8>)) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = next(&mut reader) {
        let (status, body) = answer(&request);
        heard.lock().unwrap().push(request);
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

fn next(reader: &mut BufReader<&TcpStream>) -> Option<Heard> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Heard { head, body })
}
