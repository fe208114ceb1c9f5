//! Pushes that Google has signed, and pushes that nobody can read.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::webhook::{OPS_TOKEN, accepted, forbidden, push_of, receiver, replayed};

const AUDIENCE: &str = "https://api.example/api/gmail/push";
const ACCOUNT: &str = "push@project.iam.gserviceaccount.com";

/// In the year 2100.
const LATER: u64 = 4_102_444_800;

fn made() -> Value {
    serde_json::from_str(include_str!("samples/jwt_keys.json")).unwrap()
}

/// Serves Google's keys: one RSA key, by the name `first`, and later by another.
struct KeyServer {
    url: String,
    fetches: Arc<AtomicU64>,
    name: Arc<AtomicU64>,
}

impl KeyServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/certs", listener.local_addr().unwrap());
        let (fetches, name) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
        let (counted, named) = (Arc::clone(&fetches), Arc::clone(&name));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                serve(stream, named.load(Ordering::SeqCst));
            }
        });
        Self { url, fetches, name }
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, name: u64) {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
            Ok(_) | Err(_) => return,
        }
    }
    let mut key = made()["rsa"]["jwk"].clone();
    key["kid"] = json!(format!("key-{name}"));
    let body = json!({ "keys": [key] }).to_string();
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes());
}

/// A server that believes Google, and no shared token.
fn believer(keys: &str) -> Setup {
    Setup::bare()
        .with("OPS_TOKEN", OPS_TOKEN)
        // RSA takes a debug build long enough to keep the limiter's shards on its thread waiting.
        .with("SENDCAT_SHARD_PLACEMENT", "dedicated")
        .with("RATE_LIMIT_GMAIL_PUSH_MAX", 100_000)
        .with("GOOGLE_JWKS_URL", keys)
        .with("GMAIL_PUSH_AUDIENCE", AUDIENCE)
        .with("GMAIL_PUSH_SERVICE_ACCOUNT", ACCOUNT)
}

fn token(kid: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "aud": AUDIENCE, "azp": "1", "email": ACCOUNT, "email_verified": true, "sub": "1",
        "iss": "https://accounts.google.com", "iat": 1, "exp": LATER,
    });
    change(&mut claims);
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(kid.to_owned());
    let private = BASE64_STANDARD.decode(made()["rsa"]["private"].as_str().unwrap()).unwrap();
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_rsa_der(&private)).unwrap()
}

fn pushes(caller: &Caller, history: u64, token: &str) -> RequestBuilder {
    caller.post_json("/api/gmail/push", push_of("a@b.example", history)).bearer_auth(token)
}

#[test]
fn google_signs_pushes_and_its_keys_are_fetched_once() {
    let google = KeyServer::start();
    let server = believer(&google.url).start();
    let caller = Caller::of(&server);
    run(async {
        let good = token("key-1", |_| ());
        let first = (0..8).map(|history| answer(pushes(&caller, history, &good)));
        for pushed in futures_util::future::join_all(first).await {
            assert_eq!(pushed, accepted());
        }
        assert_eq!(answer(pushes(&caller, 7, &good)).await, replayed());
        let bad = [
            token("key-1", |claims| claims["aud"] = json!("https://other.example")),
            token("key-1", |claims| claims["email"] = json!("other@example.com")),
            token("key-1", |claims| claims["email_verified"] = json!(false)),
            token("key-1", |claims| claims["iss"] = json!("https://evil.example")),
            token("key-1", |claims| claims["exp"] = json!(1)),
            good[..good.len() - 2].to_owned(),
        ];
        for token in bad {
            assert_eq!(answer(pushes(&caller, 99, &token)).await, forbidden());
        }
        // A thousand names of keys that nobody has make nobody fetch within the cooldown.
        let unknown = (0..50).map(|it| token(&format!("unknown-{it}"), |_| ()));
        let unknown: Vec<_> = unknown.collect();
        for pushed in
            futures_util::future::join_all(unknown.iter().map(|it| answer(pushes(&caller, 99, it))))
                .await
        {
            assert_eq!(pushed, forbidden());
        }
        assert_eq!(google.fetches(), 1);
        let none = caller.post_json("/api/gmail/push?token=x", push_of("a@b.example", 99));
        assert_eq!(answer(none).await, forbidden());
        assert_eq!(caller.worked_off(8).await.len(), 8);
    });
    let (_, log) = server.end_by("TERM");
    assert!(!log.contains("eyJ"), "no token is in the log");
}

