//! Who calls: anonymous sessions that we minted, and users whose tokens somebody we trust signed.
//!
//! A token of ours has the issuer `sendcat` and a subject that begins with `anon:`; every other
//! issuer is a user's (INTERFACE.md §2).
//!
//! # Always
//! - The algorithm is ours to choose, never the token's: HS256 for a shared secret; for a key from
//!   `AUTH_JWKS_URL` the one that its kind has, if `AUTH_JWKS_ALGORITHMS` names it. A token that
//!   says anything else is refused, before a key is looked for.
//! - A key that stands in a token, or where one points, is never looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode_header,
};
use serde::{Deserialize, Serialize};

use super::super::respond::Refusal;
use super::keys::{KeySource, NoKey};
use crate::config;
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
    /// Of users' tokens of HS256.
    secret: Option<DecodingKey>,
    /// How users' tokens may be signed that a public key checks.
    algorithms: Vec<Algorithm>,
    /// What else holds for users' tokens.
    users: Validation,
}

struct Key {
    sign: EncodingKey,
    verify: DecodingKey,
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
        let secret = settings.jwt_secret.as_ref();
        let secret = secret.map(|secret| DecodingKey::from_secret(secret.as_ref()));
        let named = |algorithm: &Algorithm| {
            let known = settings.jwks_algorithms.iter().any(|name| name.parse() == Ok(*algorithm));
            known && settings.jwks_url.is_some()
        };
        let algorithms = PUBLIC_KEY_ALGORITHMS.into_iter().filter(named).collect();
        Self { session, secret, algorithms, users: of_users(settings) }
    }

    /// Who presents this `Authorization` header.
    ///
    /// # Errors
    /// `unauthorized` for a missing or bad token; `misconfigured` if nothing could check one;
    /// `upstream_unavailable` if it names a key, and no keys can be had.
    pub async fn caller(
        &self,
        authorization: Option<&str>,
        keys: Option<&dyn KeySource>,
    ) -> Result<Caller, Refusal> {
        let Some(token) = token_of(authorization) else {
            return Err(ErrorCode::Unauthorized.into());
        };
        if self.session.is_none() && self.secret.is_none() && keys.is_none() {
            return Err(ErrorCode::Misconfigured.into());
        }
        match self.anonymous(token) {
            Some(caller) => Ok(caller),
            None => self.user(token, keys).await,
        }
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

    async fn user(&self, token: &str, keys: Option<&dyn KeySource>) -> Result<Caller, Refusal> {
        let unauthorized = || Refusal::from(ErrorCode::Unauthorized);
        let head = decode_header(token).map_err(|_| unauthorized())?;
        let (key, algorithm) = match (&self.secret, keys) {
            (Some(secret), _) if head.alg == Algorithm::HS256 => (secret.clone(), head.alg),
            (_, Some(keys)) if self.algorithms.contains(&head.alg) => {
                let key = keys.key(head.kid).await.map_err(no_key)?;
                let algorithm = algorithm_of(&key).ok_or_else(unauthorized)?;
                (key, algorithm)
            }
            (_, _) => return Err(unauthorized()),
        };
        let validation = Validation { algorithms: vec![algorithm], ..self.users.clone() };
        let claims = verified(token, &key, &validation).ok_or_else(unauthorized)?;
        let foreign = claims.iss.as_deref() != Some(SESSION_ISSUER);
        let usable = !claims.sub.is_empty() && claims.sub.len() <= MAX_SUBJECT_BYTES;
        let user = (foreign && usable).then_some(Caller::User { subject: claims.sub });
        user.ok_or_else(unauthorized)
    }
}

/// Every algorithm of a public key that there is a knob for.
const PUBLIC_KEY_ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// What a key of that kind signs with.
fn algorithm_of(key: &DecodingKey) -> Option<Algorithm> {
    match key.family() {
        AlgorithmFamily::Rsa => Some(Algorithm::RS256),
        AlgorithmFamily::Ec => Some(Algorithm::ES256),
        AlgorithmFamily::Hmac | AlgorithmFamily::Ed => None,
    }
}

fn no_key(error: NoKey) -> Refusal {
    match error {
        NoKey::Unknown => ErrorCode::Unauthorized.into(),
        NoKey::Unavailable => {
            let sentence = "Your token cannot be checked right now; try again in 5 seconds.";
            Refusal::from(ErrorCode::UpstreamUnavailable).saying(sentence)
        }
    }
}

/// What holds for every user's token.
fn of_users(settings: &config::Auth) -> Validation {
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
    validation
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
#[path = "bearer_tests.rs"]
mod tests;
