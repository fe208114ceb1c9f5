//! Takes secrets out of what leaves the process as words: log lines, panics, reports of trouble.
//!
//! Two ways: every secret that was configured is known by its value, in each form that a line may
//! bear it (plain, in a URL, in JSON); and what looks like a credential goes whoever it belongs to,
//! for a provider's answer may name keys that nobody configured here.
//!
//! # Always
//! - What was configured never passes [`text`] once [`know`] was told of it.
//! - A text without secrets is handed back as it is, without a copy.

use std::borrow::Cow;
use std::io;
use std::sync::{LazyLock, PoisonError, RwLock};

use regex::{Captures, Regex, RegexBuilder};

use crate::config::{MASK, Secret};

/// Shorter values are not looked for: they would take half of every line with them.
const SHORTEST_BYTES: usize = 4;

/// Secrets that are known at most; a process has some dozens.
const MOST_KNOWN: usize = 4096;

/// What the compiled pattern may take: as much as the longest secrets that fit an environment need.
const PATTERN_BYTES_MAX: usize = 1 << 30;

/// What looks like a credential. Of what a row sets apart as `keep` the words stay, so that a line
/// still says what it was about.
const PATTERNS: &[&str] = &[
    // Credentials of HTTP (RFC 9110 §11.4).
    r"(?P<keep1>(?i:bearer)(?:\s+|%20|\+))[A-Za-z0-9._~+/=-]{8,}",
    r"(?P<keep5>(?i:basic)\s+)(?:[A-Za-z0-9+/]{8,}={1,2}|[A-Za-z0-9+/]{20,})",
    // Keys of OpenRouter, OpenAI and their like; Google's tokens; Meta's; Resend's; Standard
    // Webhooks' and Stripe's secrets.
    r"\bsk-[A-Za-z0-9_-]{8,}",
    r"\bya29\.[A-Za-z0-9._-]+",
    r"\b1//0[A-Za-z0-9_-]{16,}",
    r"\bGOCSPX-[A-Za-z0-9_-]+",
    r"\bEAAG[A-Za-z0-9]{8,}",
    r"\bre_[A-Za-z0-9]{8,}_[A-Za-z0-9]+",
    r"\bwhsec_[A-Za-z0-9+/=_-]{8,}",
    // Signatures of deliveries: Meta's and GitHub's, Stripe's and Standard Webhooks'.
    r"(?P<keep6>\bsha256=)[0-9a-fA-F]{16,}",
    r"(?P<keep7>\bv1[=,])[A-Za-z0-9+/]{32,}={0,2}",
    // JSON web tokens, and our signed states: JSON in base64url, a dot, the rest.
    r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{8,}){1,2}",
    // What a URL carries before its host: the key of a DSN, a name and a password.
    r"(?P<keep2>[a-z][a-z0-9+.-]*://)[^/\s@?#\x22]+@",
    // Members and fields that are secret by their names.
    r#"(?xi)(?P<keep3>\b(?:access_token|refresh_token|id_token|client_secret|api_?key|sentry_key
        |code_verifier|verify_token|password)
        (?:\\?"\s*:\s*\\?"|=))[A-Za-z0-9._~+/%-]{6,}"#,
    // Parameters of a URL that are: signed states, codes of OAuth, shared tokens.
    r"(?i:(?P<keep4>[?&](?:state|code|token|key)=)[A-Za-z0-9._~+/%-]+)",
];

/// What rows of [`PATTERNS`] set apart.
const KEPT: [&str; 7] = ["keep1", "keep2", "keep3", "keep4", "keep5", "keep6", "keep7"];

/// What is looked for now.
struct Rules {
    known: Vec<String>,
    /// `None` if it could not be made: then nothing is shown.
    pattern: Option<Regex>,
}

static RULES: LazyLock<RwLock<Rules>> = LazyLock::new(|| RwLock::new(Rules::of(Vec::new())));

impl Rules {
    fn of(mut known: Vec<String>) -> Self {
        // The longest first: one secret may begin another.
        known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        known.dedup();
        known.truncate(MOST_KNOWN);
        let values = known.iter().map(|value| pattern_of(value));
        let all: Vec<_> = values.chain(PATTERNS.iter().map(|row| format!("(?:{row})"))).collect();
        let pattern = RegexBuilder::new(&all.join("|")).size_limit(PATTERN_BYTES_MAX).build();
        // No panic here: the hook of panics asks for these very rules.
        Self { known, pattern: pattern.ok() }
    }
}

/// From here on these are taken out of every text.
pub fn know<'a>(secrets: impl IntoIterator<Item = &'a Secret>) {
    let mut rules = RULES.write().unwrap_or_else(PoisonError::into_inner);
    let mut known = std::mem::take(&mut rules.known);
    known.extend(secrets.into_iter().flat_map(|secret| values_of(secret.expose())));
    *rules = Rules::of(known);
}

/// The values to look for: the secret, and the key of a DSN, which is named alone by those who send
/// to it.
fn values_of(secret: &str) -> impl Iterator<Item = String> {
    let secret = secret.trim();
    let user = secret.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let values = [Some(secret), user.map(|(user, _)| user)];
    let long = |value: &&str| value.len() >= SHORTEST_BYTES;
    values.into_iter().flatten().filter(long).map(str::to_owned)
}

