//! The keys that sign users' tokens, fetched from `AUTH_JWKS_URL` and kept (WEBHOOKS.md §5.9).
//!
//! One set for all threads. It is fetched when there is none, when it is older than its owner says
//! in `Cache-Control` or else than [`MAX_AGE`], and when a token names a key that is not in it;
//! never by two callers at once, and never twice within [`COOLDOWN`], however many bad tokens come
//! and whatever came of the last attempt. While it cannot be fetched, the old set is good for
//! [`BRIDGED_FOR`] more.
//!
//! # Always
//! - Only what signs is a key: RSA of 2048 bits or more, or P-256, not marked for another use or
//!   algorithm. Shared secrets are no keys.
//! - A fetch goes on when the caller that began it goes away, for others wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use sendcat_actors::clock::SharedClock;
use sendcat_state::key::ProviderId;
use sendcat_state::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tracing::Instrument as _;

use super::call::{Call, RefusedAnswer, Upstream, Whole};
use super::classify;
use super::error::UpstreamError;

const PROVIDER: ProviderId = ProviderId::Jwks;

/// How old a set may be before it is fetched again, where its owner does not say.
pub const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// The shortest age that its owner may ask for, also who wants none kept: each fetch is waited for
/// by whoever brings a token.
pub const SHORTEST_AGE: Duration = Duration::from_secs(60);

/// The longest: Google asks for some six hours. A key that was taken out for a reason is good for
/// so long.
pub const LONGEST_AGE: Duration = Duration::from_secs(8 * 3600);

/// The shortest time between two attempts to fetch it.
pub const COOLDOWN: Duration = Duration::from_secs(30);

/// How long a set is still good that should be fetched again and cannot be. Longer, and a key that
/// was taken out for a reason would be good for as long as somebody keeps us from hearing of it.
pub const BRIDGED_FOR: Duration = Duration::from_secs(50 * 60);

/// The largest set that is read, in bytes; real ones have a few thousand.
const MAX_SET_BYTES: usize = 64 * 1024;

/// Keys of a set that are kept at most.
const MAX_KEYS: usize = 100;

/// The shortest modulus of an RSA key, in bytes.
const MIN_MODULUS_BYTES: usize = 256;

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The set has none of that identifier.
    Unknown,
    /// There is no set, and none can be had now.
    Unavailable,
}

/// The keys at one address. Cheap to clone; clones share the set.
#[derive(Clone)]
pub struct Jwks(Arc<Shared>);

struct Shared {
    url: String,
    deadline: Duration,
    clock: SharedClock,
    kept: Mutex<Kept>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

impl Jwks {
    /// The keys at `url`, none of which is fetched before one is asked for. A fetch takes at most
    /// `deadline`.
    pub fn new(url: String, deadline: Duration, clock: SharedClock) -> Self {
        let (kept, fetching) = Default::default();
        Self(Arc::new(Shared { url, deadline, clock, kept, fetching }))
    }

    /// The key of that identifier; for a token that names none, the only key there is. Fetched
    /// that way if it has to be.
    ///
    /// # Errors
    /// [`NoKey`].
    pub async fn key(&self, upstream: &Upstream, kid: Option<&str>) -> Result<DecodingKey, NoKey> {
        let call = Call::get(PROVIDER, self.0.url.clone());
        let (upstream, deadline) = (upstream.clone(), self.0.deadline);
        self.key_by(
            kid,
            move || async move { upstream.whole(call, "jwks", deadline, refused).await },
        )
        .await
    }

