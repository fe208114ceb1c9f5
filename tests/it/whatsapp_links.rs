//! Linking a number, and what is written back to whoever writes.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::ledger::Ledger;
use crate::support::server::{Server, Setup};
use crate::support::stand_in::{StandIns, arm};
use crate::support::webhook::{
    accepted, delivery, delivery_of, eventually, message, receiver, refused, replayed,
};

const USER_SECRET: &str = "user-secret";
pub(crate) const NUMBER: &str = "16505551234";

/// A server that writes to stand-ins, and somebody who is signed in.
pub(crate) struct Phone {
    pub(crate) server: Server,
    pub(crate) sandbox: String,
}

impl Phone {
    pub(crate) fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let stand_ins = StandIns::start();
        let setup = receiver()
            .with_all(stand_ins.knobs())
            .with("OPENROUTER_API_KEY", "key")
            .with("WHATSAPP_ACCESS_TOKEN", "token")
            .with("AUTH_JWT_SECRET", USER_SECRET)
            .with("SESSION_SECRET", "session-secret");
        let sandbox = stand_ins.url().to_owned();
        Self { server: change(setup).start(), sandbox }
    }

    /// What the server leaves on its disk.
    fn ends(mut self) -> Ledger {
        assert_eq!(self.server.end("TERM").0, Some(0));
        Ledger::of(self.server.data())
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::of(&self.server)
    }

    /// What was written, oldest first: to whom, and what.
    pub(crate) async fn written(&self) -> Vec<(String, String)> {
        let asked = self.asked().await;
        let sent = asked.iter().filter(|seen| seen["method"] == "POST");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        sent.map(|seen| (text(&seen["body"]["to"]), text(&seen["body"]["text"]["body"]))).collect()
    }

    /// Every request that the stand-in for WhatsApp had.
    pub(crate) async fn asked(&self) -> Vec<Value> {
        self.asked_of("whatsapp_graph").await
    }

    /// Every request that the stand-in for a provider had.
    pub(crate) async fn asked_of(&self, provider: &str) -> Vec<Value> {
        let url = format!("{}/_control/requests?provider={provider}", self.sandbox);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let seen: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        seen["requests"].as_array().unwrap().clone()
    }

    /// Waits until so many messages were written.
    async fn writes(&self, count: usize) -> Vec<(String, String)> {
        eventually("messages are written", async || {
            let written = self.written().await;
            (written.len() >= count).then_some(written)
        })
        .await
    }

    async fn code(&self, user: &str) -> String {
        let given = answer(self.caller().asks_for_code(user)).await;
        assert_eq!(given.status, 200, "{given:?}");
        given.json()["code"].as_str().unwrap().to_owned()
    }

    /// Links [`NUMBER`] to a user.
    pub(crate) async fn linked(&self, user: &str) {
        let code = self.code(user).await;
        let before = self.written().await.len();
        let body = delivery(&[message(&format!("code-{code}"), &code)]);
        assert_eq!(answer(self.caller().delivers(body)).await, accepted());
        let written = self.writes(before + 1).await;
        assert_eq!(written[before], (NUMBER.to_owned(), LINKED.to_owned()));
    }
}

const LINKED: &str = "This number is linked now. Write here, and you are answered here.";
const HINT: &str = "This number is not linked to an account yet. Sign in, ask for a linking code \
    in the settings, and send the code here.";

/// In the year 2100.
const LATER: u64 = 4_102_444_800;

pub(crate) fn token(user: &str) -> String {
    let key = EncodingKey::from_secret(USER_SECRET.as_bytes());
    let claims = json!({"iss": "https://id", "sub": user, "exp": LATER});
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

impl Caller {
    fn asks_for_code(&self, user: &str) -> reqwest::RequestBuilder {
        self.post("/api/whatsapp/link-code").bearer_auth(token(user))
    }
}

#[test]
fn a_user_gets_five_codes_in_ten_minutes_and_a_session_gets_none() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        for _ in 0..5 {
            let given = answer(caller.asks_for_code("ann")).await;
            let body = given.json();
            assert_eq!(body["code"].as_str().unwrap().len(), 11, "{body}");
            assert!(body["expiresAt"].as_str().unwrap().ends_with('Z'), "{body}");
            assert_eq!(body.as_object().unwrap().len(), 2);
            let field = |answer: &Answer, name: &str| answer.headers.get(name).cloned();
            assert_eq!(field(&given, "cache-control").as_deref(), Some("no-store"));
        }
        let limited = answer(caller.asks_for_code("ann")).await;
        assert_eq!((limited.status, limited.headers.contains_key("retry-after")), (429, true));
        assert_eq!(limited.headers["x-sendcat-error-code"], "rate_limited");
        assert_eq!(answer(caller.asks_for_code("bob")).await.status, 200);
        let session = answer(caller.post("/api/sessions/anonymous")).await.json();
        let session = session["token"].as_str().unwrap();
        let asked = caller.post("/api/whatsapp/link-code").bearer_auth(session);
        let sentence = "This is for users who have signed in; sign in and try again.";
        assert_eq!(answer(asked).await, refused(403, "forbidden", sentence, &[]));
        assert_eq!(answer(caller.post("/api/whatsapp/link-code")).await.status, 401);
    });
}

