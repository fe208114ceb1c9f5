//! The sandbox of the library on a thread of the test's own: "another stand-in" for a server that
//! was started without `--sandbox`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::SystemTime;

use serde_json::Value;

use super::client::run;

/// Stand-ins for every provider.
pub(crate) struct StandIns {
    url: String,
    knobs: BTreeMap<String, String>,
}

impl StandIns {
    /// Starts them; they end with the test's process.
    pub(crate) fn start() -> Self {
        let (to, started) = mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let wall = Arc::new(|| SystemTime::UNIX_EPOCH);
                let sandbox = sendcat::sandbox::start(wall).await.expect("loopback has ports");
                to.send((sandbox.base_url(), sandbox.knobs())).expect("the test waits");
                std::future::pending::<()>().await;
            });
        });
        let (url, knobs) = started.recv().expect("the stand-ins start");
        Self { url, knobs }
    }

    /// Where they are.
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
