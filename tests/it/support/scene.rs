//! A server, the stand-ins that it calls, and somebody with a session: what most tests of chats
//! begin with.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::Value;

use super::answer::Answer;
use super::client::{Caller, answer, run};
use super::raw::Raw;
use super::server::{Server, Setup};
use super::stand_in::StandIns;

/// How long anything may take to become as it must be.
const PATIENCE: Duration = Duration::from_secs(20);

/// The secret that signs sessions.
pub(crate) const SESSION_SECRET: &str = "session-secret";

/// See the module.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) stand_ins: StandIns,
    pub(crate) caller: Caller,
    /// Of a session.
    pub(crate) token: String,
}

impl Scene {
    /// With these knobs besides keys and addresses; a later one wins.
    pub(crate) fn with(knobs: &[(&str, &str)]) -> Self {
        let stand_ins = StandIns::start();
        let mut setup = Setup::bare()
            .with_all(stand_ins.knobs())
            .with("OPENROUTER_API_KEY", "key")
            .with("SERPER_API_KEY", "key")
            .with("SESSION_SECRET", SESSION_SECRET)
            .with("OPS_TOKEN", "ops");
        for (knob, value) in knobs {
            setup = setup.with(knob, value);
        }
        let server = setup.start();
        let caller = Caller::of(&server);
        let token = session(&caller);
        Self { server, stand_ins, caller, token }
    }

    /// `serve --sandbox`, as somebody who tries it has it: its own stand-ins and its own session.
    pub(crate) fn sandboxed() -> Self {
        let server = Setup::sandbox().with("OPS_TOKEN", "ops").start();
        let (stand_ins, caller) = (StandIns::within(&server), Caller::of(&server));
        let token = server.banner("chat token").to_owned();
        Self { server, stand_ins, caller, token }
    }

    /// Asks a question in a thread.
    pub(crate) fn ask(&self, thread: &str, text: &str) -> Answer {
        get(self.caller.chat(&self.token, thread, text))
    }

    /// Sends a body to the chat.
    pub(crate) fn post(&self, body: &Value) -> Answer {
        get(self.caller.post_json("/api/chat", body.to_string()).bearer_auth(&self.token))
    }

    /// The messages of a thread, which must be there.
    pub(crate) fn messages(&self, thread: &str) -> Vec<Value> {
        let path = format!("/api/threads/{thread}/messages");
        let page = get(self.caller.get(&path).bearer_auth(&self.token));
        assert_eq!(page.status, 200, "{page:?}");
        page.json()["items"].as_array().expect("a page has items").clone()
    }

    /// Asks a question on a bare connection, with these lines of headers besides.
    pub(crate) fn raw(&self, thread: &str, text: &str, lines: &[&str]) -> Raw {
        let message =
            serde_json::json!({"role": "user", "parts": [{"type": "text", "text": text}]});
        let body = serde_json::json!({"id": thread, "message": message}).to_string();
        let mut all = vec![format!("authorization: Bearer {}", self.token)];
        all.extend(lines.iter().map(|line| (*line).to_owned()));
        Raw::post(self.server.url(), "/api/chat", &all, &body)
    }

    /// What an operator is answered.
    pub(crate) fn operates(&self, method: &str, path: &str) -> Answer {
        get(self.caller.request(method, path).bearer_auth("ops"))
    }

    /// What an operator sees at a path.
    #[track_caller]
    pub(crate) fn sees(&self, path: &str) -> Value {
        let seen = self.operates("GET", path);
        assert_eq!(seen.status, 200, "{seen:?}");
        seen.json()
    }

    /// What operators see now.
    pub(crate) fn snapshot(&self) -> Value {
        self.sees("/ops/snapshot")
    }

    /// Waits until nothing is in flight: at the stand-ins, and in the server's
    /// bulkheads; how long that took.
    #[track_caller]
    pub(crate) fn settles(&self) -> Duration {
        let free = |provider| {
            until(&format!("{provider} has nothing in flight"), || {
                let slots = self.snapshot()["bulkheads"][provider]["inFlight"].as_u64();
                self.stand_ins.count(provider, "inFlight") == 0 && slots == Some(0)
            })
        };
        let tools = ["serper_search", "serpapi_shopping", "ebay_browse"];
        free("openrouter_chat") + tools.into_iter().map(free).sum::<Duration>()
    }

    /// Has so many questions answered, ten at once, each of these in a thread of its own: what was
    /// called pays for what is called again.
    pub(crate) fn have_called(&self, times: usize) {
        for begin in (0..times).step_by(10) {
            let asked = (begin..times.min(begin + 10)).map(|number| {
                let thread = format!("called-{}", number % 10);
                answer(self.caller.chat(&self.token, &thread, "chunks 1"))
            });
            for answered in run(futures_util::future::join_all(asked)) {
                assert_eq!(answered.status, 200, "{answered:?}");
            }
        }
    }

    /// How many requests the model's stand-in has had.
    pub(crate) fn model_calls(&self) -> u64 {
        self.stand_ins.count("openrouter_chat", "requests")
    }
}

/// Sends a request and reads its whole answer.
pub(crate) fn get(request: RequestBuilder) -> Answer {
    run(answer(request))
}

/// A new session's token.
pub(crate) fn session(caller: &Caller) -> String {
    let session = get(caller.post("/api/sessions/anonymous"));
    assert_eq!(session.status, 200, "{session:?}");
    session.json()["token"].as_str().expect("a session has a token").to_owned()
}

/// What that gives, and how long it took.
#[expect(clippy::disallowed_methods, reason = "a real process answers in real time")]
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let given = what();
    (given, began.elapsed())
}

/// Asks again and again until it is so; how long that took.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a real process is waited for in real time")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never came about that {what}");
        // What is waited for needs the processor, too.
        std::thread::yield_now();
    }
    began.elapsed()
}
