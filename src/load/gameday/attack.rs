//! Faults that a client makes: callers that hang up, that crawl, that hold on, that repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::server::Target;
use super::tally::Tally;
use super::traffic::{End, WEBHOOK, chat_body, deliver, delivery};

mod alarm;

/// Connections that crawl.
const CRAWLERS: usize = 50;

/// Connections that are held open.
const HELD: usize = 512;

/// Duplicates a second, and how many of them at once.
const DUPLICATES: u64 = 100;
const AT_ONCE: u64 = 20;

/// A fault that is being made. Dropped, it is over.
pub struct Attack {
    over: Arc<AtomicBool>,
    witness: Arc<AtomicU64>,
}

/// What each of them is given.
struct Means {
    target: Target,
    over: Arc<AtomicBool>,
    witness: Arc<AtomicU64>,
    ends: mpsc::Sender<End>,
    run: String,
}

impl Attack {
    /// Begins the fault of that name; `None` if a client makes no such.
    pub fn begin(
        fault: &str,
        target: &Target,
        ends: &mpsc::Sender<End>,
        run: &str,
    ) -> Option<Self> {
        let (over, witness) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let means = Means {
            target: target.clone(),
            over: Arc::clone(&over),
            witness: Arc::clone(&witness),
            ends: ends.clone(),
            run: run.to_owned(),
        };
        match fault {
            "client.disconnect_storm" => drop(tokio::spawn(hang_up(means))),
            "client.slowloris" => drop(tokio::spawn(crawl(means))),
            "fd.exhaust" => drop(tokio::spawn(hold(means))),
            "cpu.hog" => burn(&means),
            "sentry.down" => drop(tokio::spawn(alarm::alarm(means))),
            "webhook.replay_surge" => drop(tokio::spawn(repeat(means))),
            _ => return None,
        }
        Some(Self { over, witness })
    }

    /// How often it has bitten.
    pub fn struck(&self) -> u64 {
        self.witness.load(Ordering::Acquire)
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }

    /// Ends it.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.end();
    }
}

impl Means {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Acquire)
    }

    fn struck(&self) {
        // What was begun before the end is no sign of a fault that goes on.
        if self.goes_on() {
            self.witness.fetch_add(1, Ordering::AcqRel);
        }
    }

    async fn connect(&self) -> Option<TcpStream> {
        let base = &self.target.base;
        let address = (base.host_str()?.to_owned(), base.port_or_known_default()?);
        let connecting = TcpStream::connect(address);
        tokio::time::timeout(Duration::from_secs(1), connecting).await.ok()?.ok()
    }

    async fn pause(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

async fn hang_up(means: Means) {
    let body = chat_body(&format!("gameday-storm-{}", means.run));
    let token = means.target.chat.as_ref().map_or("", |token| token.expose());
    let request = format!(
        "POST /api/chat HTTP/1.1\r\nhost: sendcat\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    while means.goes_on() {
        if let Some(mut stream) = means.connect().await
            && stream.write_all(request.as_bytes()).await.is_ok()
        {
            means.pause(20).await;
            means.struck();
        }
        means.pause(30).await;
    }
}

async fn crawl(means: Means) {
    let head = format!("POST {WEBHOOK} HTTP/1.1\r\nhost: sendcat\r\nx-slow: ");
    let mut crawlers = Vec::with_capacity(CRAWLERS);
    while means.goes_on() {
        while crawlers.len() < CRAWLERS {
            let Some(mut stream) = means.connect().await else { break };
            if stream.write_all(head.as_bytes()).await.is_ok() {
                crawlers.push(stream);
            }
        }
        let mut left = Vec::with_capacity(crawlers.len());
        for mut stream in crawlers {
            // One that was closed on us makes room for another.
            if stream.write_all(b"x").await.is_ok() {
                means.struck();
                left.push(stream);
            }
        }
        crawlers = left;
        means.pause(1_000).await;
    }
}

async fn hold(means: Means) {
    let mut held = Vec::with_capacity(HELD);
    while means.goes_on() {
        while held.len() < HELD && means.goes_on() {
            let Some(stream) = means.connect().await else { break };
            held.push(stream);
            means.struck();
        }
        means.pause(200).await;
    }
}

/// Keeps every processor busy.
fn burn(means: &Means) {
    const ROUND: u64 = 10_000_000;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for _ in 0..processors {
        let (over, witness) = (Arc::clone(&means.over), Arc::clone(&means.witness));
        std::thread::spawn(move || {
            let mut sum = 0_u64;
            while !over.load(Ordering::Acquire) {
                sum = (0..ROUND).fold(sum, |sum, nth| std::hint::black_box(sum.wrapping_add(nth)));
                if !over.load(Ordering::Acquire) {
                    witness.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
    }
}

async fn repeat(means: Means) {
    let Ok(client) = Client::builder().no_proxy().build() else { return };
    let body = delivery(&format!("gameday-surge-{}", means.run));
    while means.goes_on() && !deliver(&client, &means.target, body.clone()).await.accepted {
        means.pause(100).await;
    }
    while means.goes_on() {
        for _ in 0..DUPLICATES / AT_ONCE {
            let one = || deliver(&client, &means.target, body.clone());
            for answer in join_all((0..AT_ONCE).map(|_| one())).await {
                let unreplayed = u64::from(answer.accepted && !answer.replayed);
                let tally = Tally { unreplayed, ..answer.tally };
                drop(means.ends.try_send(End { scenario: "attack", tally }));
                means.struck();
            }
        }
        means.pause(1_000).await;
    }
}
