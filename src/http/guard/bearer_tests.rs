//! Every way in which a token can be wrong, and the few in which it is right.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::*;
use crate::config::Secret;

/// In the year 2100.
const LATER: u64 = 4_102_444_800;

/// Made for tests, and good for nothing else: the private keys as DER, the public ones as JWK.
static MADE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/it/samples/jwt_keys.json")).unwrap()
});

fn public(name: &str) -> DecodingKey {
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(MADE[name]["jwk"].clone()).unwrap();
    DecodingKey::from_jwk(&jwk).unwrap()
}

fn private(name: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(MADE[name]["private"].as_str().unwrap()).unwrap()
}

/// Knows a key `rsa` and a key `ec`; `down` cannot be had.
struct Keys;

impl KeySource for Keys {
    fn key(&self, kid: Option<String>) -> BoxFuture<'static, Result<DecodingKey, NoKey>> {
        let key = match kid.as_deref() {
            Some("rsa") => Ok(public("rsa")),
            Some("ec") => Ok(public("ec")),
            Some("down") => Err(NoKey::Unavailable),
            Some(_) | None => Err(NoKey::Unknown),
        };
        Box::pin(std::future::ready(key))
    }
}

fn settings() -> config::Auth {
    config::Auth {
        session_secret: Some(Secret::new("session-secret")),
        jwt_secret: Some(Secret::new("user-secret")),
        jwks_url: Some("https://id.example/keys".into()),
        jwks_algorithms: vec!["RS256".into(), "ES256".into()],
        issuer: Some("https://id.example".into()),
        audience: Some("sendcat-web".into()),
    }
}

fn asked(settings: &config::Auth, token: &str) -> Result<Caller, ErrorCode> {
    let authorization = format!("Bearer {token}");
    let auth = Auth::new(settings);
    let caller = auth.caller(Some(&authorization), Some(&Keys)).now_or_never();
    caller.expect("nothing is waited for").map_err(|refusal| refusal.code())
}

fn caller(token: &str) -> Result<Caller, ErrorCode> {
    asked(&settings(), token)
}

fn token(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let key = if algorithm == Algorithm::ES256 {
        EncodingKey::from_ec_der(&private("ec"))
    } else {
        EncodingKey::from_rsa_der(&private("rsa"))
    };
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

static GOOD: LazyLock<Value> = LazyLock::new(
    || json!({"iss": "https://id.example", "aud": ["x", "sendcat-web"], "sub": "u1", "exp": LATER}),
);

const BAD: Result<Caller, ErrorCode> = Err(ErrorCode::Unauthorized);

fn user() -> Result<Caller, ErrorCode> {
    Ok(Caller::User { subject: "u1".into() })
}

/// A token of that head and these claims, with these bytes where a signature stands.
fn forged(head: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (head, claims) = (head.to_string(), GOOD.to_string());
    format!("{}.{}.{}", part(head.as_bytes()), part(claims.as_bytes()), part(signature))
}

#[test]
fn a_minted_session_is_its_own_caller() {
    let now = UNIX_EPOCH + Duration::from_secs(LATER - SESSION_SECONDS);
    let session = Auth::new(&settings()).mint(now).unwrap();
    let expected = Caller::Anonymous { session_id: session.session_id.clone() };
    assert_eq!(caller(&session.token), Ok(expected));
    assert_eq!(session.expires_at, "2100-01-01T00:00:00.000Z");
    let shown: Value = {
        let claims = session.token.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    };
    let subject = format!("anon:{}", session.session_id);
    assert_eq!(shown, json!({"iss": "sendcat", "sub": subject, "exp": LATER}));
}

#[test]
fn each_way_of_signing_that_is_configured_is_good() {
    assert_eq!(caller(&token("user-secret", &GOOD)), user());
    assert_eq!(caller(&signed(Algorithm::RS256, Some("rsa"), &GOOD)), user());
    assert_eq!(caller(&signed(Algorithm::ES256, Some("ec"), &GOOD)), user());
}

#[test]
fn the_claims_count_whole_whatever_signed_them() {
    let with = |name: &str, value: &Value| {
        let mut claims = GOOD.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
        claims
    };
    #[expect(clippy::disallowed_methods, reason = "tokens are checked by the wall clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (name, value, good) in [
        ("iss", json!("sendcat"), false),
        ("iss", json!("https://other.example"), false),
        ("iss", json!("https://id.example/"), false),
        ("iss", Value::Null, false),
        ("aud", json!("sendcat-web"), true),
        ("aud", json!("other"), false),
        ("aud", json!(["other"]), false),
        ("aud", json!([]), false),
        ("aud", Value::Null, false),
        ("exp", json!(1), false),
        // Two clocks may be a minute apart.
        ("exp", json!(now - 30), true),
        ("exp", json!(now - 90), false),
        ("exp", json!("tomorrow"), false),
        ("exp", Value::Null, false),
        ("nbf", json!(LATER), false),
        ("nbf", json!(now + 30), true),
        ("nbf", json!(now + 120), false),
        ("sub", json!(""), false),
        ("sub", json!("x".repeat(257)), false),
        ("sub", json!(7), false),
        ("sub", Value::Null, false),
    ] {
        let claims = with(name, &value);
        for token in [
            token("user-secret", &claims),
            signed(Algorithm::RS256, Some("rsa"), &claims),
            signed(Algorithm::ES256, Some("ec"), &claims),
        ] {
            assert_eq!(caller(&token), if good { user() } else { BAD }, "{name}: {value}");
        }
    }
}

