//! What a shop offers, whichever provider told of it, within the bounds that go to the model.

use serde::Serialize;

use super::text::bounded;

/// Offers of one answer at most.
pub const MAX_OFFERS: usize = 12;

pub(super) const MAX_TITLE_CHARS: usize = 200;
pub(super) const MAX_WORD_CHARS: usize = 60;

/// One thing that can be bought.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Offer {
    /// What it is.
    pub title: String,
    /// What it costs.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Who sells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shop: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// A picture of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether it is new or used, in the shop's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What buyers think, of 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<f64>,
    /// How many of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviews: Option<u64>,
    /// What bringing it costs, in the shop's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// A price as it is displayed, and as a number where it is one to pay once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Price {
    /// As a person reads it.
    #[serde(rename = "price")]
    pub shown: String,
    /// In whole units of its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
}

impl Price {
    /// A price of which only the display is known: `$1,129.00`, `29,99 €`, `$9.99/mo`.
    pub(super) fn displayed(text: &str) -> Option<Self> {
        let shown = bounded(text, MAX_WORD_CHARS)?;
        Some(Self { amount: amount_in(&shown), shown })
    }
}

/// The amount that a displayed price names, if it is one number and nothing to pay each month.
fn amount_in(text: &str) -> Option<f64> {
    let is_part = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ',' | '\'');
    let start = text.find(|letter: char| letter.is_ascii_digit())?;
    let rest = &text[start..];
    let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    // A range, or so much a month: neither is what it costs.
    if after.contains('/') || after.chars().any(|letter| letter.is_ascii_digit()) {
        return None;
    }
    let number = number.trim_end_matches(['.', ',', '\'']);
    // One or two digits behind the last mark are cents; three are thousands.
    let cents = number.rfind(['.', ',']).filter(|at| (1..=2).contains(&(number.len() - at - 1)));
    let (whole, cents) = number.split_at(cents.unwrap_or(number.len()));
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    format!("{}.{}", digits(whole), digits(cents)).trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displayed_price_is_read_as_a_person_reads_it() {
        let table = [
            ("$1,129.00", Some(1129.0)),
            ("29,99 €", Some(29.99)),
            ("1.129,00 €", Some(1129.0)),
            ("CHF 1'299.95", Some(1299.95)),
            ("¥12,000", Some(12_000.0)),
            ("£5", Some(5.0)),
            ("$7.5 now", Some(7.5)),
            ("$9.99/mo", None),
            ("$10 - $20", None),
            ("free", None),
        ];
        for (shown, amount) in table {
            assert_eq!(Price::displayed(shown).unwrap().amount, amount, "{shown}");
        }
        assert_eq!(Price::displayed("  "), None);
    }

    #[test]
    fn an_offer_is_flat_and_says_only_what_is_known() {
        let price = Price::displayed("$5.00");
        let offer = Offer { title: "Dock".into(), price, ..Offer::default() };
        let json = serde_json::to_string(&offer).unwrap();
        assert_eq!(json, r#"{"title":"Dock","price":"$5.00","amount":5.0}"#);
        let bare = Offer { title: "Dock".into(), ..Offer::default() };
        assert_eq!(serde_json::to_string(&bare).unwrap(), r#"{"title":"Dock"}"#);
    }
}
