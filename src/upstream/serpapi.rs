//! SerpAPI's shopping search: what is sent, and what its answer says.
//!
//! The key travels in the query, so the address of a call is never written anywhere. Nothing found
//! is a 200 with an `error`; a failure may be one as well, and only the search's status tells.

use std::time::Duration;

use sendcat_state::key::ProviderId;
use serde_json::Value;

use super::call::{Call, RefusedAnswer, Upstream};
use super::classify;
use super::error::UpstreamError;
use super::offer::{MAX_OFFERS, MAX_TITLE_CHARS, MAX_WORD_CHARS, Offer, Price};
use super::text::{self, bounded, web_address};
use crate::config::Keyed;

const PROVIDER: ProviderId = ProviderId::SerpapiShopping;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct ShoppingQuery<'a> {
    /// The words.
    pub q: &'a str,
    /// Country, as `us`.
    pub gl: Option<&'a str>,
    /// Language, as `en`.
    pub hl: Option<&'a str>,
}

/// Looks for offers of any shop.
///
/// # Errors
/// [`UpstreamError`], recorded with the provider's circuit.
pub async fn shop(
    upstream: &Upstream,
    settings: &Keyed,
    query: ShoppingQuery<'_>,
    (holder, deadline): (&str, Duration),
) -> Result<Vec<Offer>, UpstreamError> {
    let key = settings.api_key.as_ref().ok_or(UpstreamError::NoKey { provider: PROVIDER })?;
    let url = format!("{}/search.json?{}", settings.base_url, query.written(key.expose()));
    let call = Call::get(PROVIDER, url);
    upstream.read(call, holder, deadline, (read_refusal, read_shopping)).await
}

impl ShoppingQuery<'_> {
    /// As the query of a URL. Without `direct_link` the new layout names no shop's own page.
    fn written(&self, key: &str) -> String {
        let mut pairs = vec![("engine", "google_shopping"), ("q", self.q), ("direct_link", "true")];
        pairs.extend(self.gl.map(|gl| ("gl", gl)));
        pairs.extend(self.hl.map(|hl| ("hl", hl)));
        pairs.push(("api_key", key));
        text::pairs(&pairs)
    }
}

/// What the body of a 200 says.
///
/// # Errors
/// [`UpstreamError::Malformed`]: it is no search's answer. [`UpstreamError::FailedWithin`]: the
/// search says that it failed.
pub fn read_shopping(body: &[u8]) -> Result<Vec<Offer>, UpstreamError> {
    let malformed = |what| UpstreamError::Malformed { provider: PROVIDER, what };
    let body: Value =
        serde_json::from_slice(body).map_err(|_| malformed("the body is not JSON"))?;
    if let Some(results) = body["shopping_results"].as_array() {
        return Ok(results.iter().filter_map(read_offer).take(MAX_OFFERS).collect());
    }
    let succeeded = body["search_metadata"]["status"] == "Success";
    match (body.get("error"), succeeded) {
        (_, true) => Ok(Vec::new()),
        (Some(_), false) => Err(UpstreamError::FailedWithin { provider: PROVIDER, status: None }),
        (None, false) => Err(malformed("the body is no search's answer")),
    }
}

fn read_offer(entry: &Value) -> Option<Offer> {
    let text = |name: &str, most| bounded(entry[name].as_str()?, most);
    let address = |name: &str| entry[name].as_str().and_then(web_address);
    let shown = text("price", MAX_WORD_CHARS);
    let price = shown.as_deref().and_then(Price::displayed).map(|price| Price {
        // The number that the provider extracted is better than ours, but not for instalments.
        amount: price.amount.and(entry["extracted_price"].as_f64()).or(price.amount),
        ..price
    });
    Some(Offer {
        title: text("title", MAX_TITLE_CHARS)?,
        price,
        shop: text("source", MAX_WORD_CHARS),
        link: address("link").or_else(|| address("product_link")),
        image: address("thumbnail"),
        condition: text("second_hand_condition", MAX_WORD_CHARS),
        rating: entry["rating"].as_f64(),
        reviews: entry["reviews"].as_u64(),
        delivery: text("delivery", MAX_WORD_CHARS),
    })
}

pub(super) fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    refusal(refused.status, wait, &refused.body)
}