#[test]
fn a_text_of_a_linked_number_is_answered_in_its_users_thread_once() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        let body = delivery(&[message("q1", "chunks 2")]);
        assert_eq!(answer(caller.delivers(body.clone())).await, accepted());
        let written = phone.writes(2).await;
        assert_eq!(answer(caller.delivers(body)).await.headers["x-idempotent-replay"], "1");
        let rows = caller.worked_off(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
        let path = format!("/api/threads/whatsapp-{NUMBER}/messages");
        let kept = answer(caller.get(&path).bearer_auth(token("ann"))).await;
        let kept = kept.json()["items"].take();
        assert_eq!(kept.as_array().unwrap().len(), 2, "{kept}");
        assert_eq!((&kept[0]["id"], &kept[0]["role"]), (&json!("q1"), &json!("user")));
        let said: String = kept[1]["parts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect();
        assert_eq!(written[1], (NUMBER.to_owned(), said.trim().to_owned()));
        assert_eq!(phone.written().await.len(), 2, "nothing is written twice");
        let other = answer(caller.get(&path).bearer_auth(token("bob"))).await;
        assert_eq!(other.status, 403);
    });
}

#[test]
fn a_code_links_one_number_once_and_a_new_one_ends_it() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    let from = |number: &str, id: &str, text: &str| {
        let mut said = message(id, text);
        said["from"] = number.into();
        delivery(&[said])
    };
    run(async {
        let old = phone.code("ann").await;
        let code = phone.code("ann").await;
        assert_eq!(answer(caller.delivers(from("1", "m1", &old))).await, accepted());
        assert_eq!(phone.writes(1).await[0], ("1".to_owned(), HINT.to_owned()));
        assert_eq!(answer(caller.delivers(from("2", "m2", &code))).await, accepted());
        assert_eq!(phone.writes(2).await[1], ("2".to_owned(), LINKED.to_owned()));
        assert_eq!(answer(caller.delivers(from("3", "m3", &code))).await, accepted());
        assert_eq!(phone.writes(3).await[2], ("3".to_owned(), HINT.to_owned()));
        // Who was told today is not told again.
        assert_eq!(answer(caller.delivers(from("3", "m4", "hello?"))).await, accepted());
        caller.worked_off(4).await;
        assert_eq!(phone.written().await.len(), 3);
    });
}

#[test]
fn a_send_that_may_have_left_is_a_dead_letter_and_goes_again_only_by_an_operator() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        arm(&phone.sandbox, "whatsapp_graph", "cut", 1).await;
        assert_eq!(answer(caller.delivers(delivery_of(["q1".into()]))).await, accepted());
        let rows = caller.worked_off(2).await;
        let dead = rows.iter().find(|row| row["status"] == "dead").expect("it is given up");
        assert_eq!((&dead["key"], &dead["attempts"]), (&json!("whatsapp_message/q1"), &json!(1)));
        let letters = caller.sees("/ops/dead-letters").await;
        let error = letters["items"][0]["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with("[conflict:whatsapp.sendText] may have been sent"), "{error}");
        let before = phone.asked().await.len();
        let path = format!("/ops/dead-letters/{}/redeliver", dead["id"].as_str().unwrap());
        assert_eq!(answer(caller.operates("POST", &path)).await.status, 204);
        let rows = caller.worked_off(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
        assert_eq!(phone.asked().await.len(), before + 1);
        // The answer was made once: what was stored is what was sent.
        let kept = caller.get(&format!("/api/threads/whatsapp-{NUMBER}/messages"));
        let kept = answer(kept.bearer_auth(token("ann"))).await.json();
        assert_eq!(kept["items"].as_array().unwrap().len(), 2, "{kept}");
    });
}

