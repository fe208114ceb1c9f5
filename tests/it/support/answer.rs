//! A whole answer: status, headers, body.

use std::collections::BTreeMap;

use reqwest::Response;
use sendcat::contract::ui_stream::grammar::Grammar;
use serde_json::Value;

/// A whole answer. Headers that differ from run to run are checked for their form and left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status().as_u16();
        let mut headers = BTreeMap::new();
        for (name, value) in response.headers() {
            let value = value.to_str().expect("headers are text").to_owned();
            assert!(
                headers.insert(name.to_string(), value).is_none(),
                "the header {name} stands twice"
            );
        }
        let id = headers.remove("x-request-id").expect("every response has an id");
        assert!(id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit()), "{id}");
        headers.remove("date").expect("every response has a date");
        // Whether a body that nobody wanted was there in time decides, not the server.
        headers.remove("connection");
        let body = response.text().await.expect("the body is whole");
        Self { status, headers, body }
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The wire code, if there is one.
    pub(crate) fn code(&self) -> Option<&str> {
        self.header("x-sendcat-error-code")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The parts of a stream, which must obey the grammar and end with `[DONE]`.
    pub(crate) fn parts(&self) -> Vec<Value> {
        Grammar::read_stream(&self.body)
            .unwrap_or_else(|violation| panic!("{violation:?} in\n{}", self.body))
    }

    /// The texts of a stream, joined.
    pub(crate) fn text(&self) -> String {
        let deltas = self.parts().into_iter().filter(|part| part["type"] == "text-delta");
        deltas.filter_map(|part| part["delta"].as_str().map(str::to_owned)).collect()
    }
}
