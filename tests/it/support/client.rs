//! A client on a runtime of its own, for tests that are plain functions.

use std::future::Future;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};

use super::answer::Answer;
use super::documented;
use super::server::Server;

/// Runs a test's own async part.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test)
}

/// A client of one server.
pub(crate) struct Caller {
    client: Client,
    url: String,
}

impl Caller {
    /// A client of `server` without a token.
    pub(crate) fn of(server: &Server) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { client, url: server.url().to_owned() }
    }

    /// A client of `server` whose connections come from that address of this machine.
    pub(crate) fn from_address(server: &Server, address: std::net::IpAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().local_address(address).build().unwrap();
        Self { client, url: server.url().to_owned() }
    }

    /// A request of that method and path.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request("POST", path)
    }

    /// A JSON body posted.
    pub(crate) fn post_json(&self, path: &str, body: impl Into<String>) -> RequestBuilder {
        self.post(path).header("content-type", "application/json").body(body.into())
    }

    /// A chat request of one user message, by the bearer of `token`.
    pub(crate) fn chat(&self, token: &str, thread: &str, text: &str) -> RequestBuilder {
        let message = serde_json::json!({
            "id": format!("m-{}", text.len()), "role": "user",
            "parts": [{"type": "text", "text": text}],
        });
        let body = serde_json::json!({"id": thread, "message": message});
        self.post_json("/api/chat", body.to_string()).bearer_auth(token)
    }
}

/// Sends a request and reads its whole answer, whose code must be one that its route lists.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.expect("the test wrote a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("the server answers");
    let answer = Answer::of(response).await;
    documented::check(method.as_str(), &path, answer.code());
    answer
}

/// What came of it, and how long that took.
#[expect(clippy::disallowed_methods, reason = "a real process is measured in real time")]
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, std::time::Duration) {
    let began = std::time::Instant::now();
    (work.await, began.elapsed())
}
