//! Offers of several providers as one list: the best of each first, and none of them twice.

use std::collections::BTreeSet;

use super::arguments::Arguments;
use crate::upstream::offer::{MAX_OFFERS, Offer};

/// One list of several, taking the next of each in turn; the first of equal offers stays.
pub(super) fn merged(lists: &[&[Offer]], asked: &Arguments) -> Vec<Offer> {
    let mut known = BTreeSet::new();
    let mut merged = Vec::new();
    let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at)));
    for offer in in_turn.filter(|offer| fits(offer, asked)) {
        if merged.len() == MAX_OFFERS {
            break;
        }
        if is_new(offer, &mut known) {
            merged.push(offer.clone());
        }
    }
    merged
}

/// Whether an offer is within the prices that were asked for. One that names no amount is.
fn fits(offer: &Offer, asked: &Arguments) -> bool {
    let Some(amount) = offer.price.as_ref().and_then(|price| price.amount) else { return true };
    asked.min_price.is_none_or(|least| least <= amount)
        && asked.max_price.is_none_or(|most| amount <= most)
}

/// Two offers are the same if a shop sells the same title, or if they lead to one page.
fn is_new(offer: &Offer, known: &mut BTreeSet<String>) -> bool {
    let shop = offer.shop.as_deref().map(plain).unwrap_or_default();
    let named = format!("{} at {shop}", plain(&offer.title));
    let page = offer.link.as_deref().and_then(page);
    if known.contains(&named) || page.as_ref().is_some_and(|page| known.contains(page)) {
        return false;
    }
    known.insert(named);
    known.extend(page);
    true
}

/// The page that a link leads to, without what only says where its reader came from. The search
/// engine's own pages are told apart by nothing else, so they name none.
fn page(link: &str) -> Option<String> {
    let address = link.split_once("://")?.1.split(['?', '#']).next()?;
    let host = address.split('/').next().unwrap_or_default();
    let of_a_search = host.split('.').any(|name| name == "google");
    (!of_a_search).then(|| address.trim_end_matches('/').to_lowercase())
}

/// A text as it is heard: letters and digits, in words.
fn plain(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::offer::Price;

    fn offer(title: &str, shop: &str, link: &str) -> Offer {
        let (shop, link) = (Some(shop.to_owned()), Some(link.to_owned()));
        Offer { title: title.into(), shop, link, ..Offer::default() }
    }

    fn titles(merged: &[Offer]) -> Vec<&str> {
        merged.iter().map(|offer| offer.title.as_str()).collect()
    }

    #[test]
    fn the_best_of_each_comes_first_and_none_comes_twice() {
        let one = [
            offer("Dock A", "eBay", "https://www.ebay.example/itm/1?hash=x"),
            offer("Dock B", "eBay", "https://www.ebay.example/itm/2"),
        ];
        let two = [
            offer("Dock C", "Acme", "https://acme.example/c"),
            offer("dock  b!", "EBAY", "https://www.google.example/search?q=b"),
            offer("The first again", "Other", "https://www.ebay.example/itm/1#top"),
            offer("Dock D", "Acme", "https://acme.example/d"),
        ];
        let asked = Arguments::default();
        assert_eq!(
            titles(&merged(&[&one, &two], &asked)),
            ["Dock A", "Dock C", "Dock B", "Dock D"]
        );
        assert_eq!(merged(&[], &asked), []);
        assert_eq!(merged(&[&one], &asked), one);
    }

    #[test]
    fn pages_of_a_search_engine_do_not_make_offers_equal() {
        let link = "https://www.google.com/search?ibp=oshop&prds=1";
        let offers = [offer("Dock A", "Acme", link), offer("Dock B", "Acme", link)];
        assert_eq!(merged(&[&offers], &Arguments::default()).len(), 2);
    }

    #[test]
    fn prices_out_of_bounds_are_left_out_and_unknown_ones_are_not() {
        let priced = |title: &str, amount| {
            let price = Some(Price { shown: "x".into(), amount });
            Offer { price, ..offer(title, title, "") }
        };
        let offers = [
            priced("cheap", Some(9.99)),
            priced("least", Some(10.0)),
            priced("most", Some(20.0)),
            priced("dear", Some(20.01)),
            priced("unknown", None),
        ];
        let asked =
            Arguments { min_price: Some(10.0), max_price: Some(20.0), ..Arguments::default() };
        assert_eq!(titles(&merged(&[&offers], &asked)), ["least", "most", "unknown"]);
    }

    #[test]
    fn no_more_offers_than_the_model_is_given() {
        let many: Vec<_> = (0..50).map(|at| offer(&format!("Dock {at}"), "Acme", "")).collect();
        assert_eq!(merged(&[&many, &many], &Arguments::default()).len(), MAX_OFFERS);
    }
}
