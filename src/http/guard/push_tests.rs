//! Every way in which the token of a push can be wrong, and those in which it is right.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::config::Secret;

/// In the year 2100.
const LATER: u64 = 4_102_444_800;
const AUDIENCE: &str = "https://api.example/api/gmail/push";
const ACCOUNT: &str = "push@project.iam.gserviceaccount.com";

static MADE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/it/samples/jwt_keys.json")).unwrap()
});

/// Knows the keys `rsa` and `ec`; `down` cannot be had. Counts how often it was asked.
#[derive(Default)]
struct Keys(AtomicU64);

impl KeySource for Keys {
    fn key(&self, kid: Option<String>) -> BoxFuture<'static, Result<DecodingKey, NoKey>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let made = |name: &str| {
            let jwk: jsonwebtoken::jwk::Jwk =
                serde_json::from_value(MADE[name]["jwk"].clone()).unwrap();
            Ok(DecodingKey::from_jwk(&jwk).unwrap())
        };
        let key = match kid.as_deref() {
            Some(name @ ("rsa" | "ec")) => made(name),
            Some("down") => Err(NoKey::Unavailable),
            Some(_) | None => Err(NoKey::Unknown),
        };
        Box::pin(std::future::ready(key))
    }
}

fn google() -> Google {
    Google {
        client_id: None,
        client_secret: None,
        auth_url: String::new(),
        token_url: String::new(),
        gmail_base_url: String::new(),
        jwks_url: String::new(),
        redirect_url: None,
        push_topic: None,
        push_audience: Some(AUDIENCE.into()),
        push_service_account: Some(ACCOUNT.into()),
        push_subscriptions: Vec::new(),
        push_tokens: vec![Secret::new("shared")],
    }
}

