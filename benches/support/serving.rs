//! A serving process, the stand-in that it calls, and a client of both.

#![allow(dead_code, reason = "every bench uses a part of it")]

mod stalled;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Sessions that turns are shared out among, and turns of one: a session may have 1000 threads.
const SESSIONS: u64 = 64;
const TURNS_OF_ONE: u64 = 900;

/// What signs deliveries to the process.
pub(crate) const APP_SECRET: &str = "an app secret of this bench";

/// The clock ticks of `/proc/PID/stat` in a second, on every Linux we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that serves chats from a stand-in on a thread of the bench's own.
pub(crate) struct Serving {
    client: Client,
    url: String,
    provider: String,
    tokens: Vec<String>,
    child: Child,
    _data: TempDir,
}

impl Serving {
    /// Starts both and waits until they listen.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same on a disk that takes so much longer for each sync.
    pub(crate) async fn on_disk_slower_by(slower: Duration) -> Self {
        let fault = format!("journal:disk_slow@0:{}ms", slower.as_millis());
        match slower {
            Duration::ZERO => Self::with(&[]).await,
            _ => Self::with(&[("SENDCAT_FAULTS", &fault)]).await,
        }
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The server closes a connection that waits for 5 s; one closed just as it is used again
        // would end the bench.
        let builder = Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(2));
        let client = builder.build().expect("the system has CAs");
        let provider = stand_in();
        let data = TempDir::new().expect("there is a directory for files that pass");
        let (child, url) = process(&provider, &data, more);
        let mut serving = Self { client, url, provider, tokens: Vec::new(), child, _data: data };
        for _ in 0..SESSIONS {
            let url = format!("{}/api/sessions/anonymous", serving.url);
            let minted = serving.client.post(url).send().await.expect("the server answers");
            let session: Value = minted.json().await.expect("it answers JSON");
            let token = session["token"].as_str().expect("a session has a token");
            serving.tokens.push(token.to_owned());
        }
        serving
    }

    /// A turn: the `number`-th, in a thread of its own.
    pub(crate) fn chat(&self, number: u64, text: &str) -> RequestBuilder {
        let token = &self.tokens[usize::try_from(number / TURNS_OF_ONE % SESSIONS).unwrap_or(0)];
        let message =
            json!({"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]});
        let body = json!({"id": format!("t{number}"), "message": message});
        let url = format!("{}/api/chat", self.url);
        self.client.post(url).bearer_auth(token).json(&body)
    }

    /// The same asked of the provider.
    pub(crate) fn direct(&self, text: &str) -> RequestBuilder {
        let messages = [json!({"role": "user", "content": text})];
        let body = json!({"model": "some/model", "messages": messages, "stream": true});
        let url = format!("{}/chat/completions", self.provider);
        self.client.post(url).bearer_auth("key").json(&body)
    }

    /// Where the process listens: host and port.
    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// The processor time that the serving process has used.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Some(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
    }
}

/// What a connection asks before it waits.
const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";

impl Serving {
    /// A connection that has been used once, and waits for its next request.
    pub(crate) fn waiting(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).expect("the server listens");
        stream.write_all(LIVE).expect("the server reads");
        let mut some = [0; 4096];
        assert!(stream.read(&mut some).expect("the server answers") > 0);
        stream
    }

    /// The bytes of memory that the serving process has now.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the sandbox; its OpenRouter's address.
fn stand_in() -> String {
    let (to, started) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let wall = Arc::new(|| SystemTime::UNIX_EPOCH);
            let sandbox = sendcat::sandbox::start(wall).await.expect("loopback has ports");
            to.send(sandbox.base_url()).expect("the bench waits");
            std::future::pending::<()>().await;
        });
    });
    let url = started.recv().expect("the stand-in starts");
    format!("{url}/openrouter/api/v1")
}

fn process(provider: &str, data: &TempDir, more: &[(&str, &str)]) -> (Child, String) {
    const MANY: &str = "1000000000";
    let mut child = Command::new(env!("CARGO_BIN_EXE_sendcat"))
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SENDCAT_BIND", "127.0.0.1:0")
        .env("SENDCAT_DATA_DIR", data.path())
        .env("OPENROUTER_BASE_URL", provider)
        .env("WHATSAPP_GRAPH_BASE_URL", provider.replace("/openrouter/api/v1", "/graph"))
        .env("OPENROUTER_API_KEY", "key")
        .env("SESSION_SECRET", "a secret of this bench")
        .env("RATE_LIMIT_CHAT_STREAM_MAX", MANY)
        .env("RATE_LIMIT_ANON_IP_MAX", MANY)
        .env("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "1024")
        .env("WHATSAPP_APP_SECRET", APP_SECRET)
        .env("RATE_LIMIT_WHATSAPP_MAX", MANY)
        .env("RATE_LIMIT_WEBHOOK_SENDER_MAX", MANY)
        .env("WEBHOOK_BACKLOG_MAX", MANY)
        .envs(more.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary was built for this bench");
    let stdout = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
    let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
    (child, url.unwrap_or_else(|| panic!("it does not listen: {line:?}")))
}
