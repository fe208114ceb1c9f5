//! Signatures of webhooks over the raw bytes, and the comparison of tokens.
//!
//! What is hashed is what came over the wire: Meta signs its payload with non-ASCII escaped, so a
//! body that was parsed and written again would no longer match (WEBHOOKS.md §1.2). Several
//! secrets may be good at once, during a rotation. The schemes of configured sources (standard,
//! github, stripe) are in [`super::webhook`].
//!
//! # Invariants
//! - Neither a signature nor a token is compared in a time that tells how much of it was right.
//! - An empty secret and an empty token open nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What precedes the digest in `X-Hub-Signature-256`.
const PREFIX: &str = "sha256=";

/// Why a signature was not accepted. The wire says `forbidden` for all of them; the log says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is no signature.
    #[error("no signature")]
    Missing,
    /// There is one of another form than the scheme's, such as `sha256=` and 64 hexadecimal digits.
    #[error("signature is not of the scheme's form")]
    Malformed,
    /// What was signed names a time that is too far from now.
    #[error("signature is of another time")]
    Stale,
    /// It is not the signature of this body by any of the secrets.
    #[error("signature does not match")]
    Mismatch,
}

/// Checks `X-Hub-Signature-256` of `body`. One secret that matches is enough. Digits may be of
/// either case, though Meta writes lower.
///
/// # Errors
/// [`SignatureFault`], which says nothing of the secrets.
pub fn verify_meta<S: AsRef<[u8]>>(
    secrets: &[S],
    header: Option<&str>,
    body: &[u8],
) -> Result<(), SignatureFault> {
    let header = header.ok_or(SignatureFault::Missing)?;
    let digits = header.strip_prefix(PREFIX).ok_or(SignatureFault::Malformed)?;
    let mut claimed = [0_u8; 32];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureFault::Malformed)?;
    let matches = secrets
        .iter()
        .map(AsRef::as_ref)
        .filter(|secret| !secret.is_empty())
        .any(|secret| keyed(secret, body).verify_slice(&claimed).is_ok());
    if matches { Ok(()) } else { Err(SignatureFault::Mismatch) }
}

/// The value of `X-Hub-Signature-256` for `body`, as Meta would send it.
pub fn sign_meta(secret: &[u8], body: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(keyed(secret, body).finalize().into_bytes()))
}

pub(super) fn keyed(secret: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(body);
    mac
}

/// The SHA-256 of these bytes, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether the bytes have that SHA-256, written in hexadecimal or base64: providers do both.
pub fn has_digest(claimed: &str, bytes: &[u8]) -> bool {
    let claimed = hex::decode(claimed).ok().or_else(|| STANDARD.decode(claimed).ok());
    claimed.as_deref() == Some(Sha256::digest(bytes).as_slice())
}

