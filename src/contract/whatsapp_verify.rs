//! The question Meta asks whenever the callback address is set: `GET` with three parameters.
//!
//! Each parameter must be there exactly once, as plain text: receivers that took the last of two,
//! or read `hub.verify_token[$ne]` as an operator, were talked into the wrong answer (WEBHOOKS.md
//! §1.1).

use percent_encoding::percent_decode_str;

use super::signature::token_matches;

/// The longest challenge that is echoed; real ones are ten digits.
pub const CHALLENGE_BYTES_MAX: usize = 4096;

/// The parameters of a verification.
#[derive(Clone, PartialEq, Eq)]
pub struct Verification {
    challenge: String,
    token: String,
}

/// Why a verification was not accepted. The wire says `forbidden` for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerificationFault {
    /// A parameter is not there.
    #[error("parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter is there twice.
    #[error("parameter {0} is there more than once")]
    Repeated(&'static str),
    /// A parameter is not UTF-8, or the query is not a list of parameters.
    #[error("parameter {0} cannot be read")]
    Unreadable(&'static str),
    /// The mode is not `subscribe`.
    #[error("mode is not subscribe")]
    OtherMode,
    /// The challenge is over [`CHALLENGE_BYTES_MAX`].
    #[error("challenge is too long")]
    TooLong,
    /// The token is not ours.
    #[error("token does not match")]
    Mismatch,
}

impl Verification {
    /// Reads the raw query of the request, without its question mark.
    ///
    /// # Errors
    /// [`VerificationFault`], all but [`VerificationFault::Mismatch`].
    pub fn read(query: &str) -> Result<Self, VerificationFault> {
        let mode = one_of(query, "hub.mode")?;
        let challenge = one_of(query, "hub.challenge")?;
        let token = one_of(query, "hub.verify_token")?;
        if mode != "subscribe" {
            return Err(VerificationFault::OtherMode);
        }
        if challenge.len() > CHALLENGE_BYTES_MAX {
            return Err(VerificationFault::TooLong);
        }
        Ok(Self { challenge, token })
    }

    /// What to echo, as `text/plain`, if the token is one of ours.
    ///
    /// # Errors
    /// [`VerificationFault::Mismatch`] if it is not.
    pub fn challenge<S: AsRef<[u8]>>(&self, tokens: &[S]) -> Result<&str, VerificationFault> {
        if token_matches(tokens, self.token.as_bytes()) {
            Ok(&self.challenge)
        } else {
            Err(VerificationFault::Mismatch)
        }
    }
}

/// The value of the one parameter of that name; it may not be empty.
fn one_of(query: &str, name: &'static str) -> Result<String, VerificationFault> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key).as_deref() != Some(name) {
            continue;
        }
        let value = decoded(value).ok_or(VerificationFault::Unreadable(name))?;
        if found.replace(value).is_some() {
            return Err(VerificationFault::Repeated(name));
        }
    }
    found.filter(|value| !value.is_empty()).ok_or(VerificationFault::Missing(name))
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn answer(query: &str) -> Result<String, VerificationFault> {
        Verification::read(query)?.challenge(&["vibecoding"]).map(str::to_owned)
    }

    #[test]
    fn the_samples_are_answered_as_they_say() {
        let sample = include_str!("../../tests/it/samples/whatsapp_verify_get.json");
        let sample: Value = serde_json::from_str(sample).unwrap();
        let cases = sample["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let got = answer(case["query"].as_str().unwrap()).ok();
            let expected = (case["status"] == 200).then(|| case["body"].as_str().unwrap());
            assert_eq!(got.as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        use VerificationFault::{Mismatch, Missing, OtherMode, Repeated, TooLong, Unreadable};
        let long = "9".repeat(CHALLENGE_BYTES_MAX + 1);
        let table = [
            ("", Missing("hub.mode")),
            ("hub.mode=subscribe&hub.challenge=&hub.verify_token=x", Missing("hub.challenge")),
            ("hub.mode=subscribe&hub.challenge=1", Missing("hub.verify_token")),
            (
                "hub.mode=subscribe&hub.challenge=1&hub.verify_token[$ne]=x",
                Missing("hub.verify_token"),
            ),
            ("hub.mode=subscribe&hub.mode=subscribe&hub.challenge=1", Repeated("hub.mode")),
            (
                "hub.mode=subscribe&hub.challenge=1&hub%2Echallenge=2&hub.verify_token=x",
                Repeated("hub.challenge"),
            ),
            (
                "hub.mode=subscribe&hub.challenge=%ff&hub.verify_token=x",
                Unreadable("hub.challenge"),
            ),
            ("hub.mode=SUBSCRIBE&hub.challenge=1&hub.verify_token=vibecoding", OtherMode),
            (
                &format!("hub.mode=subscribe&hub.challenge={long}&hub.verify_token=vibecoding"),
                TooLong,
            ),
            ("hub.mode=subscribe&hub.challenge=1&hub.verify_token=Vibecoding", Mismatch),
        ];
        for (query, fault) in table {
            assert_eq!(answer(query), Err(fault), "{query}");
        }
    }

    #[test]
    fn the_longest_challenge_and_strange_letters_are_echoed_as_they_came() {
        let long = "9".repeat(CHALLENGE_BYTES_MAX);
        for (sent, echoed) in [(long.as_str(), long.as_str()), ("a+b%20%26%C3%A9", "a b &é")] {
            let query =
                format!("hub.mode=subscribe&x&hub.challenge={sent}&hub.verify_token=vibecoding");
            assert_eq!(answer(&query).as_deref(), Ok(echoed));
        }
    }
}
