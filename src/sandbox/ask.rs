//! What a stand-in was asked, read once: path, query, headers, body.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::control::Memory;

/// One request to a stand-in.
pub(super) struct Ask<'a> {
    /// In capitals.
    pub(super) method: &'a str,
    /// The segments below the stand-in's prefix, percent-decoded.
    pub(super) path: Vec<String>,
    /// The query, decoded; of a name that comes twice, the last value.
    pub(super) query: BTreeMap<String, String>,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    /// As it was sent.
    pub(super) body: &'a [u8],
    /// `http://host/prefix`: where the caller reached the stand-in.
    pub(super) base: String,
    /// Counts the requests of this sandbox, so that identifiers differ.
    pub(super) serial: u64,
    /// Seconds since 1970.
    pub(super) now_s: u64,
    /// Whether the fault `drip` is armed: an answer is then said letter by letter.
    pub(super) dripping: bool,
    /// Whether a fault will refuse it: then nothing of it is done.
    pub(super) refused: bool,
    /// What stand-ins remember between requests.
    pub(super) memory: &'a Memory,
}

impl Ask<'_> {
    /// The path as a slice to match on.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// A header's value, empty when it was not sent.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A query parameter that is not empty.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The bearer token, when there is one.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization").strip_prefix("Bearer ").filter(|token| !token.is_empty())
    }

    /// User and password of `Authorization: Basic`.
    pub(super) fn basic(&self) -> Option<(String, String)> {
        let text = self.header("authorization").strip_prefix("Basic ")?;
        let text = String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// Whether the body was declared as that media type, whatever its parameters.
    pub(super) fn has_type(&self, media_type: &str) -> bool {
        let declared = self.header("content-type").split(';').next().unwrap_or("").trim();
        declared.eq_ignore_ascii_case(media_type)
    }

    /// The body, when it is declared as JSON and is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        if !self.has_type("application/json") {
            return None;
        }
        serde_json::from_slice(self.body).ok()
    }

    /// The fields of a form, when the body was declared as one.
    pub(super) fn form(&self) -> Option<BTreeMap<String, String>> {
        if !self.has_type("application/x-www-form-urlencoded") {
            return None;
        }
        Some(pairs(std::str::from_utf8(self.body).ok()?))
    }
}

/// The pairs of a query or form, decoded.
pub(super) fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// One segment of a path, percent-decoded.
pub(super) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
