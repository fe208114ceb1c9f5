//! What is written down of other people's secrets, and signed to be known again.
//!
//! Every key is derived from `GOOGLE_CLIENT_SECRET`, without which there is nothing to keep:
//! whoever changes it has users connect again. What is sealed for one owner opens for no other.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac as mac;
use ring::{aead, digest};
use sendcat_state::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// Bytes of a nonce of ours: 128 bits and more cannot be guessed.
const NONCE_BYTES: usize = 24;

/// Bytes of a proof (RFC 7636 §4.1: 43 to 128 letters).
const VERIFIER_BYTES: usize = 48;

/// Seals and signs.
pub struct Vault {
    sealing: aead::LessSafeKey,
    signing: mac::Key,
}

/// What a state says, once its signature was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Who asked.
    #[serde(rename = "o")]
    pub owner: String,
    /// Which question.
    #[serde(rename = "n")]
    pub nonce: String,
    /// In which browser, as a digest.
    #[serde(rename = "b")]
    pub browser: String,
    /// Until when it may be answered.
    #[serde(rename = "e")]
    pub ends: Timestamp,
}

/// The system has no randomness to give, or cannot seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be sealed now")]
pub struct CannotSeal;

impl Vault {
    /// With keys derived from that secret.
    pub fn new(secret: &Secret) -> Self {
        let secret = mac::Key::new(mac::HMAC_SHA256, secret.as_ref());
        let derived = |what: &[u8]| mac::sign(&secret, what);
        let sealing = derived(b"sendcat: refresh tokens");
        let sealing = aead::UnboundKey::new(&aead::AES_256_GCM, sealing.as_ref());
        let sealing = sealing.expect("a digest of 256 bits is a key of 256 bits");
        let signing = mac::Key::new(mac::HMAC_SHA256, derived(b"sendcat: states").as_ref());
        Self { sealing: aead::LessSafeKey::new(sealing), signing }
    }

    /// A secret of an owner, sealed: text that tells nothing.
    ///
    /// # Errors
    /// [`CannotSeal`].
    pub fn seal(&self, owner: &str, secret: &Secret) -> Result<String, CannotSeal> {
        let nonce: [u8; aead::NONCE_LEN] = random()?;
        let mut sealed = secret.expose().as_bytes().to_vec();
        let (of, whose) = (aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(owner));
        let done = self.sealing.seal_in_place_append_tag(of, whose, &mut sealed);
        done.map_err(|_| CannotSeal)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// What [`Self::seal`] sealed for that owner; `None` if it did not.
    pub fn open(&self, owner: &str, sealed: &str) -> Option<Secret> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_at_checked(aead::NONCE_LEN)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let whose = aead::Aad::from(owner);
        let opened = self.sealing.open_in_place(nonce, whose, &mut sealed).ok()?;
        Some(Secret::new(std::str::from_utf8(opened).ok()?))
    }

    /// A state as it goes through a browser.
    pub fn sign(&self, state: &State) -> String {
        let json = serde_json::to_vec(state).expect("texts and a number are always JSON");
        let said = BASE64_URL_SAFE_NO_PAD.encode(json);
        let signature = mac::sign(&self.signing, said.as_bytes());
        format!("{said}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a state that came back says; `None` if we did not sign it, or it is too late.
    pub fn verify(&self, state: &str, now: Timestamp) -> Option<State> {
        let (said, signature) = state.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        mac::verify(&self.signing, said.as_bytes(), &signature).ok()?;
        let state: State =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(said).ok()?).ok()?;
        (now < state.ends).then_some(state)
    }
}

/// A name that nobody can guess.
///
/// # Errors
/// [`CannotSeal`].
pub fn nonce() -> Result<String, CannotSeal> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random::<NONCE_BYTES>()?))
}

/// A proof, and the challenge that says which proof will come (RFC 7636, S256).
///
/// # Errors
/// [`CannotSeal`].
pub fn proof() -> Result<(Secret, String), CannotSeal> {
    let verifier = BASE64_URL_SAFE_NO_PAD.encode(random::<VERIFIER_BYTES>()?);
    let challenge = challenge(&verifier);
    Ok((Secret::new(verifier), challenge))
}

fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// What a browser is known by: a name that nobody can guess, kept in a cookie of it. A state that
/// was made for one browser is good in no other (RFC 9700 §4.7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser(Secret);

impl Browser {
    /// One that has no name yet.
    ///
    /// # Errors
    /// [`CannotSeal`].
    pub fn new() -> Result<Self, CannotSeal> {
        Ok(Self(Secret::new(nonce()?)))
    }

    /// The one of that name; `None` if it is none that [`Self::new`] gives.
    pub fn named(name: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(name).ok()?;
        (bytes.len() == NONCE_BYTES).then(|| Self(Secret::new(name)))
    }

    /// Its name, for its cookie.
    pub fn name(&self) -> &str {
        self.0.expose()
    }

    /// What a state says of it: who reads the state cannot pass for the browser.
    pub(super) fn digest(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.0.as_ref());
        BASE64_URL_SAFE_NO_PAD.encode(digest)
    }
}

fn random<const N: usize>() -> Result<[u8; N], CannotSeal> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| CannotSeal)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&Secret::new("client-secret"))
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone() {
        let secret = Secret::new("1//0planted");
        let sealed = vault().seal("user:a", &secret).unwrap();
        assert!(!sealed.contains("planted"));
        assert_ne!(vault().seal("user:a", &secret).unwrap(), sealed);
        assert_eq!(vault().open("user:a", &sealed), Some(secret));
        assert_eq!(vault().open("user:b", &sealed), None);
        assert_eq!(Vault::new(&Secret::new("another")).open("user:a", &sealed), None);
        for torn in ["", "AAAA", "!", &sealed[1..], &sealed[..sealed.len() - 1]] {
            assert_eq!(vault().open("user:a", torn), None, "{torn}");
        }
    }

    #[test]
    fn a_state_is_believed_whole_and_in_time() {
        let (owner, browser) = ("user:a".into(), "b".into());
        let state = State { owner, nonce: "n".into(), browser, ends: at(10) };
        let signed = vault().sign(&state);
        assert_eq!(vault().verify(&signed, at(9)), Some(state.clone()));
        assert_eq!(vault().verify(&signed, at(10)), None);
        assert_eq!(Vault::new(&Secret::new("another")).verify(&signed, at(0)), None);
        let (said, signature) = signed.split_once('.').unwrap();
        let other = vault().sign(&State { owner: "user:b".into(), ..state });
        let others = other.split_once('.').unwrap().0;
        for forged in [
            String::new(),
            ".".to_owned(),
            said.to_owned(),
            format!("{said}."),
            format!("{others}.{signature}"),
            format!("{said}.{}", &signature[1..]),
            format!("{said}.{signature}.{signature}"),
        ] {
            assert_eq!(vault().verify(&forged, at(0)), None, "{forged}");
        }
    }

    #[test]
    fn a_browser_has_a_name_that_is_read_back_and_shown_nowhere() {
        let browser = Browser::new().unwrap();
        assert_eq!(Browser::named(browser.name()), Some(browser.clone()));
        assert!(!format!("{browser:?}").contains(browser.name()));
        assert_ne!(browser.digest(), Browser::new().unwrap().digest());
        let long = format!("{}AAAA", browser.name());
        for name in ["", "AAAA", &browser.name()[1..], &long, "é", &"!".repeat(32)] {
            assert_eq!(Browser::named(name), None, "{name}");
        }
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let (proof, of_it) = proof().unwrap();
        assert_eq!((proof.expose().len(), of_it), (64, challenge(proof.expose())));
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }
}
