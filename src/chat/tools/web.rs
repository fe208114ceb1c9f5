//! `search_web`: searches the web by Serper.

use sendcat_state::key::ProviderId;
use serde::Deserialize;

use super::{ToolFailure, ToolSettings};
use crate::contract::ui_stream::Json;
use crate::upstream::call::{Call, RefusedAnswer, Upstream};
use crate::upstream::error::UpstreamError;
use crate::upstream::{classify, serper};

pub(super) const DESCRIPTION: &str = "Searches the web. Use it for anything that may have changed \
     lately, and whenever you are asked to search. Name the links of what you use.";

pub(super) const PARAMETERS: &str = concat!(
    r#"{"type":"object","properties":{"query":{"type":"string","#,
    r#""description":"what one would type into a search engine"}},"#,
    r#""required":["query"],"additionalProperties":false}"#,
);

/// The longest query that is searched for, in characters.
const MAX_QUERY_CHARS: usize = 400;

#[derive(Deserialize)]
struct Arguments {
    query: String,
}

pub(super) async fn run(
    upstream: &Upstream,
    settings: &ToolSettings,
    input: &str,
) -> Result<Json, ToolFailure> {
    let wrong = |_| ToolFailure::Final("The argument `query` must be a text.".to_owned());
    let Arguments { query } = serde_json::from_str(input).map_err(wrong)?;
    let query: String = query.trim().chars().take(MAX_QUERY_CHARS).collect();
    if query.is_empty() {
        return Err(ToolFailure::Final("The argument `query` must not be empty.".to_owned()));
    }
    let provider = ProviderId::SerperSearch;
    let key = settings.serper.api_key.as_ref().ok_or(UpstreamError::NoKey { provider })?;
    let body = serde_json::to_vec(&serper::SearchRequest::new(&query))
        .expect("strings under fixed names can be written");
    let url = format!("{}{}", settings.serper.base_url, serper::SEARCH_PATH);
    let call = Call::post_json(provider, url, body).with_secret(serper::KEY_HEADER, key.expose());
    let answer = upstream.whole(call, "search_web", settings.serper_deadline, read_refusal).await?;
    Ok(serper::read_search(&answer)?.to_json())
}

fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    serper::refusal(refused.status, wait, &refused.body)
}
