//! Pages of lists: how many rows a caller wants, and where the page before has ended.
//!
//! A cursor is a place in one list of one owner. What it says is checked against the list, so one
//! of another list, or one that somebody wrote or cut, is a fault and not a page from anywhere. It
//! opens nothing: a list is read below its owner's name whatever the cursor says.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sendcat_state::key::hash_of;

use super::dispatch::Call;
use super::respond::Refusal;
use crate::config::fixed;
use crate::contract::body::Issue;
use crate::contract::code::ErrorCode;

/// Bytes of the check that stands before a cursor's place.
const CHECK_BYTES: usize = 8;

/// One list: the words that tell it from every other.
pub(super) struct List<'a>(pub(super) &'a [&'a str]);

impl List<'_> {
    /// What to ask for the page after this place with.
    pub(super) fn cursor(&self, place: &[u8]) -> String {
        let check = self.check(place);
        BASE64_URL_SAFE_NO_PAD.encode([&check, place].concat())
    }

    /// The place that the request's cursor names; `None` for the first page.
    ///
    /// # Errors
    /// `invalid_request` for what is no cursor of this list.
    pub(super) fn place(&self, call: &Call) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(cursor) = call.query("cursor") else { return Ok(None) };
        let place = self.read(&cursor);
        place.map(Some).ok_or_else(|| wrong("cursor", "the nextCursor of the page before"))
    }

    fn read(&self, cursor: &str) -> Option<Vec<u8>> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (check, place) = bytes.split_at_checked(CHECK_BYTES)?;
        (check == self.check(place)).then(|| place.to_vec())
    }

    fn check(&self, place: &[u8]) -> [u8; CHECK_BYTES] {
        let place = hex::encode(place);
        let words: Vec<&str> = ["cursor"].iter().chain(self.0).copied().chain([&*place]).collect();
        let hash = hash_of(&words).to_be_bytes();
        std::array::from_fn(|at| hash[at])
    }
}

/// How many rows a caller wants of a list of ours.
pub(super) fn limit(call: &Call) -> Result<usize, Refusal> {
    limit_of(call, fixed::PAGE_DEFAULT, fixed::PAGE_MAX)
}

/// How many rows a caller wants.
pub(super) fn limit_of(call: &Call, unless_asked: usize, most: usize) -> Result<usize, Refusal> {
    let Some(limit) = call.query("limit") else { return Ok(unless_asked) };
    let expected = format!("a number from 1 to {most}");
    let limit = limit.parse::<usize>().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| wrong("limit", expected))
}

/// A refusal of one parameter of the query.
pub(super) fn wrong(parameter: &str, expected: impl Into<String>) -> Refusal {
    let expected = expected.into();
    let sentence = format!("The parameter {parameter} must be {expected}.");
    let issue = Issue::new(parameter, expected);
    Refusal::from(ErrorCode::InvalidRequest).saying(sentence).with_issues(vec![issue])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_its_own_list_only_and_whole_only() {
        let list = List(&["threads", "user:a"]);
        let cursor = list.cursor(&[0, 1, 2, 0xff]);
        assert_eq!(list.read(&cursor), Some(vec![0, 1, 2, 0xff]));
        assert_eq!(List(&["threads", "user:b"]).read(&cursor), None);
        assert_eq!(List(&["favorites", "user:a"]).read(&cursor), None);
        assert_eq!(list.read(&list.cursor(&[])), Some(vec![]));
        for at in 0..cursor.len() {
            let mut letters: Vec<char> = cursor.chars().collect();
            letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
            assert_eq!(list.read(&letters.into_iter().collect::<String>()), None, "{at}");
            assert_eq!(list.read(&cursor[..at]), None, "{at}");
        }
        for odd in ["", "=", "7", "AAAAAAAAAAA", "é", "a b", &format!("{cursor}A")] {
            assert_eq!(list.read(odd), None, "{odd}");
        }
    }
}
