//! Who calls: anonymous sessions that we minted, and users whose tokens somebody we trust signed.
//!
//! The algorithm is ours to choose, never the token's. A token of ours has the issuer `sendcat` and
//! a subject that begins with `anon:`; every other issuer is a user's (INTERFACE.md §2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::super::respond::Refusal;
use crate::config::{self, Secret};
use crate::contract::code::ErrorCode;
use crate::contract::rfc3339;
use crate::contract::session::{
    AnonymousSession, SESSION_ISSUER, SESSION_SECONDS, SESSION_SUBJECT_PREFIX,
};

/// How far two clocks may differ (RFC 8725 leaves it to us; WEBHOOKS.md §5.9 says a minute).
const LEEWAY: Duration = Duration::from_secs(60);

/// The longest subject of a user's token, in bytes: it becomes part of keys.
const MAX_SUBJECT_BYTES: usize = 256;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody with a session of ours.
    Anonymous {
        /// The session.
        session_id: String,
    },
    /// Somebody whom an identity provider knows.
    User {
        /// The token's subject.
        subject: String,
    },
}

impl Caller {
    /// The name that threads and records are owned by.
    pub fn owner(&self) -> String {
        match self {
            Self::Anonymous { session_id } => format!("{SESSION_SUBJECT_PREFIX}{session_id}"),
            Self::User { subject } => format!("user:{subject}"),
        }
    }
}

/// Checks and mints tokens.
pub struct Auth {
    session: Option<Key>,
    user: Option<UserKey>,
}

struct Key {
    sign: EncodingKey,
    verify: DecodingKey,
}

struct UserKey {
    verify: DecodingKey,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: String,
    exp: u64,
}

/// No secret is set for anonymous sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SESSION_SECRET is not set")]
pub struct NoSessions;

impl Auth {
    /// Tokens as the configuration wants them.
    pub fn new(settings: &config::Auth) -> Self {
        let session = settings.session_secret.as_ref().map(|secret| Key {
            sign: EncodingKey::from_secret(secret.as_ref()),
            verify: DecodingKey::from_secret(secret.as_ref()),
        });
        let user = settings.jwt_secret.as_ref().map(|secret| UserKey::new(secret, settings));
        Self { session, user }
    }

    /// Who presents this `Authorization` header.
    ///
    /// # Errors
    /// `unauthorized` for a missing or bad token; `misconfigured` if nothing could check one.
    pub fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let Some(token) = token_of(authorization) else {
            return Err(ErrorCode::Unauthorized.into());
        };
        if self.session.is_none() && self.user.is_none() {
            return Err(ErrorCode::Misconfigured.into());
        }
        self.anonymous(token)
            .or_else(|| self.user(token))
            .ok_or_else(|| ErrorCode::Unauthorized.into())
    }

    /// A session of a new, unguessable identifier.
    ///
    /// # Errors
    /// [`NoSessions`] if no secret is set, or the system has no randomness to give.
    pub fn mint(&self, now: SystemTime) -> Result<AnonymousSession, NoSessions> {
        let key = self.session.as_ref().ok_or(NoSessions)?;
        let mut id = [0_u8; 16];
        getrandom::fill(&mut id).map_err(|_| NoSessions)?;
        let session_id = hex::encode(id);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let exp = since.saturating_add(SESSION_SECONDS);
        let claims = Claims {
            iss: Some(SESSION_ISSUER.to_owned()),
            sub: format!("{SESSION_SUBJECT_PREFIX}{session_id}"),
            exp,
        };
        let header = Header::new(Algorithm::HS256);
        let token = jsonwebtoken::encode(&header, &claims, &key.sign).map_err(|_| NoSessions)?;
        Ok(AnonymousSession { token, session_id, expires_at: rfc3339(exp.saturating_mul(1000)) })
    }

    fn anonymous(&self, token: &str) -> Option<Caller> {
        let key = self.session.as_ref()?;
        let mut validation = validation();
        validation.set_issuer(&[SESSION_ISSUER]);
        validation.validate_aud = false;
        let claims = verified(token, &key.verify, &validation)?;
        let session_id = claims.sub.strip_prefix(SESSION_SUBJECT_PREFIX)?;
        let ours = session_id.len() == 32 && session_id.bytes().all(|it| it.is_ascii_hexdigit());
        ours.then(|| Caller::Anonymous { session_id: session_id.to_owned() })
    }

    fn user(&self, token: &str) -> Option<Caller> {
        let key = self.user.as_ref()?;
        let claims = verified(token, &key.verify, &key.validation)?;
        let foreign = claims.iss.as_deref() != Some(SESSION_ISSUER);
        let usable = !claims.sub.is_empty() && claims.sub.len() <= MAX_SUBJECT_BYTES;
        (foreign && usable).then_some(Caller::User { subject: claims.sub })
    }
}

