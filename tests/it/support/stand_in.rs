//! The sandbox of the library on a thread of the test's own: "another stand-in" for a server that
//! was started without `--sandbox`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::client::run;
use super::server::Server;

/// Stand-ins for every provider.
pub(crate) struct StandIns {
    url: String,
    knobs: BTreeMap<String, String>,
}

impl StandIns {
    /// Starts them; they end with the test's process.
    pub(crate) fn start() -> Self {
        Self::start_at(SystemTime::UNIX_EPOCH)
    }

    /// The same, where what lasts a week lasts longer than any test.
    pub(crate) fn in_the_year_2100() -> Self {
        Self::start_at(SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800))
    }

    fn start_at(now: SystemTime) -> Self {
        let (to, started) = mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let wall = Arc::new(move || now);
                let sandbox = sendcat::sandbox::start(wall).await.expect("loopback has ports");
                to.send((sandbox.base_url(), sandbox.knobs())).expect("the test waits");
                std::future::pending::<()>().await;
            });
        });
        let (url, knobs) = started.recv().expect("the stand-ins start");
        Self { url, knobs }
    }

    /// Those of a server that was started with `--sandbox`.
    pub(crate) fn within(server: &Server) -> Self {
        Self { url: server.banner("sandbox").to_owned(), knobs: BTreeMap::new() }
    }

    /// Where they listen.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The knobs that point a server at them.
    pub(crate) fn knobs(&self) -> BTreeMap<String, String> {
        self.knobs.clone()
    }

    /// Arms a fault of a provider, so many times.
    pub(crate) fn fail(&self, provider: &str, fault: &str, times: u32) {
        control(&self.url, provider, fault, times);
    }

    /// Gives the stand-ins an order of `/_control`, and reads what they say to it.
    pub(crate) async fn order(&self, what: &str, body: &Value) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().expect("the system has CAs");
        let sent = client.post(format!("{}/_control/{what}", self.url)).json(body).send().await;
        let answer = sent.expect("the stand-ins answer");
        assert!(answer.status().is_success(), "{what}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.expect("whole")).unwrap_or_default()
    }

    /// The last requests to a provider, oldest first.
    pub(crate) async fn seen(&self, provider: &str) -> Vec<Value> {
        let url = format!("{}/_control/requests?provider={provider}", self.url);
        let client = reqwest::Client::builder().no_proxy().build().expect("the system has CAs");
        let answer = client.get(url).send().await.expect("the stand-ins answer");
        let seen: Value = answer.json().await.expect("they answer JSON");
        seen["requests"].as_array().expect("a list").clone()
    }

    /// Arms a fault of a provider within a test's async part.
    pub(crate) async fn arms(&self, provider: &str, fault: &str, times: u32) {
        arm(&self.url, provider, fault, times).await;
    }

    /// What the stand-ins count of a provider, such as `requests` and `inFlight`. Asked on a bare
    /// connection, for tests look again and again.
    pub(crate) fn count(&self, provider: &str, what: &str) -> u64 {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the stand-ins listen");
        let ask = format!("GET /_control HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).expect("they read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("they answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let answer: Value = serde_json::from_str(body).expect("they answer JSON");
        answer["providers"][provider][what].as_u64().expect("the stand-ins count it")
    }
}

/// Arms a fault of a sandbox at `url`.
pub(crate) fn control(url: &str, provider: &str, fault: &str, times: u32) {
    run(arm(url, provider, fault, times));
}

/// The same, within a test's async part.
pub(crate) async fn arm(url: &str, provider: &str, fault: &str, times: u32) {
    let body = serde_json::json!({"provider": provider, "fault": fault, "times": times});
    let client = reqwest::Client::builder().no_proxy().build().expect("the system has CAs");
    let armed = client.post(format!("{url}/_control")).json(&body).send().await;
    let status = armed.expect("the stand-ins answer").status();
    assert!(status.is_success(), "{status}");
}