    /// The same, with a set that is fetched like that.
    async fn key_by<F, R>(&self, kid: Option<&str>, fetch: F) -> Result<DecodingKey, NoKey>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<Whole, UpstreamError>> + Send + 'static,
    {
        let now = self.0.clock.now();
        if let Found::Fresh(key) = self.0.kept().find(kid, now) {
            return Ok(key);
        }
        let idle = self.0.fetching.try_lock().is_ok();
        if !idle || self.0.kept().may_fetch(now) {
            let shared = Arc::clone(&self.0);
            // A panic in it leaves the set as it was.
            let fetching = async move { shared.fetch(fetch).await }.in_current_span();
            let _ = tokio::spawn(fetching).await;
        }
        match self.0.kept().find(kid, self.0.clock.now()) {
            Found::Fresh(key) | Found::Stale(key) => Ok(key),
            Found::NoSuchKey => Err(NoKey::Unknown),
            Found::NoSet => Err(NoKey::Unavailable),
        }
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the set, unless somebody has while we waited for our turn.
    async fn fetch<F, R>(&self, fetch: F)
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<Whole, UpstreamError>>,
    {
        let _turn = self.fetching.lock().await;
        let now = self.clock.now();
        {
            let mut kept = self.kept();
            if !kept.may_fetch(now) {
                return;
            }
            kept.tried_at = Some(now);
        }
        let fetched = fetch().await.and_then(|whole| Ok((read_set(&whole.body)?, whole)));
        match fetched {
            Ok((keys, whole)) => {
                let mut kept = self.kept();
                kept.keys = keys;
                kept.fresh_for = fresh_for(whole.cache_control.as_deref());
                kept.fetched_at = Some(self.clock.now());
            }
            Err(error) => tracing::warn!(%error, "the keys of users' tokens were not fetched"),
        }
    }
}

fn refused(refused: &RefusedAnswer) -> UpstreamError {
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    let malformed =
        UpstreamError::Malformed { provider: PROVIDER, what: "a refusal with a good status" };
    classify::status(PROVIDER, refused.status, wait).err().unwrap_or(malformed)
}

/// What was fetched, and when.
#[derive(Default)]
struct Kept {
    keys: Vec<SetKey>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    fresh_for: Duration,
}

struct SetKey {
    kid: Option<String>,
    key: DecodingKey,
}

/// What a look into the set finds.
enum Found {
    /// The key, in a set that need not be fetched.
    Fresh(DecodingKey),
    /// The key, in a set that should be fetched again.
    Stale(DecodingKey),
    /// A set without it.
    NoSuchKey,
    /// No set, or one that is too old to be used at all.
    NoSet,
}

impl Kept {
    fn find(&self, kid: Option<&str>, now: Timestamp) -> Found {
        let age = self.fetched_at.map(|at| now.since(at));
        let Some(age) = age.filter(|age| *age <= self.fresh_for + BRIDGED_FOR) else {
            return Found::NoSet;
        };
        let found = match (kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        match found {
            Some(SetKey { key, .. }) if age <= self.fresh_for => Found::Fresh(key.clone()),
            Some(SetKey { key, .. }) => Found::Stale(key.clone()),
            None => Found::NoSuchKey,
        }
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        self.tried_at.is_none_or(|tried| now.since(tried) >= COOLDOWN)
    }
}

/// How long a set is fresh that came with this `Cache-Control` (RFC 9111 §5.2.2): of several ages
/// the shortest, within bounds.
fn fresh_for(cache_control: Option<&str>) -> Duration {
    let directives = cache_control.unwrap_or_default().split(',').map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'))
    });
    let ages = directives.filter_map(|(name, value)| match name.as_str() {
        "no-store" | "no-cache" => Some(Duration::ZERO),
        "max-age" => {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than fit are more seconds than are taken.
            digits.then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    });
    ages.min().unwrap_or(MAX_AGE).clamp(SHORTEST_AGE, LONGEST_AGE)
}

/// The keys that an answer holds; what is no key of ours is passed over.
fn read_set(body: &[u8]) -> Result<Vec<SetKey>, UpstreamError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let malformed = |what| UpstreamError::Malformed { provider: PROVIDER, what };
    if body.len() > MAX_SET_BYTES {
        return Err(malformed("more than a set of keys may have"));
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| malformed("no set of keys"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(malformed("more keys than a set may have"));
    }
    Ok(set.keys.iter().filter_map(read_key).collect())
}

fn read_key(jwk: &Value) -> Option<SetKey> {
    let text = |name: &str| jwk[name].as_str();
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let marked = |name: &str, as_what: &str| text(name).is_none_or(|value| value == as_what);
    let key = match text("kty")? {
        "RSA" if marked("alg", "RS256") && bytes("n")?.len() >= MIN_MODULUS_BYTES => {
            DecodingKey::from_rsa_components(text("n")?, text("e")?)
        }
        "EC" if marked("alg", "ES256") && text("crv")? == "P-256" => {
            if bytes("x")?.len() != 32 || bytes("y")?.len() != 32 {
                return None;
            }
            DecodingKey::from_ec_components(text("x")?, text("y")?)
        }
        _ => return None,
    };
    let key = key.ok().filter(|_| marked("use", "sig"))?;
    Some(SetKey { kid: text("kid").map(str::to_owned), key })
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
