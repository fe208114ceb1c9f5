//! `search_global`: shops of any country, as a search engine there knows them.

use super::shops::Shop;

pub(super) const DESCRIPTION: &str = "Searches products in shops of a country, with prices, links \
     and pictures. Use it where somebody names a country, or where search_products finds none.";

pub(super) const PARAMETERS: &str = concat!(
    r#"{"type":"object","properties":{"query":{"type":"string","#,
    r#""description":"what to buy, in the language of the country"},"#,
    r#""country":{"type":"string","description":"two letters, such as de"},"#,
    r#""language":{"type":"string","description":"two letters, such as de"}},"#,
    r#""required":["query"],"additionalProperties":false}"#,
);

/// One place, so the second is asked only when the first has failed.
pub(super) const PLACES: &[&[Shop]] = &[&[Shop::Serpapi, Shop::Serper]];
