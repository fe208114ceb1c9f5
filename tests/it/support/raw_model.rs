//! Another stand-in for the model's provider: bytes on a bare socket, as the test wrote them.
//!
//! It shares no code with the sandbox, counts the sockets that are open, and closes none before it
//! has said what it was told to say, or its client has gone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is said on one connection, in order; after the last step the connection is closed.
pub(crate) type Script = Vec<Step>;

/// One thing that is done on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// These bytes are written.
    Say(Vec<u8>),
    /// These bytes are written again and again, so far apart, until the client goes.
    Repeat(Vec<u8>, Duration),
    /// Nothing, until the client goes.
    Stall,
}

/// The head of a stream that ends with its connection.
const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
/// The same, in chunks: its end is said, so that an early one is known.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                       transfer-encoding: chunked\r\nconnection: close\r\n\r\n";

pub(crate) const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Its head, lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Heard {
    /// A header's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Default)]
struct Shared {
    open: AtomicUsize,
    plan: Mutex<VecDeque<Script>>,
    heard: Mutex<Vec<Heard>>,
}

/// A running stand-in; it ends with the test's process.
pub(crate) struct RawModel {
    url: String,
    shared: Arc<Shared>,
}

impl RawModel {
    pub(crate) fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        let (to, started) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                to.send(listener.local_addr().unwrap()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&serving)));
                }
            });
        });
        Self { url: format!("http://{}", started.recv().unwrap()), shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What is said on the next connections; who comes after them is told `hello`.
    pub(crate) fn plan(&self, scripts: impl IntoIterator<Item = Script>) {
        let mut plan = self.shared.plan.lock().unwrap();
        plan.clear();
        plan.extend(scripts);
    }

    /// Sockets that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Every request there was.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    shared.open.fetch_add(1, Ordering::SeqCst);
    if let Some(heard) = read_request(&mut stream).await {
        shared.heard.lock().unwrap().push(heard);
        let script = shared.plan.lock().unwrap().pop_front().unwrap_or_else(hello);
        perform(&mut stream, script).await;
    }
    drop(stream);
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

async fn perform(stream: &mut TcpStream, script: Script) {
    let (mut from, mut to) = stream.split();
    let speaking = async {
        for step in script {
            match step {
                Step::Say(bytes) => to.write_all(&bytes).await?,
                Step::Repeat(bytes, pause) => {
                    let mut ticks = tokio::time::interval(pause);
                    loop {
                        ticks.tick().await;
                        to.write_all(&bytes).await?;
                    }
                }
                Step::Stall => std::future::pending::<()>().await,
            }
        }
        to.shutdown().await
    };
    let mut unexpected = [0; 16];
    tokio::select! {
        _ = speaking => {}
        // Whoever has asked says nothing more; so this is its end.
        _ = from.read(&mut unexpected) => {}
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            let body = serde_json::from_slice(&bytes[end + 4..]).unwrap_or_default();
            return Some(Heard { head, body });
        }
    }
}

/// The event of a chunk with this delta, and with this reason to stop.
pub(crate) fn event(delta: &Value, reason: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
    format!("data: {}\n\n", json!({"id": "gen-1", "choices": [choice]}))
}

pub(crate) fn text(text: &str) -> String {
    event(&json!({"role": "assistant", "content": text}), None)
}

/// What ends a stream in order.
pub(crate) fn ending() -> String {
    format!("{}data: [DONE]\n\n", event(&json!({}), Some("stop")))
}

/// A stream of these events that ends where they end.
pub(crate) fn stream(events: &str) -> Script {
    vec![Step::Say(format!("{HEAD}{events}").into_bytes())]
}

/// A stream of these bytes, whatever they are.
pub(crate) fn stream_of(bytes: &[u8]) -> Script {
    vec![Step::Say([HEAD.as_bytes(), bytes].concat())]
}

/// A stream of these events after which this is done; the end of the body is never said.
pub(crate) fn stream_then(events: &str, then: Option<Step>) -> Script {
    let chunk = format!("{CHUNKED}{:x}\r\n{events}\r\n", events.len());
    [Step::Say(chunk.into_bytes())].into_iter().chain(then).collect()
}

/// The same, with a step that is a chunk of its own said again and again.
pub(crate) fn stream_and_repeat(events: &str, again: &str, pause: Duration) -> Script {
    let chunk = format!("{:x}\r\n{again}\r\n", again.len());
    stream_then(events, Some(Step::Repeat(chunk.into_bytes(), pause)))
}

/// An answer with this status.
pub(crate) fn status(status: u16, more: &str, body: &str) -> Script {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Fault\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n"
    );
    vec![Step::Say((head + body).into_bytes())]
}

fn hello() -> Script {
    stream(&(COMMENT.to_owned() + &text("hello") + &ending()))
}
