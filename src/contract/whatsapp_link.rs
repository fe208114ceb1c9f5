//! The code that links a number: what a user is shown, and what is found in a message.
//!
//! Fifty random bits, written with letters that nobody takes for another. People type it as they
//! like, so blanks, dashes and small letters make no difference.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::signature::digest;

/// No I, L, O or U: they are taken for 1, 0 and V.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKMNPQRSTVWXYZ0123456789";
const LENGTH: usize = 10;

/// The longest message that is looked at for a code.
const MESSAGE_BYTES_MAX: usize = 64;

/// A code.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkCode([u8; LENGTH]);

/// The answer of `POST /api/whatsapp/link-code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkCodeAnswer {
    /// The code, as it is to be sent: `ABCDE-FGHJK`.
    pub code: String,
    /// Until when it is good.
    pub expires_at: String,
}

impl LinkCode {
    /// The code of these random bits.
    pub fn of(random: [u64; 2]) -> Self {
        let bits = u128::from(random[0]) << 64 | u128::from(random[1]);
        Self(std::array::from_fn(|place| {
            let letter = usize::try_from(bits >> (5 * place) & 31).expect("five bits fit");
            LETTERS[letter]
        }))
    }

    /// The code that a message is, if it is one and nothing else.
    pub fn within(message: &str) -> Option<Self> {
        if message.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        let letters = message.bytes().filter(|byte| !matches!(byte, b' ' | b'-' | b'\n' | b'\r'));
        let letters: Vec<u8> = letters.map(|letter| letter.to_ascii_uppercase()).collect();
        let known = letters.iter().all(|letter| LETTERS.contains(letter));
        letters.try_into().ok().map(Self).filter(|_| known)
    }

    /// What the store knows of it.
    pub fn digest(&self) -> String {
        digest(&[b"link code ".as_slice(), &self.0].concat())
    }
}

impl fmt::Display for LinkCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::str::from_utf8(&self.0).map_err(|_| fmt::Error)?;
        let (first, second) = text.split_at(LENGTH / 2);
        write!(out, "{first}-{second}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_however_it_is_typed_and_nowhere_else() {
        let code = LinkCode::of([7, 0x0123_4567_89ab_cdef]);
        let shown = code.to_string();
        assert_eq!(shown.len(), 11);
        let small = shown.to_lowercase().replace('-', " ");
        for message in [&shown, &small, &shown.replace('-', ""), &format!(" {shown}\n")] {
            assert!(LinkCode::within(message) == Some(code.clone()), "{message:?}");
        }
        let long = format!("{shown}{}", " ".repeat(60));
        let others = [&shown[1..], "", "hello", "hello, my friend", "ABCDE-FGHJKM", "IIIII-OOOOO"];
        for message in others.into_iter().chain([long.as_str(), "äbcdefghj"]) {
            assert!(LinkCode::within(message).is_none(), "{message:?}");
        }
    }

    #[test]
    fn every_letter_comes_from_the_bits_and_the_digest_tells_codes_apart() {
        let all = (0..32).map(|bits| LinkCode::of([0, bits]));
        let firsts: std::collections::BTreeSet<_> = all.clone().map(|code| code.0[0]).collect();
        assert_eq!(firsts.len(), 32);
        let digests: std::collections::BTreeSet<_> = all.map(|code| code.digest()).collect();
        assert_eq!(digests.len(), 32);
        assert!(digests.iter().all(|digest| digest.len() == 64));
    }
}