fn claims() -> Value {
    json!({
        "aud": AUDIENCE, "azp": "1", "email": ACCOUNT, "email_verified": true, "sub": "1",
        "iss": "https://accounts.google.com", "iat": LATER - 3600, "exp": LATER,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let private =
        |name: &str| BASE64_STANDARD.decode(MADE[name]["private"].as_str().unwrap()).unwrap();
    let key = if algorithm == Algorithm::ES256 {
        EncodingKey::from_ec_der(&private("ec"))
    } else if algorithm == Algorithm::HS256 {
        EncodingKey::from_secret(b"shared")
    } else {
        EncodingKey::from_rsa_der(&private("rsa"))
    };
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

fn token(claims: &Value) -> String {
    signed(Algorithm::RS256, Some("rsa"), claims)
}

fn ours(google: &Google, shared: Option<&str>, bearer: Option<&str>) -> bool {
    let keys = Keys::default();
    let sender = sender(google, Some(&keys), shared, bearer);
    sender.now_or_never().expect("nothing is waited for").is_some()
}

fn bears(token: &str) -> bool {
    ours(&google(), None, Some(token))
}

#[test]
fn a_push_of_our_service_account_is_ours() {
    assert!(bears(&token(&claims())));
    let good = [
        ("iss", json!("accounts.google.com")),
        // "May be up to an hour old", and older for all we care: it ends when it says.
        ("iat", json!(1)),
        ("iat", Value::Null),
        ("sub", Value::Null),
        ("aud", json!(["x", AUDIENCE])),
    ];
    for (name, value) in good {
        assert!(bears(&token(&with(name, value.clone()))), "{name}: {value}");
    }
}

#[test]
fn a_token_with_anything_wrong_is_not() {
    let bad = [
        ("aud", json!("https://other.example/api/gmail/push")),
        ("aud", Value::Null),
        ("iss", json!("https://accounts.google.com.evil.example")),
        ("iss", Value::Null),
        ("email", json!("other@project.iam.gserviceaccount.com")),
        ("email", Value::Null),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("email_verified", json!(1)),
        ("email_verified", Value::Null),
        ("exp", json!(1)),
        ("exp", Value::Null),
        ("nbf", json!(LATER)),
    ];
    for (name, value) in bad {
        assert!(!bears(&token(&with(name, value.clone()))), "{name}: {value}");
    }
}

#[test]
fn the_token_does_not_choose_how_it_is_checked() {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let good = token(&claims());
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let other = token(&with("email", json!("other@example.com")));
    let other_body = other.split('.').nth(1).unwrap();
    let forged = [
        format!("{}.{body}.", part(r#"{"alg":"none","kid":"rsa"}"#)),
        format!("{}.{body}.{signature}", part(r#"{"alg":"RS256","kid":"unknown"}"#)),
        format!("{head}.{other_body}.{signature}"),
        format!("{head}.{body}.{}", &signature[1..]),
        format!("{head}.{body}"),
        String::new(),
        signed(Algorithm::RS256, None, &claims()),
        signed(Algorithm::RS256, Some("ec"), &claims()),
        signed(Algorithm::RS256, Some("down"), &claims()),
        signed(Algorithm::RS384, Some("rsa"), &claims()),
        signed(Algorithm::ES256, Some("ec"), &claims()),
        signed(Algorithm::HS256, Some("rsa"), &claims()),
    ];
    for token in forged {
        assert!(!bears(&token), "{token}");
    }
    let mut header = Header::new(Algorithm::RS256);
    (header.kid, header.crit) = (Some("rsa".into()), Some(vec!["exp".into()]));
    let private = BASE64_STANDARD.decode(MADE["rsa"]["private"].as_str().unwrap()).unwrap();
    let key = EncodingKey::from_rsa_der(&private);
    assert!(!bears(&jsonwebtoken::encode(&header, &claims(), &key).unwrap()));
}

#[test]
fn a_token_of_another_kind_has_no_key_looked_for() {
    let keys = Keys::default();
    for token in [signed(Algorithm::HS256, Some("rsa"), &claims()), "x.y.z".to_owned()] {
        let google = google();
        let asked = sender(&google, Some(&keys), None, Some(&token)).now_or_never();
        assert_eq!(asked, Some(None));
    }
    assert_eq!(keys.0.load(Ordering::Relaxed), 0);
}

#[test]
fn half_a_configuration_believes_no_token() {
    let good = token(&claims());
    let no_audience = Google { push_audience: None, ..google() };
    let no_account = Google { push_service_account: None, ..google() };
    for google in [no_audience, no_account] {
        assert!(!ours(&google, None, Some(&good)));
        assert!(ours(&google, Some("shared"), Some(&good)));
    }
    let google = google();
    let without_keys = sender(&google, None, None, Some(&good)).now_or_never();
    assert_eq!(without_keys, Some(None));
}

#[test]
fn either_the_shared_token_or_the_signed_one_is_enough() {
    let good = token(&claims());
    let table = [
        (Some("shared"), None, true),
        (Some("shared"), Some("junk"), true),
        (Some("wrong"), Some(good.as_str()), true),
        (None, Some(good.as_str()), true),
        (Some("wrong"), None, false),
        (Some(""), None, false),
        (None, None, false),
        (None, Some("shared"), false),
    ];
    for (shared, bearer, expected) in table {
        assert_eq!(ours(&google(), shared, bearer), expected, "{shared:?} {}", bearer.is_some());
    }
}

#[test]
fn a_sender_is_who_has_signed_or_the_shared_token() {
    let (google, keys, good) = (google(), Keys::default(), token(&claims()));
    let of = |shared, bearer| sender(&google, Some(&keys), shared, bearer).now_or_never();
    assert_eq!(of(None, Some(&good)), Some(Some(ACCOUNT)));
    assert_eq!(of(Some("shared"), Some(&good)), Some(Some("shared token")));
}

#[test]
fn where_none_is_listed_every_subscription_is_and_else_those_alone() {
    assert!(is_listed(&google(), None) && is_listed(&google(), Some("any")));
    let listed = Google { push_subscriptions: vec!["a".into(), "b".into()], ..google() };
    for (name, expected) in
        [(Some("a"), true), (Some("b"), true), (Some("c"), false), (Some(""), false), (None, false)]
    {
        assert_eq!(is_listed(&listed, name), expected, "{name:?}");
    }
}
