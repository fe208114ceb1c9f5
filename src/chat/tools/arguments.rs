//! What the model asks of a tool, checked: whatever else it says is answered in words.

use sendcat_state::key::ToolKind;
use sendcat_state::tool_cache::CacheKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::upstream::ebay::ItemCondition;

/// The longest query that is searched for, in characters.
const MAX_QUERY_CHARS: usize = 400;

/// The arguments of any tool; each takes those that its schema names. They travel in the job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Arguments {
    /// What is searched for; never empty.
    pub(super) query: String,
    /// A country of two letters.
    pub(super) country: Option<String>,
    /// A language of two letters.
    pub(super) language: Option<String>,
    /// The least price, in dollars.
    pub(super) min_price: Option<f64>,
    /// The greatest price, in dollars.
    pub(super) max_price: Option<f64>,
    /// Only used things, or only new ones.
    pub(super) used: Option<bool>,
}

/// Which arguments a tool takes besides its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// `country` and `language`.
    Place,
    /// `min_price`, `max_price` and `condition`.
    Filters,
}

impl Arguments {
    /// Reads a JSON object. Numbers may be texts, and `null` is as good as nothing: models write
    /// both. Arguments that the tool does not have are left alone.
    ///
    /// # Errors
    /// A sentence that tells the model what to write instead.
    pub(super) fn read(takes: Takes, input: &str) -> Result<Self, String> {
        let input: Value = serde_json::from_str(input)
            .map_err(|_| "The arguments must be a JSON object.".to_owned())?;
        let query = input["query"]
            .as_str()
            .ok_or_else(|| "The argument `query` must be a text.".to_owned())?;
        let query: String = query.trim().chars().take(MAX_QUERY_CHARS).collect();
        if query.is_empty() {
            return Err("The argument `query` must not be empty.".to_owned());
        }
        let arguments = Self { query, ..Self::default() };
        match takes {
            Takes::Place => Ok(Self {
                country: two_letters(&input, "country", "us")?,
                language: two_letters(&input, "language", "en")?,
                ..arguments
            }),
            Takes::Filters => {
                let min_price = price(&input, "min_price")?;
                let max_price = price(&input, "max_price")?;
                if min_price.zip(max_price).is_some_and(|(least, most)| least > most) {
                    return Err("The argument `min_price` is above `max_price`.".to_owned());
                }
                Ok(Self { min_price, max_price, used: used(&input)?, ..arguments })
            }
        }
    }

    /// The name that the cache knows this question by.
    pub(super) fn key(&self, tool: ToolKind, version: &str) -> CacheKey {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let number = |price: Option<f64>| price.map_or(String::new(), |it| format!("{it:.2}"));
        let used = match self.used {
            None => "",
            Some(true) => "used",
            Some(false) => "new",
        };
        let (country, language) = (text(&self.country), text(&self.language));
        let (least, most) = (number(self.min_price), number(self.max_price));
        CacheKey::of(tool, version, &[&self.query, &country, &language, &least, &most, used])
    }

    /// The condition in eBay's words.
    pub(super) fn condition(&self) -> Option<ItemCondition> {
        self.used.map(|used| if used { ItemCondition::Used } else { ItemCondition::New })
    }
}

fn given<'a>(input: &'a Value, name: &str) -> Option<&'a Value> {
    input.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn two_letters(input: &Value, name: &str, such_as: &str) -> Result<Option<String>, String> {
    let Some(value) = given(input, name) else { return Ok(None) };
    let text = value
        .as_str()
        .map(str::trim)
        .filter(|text| text.len() == 2 && text.bytes().all(|letter| letter.is_ascii_alphabetic()));
    let wrong = || format!("The argument `{name}` must be two letters, such as `{such_as}`.");
    text.map(|text| Some(text.to_ascii_lowercase())).ok_or_else(wrong)
}

fn price(input: &Value, name: &str) -> Result<Option<f64>, String> {
    /// Above it a price is a slip.
    const MOST: f64 = 1e9;
    let Some(value) = given(input, name) else { return Ok(None) };
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let number = number.filter(|number: &f64| (0.0..=MOST).contains(number));
    number.map(Some).ok_or_else(|| format!("The argument `{name}` must be a number of dollars."))
}

