//! Where each value of a JSON text stands, so that a finding can name its line.
//!
//! Reads only texts that a JSON parser has accepted.

use std::collections::HashSet;

/// One value and where it begins: its key, or itself within an array.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) column: usize,
    /// Whether its path has stood before: a key written twice.
    pub(super) again: bool,
}

/// Every value's place, in the order of the text.
pub(super) fn places(text: &str) -> Vec<Place> {
    let letters = text.chars().collect();
    let mut walk = Walk { letters, at: 0, seen: HashSet::new(), found: Vec::new() };
    walk.value("");
    walk.found
}

struct Walk {
    letters: Vec<char>,
    at: usize,
    seen: HashSet<String>,
    found: Vec<Place>,
}

impl Walk {
    fn value(&mut self, path: &str) {
        match self.next() {
            Some('{') => self.members(path),
            Some('[') => self.elements(path),
            Some('"') => drop(self.text()),
            _ => {
                while self.letters.get(self.at).is_some_and(|letter| !",]}".contains(*letter)) {
                    self.at += 1;
                }
            }
        }
    }

    fn members(&mut self, path: &str) {
        self.at += 1;
        while self.next().is_some_and(|letter| letter != '}') {
            let start = self.at;
            let key = self.text();
            let below = if path.is_empty() { key } else { format!("{path}.{key}") };
            self.note(&below, start);
            self.past(':');
            self.value(&below);
            self.past(',');
        }
        self.at += 1;
    }

    fn elements(&mut self, path: &str) {
        self.at += 1;
        let mut place = 0;
        while self.next().is_some_and(|letter| letter != ']') {
            let below = format!("{path}[{place}]");
            self.note(&below, self.at);
            self.value(&below);
            self.past(',');
            place += 1;
        }
        self.at += 1;
    }

    /// A text in quotes, as it is written.
    fn text(&mut self) -> String {
        let start = self.at + 1;
        self.at = start;
        while self.letters.get(self.at).is_some_and(|letter| *letter != '"') {
            self.at += if self.letters[self.at] == '\\' { 2 } else { 1 };
        }
        let end = self.at.min(self.letters.len());
        self.at += 1;
        self.letters[start.min(end)..end].iter().collect()
    }

    fn past(&mut self, letter: char) {
        if self.next() == Some(letter) {
            self.at += 1;
        }
    }

    /// The next letter that is no space.
    fn next(&mut self) -> Option<char> {
        while self.letters.get(self.at).is_some_and(|letter| letter.is_whitespace()) {
            self.at += 1;
        }
        self.letters.get(self.at).copied()
    }

    fn note(&mut self, path: &str, start: usize) {
        let before = &self.letters[..start];
        let line = 1 + before.iter().filter(|letter| **letter == '\n').count();
        let column = 1 + before.iter().rev().take_while(|letter| **letter != '\n').count();
        let again = !self.seen.insert(path.to_owned());
        self.found.push(Place { path: path.to_owned(), line, column, again });
    }
}
