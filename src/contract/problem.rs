//! Problem documents (RFC 9457), for callers who ask for `application/problem+json`.
//!
//! Everyone else gets one plain sentence, as the log promised (CONFORMANCE.md E30); the code
//! stands in a header either way.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::body::Issue;
use super::code::ErrorCode;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A rate limit was reached (draft-ietf-httpapi-ratelimit-headers).
pub const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// There is less room than usual (the same draft).
pub const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// A problem that says no more than its status (RFC 9457 §4.2.1).
pub const ABOUT_BLANK: &str = "about:blank";

/// One refusal, for a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, as a URI.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The sentence that a plain-text caller gets.
    pub detail: String,
    /// The same code as in the header.
    pub code: ErrorCode,
    /// What the body had in the wrong shape; empty for other refusals.
    #[serde(default)]
    pub issues: Vec<Issue>,
    /// How long to wait, in milliseconds; never more than `Retry-After` says.
    #[serde(rename = "retryAfterMs", default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The names of the limits that said no, as in `RateLimit-Policy`.
    #[serde(rename = "violated-policies", default, skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
}

impl Problem {
    /// The problem of `code` with its default sentence, and its default wait if it has one.
    pub fn new(code: ErrorCode) -> Self {
        let kind = kind_of(code);
        let title = match kind {
            QUOTA_EXCEEDED => "Quota exceeded",
            REDUCED_CAPACITY => "Temporary reduced capacity",
            _ => phrase_of(code.status()),
        };
        let problem = Self {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status: code.status(),
            detail: code.sentence().to_owned(),
            code,
            issues: Vec::new(),
            retry_after_ms: None,
            violated_policies: Vec::new(),
        };
        match code.default_retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }

    /// The same problem with another sentence.
    pub fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same problem with what the body had wrong.
    pub fn with_issues(mut self, issues: &[Issue]) -> Self {
        self.issues = issues.to_vec();
        self
    }

    /// The same problem with a known wait; the sentence names it too.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.detail = self.code.sentence_after(wait);
        self
    }

    /// The same problem with the name of the limit that said no. Only problems of a limit have
    /// the member, so for any other code it changes nothing.
    pub fn violating(mut self, policy: impl Into<String>) -> Self {
        if self.kind != ABOUT_BLANK {
            self.violated_policies.push(policy.into());
        }
        self
    }
}

/// The registered problem type of a code; a missing key (`misconfigured`) is no lack of room.
fn kind_of(code: ErrorCode) -> &'static str {
    match (code, code.status()) {
        (_, 429) => QUOTA_EXCEEDED,
        (ErrorCode::Misconfigured, _) => ABOUT_BLANK,
        (_, 503) => REDUCED_CAPACITY,
        _ => ABOUT_BLANK,
    }
}

/// The phrase of a status, which RFC 9457 §4.2.1 asks for as the title of `about:blank`.
fn phrase_of(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

/// Whether an `Accept` header names `application/problem+json` with a weight above zero. A
/// wildcard does not count: every browser sends one, and the plain sentence is the promise.
/// Several header lines are one list: hand them in joined by commas.
pub fn wants_problem(accept: &str) -> bool {
    split_outside_quotes(accept, ',').any(|range| {
        let mut parts = split_outside_quotes(range, ';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(PROBLEM_JSON));
        named && parts.all(|parameter| !is_zero_weight(parameter))
    })
}

/// Whether a parameter is a weight that excludes. One that is no number is taken as an exclusion:
/// whoever cannot write a weight is safe with a sentence.
fn is_zero_weight(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, weight)) if name.trim().eq_ignore_ascii_case("q") => {
            !weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0)
        }
        Some(_) | None => false,
    }
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |each: char| {
        let splits = each == separator && !quoted;
        if each == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && each == '\\' && !escaped;
        splits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_named_and_not_excluded_problem_type_is_wanted() {
        let table = [
            ("application/problem+json", true),
            ("Application/Problem+JSON; charset=utf-8", true),
            ("text/plain, application/problem+json;q=0.1", true),
            ("application/problem+json ; q=0.001", true),
            ("application/problem+json;q=0", false),
            ("application/problem+json;q=0.000", false),
            ("application/problem+json; Q = 0", false),
            ("application/problem+json;q=x", false),
            ("*/*", false),
            ("application/*", false),
            ("application/json", false),
            ("application/problem+jsonx", false),
            ("text/html;note=\"a, application/problem+json\"", false),
            ("", false),
        ];
        for (accept, wanted) in table {
            assert_eq!(wants_problem(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn a_limited_caller_is_told_the_limit_and_the_wait() {
        let problem = Problem::new(ErrorCode::RateLimited)
            .retry_after(Duration::from_millis(16_500))
            .violating("chat_stream");
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            json!({
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Quota exceeded",
                "status": 429,
                "detail": "Rate limit reached; try again in 17 seconds.",
                "code": "rate_limited",
                "issues": [],
                "retryAfterMs": 16_500,
                "violated-policies": ["chat_stream"],
            })
        );
    }

    #[test]
    fn a_wrong_shape_lists_its_issues_and_names_no_wait() {
        let issues = [Issue::new("messages[0].parts", "an array of parts")];
        let problem = Problem::new(ErrorCode::InvalidRequest)
            .saying("The request is not valid.")
            .with_issues(&issues)
            .violating("nothing");
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            json!({
                "type": "about:blank",
                "title": "Bad Request",
                "status": 400,
                "detail": "The request is not valid.",
                "code": "invalid_request",
                "issues": [{"path": "messages[0].parts", "expected": "an array of parts"}],
            })
        );
    }

    #[test]
    fn every_code_has_a_problem_that_reads_back() {
        for &code in ErrorCode::ALL {
            let problem = Problem::new(code);
            let waits = code.default_retry_after().is_some();
            assert_eq!(problem.retry_after_ms.is_some(), waits, "{code}");
            let internal = problem.title == "Internal Server Error";
            assert_eq!(internal, code.status() == 500, "{code}");
            let json = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        }
    }
}
