//! eBay's product search: what is sent, what its answer says, and the token that opens it.
//!
//! # Always
//! - One renewal of the token at a time: whoever needs one meanwhile waits for that one.
//! - A token that Browse refuses is renewed once for a call; a new one that it refuses is an error.

use std::time::Duration;

use sendcat_actors::clock::SharedClock;
use sendcat_state::key::ProviderId;
use sendcat_state::timestamp::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use super::call::{Call, RefusedAnswer, Upstream};
use super::classify;
use super::error::{Clock, UpstreamError};
use super::offer::{MAX_OFFERS, MAX_TITLE_CHARS, MAX_WORD_CHARS, Offer, Price};
use super::text::{self, bounded, web_address};
use crate::config::{Ebay, Secret};

const PROVIDER: ProviderId = ProviderId::EbayBrowse;
const TOKEN_PATH: &str = "/identity/v1/oauth2/token";
const SEARCH_PATH: &str = "/buy/browse/v1/item_summary/search";
const SCOPE: &str = "https://api.ebay.com/oauth/api_scope";

/// The longest that a token is taken to hold, whatever is said of it.
const LONGEST: Duration = Duration::from_secs(7200);
/// How long before its end a token is renewed: longer than any call takes.
const EARLY: Duration = Duration::from_secs(120);

/// What is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ItemQuery<'a> {
    /// The words.
    pub q: &'a str,
    /// The least price, in dollars.
    pub min_price: Option<f64>,
    /// The greatest price, in dollars.
    pub max_price: Option<f64>,
    /// Only new ones, or only used ones.
    pub condition: Option<ItemCondition>,
}

/// Whether a thing was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemCondition {
    /// It was not.
    New,
    /// It was.
    Used,
}

/// A search with a token that is renewed by itself. One for the whole process.
pub struct Browse {
    settings: Ebay,
    clock: SharedClock,
    token: Mutex<Option<Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    secret: Secret,
    renew_at: Timestamp,
}

impl Browse {
    /// A search with these keys, and no token yet.
    pub fn new(settings: Ebay, clock: SharedClock) -> Self {
        Self { settings, clock, token: Mutex::default() }
    }

    /// Whether keys are set.
    pub fn is_set_up(&self) -> bool {
        self.settings.client_id.is_some() && self.settings.client_secret.is_some()
    }

    /// Looks for items, within `deadline` in all, a renewal of the token included.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit.
    pub async fn search(
        &self,
        upstream: &Upstream,
        query: ItemQuery<'_>,
        (holder, deadline): (&str, Duration),
    ) -> Result<Vec<Offer>, UpstreamError> {
        let until = Until { ends: self.clock.now().after(deadline), limit: deadline };
        let token = self.token(upstream, holder, until).await?;
        match self.search_with(&token, upstream, query, (holder, until)).await {
            Err(UpstreamError::OurKey { status: 401, .. }) => {
                self.forget(&token).await;
                let token = self.token(upstream, holder, until).await?;
                self.search_with(&token, upstream, query, (holder, until)).await
            }
            answer => answer,
        }
    }

    async fn search_with(
        &self,
        token: &Secret,
        upstream: &Upstream,
        query: ItemQuery<'_>,
        (holder, until): (&str, Until),
    ) -> Result<Vec<Offer>, UpstreamError> {
        let url = format!("{}{SEARCH_PATH}?{}", self.settings.base_url, query.written());
        let call = Call::get(PROVIDER, url)
            .with_header("x-ebay-c-marketplace-id", "EBAY_US")
            .with_secret("authorization", &format!("Bearer {}", token.expose()));
        let left = until.left(&self.clock)?;
        upstream.read(call, holder, left, (read_refusal, read_search)).await
    }

    /// A token that holds. It is renewed under the lock, so once however many wait for it.
    async fn token(
        &self,
        upstream: &Upstream,
        holder: &str,
        until: Until,
    ) -> Result<Secret, UpstreamError> {
        let no_key = || UpstreamError::NoKey { provider: PROVIDER };
        let id = self.settings.client_id.as_deref().ok_or_else(no_key)?;
        let secret = self.settings.client_secret.as_ref().ok_or_else(no_key)?;
        // Whoever renews it may be slow; what is waited here is no call of ours and no failure.
        let locked = tokio::time::timeout(until.left(&self.clock)?, self.token.lock()).await;
        let mut token = locked.map_err(|_| until.late())?;
        if let Some(kept) = token.as_ref().filter(|kept| self.clock.now() < kept.renew_at) {
            return Ok(kept.secret.clone());
        }
        let url = format!("{}{TOKEN_PATH}", self.settings.base_url);
        let fields = [("grant_type", "client_credentials"), ("scope", SCOPE)];
        let call = Call::post_form(PROVIDER, url, &fields)
            .with_secret("authorization", &basic(id, secret.expose()));
        let (new, lifetime) = upstream
            .read(call, holder, until.left(&self.clock)?, (read_token_refusal, read_token))
            .await?;
        let renew_at = self.clock.now().after(lifetime.saturating_sub(EARLY));
        *token = Some(Token { secret: new.clone(), renew_at });
        Ok(new)
    }

    /// Forgets a token that was refused, unless another is kept by now.
    async fn forget(&self, refused: &Secret) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|kept| kept.secret == *refused) {
            *token = None;
        }
    }
}

/// When a search of several calls must be over.
#[derive(Clone, Copy)]
struct Until {
    ends: Timestamp,
    limit: Duration,
}

impl Until {
    /// The time that is left for the next call.
    fn left(self, clock: &SharedClock) -> Result<Duration, UpstreamError> {
        let left = clock.now().until(self.ends);
        if left.is_zero() { Err(self.late()) } else { Ok(left) }
    }

