//! Serper's web search: what is sent, and what its answer says.
//!
//! There is no public reference, so the answer is read as loosely as can be: every block and every
//! field may be missing or of another kind. What goes on to the model is small and bounded, and
//! its links are web addresses only.

use sendcat_state::key::ProviderId;
use serde::Serialize;
use serde_json::Value;

use super::classify;
use super::error::UpstreamError;
use super::text::{bounded, web_address};
use crate::contract::ui_stream::Json;

/// The path below the base URL.
pub const SEARCH_PATH: &str = "/search";

/// The header that carries our key.
pub const KEY_HEADER: &str = "X-API-KEY";

/// How many results the model is given at most.
pub const MAX_RESULTS: usize = 8;

const MAX_TITLE_CHARS: usize = 200;
const MAX_SNIPPET_CHARS: usize = 500;

/// The body of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SearchRequest<'a> {
    /// The words to search for.
    pub q: &'a str,
    /// How many results.
    pub num: usize,
    /// Country, as `us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gl: Option<&'a str>,
    /// Language, as `en`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hl: Option<&'a str>,
}

impl<'a> SearchRequest<'a> {
    /// A search anywhere, for as many results as the model is given.
    pub fn new(q: &'a str) -> Self {
        Self { q, num: MAX_RESULTS, gl: None, hl: None }
    }
}

/// What a search found, within the bounds that go to the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SearchAnswer {
    /// The search engine's own short answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<SearchResult>,
    /// The pages found, best first.
    pub results: Vec<SearchResult>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SearchResult {
    /// Its title; its link where it has none.
    pub title: String,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// A few words of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
    /// When it was published, as the engine displays it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

impl SearchAnswer {
    /// The compact JSON that the model and the client are given.
    pub fn to_json(&self) -> Json {
        Json::of(self).expect("strings under fixed names can be written")
    }
}

/// What the body of a 200 says.
///
/// # Errors
/// [`UpstreamError::Malformed`]: it is not a JSON object.
pub fn read_search(body: &[u8]) -> Result<SearchAnswer, UpstreamError> {
    let provider = ProviderId::SerperSearch;
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| UpstreamError::Malformed { provider, what: "the body is not JSON" })?;
    if !body.is_object() {
        return Err(UpstreamError::Malformed { provider, what: "the body is not an object" });
    }
    let organic = body["organic"].as_array().map(Vec::as_slice).unwrap_or_default();
    let results = organic
        .iter()
        .filter_map(|entry| read_result(entry, &["snippet"]))
        .take(MAX_RESULTS)
        .collect();
    let answer = read_result(&body["answerBox"], &["answer", "snippet"])
        .or_else(|| read_result(&body["knowledgeGraph"], &["description"]))
        .filter(|answer| answer.snippet.is_some());
    Ok(SearchAnswer { answer, results })
}

fn read_result(entry: &Value, snippets: &[&str]) -> Option<SearchResult> {
    let text = |name: &str, most| bounded(entry[name].as_str()?, most);
    let address = |name: &str| entry[name].as_str().and_then(web_address);
    let link = address("link").or_else(|| address("website"));
    let snippet = snippets.iter().find_map(|name| text(name, MAX_SNIPPET_CHARS));
    let title = text("title", MAX_TITLE_CHARS).or_else(|| link.clone());
    let title = title.or_else(|| snippet.as_ref().map(|_| String::new()))?;
    Some(SearchResult { title, link, snippet, date: text("date", MAX_TITLE_CHARS) })
}

