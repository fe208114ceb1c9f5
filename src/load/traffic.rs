//! What is sent: an address, and requests for it.

use bytes::Bytes;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::Url;

/// A server as a client reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `host`.
    pub(super) authority: HeaderValue,
    pub(super) tls: bool,
}

/// An address that no request can be sent to.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no address of a server, such as http://127.0.0.1:8787")]
pub struct NoTarget(String);

impl Target {
    /// The server at a URL of http or https; its path is not used.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn parse(url: &str) -> Result<Self, NoTarget> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let read = || {
            let url = parsed?;
            let port = url.port_or_known_default()?;
            let host = url.host_str()?;
            let authority = match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            };
            let authority = HeaderValue::from_str(&authority).ok()?;
            let host = host.trim_matches(['[', ']']).to_owned();
            Some(Self { host, port, authority, tls: url.scheme() == "https" })
        };
        read().ok_or_else(|| NoTarget(url.split('@').next_back().unwrap_or_default().to_owned()))
    }

    /// Whether it is this machine by its own address.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its verb.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers; `host` is added, and the length of the body.
    pub headers: HeaderMap,
    /// The body, empty for none.
    pub body: Bytes,
    /// Whether a 200 is a stream.
    pub answer: AnswerForm,
}

/// What a 200 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerForm {
    /// A body with an end.
    #[default]
    Whole,
    /// Server-sent events that end with `data: [DONE]`; without it the stream was cut.
    Events,
}

impl Call {
    /// A request with no header and no body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, path: path.into(), headers, body, answer: AnswerForm::Whole }
    }

    /// A `POST` of JSON.
    pub fn post_json(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let json = HeaderValue::from_static("application/json");
        let call = Self::new(Method::POST, path).with(hyper::header::CONTENT_TYPE, json);
        Self { body: body.into(), ..call }
    }

    /// The same with a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// Where a run's requests come from. It is asked on the generator's threads, so it must answer at
/// once: whatever takes time, such as a session, is had before.
pub trait Traffic: Send + Sync {
    /// The request of an arrival, numbered from 0; the same number gives the same request.
    fn call(&self, index: u64) -> Call;

    /// Whether an answer of this status counts as bad in the live view and in the series.
    fn is_bad(&self, status: u16) -> bool {
        status >= 500
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_with_its_default_port_and_without_what_must_stay_secret() {
        let target = Target::parse("https://[::1]/path").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls), ("::1", 443, true));
        assert!(target.is_loopback());
        assert_eq!(target.origin(), "https://[::1]");
        let target = Target::parse("http://name:password@api.example:8080").unwrap();
        assert_eq!(target.authority, "api.example:8080");
        assert_eq!(
            (target.origin().as_str(), target.host()),
            ("http://api.example:8080", "api.example")
        );
        assert!(!target.is_loopback());
        let refused = Target::parse("ftp://user:password@host").unwrap_err().to_string();
        assert!(!refused.contains("password"), "{refused}");
    }
}