/// Whether the presented token is one of the expected ones. The time it takes depends on the
/// length of the presented token and on how many are expected, on nothing else.
pub fn token_matches<S: AsRef<[u8]>>(expected: &[S], presented: &[u8]) -> bool {
    // Digests have one length, so not even the length of the secret can be felt out.
    let presented = Sha256::digest(presented);
    expected
        .iter()
        .map(AsRef::as_ref)
        .filter(|token| !token.is_empty())
        .fold(subtle::Choice::from(0), |found, token| {
            found | Sha256::digest(token).as_slice().ct_eq(presented.as_slice())
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = include_bytes!("../../tests/it/samples/whatsapp_text.json");
    const SECRET: &str = "app-secret";

    fn verdict(header: Option<&str>) -> Result<(), SignatureFault> {
        verify_meta(&[SECRET], header, BODY)
    }

    #[test]
    fn a_third_partys_published_vector_verifies() {
        // The vector of GitHub's documentation, which uses the same header and the same scheme.
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let secret = ["It's a Secret to Everybody"];
        assert_eq!(verify_meta(&secret, Some(header), b"Hello, World!"), Ok(()));
        assert_eq!(sign_meta(secret[0].as_bytes(), b"Hello, World!"), header);
    }

    #[test]
    fn only_the_right_signature_of_the_right_form_passes() {
        use SignatureFault::{Malformed, Mismatch, Missing};
        let good = sign_meta(SECRET.as_bytes(), BODY);
        let digits = &good[PREFIX.len()..];
        let other_secret = sign_meta(b"other", BODY);
        let sha1 = format!("sha1={}", &digits[..40]);
        let upper = format!("sha256={}", digits.to_uppercase());
        let table: &[(Option<&str>, Result<(), SignatureFault>)] = &[
            (Some(&good), Ok(())),
            (Some(&upper), Ok(())),
            (Some(&other_secret), Err(Mismatch)),
            (None, Err(Missing)),
            (Some(""), Err(Malformed)),
            (Some("sha256="), Err(Malformed)),
            (Some(&sha1), Err(Malformed)),
            (Some(digits), Err(Malformed)),
            (Some(&good[..good.len() - 1]), Err(Malformed)),
            (Some(&good[..good.len() - 2]), Err(Malformed)),
            (Some(&format!("{good}00")), Err(Malformed)),
            (Some(&format!("{good} ")), Err(Malformed)),
            (Some(&format!("{good},{good}")), Err(Malformed)),
            (Some(&good.replace("sha256", "SHA256")), Err(Malformed)),
            (Some(&format!("sha256={}", "z".repeat(64))), Err(Malformed)),
        ];
        for (header, expected) in table {
            assert_eq!(verdict(*header), *expected, "{header:?}");
        }
    }

    #[test]
    fn one_flipped_byte_of_the_body_or_the_signature_is_refused() {
        let good = sign_meta(SECRET.as_bytes(), BODY);
        let mut body = BODY.to_vec();
        body[10] ^= 1;
        let fault = verify_meta(&[SECRET], Some(&good), &body);
        assert_eq!(fault, Err(SignatureFault::Mismatch));
        for place in PREFIX.len()..good.len() {
            let mut flipped = good.clone().into_bytes();
            flipped[place] = if flipped[place] == b'0' { b'1' } else { b'0' };
            let flipped = String::from_utf8(flipped).unwrap();
            assert_eq!(verdict(Some(&flipped)), Err(SignatureFault::Mismatch), "{place}");
        }
    }

    #[test]
    fn bytes_are_signed_and_not_their_meaning() {
        let escaped = br#"{"text":"\u00e9"}"#;
        let plain = r#"{"text":"é"}"#.as_bytes();
        let header = sign_meta(SECRET.as_bytes(), escaped);
        assert_eq!(verify_meta(&[SECRET], Some(&header), escaped), Ok(()));
        assert_eq!(verify_meta(&[SECRET], Some(&header), plain), Err(SignatureFault::Mismatch));
    }

    #[test]
    fn during_a_rotation_either_secret_is_good() {
        for secret in ["new", "old"] {
            let header = sign_meta(secret.as_bytes(), BODY);
            assert_eq!(verify_meta(&["new", "old"], Some(&header), BODY), Ok(()));
        }
    }

    #[test]
    fn no_secret_and_an_empty_secret_open_nothing() {
        let header = sign_meta(b"", BODY);
        assert_eq!(verify_meta(&[""], Some(&header), BODY), Err(SignatureFault::Mismatch));
        let none: [&str; 0] = [];
        assert_eq!(verify_meta(&none, Some(&header), BODY), Err(SignatureFault::Mismatch));
    }

    #[test]
    fn a_token_matches_whole_or_not_at_all() {
        let table: &[(&[&str], &str, bool)] = &[
            (&["token"], "token", true),
            (&["new", "old"], "old", true),
            (&["token"], "toke", false),
            (&["token"], "tokens", false),
            (&["token"], "Token", false),
            (&["token"], "", false),
            (&[""], "", false),
            (&[], "", false),
            (&[], "token", false),
        ];
        for (expected, presented, matches) in table {
            assert_eq!(token_matches(expected, presented.as_bytes()), *matches, "{presented}");
        }
    }
}
