//! Makes every error response, and the headers that every response carries.
//!
//! # Always
//! - Every refusal carries its code in `x-sendcat-error-code` (HT-1), and every 429 and 503 a
//!   `Retry-After` of at least a second (HT-2).
//! - The body is one sentence as plain text, or a problem document for those who ask for one.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::contract::body::{BodyError, Issue};
use crate::contract::code::ErrorCode;
use crate::contract::headers::{self, Quota, RateLimitStyle, rate_limit_fields};
use crate::contract::problem::{PROBLEM_JSON, Problem, wants_problem};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: ErrorCode,
    sentence: Option<String>,
    issues: Vec<Issue>,
    retry_after: Option<Duration>,
    quotas: Vec<Quota>,
    allow: Option<String>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        let retry_after = code.default_retry_after();
        Self {
            code,
            sentence: None,
            issues: Vec::new(),
            retry_after,
            quotas: Vec::new(),
            allow: None,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self {
            sentence: Some(error.sentence()),
            issues: error.issues().to_vec(),
            ..error.code().into()
        }
    }
}

impl Refusal {
    /// The code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The same, in these words.
    #[must_use]
    pub fn saying(self, sentence: impl Into<String>) -> Self {
        Self { sentence: Some(sentence.into()), ..self }
    }

    /// The same, with what is wrong with the body.
    #[must_use]
    pub fn with_issues(self, issues: Vec<Issue>) -> Self {
        Self { issues, ..self }
    }

    /// The same, with the time to wait.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The same, with the limit that was hit.
    #[must_use]
    pub fn hitting(mut self, quota: Quota) -> Self {
        self.quotas.push(quota);
        self
    }

    /// The same, with the methods that are allowed.
    #[must_use]
    pub fn allowing(self, methods: impl Into<String>) -> Self {
        Self { allow: Some(methods.into()), ..self }
    }

    /// Whether the connection ends with the answer, for what is left of the body is not waited for.
    pub fn closes(&self) -> bool {
        matches!(self.code, ErrorCode::PayloadTooLarge | ErrorCode::RequestTimeout)
    }

    fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.code);
        if let Some(wait) = self.retry_after {
            problem = problem.retry_after(wait);
        }
        if let Some(sentence) = &self.sentence {
            problem = problem.saying(sentence);
        }
        for quota in &self.quotas {
            let (Quota::Window { name, .. } | Quota::Concurrent { name, .. }) = quota;
            problem = problem.violating(name.to_string().trim_matches('"'));
        }
        problem.with_issues(&self.issues)
    }

    fn sentence(&self) -> String {
        match (&self.sentence, self.retry_after) {
            (Some(sentence), _) => sentence.clone(),
            (None, Some(wait)) => self.code.sentence_after(wait),
            (None, None) => self.code.sentence().to_owned(),
        }
    }
}

/// The response that a refusal is.
pub fn refuse(request: &HttpRequest, refusal: &Refusal, style: RateLimitStyle) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or_default();
    let mut response = HttpResponse::build(status);
    response.insert_header((headers::ERROR_CODE, refusal.code.name()));
    if let Some(wait) = refusal.retry_after.or_else(|| refusal.code.default_retry_after()) {
        response.insert_header((headers::RETRY_AFTER, headers::retry_after_seconds(wait)));
    }
    for (name, value) in rate_limit_fields(style, &refusal.quotas) {
        response.insert_header((name, value));
    }
    if let Some(methods) = &refusal.allow {
        response.insert_header((header::ALLOW, methods.as_str()));
    }
    if refusal.code == ErrorCode::Unauthorized {
        response.insert_header((header::WWW_AUTHENTICATE, CHALLENGE));
    }
    // What is left of the body is not read; the connection must not wait for it.
    if refusal.closes() {
        response.force_close();
    }
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if wants_problem(&accepted(request.headers())) {
        return response.content_type(PROBLEM_JSON).json(refusal.problem());
    }
    response.content_type(PLAIN_TEXT).body(refusal.sentence())
}

/// How a refused caller is asked for a token (RFC 6750 §3).
const CHALLENGE: &str = "Bearer error=\"invalid_token\"";

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

fn accepted(fields: &HeaderMap) -> String {
    let values = fields.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(", ")
}

/// A success with a JSON body.
pub fn json(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// The success of a request that made something.
pub fn created(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// The refusal of whoever has as many of something as there may be.
pub fn full(what: &str) -> Refusal {
    let sentence = format!("There is no room for more {what}; delete some first.");
    Refusal::from(ErrorCode::Conflict).saying(sentence)
}

/// A success without a body.
pub fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// Adds fields whose names and values are known to be valid.
pub fn add_fields(
    response: &mut HttpResponse,
    fields: impl IntoIterator<Item = (&'static str, String)>,
) {
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}
