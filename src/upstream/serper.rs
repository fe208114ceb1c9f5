//! Serper's web and shopping search: what is sent, and what its answers say.
//!
//! There is no public reference, so the answer is read as loosely as can be: every block and every
//! field may be missing or of another kind. What goes on to the model is small and bounded, and
//! its links are web addresses only.

use std::time::Duration;

use sendcat_state::key::ProviderId;
use serde::Serialize;
use serde_json::Value;

use super::call::{Call, RefusedAnswer, Upstream};
use super::classify;
use super::error::UpstreamError;
use super::offer::{MAX_OFFERS, MAX_TITLE_CHARS, MAX_WORD_CHARS, Offer, Price};
use super::text::{bounded, web_address};
use crate::config::Keyed;
use crate::contract::ui_stream::Json;

const PROVIDER: ProviderId = ProviderId::SerperSearch;
const SEARCH_PATH: &str = "/search";
const SHOPPING_PATH: &str = "/shopping";

/// The header that carries our key.
const KEY_HEADER: &str = "X-API-KEY";

/// How many results the model is given at most.
pub const MAX_RESULTS: usize = 8;

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

/// Searches the web.
///
/// # Errors
/// [`UpstreamError`], recorded with the provider's circuit.
pub async fn search(
    upstream: &Upstream,
    settings: &Keyed,
    request: SearchRequest<'_>,
    (holder, deadline): (&str, Duration),
) -> Result<SearchAnswer, UpstreamError> {
    let call = call(settings, SEARCH_PATH, request)?;
    upstream.read(call, holder, deadline, (read_refusal, read_search)).await
}

/// Looks for offers of any shop.
///
/// # Errors
/// [`UpstreamError`], recorded with the provider's circuit.
pub async fn shop(
    upstream: &Upstream,
    settings: &Keyed,
    request: SearchRequest<'_>,
    (holder, deadline): (&str, Duration),
) -> Result<Vec<Offer>, UpstreamError> {
    let call = call(settings, SHOPPING_PATH, request)?;
    upstream.read(call, holder, deadline, (read_refusal, read_shopping)).await
}

fn call(settings: &Keyed, path: &str, request: SearchRequest<'_>) -> Result<Call, UpstreamError> {
    let key = settings.api_key.as_ref().ok_or(UpstreamError::NoKey { provider: PROVIDER })?;
    let body = serde_json::to_vec(&request).expect("strings under fixed names can be written");
    let call = Call::post_json(PROVIDER, format!("{}{path}", settings.base_url), body);
    Ok(call.with_secret(KEY_HEADER, key.expose()))
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
/// [`UpstreamError::Malformed`]: it is not a JSON object. [`UpstreamError::FailedWithin`]: it says
/// that it failed.
pub fn read_search(body: &[u8]) -> Result<SearchAnswer, UpstreamError> {
    let body = read_body(body)?;
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

/// What the body of a shopping search's 200 says.
///
/// # Errors
/// As of [`read_search`].
pub fn read_shopping(body: &[u8]) -> Result<Vec<Offer>, UpstreamError> {
    let body = read_body(body)?;
    let offers = body["shopping"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(offers.iter().filter_map(read_offer).take(MAX_OFFERS).collect())
}

fn read_offer(entry: &Value) -> Option<Offer> {
    let text = |name: &str, most| bounded(entry[name].as_str()?, most);
    let address = |name: &str| entry[name].as_str().and_then(web_address);
    Some(Offer {
        title: text("title", MAX_TITLE_CHARS)?,
        price: entry["price"].as_str().and_then(Price::displayed),
        shop: text("source", MAX_WORD_CHARS),
        link: address("link"),
        image: address("imageUrl"),
        condition: None,
        rating: entry["rating"].as_f64(),
        reviews: entry["ratingCount"].as_u64(),
        delivery: text("delivery", MAX_WORD_CHARS),
    })
}

fn read_body(body: &[u8]) -> Result<Value, UpstreamError> {
    let provider = PROVIDER;
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| UpstreamError::Malformed { provider, what: "the body is not JSON" })?;
    if !body.is_object() {
        return Err(UpstreamError::Malformed { provider, what: "the body is not an object" });
    }
    // The shape of its refusals, under whatever status.
    let status = body["statusCode"].as_u64().filter(|status| *status >= 400);
    match status.and_then(|status| u16::try_from(status).ok()) {
        Some(status) => Err(UpstreamError::FailedWithin { provider, status: Some(status) }),
        None => Ok(body),
    }
}

pub(super) fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    refusal(refused.status, wait, &refused.body)
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
pub fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> UpstreamError {
    let provider = PROVIDER;
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
mod tests;