#[test]
fn a_signature_counts_for_its_own_key_only() {
    assert_eq!(caller(&token("other-secret", &GOOD)), BAD);
    assert_eq!(caller(&signed(Algorithm::RS256, Some("ec"), &GOOD)), BAD, "a key of another kind");
    assert_eq!(caller(&signed(Algorithm::ES256, Some("rsa"), &GOOD)), BAD, "a key of another kind");
    assert_eq!(caller(&signed(Algorithm::RS256, Some("unknown"), &GOOD)), BAD);
    assert_eq!(caller(&signed(Algorithm::RS256, None, &GOOD)), BAD);
    for token in [
        token("user-secret", &GOOD),
        signed(Algorithm::RS256, Some("rsa"), &GOOD),
        signed(Algorithm::ES256, Some("ec"), &GOOD),
    ] {
        let (said, signature) = token.rsplit_once('.').unwrap();
        let (head, claims) = said.split_once('.').unwrap();
        let flipped = if claims.starts_with('e') { "f" } else { "e" };
        for broken in [
            said.to_owned(),
            format!("{said}."),
            format!("{token}A"),
            format!("{token}.{signature}"),
            format!("{head}.{flipped}{}.{signature}", &claims[1..]),
            format!("{head}..{signature}"),
            format!(".{claims}.{signature}"),
            format!(" {head}.{claims} .{signature}"),
        ] {
            assert_eq!(caller(&broken), BAD, "{broken}");
        }
    }
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    for head in [
        json!({"alg": "none"}),
        json!({"alg": "None", "kid": "rsa"}),
        json!({"alg": ""}),
        json!({"typ": "JWT"}),
        json!({"alg": ["HS256"]}),
    ] {
        assert_eq!(caller(&forged(&head, b"")), BAD, "{head}");
    }
    // A public key is known to all: as a shared secret it would let anybody sign.
    for (kid, member) in [("rsa", "n"), ("ec", "x")] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        let public = BASE64_URL_SAFE_NO_PAD.decode(MADE[kid]["jwk"][member].as_str().unwrap());
        let key = EncodingKey::from_secret(&public.unwrap());
        assert_eq!(caller(&jsonwebtoken::encode(&header, &*GOOD, &key).unwrap()), BAD);
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        assert_eq!(caller(&signed(algorithm, Some("rsa"), &GOOD)), BAD, "{algorithm:?}");
    }
    let hs512 = jsonwebtoken::encode(
        &Header::new(Algorithm::HS512),
        &*GOOD,
        &EncodingKey::from_secret(b"user-secret"),
    );
    assert_eq!(caller(&hs512.unwrap()), BAD);
}

#[test]
fn what_is_not_configured_is_not_good_however_well_it_is_signed() {
    let tokens = [
        ("HS256", token("user-secret", &GOOD)),
        ("RS256", signed(Algorithm::RS256, Some("rsa"), &GOOD)),
        ("ES256", signed(Algorithm::ES256, Some("ec"), &GOOD)),
    ];
    for configured in ["HS256", "RS256", "ES256"] {
        let shared = configured == "HS256";
        let only = config::Auth {
            jwt_secret: settings().jwt_secret.filter(|_| shared),
            jwks_algorithms: if shared { vec![] } else { vec![configured.into()] },
            ..settings()
        };
        for (algorithm, token) in &tokens {
            let expected = if *algorithm == configured { user() } else { BAD };
            assert_eq!(asked(&only, token), expected, "{algorithm} where {configured} is set");
        }
    }
    let nothing = config::Auth { session_secret: None, jwt_secret: None, ..settings() };
    let auth = Auth::new(&nothing);
    let asked = auth.caller(Some("Bearer x"), None).now_or_never().unwrap();
    assert_eq!(asked.unwrap_err().code(), ErrorCode::Misconfigured);
}

#[test]
fn a_key_in_the_token_or_behind_an_address_is_not_looked_at() {
    let own = BASE64_URL_SAFE_NO_PAD.encode([9; 32]);
    for (name, value) in [
        ("jwk", json!({"kty": "oct", "k": own})),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
    ] {
        let mut head = json!({"alg": "RS256", "kid": "unknown"});
        head[name] = value;
        assert_eq!(caller(&forged(&head, &[1; 256])), BAD, "{head}");
    }
}

#[test]
fn what_must_be_understood_and_is_not_makes_a_token_bad() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".into()]);
    let key = EncodingKey::from_secret(b"user-secret");
    assert_eq!(caller(&jsonwebtoken::encode(&header, &*GOOD, &key).unwrap()), BAD);
}

#[test]
fn where_no_keys_can_be_had_the_token_is_not_called_bad() {
    let down = signed(Algorithm::RS256, Some("down"), &GOOD);
    assert_eq!(caller(&down), Err(ErrorCode::UpstreamUnavailable));
}

#[test]
fn a_user_cannot_pass_for_a_session_nor_a_session_for_a_user() {
    let subject = format!("anon:{}", "0".repeat(32));
    let claims = json!({
        "iss": "sendcat", "aud": "sendcat-web", "sub": subject, "exp": LATER,
    });
    assert_eq!(caller(&token("user-secret", &claims)), BAD);
    assert_eq!(caller(&signed(Algorithm::RS256, Some("rsa"), &claims)), BAD);
    let session = Caller::Anonymous { session_id: "0".repeat(32) };
    assert_eq!(caller(&token("session-secret", &claims)), Ok(session));
    let user = json!({"iss": "sendcat", "sub": "u1", "exp": LATER});
    assert_eq!(caller(&token("session-secret", &user)), BAD);
    // Whoever the provider calls so is a user all the same, and owns nothing of the session's.
    let mut claims = GOOD.clone();
    claims["sub"] = json!(subject);
    let named = caller(&token("user-secret", &claims)).unwrap();
    assert_eq!(named.owner(), format!("user:{subject}"));
}
