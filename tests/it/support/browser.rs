//! What a browser keeps between its requests: the cookies that it was given.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::RequestBuilder;

use super::answer::Answer;

/// A browser's cookies, by their names.
#[derive(Default)]
pub(crate) struct Browser(Mutex<BTreeMap<String, String>>);

impl Browser {
    /// One that nobody has used.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Keeps what an answer gives it; attributes are the test's to look at.
    pub(crate) fn keeps(&self, answer: &Answer) {
        let Some(field) = answer.header("set-cookie") else { return };
        let pair = field.split(';').next().expect("a split has a part");
        let (name, value) = pair.split_once('=').expect("a cookie has a name");
        self.0.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// A request as it sends it.
    pub(crate) fn with_cookies(&self, request: RequestBuilder) -> RequestBuilder {
        let pairs = self.0.lock().unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { request } else { request.header("cookie", pairs.join("; ")) }
    }
}