    fn late(self) -> UpstreamError {
        let clock = Clock::Total;
        UpstreamError::TimedOut { provider: PROVIDER, clock, limit: self.limit }
    }
}

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine as _;
    let both = base64::prelude::BASE64_STANDARD.encode(format!("{id}:{secret}"));
    format!("Basic {both}")
}

impl ItemQuery<'_> {
    /// As the query of a URL.
    fn written(&self) -> String {
        let mut filters = Vec::new();
        if self.min_price.is_some() || self.max_price.is_some() {
            let bound = |price: Option<f64>| price.map_or(String::new(), |it| format!("{it:.2}"));
            let (least, most) = (bound(self.min_price), bound(self.max_price));
            filters.push(format!("price:[{least}..{most}],priceCurrency:USD"));
        }
        filters.extend(self.condition.map(|condition| match condition {
            ItemCondition::New => "conditions:{NEW}".to_owned(),
            ItemCondition::Used => "conditions:{USED}".to_owned(),
        }));
        let (limit, filter) = (MAX_OFFERS.to_string(), filters.join(","));
        let mut pairs = vec![("q", self.q), ("limit", limit.as_str())];
        pairs.extend((!filter.is_empty()).then_some(("filter", filter.as_str())));
        text::pairs(&pairs)
    }
}

/// The token of an answer, and how long it holds.
///
/// # Errors
/// [`UpstreamError::Malformed`]: there is none.
pub(super) fn read_token(body: &[u8]) -> Result<(Secret, Duration), UpstreamError> {
    let malformed = |what| UpstreamError::Malformed { provider: PROVIDER, what };
    let body: Value =
        serde_json::from_slice(body).map_err(|_| malformed("the body is not JSON"))?;
    let token = body["access_token"].as_str().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| malformed("the token is missing"))?;
    let lifetime = body["expires_in"].as_u64().map_or(LONGEST, Duration::from_secs);
    Ok((Secret::new(token), lifetime.min(LONGEST)))
}

/// What the body of a search's 200 says. A filter that eBay does not like is a warning in it, and
/// what it found without is an answer all the same.
///
/// # Errors
/// [`UpstreamError::Malformed`]: it is no search's answer. [`UpstreamError::FailedWithin`]: it says
/// that it failed.
pub fn read_search(body: &[u8]) -> Result<Vec<Offer>, UpstreamError> {
    let malformed = |what| UpstreamError::Malformed { provider: PROVIDER, what };
    let body: Value =
        serde_json::from_slice(body).map_err(|_| malformed("the body is not JSON"))?;
    if let Some(items) = body["itemSummaries"].as_array() {
        return Ok(items.iter().filter_map(read_item).take(MAX_OFFERS).collect());
    }
    match (body.get("total"), body.get("errors")) {
        (Some(_), _) => Ok(Vec::new()),
        (None, Some(_)) => Err(UpstreamError::FailedWithin { provider: PROVIDER, status: None }),
        (None, None) => Err(malformed("the body is no search's answer")),
    }
}

fn read_item(item: &Value) -> Option<Offer> {
    let price = read_money(&item["price"]).or_else(|| {
        // A pure auction has a bid instead, which is not what it will cost.
        let bid = read_money(&item["currentBidPrice"])?;
        Some(Price { shown: format!("{} (current bid)", bid.shown), amount: None })
    });
    let shipping = &item["shippingOptions"][0]["shippingCost"];
    let delivery = read_money(shipping).map(|cost| match cost.amount {
        Some(0.0) => "Free delivery".to_owned(),
        Some(_) | None => format!("{} delivery", cost.shown),
    });
    Some(Offer {
        title: bounded(item["title"].as_str()?, MAX_TITLE_CHARS)?,
        price,
        shop: Some("eBay".to_owned()),
        link: item["itemWebUrl"].as_str().and_then(web_address),
        image: item["image"]["imageUrl"].as_str().and_then(web_address),
        condition: item["condition"].as_str().and_then(|it| bounded(it, MAX_WORD_CHARS)),
        rating: None,
        reviews: None,
        delivery,
    })
}

/// An amount, which eBay writes as a text, with its currency.
fn read_money(money: &Value) -> Option<Price> {
    let value = bounded(money["value"].as_str()?, MAX_WORD_CHARS)?;
    let amount = value.parse().ok().filter(|amount: &f64| amount.is_finite());
    let currency = money["currency"].as_str().and_then(|it| bounded(it, MAX_WORD_CHARS));
    let shown = match currency.as_deref() {
        Some("USD") => format!("${value}"),
        Some(currency) => format!("{value} {currency}"),
        None => value,
    };
    Some(Price { shown, amount })
}

pub(super) fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    refusal(refused.status, wait)
}

/// A token is refused for our name and password, or for what we ask of it: both are ours to mend.
pub(super) fn read_token_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let of_the_moment = matches!(refused.status, 408 | 425 | 429);
    if !(400..500).contains(&refused.status) || of_the_moment {
        return read_refusal(refused);
    }
    // Not the 401 that a new token would help against.
    let status = if refused.status == 401 { 403 } else { refused.status };
    UpstreamError::OurKey { provider: PROVIDER, status }
}

/// The failure that a status other than 2xx is.
pub fn refusal(status: u16, retry_after: Option<Duration>) -> UpstreamError {
    match classify::status(PROVIDER, status, retry_after) {
        Err(UpstreamError::Rejected { provider, status: 403 }) => {
            UpstreamError::OurKey { provider, status: 403 }
        }
        Err(error) => error,
        Ok(()) => UpstreamError::Malformed {
            provider: PROVIDER,
            what: "a refusal with a status of success",
        },
    }
}

#[cfg(test)]
mod tests;
