//! The four policies the tools judge by, as types, with a lint that names path, line and fix
//! (OPERATIONS.md §4).
//!
//! What ships is built in; a directory of the operator's may replace a file whole, which is the
//! caller's to read. A key that is not known is refused: a misspelt limit would be no limit.

pub mod canary;
pub mod gate;
pub mod owners;
mod position;
pub mod slo;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::DeserializeOwned;

pub use self::canary::CanaryPolicy;
pub use self::gate::GatePolicy;
pub use self::owners::Owners;
pub use self::slo::SloBaseline;

/// A policy file: its name, its schema, what ships, and what no type can say.
pub trait Policy: DeserializeOwned {
    /// The file's name, in the repository and in an operator's directory.
    const FILE: &'static str;
    /// What its key `schema` must say.
    const SCHEMA: &'static str;
    /// The text that ships with the program.
    const BUILT_IN: &'static str;

    /// The schema that the file names.
    fn schema(&self) -> &str;

    /// Everything about its values that contradicts itself or can never come true.
    fn problems(&self) -> Vec<Problem>;

    /// The policy that ships with the program.
    fn built_in() -> Self {
        read(Self::FILE, Self::BUILT_IN).unwrap_or_else(|findings| {
            unreachable!("a test lints every built-in policy: {}", findings.len())
        })
    }
}

/// What is wrong at a path of a policy, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Keys from the top, as `scenarios.whatsapp_webhook.slis.latency.maxMs` or `rules[2].match`.
    pub path: String,
    /// What is wrong, with the value.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

impl Problem {
    /// A problem at a path.
    pub fn new(path: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), fix: fix.into() }
    }
}

/// A problem and where it stands in the file; reads `file:line:column: path: what; fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, problem } = self;
        write!(out, "{file}:{line}:{column}: ")?;
        if !problem.path.is_empty() {
            write!(out, "{}: ", problem.path)?;
        }
        write!(out, "{}; {}", problem.what, problem.fix)
    }
}

/// A policy read from a text and found sound.
///
/// # Errors
/// The first thing that is not of the schema's form; or else everything that [`Policy::problems`]
/// names, and every key that stands twice. Never empty, in the order of the file.
pub fn read<P: Policy>(file: &str, text: &str) -> Result<P, Vec<Finding>> {
    let mut input = serde_json::Deserializer::from_str(text);
    let read: Result<P, _> = serde_path_to_error::deserialize(&mut input);
    let policy = match read {
        Ok(policy) => policy,
        Err(cause) => return Err(vec![misread(file, &cause)]),
    };
    if let Err(cause) = input.end() {
        let problem = Problem::new("", "more text after the policy", "remove it");
        let (line, column) = (cause.line(), cause.column());
        return Err(vec![Finding { file: file.to_owned(), line, column, problem }]);
    }
    let mut problems = policy.problems();
    if policy.schema() != P::SCHEMA {
        let what = format!("unknown schema {:?}", policy.schema());
        problems.push(Problem::new("schema", what, format!("write {:?}", P::SCHEMA)));
    }
    let places = position::places(text);
    let mut findings: Vec<_> =
        problems.into_iter().map(|problem| place(file, &places, problem)).collect();
    findings.extend(places.iter().filter(|place| place.again).map(|place| Finding {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        problem: Problem::new(&place.path, "this key stands twice", "keep one of the two"),
    }));
    findings.sort_by_key(|finding| (finding.line, finding.column));
    if findings.is_empty() { Ok(policy) } else { Err(findings) }
}

/// Problems found beside the reading, each with its place in that text; in the order of the file.
pub fn located(file: &str, text: &str, problems: Vec<Problem>) -> Vec<Finding> {
    let places = position::places(text);
    let mut findings: Vec<_> =
        problems.into_iter().map(|problem| place(file, &places, problem)).collect();
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

/// A problem with the place of its path, or of the nearest key above that is there.
fn place(file: &str, places: &[position::Place], problem: Problem) -> Finding {
    let mut path = problem.path.as_str();
    let found = loop {
        match places.iter().find(|place| place.path == path) {
            None if !path.is_empty() => {
                path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            }
            found => break found,
        }
    };
    let (line, column) = found.map_or((1, 1), |place| (place.line, place.column));
    Finding { file: file.to_owned(), line, column, problem }
}

/// What the reader did not understand, with a fix that fits the kind of mistake.
fn misread(file: &str, cause: &serde_path_to_error::Error<serde_json::Error>) -> Finding {
    let (line, column) = (cause.inner().line(), cause.inner().column());
    let full = cause.inner().to_string();
    let what = full.split(" at line ").next().unwrap_or_default().to_owned();
    let path = match cause.path().to_string() {
        top if top == "." => String::new(),
        path => path,
    };
    let quoted: Vec<&str> = what.split('`').skip(1).step_by(2).collect();
    let (fix, what) = match quoted.split_first() {
        Some((unknown, known)) if what.starts_with("unknown ") => {
            let near = known
                .iter()
                .map(|name| (strsim::damerau_levenshtein(name, unknown), name))
                .min_by_key(|(steps, _)| *steps)
                .filter(|(steps, _)| *steps <= 3);
            let fix = near.map_or("remove it".to_owned(), |(_, name)| format!("write `{name}`"));
            (fix, what.clone())
        }
        Some((missing, _)) if what.starts_with("missing field") => {
            (format!("add `{missing}`"), what.clone())
        }
        _ if cause.inner().is_data() => ("write a value of that kind".to_owned(), what.clone()),
        _ => ("correct the JSON there".to_owned(), what.clone()),
    };
    Finding { file: file.to_owned(), line, column, problem: Problem::new(path, what, fix) }
}

/// Problems of one number: whether it is within its range.
fn within(problems: &mut Vec<Problem>, path: &str, value: f64, low: f64, high: f64) {
    if !(low..=high).contains(&value) {
        let fix = if high.is_finite() {
            format!("write a number from {low} to {high}")
        } else {
            format!("write a number of at least {low}")
        };
        problems.push(Problem::new(path, format!("{value} is out of range"), fix));
    }
}