/// The failure that a status other than 2xx is. Serper says 403 for a bad key, and 400 with
/// "credits" in its message when we have none left.
pub fn refusal(
    status: u16,
    retry_after: Option<std::time::Duration>,
    body: &[u8],
) -> UpstreamError {
    let provider = ProviderId::SerperSearch;
    let no_credits = || {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        body["message"].as_str().is_some_and(|text| text.to_lowercase().contains("credits"))
    };
    if status == 403 || (status == 400 && no_credits()) {
        return UpstreamError::OurKey { provider, status };
    }
    match classify::status(provider, status, retry_after) {
        Err(error) => error,
        Ok(()) => UpstreamError::Malformed { provider, what: "a refusal with a status of success" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/it/samples/upstream/", $name))
        };
    }

    #[test]
    fn a_request_has_no_field_that_is_not_set() {
        let plain = serde_json::to_string(&SearchRequest::new("rust \"actors\"")).unwrap();
        assert_eq!(plain, r#"{"q":"rust \"actors\"","num":8}"#);
        let local = SearchRequest { gl: Some("de"), hl: Some("en"), ..SearchRequest::new("x") };
        let local = serde_json::to_string(&local).unwrap();
        assert_eq!(local, r#"{"q":"x","num":8,"gl":"de","hl":"en"}"#);
    }

    #[test]
    fn a_real_answer_becomes_small_json() {
        let answer = read_search(sample!("serper-search.json")).unwrap();
        assert_eq!(
            answer.to_json().as_str(),
            concat!(
                r#"{"answer":{"title":"USB-C","link":"https://answers.example/usb-c","#,
                r#""snippet":"A reversible connector."},"results":["#,
                r#"{"title":"Best USB-C docks “2026”","#,
                r#""link":"https://reviews.example/docks?ref=a&b=1","#,
                r#""snippet":"We tested 14 docks …","date":"Feb 1, 2026"},"#,
                r#"{"title":"USB-C ドック","link":"https://shop.example/ja","snippet":"最高のドック"}]}"#,
            ),
        );
    }

    #[test]
    fn nothing_found_is_an_answer() {
        let empty = read_search(sample!("serper-search-empty.json")).unwrap();
        assert_eq!(empty.to_json().as_str(), r#"{"results":[]}"#);
        assert_eq!(read_search(b"{}").unwrap(), SearchAnswer::default());
    }

    #[test]
    fn odd_entries_are_left_out_and_long_ones_cut() {
        let long = "é".repeat(600);
        let body = serde_json::json!({"organic": [
            7, null, {}, {"title": 3}, {"position": 1},
            {"title": "no link", "link": "javascript:alert(1)", "snippet": long},
            {"link": "https://a.example/"},
        ], "answerBox": [], "knowledgeGraph": {"title": "no words"}});
        let answer = read_search(body.to_string().as_bytes()).unwrap();
        let result = |title: &str| SearchResult {
            title: title.into(),
            link: None,
            snippet: None,
            date: None,
        };
        let expected = vec![
            SearchResult { snippet: Some("é".repeat(500) + "…"), ..result("no link") },
            SearchResult {
                link: Some("https://a.example/".into()),
                ..result("https://a.example/")
            },
        ];
        assert_eq!(answer, SearchAnswer { answer: None, results: expected });
    }

    #[test]
    fn no_more_results_than_the_model_is_given() {
        let body = serde_json::json!({"organic": vec![serde_json::json!({"title": "t"}); 100]});
        assert_eq!(read_search(body.to_string().as_bytes()).unwrap().results.len(), MAX_RESULTS);
    }

    #[test]
    fn what_is_not_an_object_is_malformed() {
        for body in [b"<html>".as_slice(), b"", b"[]", b"null"] {
            assert!(matches!(read_search(body), Err(UpstreamError::Malformed { .. })));
        }
    }

    #[test]
    fn a_bad_key_and_spent_credits_are_ours_to_mend() {
        let code = |status, body: &[u8]| refusal(status, None, body).code_name();
        assert_eq!(code(403, sample!("serper-error-403.json")), "misconfigured");
        assert_eq!(code(400, sample!("serper-error-400-credits.json")), "misconfigured");
        assert_eq!(code(400, b"<html>"), "upstream_rejected");
        assert_eq!(code(429, sample!("serper-error-429.json")), "upstream_rate_limited");
        assert_eq!(code(500, b""), "upstream_error");
    }
}
