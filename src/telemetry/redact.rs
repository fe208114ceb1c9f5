//! Takes secrets out of texts that leave the process.
//!
//! Nothing of ours writes a secret into a log; what is reported may come from elsewhere, a panic's
//! message of a library for one. So every value that is configured as a secret is masked wherever
//! it stands, and so is what looks like a token.

use serde_json::Value;

use crate::config::{MASK, Secret};

/// Secrets shorter than this are no secrets, and masking them would take words apart.
const SHORTEST: usize = 6;

/// What stands before something that nobody else may see, in any case of letters.
const MARKS: &[&str] = &[
    "bearer ",
    "api_key=",
    "token=",
    "secret=",
    "password=",
    "signature=",
    "sentry_key=",
    "code=",
];

/// What stands at the beginning of a token itself: of a JWT, of keys of providers.
const TOKENS: &[&str] = &["eyJ", "sk-", "EAA", "whsec_", "re_", "ya29."];

/// The shortest token that is masked for its beginning alone.
const TOKEN_CHARS: usize = 20;

/// Masks secrets.
pub struct Redactor {
    /// The longest first: one may hold another.
    secrets: Vec<String>,
}

impl Redactor {
    /// One that knows these.
    pub fn of(secrets: &[Secret]) -> Self {
        let texts = secrets.iter().map(|secret| secret.expose().to_owned());
        let mut secrets: Vec<_> = texts.filter(|text| text.len() >= SHORTEST).collect();
        secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without them.
    pub fn text(&self, text: &str) -> String {
        let known = |text: String, secret: &String| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), MASK) } else { text }
        };
        let text = self.secrets.iter().fold(text.to_owned(), known);
        let text = MARKS.iter().fold(text, |text, mark| behind(&text, mark));
        without_tokens(&text)
    }

    /// The value with every text in it, names of members included, without them.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Object(members) => {
                let redacted =
                    |(name, value): (String, Value)| (self.text(&name), self.value(value));
                Value::Object(members.into_iter().map(redacted).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

/// Masks what stands behind a mark, up to the end of the word.
fn behind(text: &str, mark: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    while let Some(found) = lower[from..].find(mark) {
        let start = from + found + mark.len();
        let length = text[start..].find(ends_a_word).unwrap_or(text.len() - start);
        out.push_str(&text[from..start]);
        if length > 0 {
            out.push_str(MASK);
        }
        from = start + length;
    }
    out.push_str(&text[from..]);
    out
}

fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends_a_word) {
        let word = piece.trim_end_matches(ends_a_word);
        let token = word.chars().count() >= TOKEN_CHARS
            && TOKENS.iter().any(|begins| word.starts_with(begins));
        if token {
            out.push_str(MASK);
            out.push_str(&piece[word.len()..]);
        } else {
            out.push_str(piece);
        }
    }
    out
}

fn ends_a_word(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'' | ',' | ';' | '&' | ')' | '}' | ']' | '=')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor() -> Redactor {
        let secrets = ["planted-secret", "planted-secret-longer", "abc"].map(Secret::new);
        Redactor::of(&secrets)
    }

    #[test]
    fn configured_secrets_are_masked_wherever_they_stand_and_the_longest_first() {
        let text = "xplanted-secret-longery planted-secret, abc";
        assert_eq!(redactor().text(text), "x***y ***, abc");
    }

    #[test]
    fn what_looks_like_a_token_is_masked_and_the_rest_stays() {
        let table = [
            ("authorization: Bearer a.b-c", "authorization: Bearer ***"),
            ("GET /x?token=abc&page=2", "GET /x?token=***&page=2"),
            ("BEARER\u{20ac} bearer é, é", "BEARER\u{20ac} bearer ***, é"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.e30.AAAA ends", "jwt *** ends"),
            ("a re_try of sk-ies", "a re_try of sk-ies"),
            ("token=", "token="),
        ];
        for (text, wanted) in table {
            assert_eq!(redactor().text(text), wanted);
        }
    }

    #[test]
    fn every_text_of_a_value_is_looked_at() {
        let value = json!({"planted-secret": [{"a": "planted-secret"}, 1, null, true]});
        assert_eq!(redactor().value(value), json!({"***": [{"a": "***"}, 1, null, true]}));
    }
}
