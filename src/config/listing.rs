//! Every knob with the value in force, for people and for programs; secrets masked.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value as Json;

use super::kind::Kind;
use super::knobs::{self, Fallback, Knob, Reload};
use super::secret::MASK;
use super::settled::{Settled, Settlement};
use super::source::SOURCE_SECRET;

/// One knob and its value in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListingRow {
    /// The knob's name in the environment.
    pub name: String,
    /// The value in force: a number where it is one, `***` for a secret, `null` if there is none.
    pub value: Json,
    /// What it is when nobody sets it.
    pub default: Json,
    /// What numbers count; empty for what is not counted.
    pub unit: String,
    /// `env`, `file`, `sandbox` or `default`.
    pub source: String,
    /// What it takes.
    pub expected: String,
    /// Whether a reload applies a change.
    pub reloadable: bool,
    /// What it does.
    pub about: String,
}

/// Every knob, in the order of the table, then the secrets of configured webhook sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Listing {
    rows: Vec<ListingRow>,
}

impl Listing {
    pub(super) fn of(settled: &Settled) -> Self {
        let known = knobs::all().iter().map(|knob| row(knob, &settled.0[&knob.name]));
        let secrets = settled
            .0
            .iter()
            .filter(|(name, _)| name.starts_with(SOURCE_SECRET))
            .map(|(name, settlement)| row(&source_secret(name), settlement));
        Self { rows: known.chain(secrets).collect() }
    }

    /// The rows.
    pub fn rows(&self) -> &[ListingRow] {
        &self.rows
    }

    /// The row of that knob.
    pub fn row(&self, name: &str) -> Option<&ListingRow> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// As JSON: an array of rows.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("rows always encode")
    }

    /// As text: name, value, default, unit, source, in columns. What is not set is `-`.
    pub fn to_text(&self) -> String {
        let head = ["NAME", "VALUE", "DEFAULT", "UNIT", "SOURCE"].map(str::to_owned);
        let cells = |row: &ListingRow| {
            let unit = if row.unit.is_empty() { "-" } else { &row.unit };
            [&row.name, &cell(&row.value), &cell(&row.default), unit, &row.source]
                .map(str::to_owned)
        };
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        };
        let widths = [width(0), width(1), width(2), width(3)];
        let mut text = String::new();
        for line in &lines {
            for (cell, width) in line.iter().zip(widths) {
                write!(text, "{cell:width$}  ").expect("a String takes all");
            }
            text.push_str(&line[4]);
            text.push('\n');
        }
        text
    }
}

/// The table of knobs for a README: name, default, unit, what it does.
pub fn markdown() -> String {
    let mut text = "| knob | default | unit | what it does |\n|---|---|---|---|\n".to_owned();
    for knob in knobs::all() {
        let default = match &knob.default {
            Fallback::Unset => "–".to_owned(),
            Fallback::Fixed(text) if text.is_empty() => "empty".to_owned(),
            Fallback::Fixed(text) => format!("`{text}`"),
            Fallback::Cores => "one per core".to_owned(),
        };
        let (name, unit, about) = (&knob.name, knob.kind.unit(), &knob.about);
        writeln!(text, "| `{name}` | {default} | {unit} | {about} |").expect("a String takes all");
    }
    text
}

fn row(knob: &Knob, settlement: &Settlement) -> ListingRow {
    let default = match &knob.default {
        Fallback::Unset => Json::Null,
        Fallback::Fixed(text) => json_of(knob.kind, text),
        Fallback::Cores => Json::from("one per core"),
    };
    ListingRow {
        name: knob.name.clone(),
        value: settlement.text.as_ref().map_or(Json::Null, |text| json_of(knob.kind, text)),
        default,
        unit: knob.kind.unit().to_owned(),
        source: settlement.origin.to_string(),
        expected: knob.kind.expected(),
        reloadable: knob.reload == Reload::Live,
        about: knob.about.clone(),
    }
}

fn source_secret(name: &str) -> Knob {
    Knob {
        name: name.to_owned(),
        kind: Kind::Secrets,
        default: Fallback::Unset,
        reload: Reload::AtStart,
        about: "Signs what a configured webhook source sends.".to_owned(),
    }
}

fn json_of(kind: Kind, text: &str) -> Json {
    if kind.is_secret() {
        return Json::from(MASK);
    }
    let number = if kind.unit().is_empty() { None } else { text.parse::<u64>().ok() };
    number.map_or_else(|| Json::from(text), Json::from)
}

fn cell(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(_) | Json::Bool(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}