impl UserKey {
    fn new(secret: &Secret, settings: &config::Auth) -> Self {
        let mut validation = validation();
        if let Some(issuer) = &settings.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        match &settings.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        Self { verify: DecodingKey::from_secret(secret.as_ref()), validation }
    }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation
}

fn verified(token: &str, key: &DecodingKey, validation: &Validation) -> Option<Claims> {
    let token = jsonwebtoken::decode::<Claims>(token, key, validation).ok()?;
    // Whatever must be understood, we do not (RFC 7515 §4.1.11).
    token.header.crit.is_none().then_some(token.claims)
}

/// The token of an `Authorization` header; the scheme's name has no case (RFC 9110 §11.1).
pub(crate) fn token_of(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        Auth::new(&config::Auth {
            session_secret: Some(Secret::new("session-secret")),
            jwt_secret: Some(Secret::new("user-secret")),
            jwks_url: None,
            issuer: Some("https://id.example".into()),
            audience: Some("sendcat-web".into()),
        })
    }

    fn token(secret: &str, claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    fn caller(token: &str) -> Option<Caller> {
        auth().caller(Some(&format!("Bearer {token}"))).ok()
    }

    /// In the year 2100.
    const LATER: u64 = 4_102_444_800;

    #[test]
    fn a_minted_session_is_its_own_caller() {
        let now = UNIX_EPOCH + Duration::from_secs(LATER - SESSION_SECONDS);
        let session = auth().mint(now).unwrap();
        let expected = Caller::Anonymous { session_id: session.session_id.clone() };
        assert_eq!(caller(&session.token), Some(expected));
        assert_eq!(session.expires_at, "2100-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_users_token_counts_only_whole() {
        let good = serde_json::json!({
            "iss": "https://id.example", "aud": ["x", "sendcat-web"], "sub": "u1", "exp": LATER,
        });
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[name] = value;
            token("user-secret", &claims)
        };
        assert_eq!(
            caller(&token("user-secret", &good)),
            Some(Caller::User { subject: "u1".into() })
        );
        assert_eq!(caller(&token("other-secret", &good)), None);
        for (name, value) in [
            ("iss", serde_json::json!("sendcat")),
            ("iss", serde_json::Value::Null),
            ("aud", serde_json::json!("other")),
            ("exp", serde_json::json!(1)),
            ("exp", serde_json::Value::Null),
            ("nbf", serde_json::json!(LATER)),
            ("sub", serde_json::json!("")),
            ("sub", serde_json::json!("x".repeat(257))),
        ] {
            assert_eq!(caller(&with(name, value.clone())), None, "{name}: {value}");
        }
    }

    #[test]
    fn a_user_cannot_pass_for_a_session_nor_a_session_for_a_user() {
        let claims = serde_json::json!({
            "iss": "sendcat", "sub": "anon:00000000000000000000000000000000", "exp": LATER,
        });
        assert_eq!(caller(&token("user-secret", &claims)), None);
        assert!(caller(&token("session-secret", &claims)).is_some());
        let user = serde_json::json!({"iss": "sendcat", "sub": "u1", "exp": LATER});
        assert_eq!(caller(&token("session-secret", &user)), None);
    }

    #[test]
    fn the_token_does_not_choose_its_algorithm() {
        use base64::Engine as _;
        let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let claims = format!("{{\"iss\":\"https://id.example\",\"sub\":\"u\",\"exp\":{LATER}}}");
        let none = format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims));
        assert_eq!(caller(&none), None);
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["exp".into()]);
        let claims = serde_json::json!({
            "iss": "https://id.example", "aud": "sendcat-web", "sub": "u1", "exp": LATER,
        });
        let key = EncodingKey::from_secret(b"user-secret");
        let crit = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        assert_eq!(caller(&crit), None);
    }
}