fn used(input: &Value) -> Result<Option<bool>, String> {
    let Some(value) = given(input, "condition") else { return Ok(None) };
    match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("new") => Ok(Some(false)),
        Some("used") => Ok(Some(true)),
        Some("any") => Ok(None),
        Some(_) | None => Err("The argument `condition` must be `new` or `used`.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(takes: Takes, input: &str) -> Result<Arguments, String> {
        Arguments::read(takes, input)
    }

    #[test]
    fn a_tool_takes_its_own_arguments_and_leaves_others_alone() {
        let input = r#"{"query":" usb-c dock ","country":"US","language":null,"min_price":"10",
            "max_price":50.5,"condition":"New","safe":true}"#;
        let bare = Arguments { query: "usb-c dock".into(), ..Arguments::default() };
        let placed = Arguments { country: Some("us".into()), ..bare.clone() };
        assert_eq!(read(Takes::Place, input), Ok(placed));
        let filtered =
            Arguments { min_price: Some(10.0), max_price: Some(50.5), used: Some(false), ..bare };
        assert_eq!(read(Takes::Filters, input), Ok(filtered));
    }

    #[test]
    fn what_cannot_be_used_is_answered_in_words() {
        let table = [
            (Takes::Place, "[]", "The argument `query` must be a text."),
            (Takes::Place, "7", "The argument `query` must be a text."),
            (Takes::Place, "{", "The arguments must be a JSON object."),
            (Takes::Place, r#"{"query":["a"]}"#, "The argument `query` must be a text."),
            (Takes::Place, r#"{"query":" \n "}"#, "The argument `query` must not be empty."),
            (
                Takes::Place,
                r#"{"query":"a","country":"usa"}"#,
                "The argument `country` must be two letters, such as `us`.",
            ),
            (
                Takes::Place,
                r#"{"query":"a","language":7}"#,
                "The argument `language` must be two letters, such as `en`.",
            ),
            (
                Takes::Filters,
                r#"{"query":"a","min_price":"cheap"}"#,
                "The argument `min_price` must be a number of dollars.",
            ),
            (
                Takes::Filters,
                r#"{"query":"a","max_price":-1}"#,
                "The argument `max_price` must be a number of dollars.",
            ),
            (
                Takes::Filters,
                r#"{"query":"a","min_price":2,"max_price":1}"#,
                "The argument `min_price` is above `max_price`.",
            ),
            (
                Takes::Filters,
                r#"{"query":"a","condition":"broken"}"#,
                "The argument `condition` must be `new` or `used`.",
            ),
        ];
        for (takes, input, words) in table {
            assert_eq!(read(takes, input), Err(words.to_owned()), "{input}");
        }
    }

    #[test]
    fn a_query_without_end_is_cut() {
        let input = serde_json::json!({"query": "é".repeat(500)}).to_string();
        let arguments = read(Takes::Place, &input).unwrap();
        assert_eq!(arguments.query.chars().count(), MAX_QUERY_CHARS);
    }

    #[test]
    fn a_job_carries_all_of_it() {
        let input = r#"{"query":"a","min_price":1,"max_price":2,"condition":"used"}"#;
        let arguments = read(Takes::Filters, input).unwrap();
        let carried = serde_json::to_string(&arguments).unwrap();
        assert_eq!(serde_json::from_str::<Arguments>(&carried).unwrap(), arguments);
    }

    #[test]
    fn every_argument_is_part_of_the_question() {
        let key = |input: &str| {
            let arguments = read(Takes::Filters, input).unwrap();
            arguments.key(ToolKind::SearchProducts, "v1")
        };
        assert_eq!(key(r#"{"query":"A  b"}"#), key(r#"{"query":"a b"}"#));
        let all = [
            key(r#"{"query":"a"}"#),
            key(r#"{"query":"a","min_price":1}"#),
            key(r#"{"query":"a","max_price":1}"#),
            key(r#"{"query":"a","condition":"new"}"#),
            key(r#"{"query":"a","condition":"used"}"#),
        ];
        let placed =
            |input: &str| read(Takes::Place, input).unwrap().key(ToolKind::SearchProducts, "v1");
        let placed =
            [placed(r#"{"query":"a","country":"de"}"#), placed(r#"{"query":"a","language":"de"}"#)];
        let different: std::collections::BTreeSet<_> = all.iter().chain(&placed).collect();
        assert_eq!(different.len(), 7);
    }
}
