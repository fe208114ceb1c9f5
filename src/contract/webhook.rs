//! Deliveries of configured sources: whether their sender signed them, and what each is known by.
//!
//! Three schemes, as their owners publish them (WEBHOOKS.md §4.1). Where the scheme signs a time, a
//! delivery of another time is refused, so one that was overheard cannot be sent again next week.
//! What a delivery is known by is signed, always: whoever could change it without the secret could
//! have an event done twice. The body's digest is part of it, so an identifier that comes with
//! another body is another event and not a duplicate, and neither of them is lost.
//!
//! # Invariants
//! - Nothing of a delivery is believed before one of the secrets has signed it.
//! - A secret that cannot be read, and an empty one, open nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::body::text_of;
use super::signature::{SignatureFault, digest, keyed, verify_meta};

/// How far the time of a delivery may be from now, in seconds: what every library of the schemes
/// takes.
pub const TOLERANCE_SECONDS: u64 = 300;

/// The longest identifier that is taken as one.
const ID_BYTES_MAX: usize = 256;

/// What the secrets of Standard Webhooks may begin with.
const SECRET_PREFIX: &str = "whsec_";

/// The header's fields that Standard Webhooks signs and sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandardFields<'a> {
    /// `webhook-id`.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`, in seconds since 1970.
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`: one or more of `v1,…`, with blanks between.
    pub signature: Option<&'a str>,
}

/// Checks a delivery of Standard Webhooks 1.0 (symmetric, `v1`) or Svix; its identifier. `now` is
/// in seconds since 1970.
///
/// # Errors
/// [`SignatureFault`]; [`SignatureFault::Stale`] for more than [`TOLERANCE_SECONDS`] to either
/// side.
pub fn verify_standard<'a, S: AsRef<[u8]>>(
    secrets: &[S],
    fields: StandardFields<'a>,
    body: &[u8],
    now: u64,
) -> Result<&'a str, SignatureFault> {
    let (Some(id), Some(timestamp), Some(signature)) =
        (fields.id, fields.timestamp, fields.signature)
    else {
        return Err(SignatureFault::Missing);
    };
    // A dot would let one part of what is signed pass for the end of another.
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
    if !plain || !(1..=ID_BYTES_MAX).contains(&id.len()) {
        return Err(SignatureFault::Malformed);
    }
    if seconds(timestamp)?.abs_diff(now) > TOLERANCE_SECONDS {
        return Err(SignatureFault::Stale);
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let claimed: Vec<Vec<u8>> = signature
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"))
        .filter_map(|digest| STANDARD.decode(digest).ok())
        .collect();
    let keys: Vec<_> =
        secrets.iter().filter_map(|secret| standard_secret(secret.as_ref())).collect();
    matching(&keys, &signed, &claimed).map(|()| id)
}

/// The key that a secret of Standard Webhooks stands for: base64, `whsec_` before it or not.
pub fn standard_secret(secret: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(secret).ok()?;
    let text = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
    STANDARD.decode(text).ok().filter(|key| !key.is_empty())
}

/// Checks a delivery of GitHub, which signs its body alone.
///
/// # Errors
/// [`SignatureFault`].
pub fn verify_github<S: AsRef<[u8]>>(
    secrets: &[S],
    signature: Option<&str>,
    body: &[u8],
) -> Result<(), SignatureFault> {
    verify_meta(secrets, signature, body)
}

/// Checks a delivery of Stripe by its `Stripe-Signature: t=…,v1=…`. `now` is in seconds since 1970.
///
/// # Errors
/// [`SignatureFault`]; [`SignatureFault::Stale`] for one that was signed more than
/// [`TOLERANCE_SECONDS`] ago. One of the future passes, as in Stripe's own libraries.
pub fn verify_stripe<S: AsRef<[u8]>>(
    secrets: &[S],
    signature: Option<&str>,
    body: &[u8],
    now: u64,
) -> Result<(), SignatureFault> {
    let signature = signature.ok_or(SignatureFault::Missing)?;
    let pairs = || signature.split(',').filter_map(|pair| pair.trim().split_once('='));
    let mut times = pairs().filter(|(name, _)| *name == "t").map(|(_, value)| value);
    let (Some(timestamp), None) = (times.next(), times.next()) else {
        return Err(SignatureFault::Malformed);
    };
    if now.saturating_sub(seconds(timestamp)?) > TOLERANCE_SECONDS {
        return Err(SignatureFault::Stale);
    }
    // `v0` is of Stripe's test mode, and weaker.
    let claimed: Vec<Vec<u8>> = pairs()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, digits)| hex::decode(digits).ok())
        .collect();
    let signed = [timestamp.as_bytes(), b".", body].concat();
    let keys: Vec<_> = secrets.iter().map(|secret| secret.as_ref().to_vec()).collect();
    matching(&keys, &signed, &claimed)
}

/// Seconds since 1970, of digits alone.
fn seconds(text: &str) -> Result<u64, SignatureFault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or(SignatureFault::Malformed)
}

/// Whether one of the keys has made one of the signatures.
fn matching(keys: &[Vec<u8>], signed: &[u8], claimed: &[Vec<u8>]) -> Result<(), SignatureFault> {
    if claimed.is_empty() {
        return Err(SignatureFault::Malformed);
    }
    // One pass over the body for each key, however many signatures anybody sends along.
    let keys = keys.iter().filter(|key| !key.is_empty());
    let right = keys.map(|key| keyed(key, signed).finalize().into_bytes());
    let found = right.fold(subtle::Choice::from(0), |found, right| {
        claimed.iter().fold(found, |found, claimed| found | right.as_slice().ct_eq(claimed))
    });
    if found.into() { Ok(()) } else { Err(SignatureFault::Mismatch) }
}

/// What a signed delivery is known by: its identifier, where one is signed, and its body.
pub fn known_by(id: Option<&str>, body: &[u8]) -> String {
    let digest = digest(body);
    match id {
        Some(id) => format!("{id}#{}", &digest[..16]),
        None => digest,
    }
}

/// The identifier within a body, which Stripe signs with all of it.
pub fn id_within(body: &Map<String, Value>) -> Option<String> {
    text_of(body, "id").filter(|id| id.len() <= ID_BYTES_MAX)
}

/// The value of `webhook-signature` for a delivery, as a sender would make it.
pub fn sign_standard(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(keyed(key, &signed).finalize().into_bytes()))
}

/// The value of `Stripe-Signature` for a delivery, as Stripe would make it.
pub fn sign_stripe(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    let signed = [format!("{timestamp}.").as_bytes(), body].concat();
    format!("t={timestamp},v1={}", hex::encode(keyed(secret, &signed).finalize().into_bytes()))
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
