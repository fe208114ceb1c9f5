//! The sandbox's identity provider: a key that signs users' tokens, and the set in which it is
//! published.
//!
//! `POST /_control/token` signs the claims of its body; `POST /_control/rotate` puts a new key in
//! the place of the old one.

use std::io;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// How long a token is good whose claims do not say, in seconds.
const TOKEN_SECONDS: u64 = 3600;

/// A P-256 key for ES256.
#[derive(Clone)]
pub struct SigningKey {
    private: Vec<u8>,
    /// What is published of it.
    public: Value,
    kid: String,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn make() -> io::Result<Self> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| io::Error::other("no key could be made"))?;
        Self::of(made.as_ref().to_vec())
    }

    /// The key that [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_text(text: &str) -> io::Result<Self> {
        let private = BASE64_STANDARD.decode(text);
        Self::of(private.map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?)
    }

    /// The key as text, to keep.
    pub fn to_text(&self) -> String {
        BASE64_STANDARD.encode(&self.private)
    }

    fn of(private: Vec<u8>) -> io::Result<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &random);
        let pair = pair.map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "the sandbox's signing key is none")
        })?;
        // One byte that says "not compressed", then both coordinates.
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let kid = format!("sandbox-{}", hex::encode(&Sha256::digest(point)[..8]));
        let coordinate = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let public = json!({
            "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256",
            "x": coordinate(x), "y": coordinate(y),
        });
        Ok(Self { private, public, kid })
    }

    /// The set in which the key is published.
    pub(super) fn set(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    /// A token of these claims; one that says nothing of its end is good for an hour.
    pub(super) fn token(&self, mut claims: Map<String, Value>, now_s: u64) -> Option<String> {
        claims.entry("exp").or_insert_with(|| json!(now_s + TOKEN_SECONDS));
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&self.private)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_after_it_was_kept() {
        let key = SigningKey::make().unwrap();
        let again = SigningKey::from_text(&key.to_text()).unwrap();
        assert_eq!(key.set(), again.set());
        assert_ne!(key.set(), SigningKey::make().unwrap().set());
        assert!(SigningKey::from_text("no key").is_err());
        assert!(SigningKey::from_text("AAAA").is_err());
    }

    #[test]
    fn a_token_is_good_for_the_published_key_and_says_what_it_was_told() {
        let key = SigningKey::make().unwrap();
        let claims = Map::from_iter([("sub".to_owned(), json!("u1"))]);
        let token = key.token(claims, 4_102_444_800).unwrap();
        let jwk = serde_json::from_value(key.set()["keys"][0].clone()).unwrap();
        let public = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let validation = jsonwebtoken::Validation::new(Algorithm::ES256);
        let read = jsonwebtoken::decode::<Value>(&token, &public, &validation).unwrap();
        assert_eq!(read.claims, json!({"sub": "u1", "exp": 4_102_448_400_u64}));
        assert_eq!(read.header.kid.as_deref(), key.set()["keys"][0]["kid"].as_str());
    }
}