/// A pattern of the value in every form that a line may bear it: plain, in a URL by whatever rules
/// of encoding, in JSON, in JSON within JSON.
fn pattern_of(value: &str) -> String {
    let mut pattern = String::new();
    for letter in value.chars() {
        let plain = regex::escape(letter.encode_utf8(&mut [0; 4]));
        if letter.is_ascii_alphanumeric() {
            pattern.push_str(&plain);
            continue;
        }
        let bytes = letter.to_string().into_bytes();
        let in_url: String = bytes.iter().map(|byte| format!("%(?i:{byte:02x})")).collect();
        let space = if letter == ' ' { r"|\+" } else { "" };
        let mut units = [0; 2];
        let units = letter.encode_utf16(&mut units).iter();
        let in_json: String = units.map(|unit| format!(r"\\+u(?i:{unit:04x})")).collect();
        pattern.push_str(&format!(r"(?:\\*{plain}|{in_url}|{in_json}{space})"));
    }
    pattern
}

/// The text without its secrets: `***` stands in the place of each.
pub fn text(text: &str) -> Cow<'_, str> {
    let rules = RULES.read().unwrap_or_else(PoisonError::into_inner);
    let Some(pattern) = &rules.pattern else { return Cow::Borrowed(MASK) };
    pattern.replace_all(text, |found: &Captures<'_>| {
        let kept = KEPT.iter().find_map(|name| found.name(name));
        let end = if found.name("keep2").is_some() { "@" } else { "" };
        format!("{}{MASK}{end}", kept.map_or("", |kept| kept.as_str()))
    })
}

/// The same as a text of its own.
pub fn owned(words: &str) -> String {
    text(words).into_owned()
}

/// Takes secrets out of every line on its way to `W`. A line comes in one write, as the formatting
/// layer makes it.
pub(super) struct Redacting<W>(pub(super) W);

impl<W: io::Write> io::Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let words = String::from_utf8_lossy(line);
        self.0.write_all(text(&words).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_configured_is_taken_out_in_every_form() {
        know([&Secret::new("pa\"ss/wörd 1"), &Secret::new("https://dsnkey77@errors.test/4")]);
        let in_url = "pa%22ss%2Fw%C3%B6rd%201";
        for (said, told) in [
            ("it was pa\"ss/wörd 1!", "it was ***!"),
            (r#"{"it":"pa\"ss/wörd 1"}"#, r#"{"it":"***"}"#),
            (r#"{"it":"{\"in\":\"pa\\\"ss/wörd 1\"}"}"#, r#"{"it":"{\"in\":\"***\"}"}"#),
            (&format!("http://x/?q={in_url}"), "http://x/?q=***"),
            ("/pa%22ss/w%c3%b6rd+1/x", "/***/x"),
            (r#"{"it":"pa\"ss\/w\u00F6rd 1"}"#, r#"{"it":"***"}"#),
            ("Sentry sentry_version=7, key dsnkey77", "Sentry sentry_version=7, key ***"),
            ("https://dsnkey77@errors.test/4 is away", "*** is away"),
        ] {
            assert_eq!(text(said), told, "{said}");
        }
    }

    #[test]
    fn what_looks_like_a_credential_goes_and_the_words_around_it_stay() {
        for (said, told) in [
            ("authorization: Bearer abc.def-123 was sent", "authorization: Bearer *** was sent"),
            ("Basic Y2xpZW50OnNlY3JldA== was sent", "Basic *** was sent"),
            ("key sk-or-v1-0123456789abcdef.", "key ***."),
            ("ya29.a0AfH6SNe_x-y and EAAGm0PX4ZCpsBA1", "*** and ***"),
            ("https://user:word@host/path", "https://***@host/path"),
            ("https://public@o1.ingest.test/2", "https://***@o1.ingest.test/2"),
            ("/x?token=ab&n=1&state=v1.a-b", "/x?token=***&n=1&state=***"),
            (r#"{"access_token":"abcdef123","n":1}"#, r#"{"access_token":"***","n":1}"#),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmVkc2ln!", "***!"),
            ("the state eyJvd25lciI6InVzZXI6YSJ9.AbCd_efgh-1", "the state ***"),
            ("sha256=0123456789abcdef0123456789abcdef is wrong", "sha256=*** is wrong"),
            ("v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= no", "v1,*** no"),
            ("a whsec_MfKQ9r8GKYqrTwjU and a re_12345678_abc", "a *** and a ***"),
        ] {
            assert_eq!(text(said), told, "{said}");
        }
    }

    #[test]
    fn a_text_without_secrets_is_not_copied() {
        for plain in [
            "answered",
            "",
            "the task-list of basic things, state closed, code rate_limited",
            r#"{"status":200,"code":"upstream_rate_limited","state":"half_open"}"#,
            "http://127.0.0.1:8787/api/chat?limit=20",
            "mail to person@example.org",
        ] {
            assert!(matches!(text(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }

    #[test]
    fn a_line_is_written_without_its_secrets_and_counts_as_written_whole() {
        let mut out = Redacting(Vec::new());
        let line = b"key sk-0123456789abcdef\n";
        assert_eq!(out.write(line).unwrap(), line.len());
        assert_eq!(out.0, b"key ***\n");
    }
}
