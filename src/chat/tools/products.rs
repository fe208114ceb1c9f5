//! `search_products`: eBay and the shops that a search engine knows, in one list.

use super::shops::Shop;

pub(super) const DESCRIPTION: &str = "Searches products in shops and on eBay, with prices, links \
     and pictures. Use it when somebody wants to buy something or to compare prices.";

pub(super) const PARAMETERS: &str = concat!(
    r#"{"type":"object","properties":{"query":{"type":"string","#,
    r#""description":"what to buy, such as usb-c dock"},"#,
    r#""min_price":{"type":"number","description":"the least price in US dollars"},"#,
    r#""max_price":{"type":"number","description":"the greatest price in US dollars"},"#,
    r#""condition":{"type":"string","enum":["new","used"]}},"#,
    r#""required":["query"],"additionalProperties":false}"#,
);

/// Asked at once; of several in one place the next is asked when the one before has failed.
pub(super) const PLACES: &[&[Shop]] = &[&[Shop::Ebay], &[Shop::Serper, Shop::Serpapi]];