#[test]
fn a_send_that_was_refused_for_now_goes_again_by_itself() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        for (fault, id) in [("429", "q1"), ("500", "q2")] {
            arm(&phone.sandbox, "whatsapp_graph", fault, 1).await;
            assert_eq!(answer(caller.delivers(delivery_of([id.into()]))).await, accepted());
            eventually("it is done at the second attempt", async || {
                let rows = caller.inbox("?status=done").await;
                let key = format!("whatsapp_message/{id}");
                let row = rows.iter().find(|row| row["key"] == key)?;
                (row["attempts"] == 2).then_some(())
            })
            .await;
        }
        assert_eq!(phone.asked().await.len(), 5, "one to link, and two for each");
    });
}

#[test]
fn a_file_of_a_linked_number_is_fetched_and_kept_under_its_digest() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    let image = include_str!("samples/whatsapp_image.json");
    run(async {
        // Nobody's file is not fetched.
        assert_eq!(answer(caller.delivers(image)).await, accepted());
        caller.worked_off(1).await;
        assert!(phone.asked().await.is_empty());
        phone.linked("ann").await;
        let again = image.replace("wamid.", "wamid.second.");
        assert_eq!(answer(caller.delivers(again)).await, accepted());
        let rows = caller.worked_off(3).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
        let asked = phone.asked().await;
        let gets: Vec<_> = asked.iter().filter(|seen| seen["method"] == "GET").collect();
        assert_eq!(gets.len(), 2, "{gets:?}");
        let key = |seen: &Value| seen["headers"]["authorization"].clone();
        assert_eq!(key(gets[0]), key(gets[1]), "both steps have the key");
        let files = std::fs::read_dir(phone.server.data().join("media")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let bytes = std::fs::read(&files[0]).unwrap();
        let name = files[0].file_name().unwrap().to_str().unwrap();
        assert_eq!(name, sendcat::contract::signature::digest(&bytes));
    });
}

#[test]
fn with_every_worker_stalled_deliveries_are_accepted_all_the_same() {
    let phone = Phone::with(|setup| setup.with("CHAT_HEADERS_TIMEOUT_MS", 600_000));
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        arm(&phone.sandbox, "openrouter_chat", "stall_headers", 1000).await;
        let ids = (0..8).map(|number| format!("stalled-{number}"));
        assert_eq!(answer(caller.delivers(delivery_of(ids))).await, accepted());
        eventually("all workers of the source are held up", async || {
            (caller.inbox("?status=running").await.len() == 8).then_some(())
        })
        .await;
        for number in 0..50 {
            let body = delivery_of([format!("late-{number}")]);
            assert_eq!(answer(caller.delivers(body)).await, accepted());
        }
        assert_eq!(caller.inbox("?status=pending&limit=1000").await.len(), 50);
        assert_eq!(caller.inbox("?status=running").await.len(), 8);
    });
}

#[test]
fn a_status_that_comes_late_is_kept_and_moves_nothing_back() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    let status = |word: &str| {
        let sample = include_str!("samples/whatsapp_status_sent.json");
        sample.replace(r#""status":"sent""#, &format!(r#""status":"{word}""#))
    };
    run(async {
        for (nth, word) in ["delivered", "sent", "read", "melted"].into_iter().enumerate() {
            assert_eq!(answer(caller.delivers(status(word))).await, accepted(), "{word}");
            caller.worked_off(nth + 1).await;
        }
        assert_eq!(answer(caller.delivers(status("sent"))).await, replayed());
    });
    let ledger = phone.ends();
    let effects = ledger.effects.values();
    let mut moved: Vec<_> = effects
        .map(|effect| serde_json::from_slice::<Value>(effect).unwrap())
        .map(|effect| (effect["body"]["status"].clone(), effect["outcome"]["moved"].clone()))
        .map(|(status, moved)| (status.as_str().unwrap().to_owned(), moved == true))
        .collect();
    moved.sort();
    let expected = [("delivered", true), ("melted", false), ("read", true), ("sent", false)];
    assert_eq!(moved, expected.map(|(status, moved)| (status.to_owned(), moved)));
}