/// The failure that a status other than 2xx is. A 429 is too many searches an hour, or none left
/// at all: only the text tells.
pub fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> UpstreamError {
    let no_searches = || {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        body["error"].as_str().is_some_and(|text| text.contains("run out of searches"))
    };
    if status == 403 || (status == 429 && no_searches()) {
        return UpstreamError::OurKey { provider: PROVIDER, status };
    }
    match classify::status(PROVIDER, status, retry_after) {
        Err(error) => error,
        Ok(()) => UpstreamError::Malformed {
            provider: PROVIDER,
            what: "a refusal with a status of success",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/it/samples/upstream/", $name)).as_slice()
        };
    }

    #[test]
    fn a_query_names_what_is_known_and_ends_with_the_key() {
        let plain = ShoppingQuery { q: "usb-c dock", gl: None, hl: None };
        let start = "engine=google%5Fshopping&q=usb%2Dc%20dock&direct%5Flink=true";
        assert_eq!(plain.written("k&y"), format!("{start}&api%5Fkey=k%26y"));
        let local = ShoppingQuery { gl: Some("de"), hl: Some("en"), ..plain };
        assert_eq!(local.written("k"), format!("{start}&gl=de&hl=en&api%5Fkey=k"));
    }

    #[test]
    fn a_real_answer_becomes_offers() {
        let offers = read_shopping(sample!("serpapi-google-shopping.json")).unwrap();
        assert_eq!(
            serde_json::to_string(&offers).unwrap(),
            concat!(
                r#"[{"title":"Acme Dock","price":"$829.00","amount":829.0,"shop":"Acme","#,
                r#""link":"https://www.google.example/search?ibp=oshop&q=dock&prds=catalogid:1","#,
                r#""image":"https://img.example/t.webp","rating":4.7,"reviews":5300,"#,
                r#""delivery":"Free next-day delivery"},"#,
                r#"{"title":"Used dock","price":"$12.50","amount":12.5,"shop":"Resale","#,
                r#""link":"https://shop.example/used","image":"https://img.example/u.webp","#,
                r#""condition":"used"}]"#,
            ),
        );
    }

    #[test]
    fn nothing_found_is_an_answer_and_a_failure_within_a_200_is_none() {
        assert_eq!(read_shopping(sample!("serpapi-empty.json")).unwrap(), []);
        let failed = read_shopping(sample!("serpapi-error-503.json"));
        assert!(matches!(failed, Err(UpstreamError::FailedWithin { status: None, .. })));
    }

    #[test]
    fn an_answer_cut_anywhere_is_a_failure_and_never_a_panic() {
        for whole in [
            sample!("serpapi-google-shopping.json"),
            sample!("serpapi-empty.json"),
            sample!("serpapi-error-503.json"),
        ] {
            let end = whole.trim_ascii_end().len();
            for cut in 0..end {
                assert!(read_shopping(&whole[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn odd_answers_and_odd_entries_are_borne() {
        for body in [b"[]".as_slice(), b"{}", b"null", b"<html>", b"7"] {
            assert!(matches!(read_shopping(body), Err(UpstreamError::Malformed { .. })));
        }
        let odd = br#"{"shopping_results":[7,null,{},{"title":3},{"title":"t","price":9,
            "link":"javascript:x","extracted_price":"9","rating":"4","price":"$5/mo"}]}"#;
        let offers = read_shopping(odd).unwrap();
        let price = Some(Price { shown: "$5/mo".into(), amount: None });
        assert_eq!(offers, [Offer { title: "t".into(), price, ..Offer::default() }]);
        let many =
            serde_json::json!({"shopping_results": vec![serde_json::json!({"title": "t"}); 99]});
        assert_eq!(read_shopping(many.to_string().as_bytes()).unwrap().len(), MAX_OFFERS);
    }

    #[test]
    fn a_bad_key_and_spent_searches_are_ours_to_mend() {
        let code = |status, body: &[u8]| {
            for cut in 0..=body.len() {
                let _ = refusal(status, None, &body[..cut]);
            }
            refusal(status, None, body).code_name()
        };
        assert_eq!(code(401, sample!("serpapi-error-401.json")), "misconfigured");
        assert_eq!(code(403, b"<html>"), "misconfigured");
        assert_eq!(code(429, sample!("serpapi-error-429.json")), "misconfigured");
        assert_eq!(code(429, br#"{"error":"too many an hour"}"#), "upstream_rate_limited");
        assert_eq!(code(400, sample!("serpapi-error-400.json")), "upstream_rejected");
        assert_eq!(code(503, sample!("serpapi-error-503.json")), "upstream_error");
    }
}
