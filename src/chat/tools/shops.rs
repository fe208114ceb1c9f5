//! Asks the providers of offers, all places at once, and makes one list of what they answer.
//!
//! # Always
//! - A place that fails costs its own offers only: what the others found is the result, with words
//!   about what is missing.
//! - Whatever a place needs, all of it is over within the budget.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sendcat_actors::clock::SharedClock;
use sendcat_state::key::{PerProvider, ProviderId};
use sendcat_state::timestamp::Timestamp;
use serde::Serialize;

use super::arguments::Arguments;
use super::merge::merged;
use super::runner::Found;
use super::words;
use crate::config::Keyed;
use crate::contract::ui_stream::Json;
use crate::upstream::call::Upstream;
use crate::upstream::classify::{self, Repeat};
use crate::upstream::ebay::{Browse, ItemQuery};
use crate::upstream::error::{Clock, UpstreamError};
use crate::upstream::offer::Offer;
use crate::upstream::serpapi::{self, ShoppingQuery};
use crate::upstream::serper::{self, SearchRequest};

/// A provider of offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shop {
    /// eBay's own search.
    Ebay,
    /// Google's shopping search, by Serper.
    Serper,
    /// The same by SerpAPI: slower, and with the shops' own links.
    Serpapi,
}

impl Shop {
    /// What the model and the person call it.
    fn name(self) -> &'static str {
        match self {
            Self::Ebay => "eBay",
            Self::Serper | Self::Serpapi => "Google Shopping",
        }
    }

    fn provider(self) -> ProviderId {
        match self {
            Self::Ebay => ProviderId::EbayBrowse,
            Self::Serper => ProviderId::SerperSearch,
            Self::Serpapi => ProviderId::SerpapiShopping,
        }
    }
}

/// The providers, their keys, and how long a call of each may take.
pub(super) struct Shops {
    pub(super) serper: Keyed,
    pub(super) serpapi: Keyed,
    pub(super) ebay: Browse,
    pub(super) deadlines: PerProvider<Duration>,
    pub(super) clock: SharedClock,
}

/// One search of several places.
pub(super) struct Search<'a> {
    /// By which way out.
    pub(super) upstream: &'a Upstream,
    /// Which places, each with who may be asked there, in this order.
    pub(super) places: &'a [&'a [Shop]],
    /// For what.
    pub(super) asked: &'a Arguments,
    /// Who asks, for operators.
    pub(super) holder: &'a str,
    /// How long all of it may take.
    pub(super) budget: Duration,
}

