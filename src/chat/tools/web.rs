//! `search_web`: searches the web by Serper.

use std::time::Duration;

use super::arguments::Arguments;
use super::runner::Found;
use crate::config::Keyed;
use crate::upstream::call::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::serper::{self, SearchRequest};

pub(super) const DESCRIPTION: &str = "Searches the web. Use it for anything that may have changed \
     lately, and whenever you are asked to search. Name the links of what you use.";

pub(super) const PARAMETERS: &str = concat!(
    r#"{"type":"object","properties":{"query":{"type":"string","#,
    r#""description":"what one would type into a search engine"},"#,
    r#""country":{"type":"string","description":"two letters, such as us"},"#,
    r#""language":{"type":"string","description":"two letters, such as en"}},"#,
    r#""required":["query"],"additionalProperties":false}"#,
);

pub(super) async fn run(
    upstream: &Upstream,
    settings: &Keyed,
    asked: &Arguments,
    deadline: Duration,
) -> Result<Found, UpstreamError> {
    let request = SearchRequest {
        gl: asked.country.as_deref(),
        hl: asked.language.as_deref(),
        ..SearchRequest::new(&asked.query)
    };
    let found = serper::search(upstream, settings, request, ("search_web", deadline)).await?;
    Ok(Found { output: found.to_json(), complete: true })
}
