//! Reads the repository as the rules see it: every Rust file with its text, its code (comments and
//! the insides of literals blanked, so that a sentence breaks no rule), and which lines are tests.
//!
//! # Invariants
//! - A file's code has the lines and columns of its text: a finding names the place in both.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Folders that hold our Rust files.
const FOLDERS: [&str; 5] = ["state", "actors", "src", "tests", "benches"];

/// Folders of other people's or generated files.
const SKIPPED: [&str; 3] = ["target", "data", "node_modules"];

/// Every Rust file of the workspace, in order of path.
pub(crate) static FILES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut files: Vec<_> = FOLDERS.iter().flat_map(|folder| below(folder)).collect();
    files.retain(|path| path.ends_with(".rs"));
    files.sort();
    assert!(files.len() > 100, "only {} Rust files found: the walk is broken", files.len());
    files.iter().map(|path| Source::of(path, &read(path))).collect()
});

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the repository's top, with slashes.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// Without comments and without what stands in literals.
    pub(crate) code: String,
    /// Whether a line, counted from 0, is part of a test.
    in_test: Vec<bool>,
}

impl Source {
    pub(crate) fn of(path: &str, text: &str) -> Self {
        let code = without_comments_and_literals(text);
        let mut in_test = vec![is_test_file(path); text.lines().count()];
        for (start, _) in code.match_indices("#[cfg(test)]") {
            let Some(end) = end_of_item(&code, start) else { continue };
            let (first, last) = (line_at(&code, start), line_at(&code, end));
            in_test[first - 1..last].fill(true);
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, in_test }
    }

    /// Whether a line, counted from 1, is part of a test.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.in_test.get(line - 1).copied().unwrap_or_default()
    }

    /// Where a word stands in the code: the line, counted from 1, and what follows the word.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        self.code.match_indices(word).filter_map(move |(start, _)| {
            let rest = &self.code[start + word.len()..];
            let whole =
                !self.code[..start].ends_with(is_of_a_name) && !rest.starts_with(is_of_a_name);
            whole.then(|| (line_at(&self.code, start), rest))
        })
    }

    /// The lines on which a name with this beginning stands in the code.
    pub(crate) fn names(&self, start: &str) -> impl Iterator<Item = usize> {
        self.code.match_indices(start).filter_map(|(place, _)| {
            let whole = !self.code[..place].ends_with(is_of_a_name);
            whole.then(|| line_at(&self.code, place))
        })
    }

    /// What to say of a line of this file.
    pub(crate) fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// Fails with every finding, one a line.
#[track_caller]
pub(crate) fn none_of(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} found:\n{}\n", findings.len(), findings.join("\n"));
}

/// The text of a file of this repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

pub(crate) fn exists(path: &str) -> bool {
    top().join(path).exists()
}

/// The repository's top.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder, from the top; nothing if there is no such folder.
pub(crate) fn below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(top().join(&folder)) else { continue };
        for entry in entries.map(|entry| entry.expect("a folder can be listed")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            if !entry.path().is_dir() {
                found.push(path.to_string_lossy().replace('\\', "/"));
            } else if !SKIPPED.contains(&name.as_str()) {
                open.push(path);
            }
        }
    }
    found
}

/// The line, counted from 1, of a place in a text.
pub(crate) fn line_at(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

/// Where the item that begins at a place ends: at the `;` or the `}` that closes it.
pub(crate) fn end_of_item(code: &str, start: usize) -> Option<usize> {
    let mut open = 0_usize;
    for (place, letter) in code[start..].char_indices() {
        match letter {
            '{' | '(' | '[' => open += 1,
            '}' | ')' | ']' => {
                open = open.checked_sub(1)?;
                if open == 0 && letter == '}' {
                    return Some(start + place);
                }
            }
            ';' if open == 0 => return Some(start + place),
            _ => {}
        }
    }
    None
}

/// Whether a letter can be part of a name.
pub(crate) fn is_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn is_test_file(path: &str) -> bool {
    let folders = path.split('/').any(|part| matches!(part, "tests" | "benches"));
    folders || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// The text with a space for every letter of a comment, and of a literal between its quotes.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after_name = code.ends_with(is_of_a_name);
        let kept = if after_name { None } else { quote_of(rest) };
        let (kept, whole) = match kept {
            Some((opening, closing, escapes)) => {
                (opening, end_of_literal(rest, opening, &closing, escapes))
            }
            None if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len())),
            None if rest.starts_with("/*") => (0, end_of_block(rest)),
            None => (letter.len_utf8(), letter.len_utf8()),
        };
        let (piece, next) = rest.split_at(whole);
        code.push_str(&piece[..kept]);
        code.extend(piece[kept..].chars().map(|each| if each == '\n' { '\n' } else { ' ' }));
        rest = next;
    }
    code
}

/// How the literal that begins here opens (its length), how it closes, and whether `\` escapes.
fn quote_of(rest: &str) -> Option<(usize, String, bool)> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|after| after.starts_with(['"', '#']))
    });
    if let Some(prefix) = prefix {
        let after = &rest[prefix.len()..];
        let fences = after.len() - after.trim_start_matches('#').len();
        let raw = prefix.ends_with('r');
        if after[fences..].starts_with('"') && (raw || fences == 0) {
            let closing = format!("\"{}", "#".repeat(fences));
            return Some((prefix.len() + fences + 1, closing, !raw));
        }
    }
    let quoted = rest.strip_prefix('\'').or_else(|| rest.strip_prefix("b'"))?;
    let mut letters = quoted.chars();
    let (first, second) = (letters.next()?, letters.next()?);
    // `'a'` and `'\n'` are letters, `'a` is a lifetime.
    let is_letter = first == '\\' || second == '\'';
    is_letter.then(|| (rest.len() - quoted.len(), "'".to_owned(), true))
}

fn end_of_literal(rest: &str, opening: usize, closing: &str, escapes: bool) -> usize {
    let mut place = opening;
    while place < rest.len() {
        if rest[place..].starts_with(closing) {
            return place + closing.len();
        }
        let escaped = escapes && rest[place..].starts_with('\\');
        let letters = rest[place..].chars().take(if escaped { 2 } else { 1 });
        place += letters.map(char::len_utf8).sum::<usize>();
    }
    rest.len()
}

fn end_of_block(rest: &str) -> usize {
    let (mut place, mut depth) = (0, 0_usize);
    while place < rest.len() {
        let step = if rest[place..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[place..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[place..].chars().next().map_or(1, char::len_utf8)
        };
        place += step;
        if depth == 0 {
            return place;
        }
    }
    rest.len()
}

#[test]
fn words_in_comments_and_literals_are_not_code() {
    let text = "let a = r#\"x \" sleep\"#; // sleep\nlet b: &'static str = \"\\\" sleep\";\n\
                /* sleep\n sleep */ let c = ('\"', b'x', 'é'); sleep();";
    let source = Source::of("src/x.rs", text);
    assert_eq!(source.words("sleep").collect::<Vec<_>>(), [(4, "();")]);
    assert_eq!(source.code.lines().count(), text.lines().count());
    assert_eq!(source.words("static").count(), 1);
}

#[test]
fn a_test_module_is_told_from_what_is_tested() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n\
                #[cfg(test)]\nmod c;\nfn d() {}";
    let source = Source::of("src/x.rs", text);
    let lines: Vec<_> = (1..=8).filter(|&line| source.is_test(line)).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7]);
    assert!(Source::of("src/x_tests.rs", text).is_test(1));
}