#[test]
fn a_key_of_another_name_is_fetched_by_a_new_process() {
    let google = KeyServer::start();
    let mut server = believer(&google.url).start();
    let caller = Caller::of(&server);
    let good = token("key-1", |_| ());
    run(async { assert_eq!(answer(pushes(&caller, 1, &good)).await, accepted()) });
    google.name.store(2, Ordering::SeqCst);
    server.kill_and_restart();
    let caller = Caller::of(&server);
    run(async {
        assert_eq!(answer(pushes(&caller, 2, &token("key-2", |_| ()))).await, accepted());
        assert_eq!(answer(pushes(&caller, 2, &good)).await, forbidden());
    });
    assert_eq!(google.fetches(), 2);
}

#[test]
fn without_googles_keys_or_half_of_what_must_be_set_no_signed_push_is_believed() {
    let good = token("key-1", |_| ());
    let google = KeyServer::start();
    for setup in [
        believer("http://127.0.0.1:1/certs"),
        believer(&google.url).with("GMAIL_PUSH_SERVICE_ACCOUNT", ""),
        believer(&google.url).with("GMAIL_PUSH_AUDIENCE", ""),
    ] {
        let server = setup.start();
        let caller = Caller::of(&server);
        run(async { assert_eq!(answer(pushes(&caller, 1, &good)).await, forbidden()) });
    }
    assert_eq!(google.fetches(), 0);
}

#[test]
fn a_push_that_nobody_can_read_is_a_dead_letter_at_its_fifth_try() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let bad = json!({"message": {"data": "%%%", "messageId": "1"}, "subscription": "s"});
        let bad = bad.to_string();
        for _ in 0..4 {
            assert_eq!(answer(caller.pushes(bad.clone())).await.code(), Some("invalid_request"));
        }
        assert_eq!(caller.inbox("").await, Vec::<Value>::new());
        assert_eq!(answer(caller.pushes(bad.clone())).await, accepted());
        assert_eq!(answer(caller.pushes(bad)).await, replayed());
        // Another is counted by itself, be it no JSON at all.
        for _ in 0..4 {
            assert_eq!(answer(caller.pushes("{")).await.code(), Some("invalid_json"));
        }
        assert_eq!(answer(caller.pushes("{")).await, accepted());
        // Pub/Sub may know that it is the fifth.
        let fifth = json!({"message": {}, "subscription": "s", "deliveryAttempt": 5});
        assert_eq!(answer(caller.pushes(fifth.to_string())).await, accepted());
        let rows = caller.worked_off(3).await;
        for row in &rows {
            assert_eq!((&row["status"], &row["attempts"]), (&json!("dead"), &json!(1)), "{row}");
            assert!(row["key"].as_str().unwrap().starts_with("gmail_push_poison/"), "{row}");
        }
        for letter in caller.sees("/ops/dead-letters").await["items"].as_array().unwrap() {
            let why = letter["error"].as_str().unwrap();
            assert!(why.starts_with("[invalid_function_args:gmail.processPush] "), "{why}");
        }
        // Nobody without a token makes dead letters.
        for _ in 0..6 {
            let stranger = caller.post_json("/api/gmail/push?token=x", "[]");
            assert_eq!(answer(stranger).await, forbidden());
        }
        assert_eq!(caller.inbox("").await.len(), 3);
    });
}
