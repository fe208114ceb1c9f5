//! A server whose answers and latencies are known, to check the generator against before its
//! figures are believed (OPERATIONS.md §7).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::clock::RunClock;

/// The most bytes of a request.
const REQUEST_BYTES: usize = 1 << 20;

/// What one request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status with a short body.
    Status(u16),
    /// These bytes, then the end of the connection.
    Bytes(&'static str),
    /// No answer: the connection is reset.
    Reset,
}

/// A server on a free port of loopback and a thread of its own; gone when dropped.
pub struct KnownServer {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    _ends: DropGuard,
}

/// Microseconds since the server started, and the number of the request from 0, to what is
/// answered and after how long.
pub type Script = dyn Fn(u64, u64) -> (Duration, Reply) + Send + Sync;

impl KnownServer {
    /// Answers each request by the script, each connection on its own. A connection idle for
    /// `keep_alive` is closed.
    ///
    /// # Errors
    /// There is no port, or no thread.
    pub fn start(script: Arc<Script>, keep_alive: Duration) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let end = CancellationToken::new();
        let clock = RunClock::starting_in(Duration::ZERO);
        let serving = Serving { script, keep_alive, clock, requests: Arc::clone(&requests) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = end.clone();
        std::thread::Builder::new().name("known".to_owned()).spawn(move || {
            let serving = async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                let serving = Arc::new(serving);
                while let Ok((stream, _)) = listener.accept().await {
                    let serving = Arc::clone(&serving);
                    tokio::spawn(async move { serving.connection(stream).await });
                }
            };
            runtime.block_on(ended.run_until_cancelled(serving));
        })?;
        Ok(Self { address, requests, _ends: end.drop_guard() })
    }

    /// Answers at once, but stands still for `stall` at the begin of each `period`. Of quantiles
    /// `q > 1 − stall / period` the truth is `stall · (1 − (1 − q) · period / stall)`.
    ///
    /// # Errors
    /// There is no port, or no thread.
    pub fn stalling(stall: Duration, period: Duration) -> std::io::Result<Self> {
        let (stall, period) = (stall.as_micros() as u64, period.as_micros() as u64);
        let script = move |now_us: u64, _: u64| {
            let left = stall.saturating_sub(now_us % period);
            (Duration::from_micros(left), Reply::Status(200))
        };
        Self::start(Arc::new(script), Duration::from_secs(5))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that arrived whole.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

struct Serving {
    script: Arc<Script>,
    keep_alive: Duration,
    clock: RunClock,
    requests: Arc<AtomicU64>,
}

impl Serving {
    async fn connection(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut buffer = Vec::new();
        loop {
            let request = tokio::time::timeout(self.keep_alive, request(&mut stream, &mut buffer));
            let Ok(Some(())) = request.await else { return };
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let (wait, reply) = (self.script)(self.clock.now_us(), number);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let written = match reply {
                Reply::Status(status) => {
                    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok");
                    stream.write_all(head.as_bytes()).await
                }
                Reply::Bytes(bytes) => {
                    let _ = stream.write_all(bytes.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                Reply::Reset => {
                    let _ = stream.set_zero_linger();
                    return;
                }
            };
            if written.is_err() {
                return;
            }
        }
    }
}

/// Reads one request to its end; what came behind it stays in the buffer.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    loop {
        if let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let whole = head + 4 + length(&buffer[..head]);
            if buffer.len() >= whole {
                buffer.drain(..whole);
                return Some(());
            }
        }
        if buffer.len() > REQUEST_BYTES || stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let found = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    found.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