/// What goes to the model and the client.
#[derive(Serialize)]
struct Products {
    products: Vec<Offer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Shops {
    /// Asks all places at once. While some have not answered, `told` hears what the others found.
    ///
    /// # Errors
    /// That of a place, if none has answered: one that may be asked again, if there is one.
    pub(super) async fn search(
        &self,
        search: Search<'_>,
        told: impl Fn(Json),
    ) -> Result<Found, UpstreamError> {
        let ends = self.clock.now().after(search.budget);
        let set_up = |place: &&[Shop]| {
            place.iter().copied().filter(|shop| self.is_set_up(*shop)).collect::<Vec<_>>()
        };
        let places: Vec<_> =
            search.places.iter().map(set_up).filter(|place| !place.is_empty()).collect();
        let mut found: Vec<Option<Vec<Offer>>> = places.iter().map(|_| None).collect();
        let mut failed: Vec<(&str, UpstreamError)> = Vec::new();
        let ask = |(at, place): (usize, &Vec<Shop>)| {
            let (place, search) = (place.clone(), &search);
            async move { (at, place[0].name(), self.ask_place(&place, search, ends).await) }
        };
        let mut asking: FuturesUnordered<_> = places.iter().enumerate().map(ask).collect();
        let so_far = |found: &[Option<Vec<Offer>>]| {
            let lists: Vec<&[Offer]> = found.iter().flatten().map(Vec::as_slice).collect();
            merged(&lists, search.asked)
        };
        while let Some((at, name, answer)) = asking.next().await {
            match answer {
                Ok(offers) => found[at] = Some(offers),
                Err(error) => failed.push((name, error)),
            }
            if !asking.is_empty() && found.iter().any(Option::is_some) {
                told(output(so_far(&found), Some(words::EARLY.to_owned())));
            }
        }
        if found.iter().all(Option::is_none) {
            let provider = search.places.iter().flat_map(|place| place.iter()).next();
            let provider = provider.map_or(ProviderId::SerperSearch, |shop| shop.provider());
            let errors = failed.into_iter().map(|(_, error)| error).collect();
            return Err(worth_repeating(errors).unwrap_or(UpstreamError::NoKey { provider }));
        }
        let missing: Vec<_> = failed.iter().map(|(name, error)| (*name, error)).collect();
        let note = (!missing.is_empty()).then(|| words::incomplete(&missing));
        let complete = note.is_none();
        Ok(Found { output: output(so_far(&found), note), complete })
    }

    /// Asks those of one place, one after the other, until one answers.
    async fn ask_place(
        &self,
        place: &[Shop],
        search: &Search<'_>,
        ends: Timestamp,
    ) -> Result<Vec<Offer>, UpstreamError> {
        let mut failures = Vec::new();
        for shop in place {
            let left = self.clock.now().until(ends);
            let deadline = (*self.deadlines.of(shop.provider())).min(left);
            if deadline.is_zero() {
                break;
            }
            match self.ask_shop(*shop, search, deadline).await {
                Ok(offers) => return Ok(offers),
                Err(error) => {
                    tracing::warn!(provider = %shop.provider(), %error, "no offers");
                    failures.push(error);
                }
            }
        }
        let provider = place[0].provider();
        let (clock, limit) = (Clock::Total, search.budget);
        Err(worth_repeating(failures).unwrap_or(UpstreamError::TimedOut { provider, clock, limit }))
    }

    async fn ask_shop(
        &self,
        shop: Shop,
        search: &Search<'_>,
        deadline: Duration,
    ) -> Result<Vec<Offer>, UpstreamError> {
        let Search { upstream, asked, holder, .. } = *search;
        // These have no filter for it.
        let words = match asked.used {
            Some(true) => format!("used {}", asked.query),
            Some(false) | None => asked.query.clone(),
        };
        let (gl, hl) = (asked.country.as_deref(), asked.language.as_deref());
        match shop {
            Shop::Ebay => {
                let query = ItemQuery {
                    q: &asked.query,
                    min_price: asked.min_price,
                    max_price: asked.max_price,
                    condition: asked.condition(),
                };
                self.ebay.search(upstream, query, (holder, deadline)).await
            }
            Shop::Serper => {
                let request = SearchRequest { gl, hl, ..SearchRequest::new(&words) };
                serper::shop(upstream, &self.serper, request, (holder, deadline)).await
            }
            Shop::Serpapi => {
                let query = ShoppingQuery { q: &words, gl, hl };
                serpapi::shop(upstream, &self.serpapi, query, (holder, deadline)).await
            }
        }
    }

    fn is_set_up(&self, shop: Shop) -> bool {
        match shop {
            Shop::Ebay => self.ebay.is_set_up(),
            Shop::Serper => self.serper.api_key.is_some(),
            Shop::Serpapi => self.serpapi.api_key.is_some(),
        }
    }
}

fn output(products: Vec<Offer>, note: Option<String>) -> Json {
    Json::of(&Products { products, note }).expect("offers have fixed names and finite numbers")
}

/// Of several failures one that may be asked again, else the first.
fn worth_repeating(mut errors: Vec<UpstreamError>) -> Option<UpstreamError> {
    let again = errors.iter().position(|error| classify::repeat(error) != Repeat::No);
    (!errors.is_empty()).then(|| errors.swap_remove(again.unwrap_or(0)))
}
