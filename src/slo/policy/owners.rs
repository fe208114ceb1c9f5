//! `ownership-matrix.json`: who is called, and which page of the runbook (OPERATIONS.md §4;
//! CONFORMANCE G12).

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Policy, Problem};

/// Who owns what: the last rule that matches wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owners {
    /// `sendcat.owners/1`.
    #[schemars(extend("const" = "sendcat.owners/1"))]
    pub schema: String,
    /// Whoever is left.
    pub default: DefaultOwner,
    /// In order; `*` stands for any letters.
    pub rules: Vec<OwnerRule>,
}

/// Who answers for what no rule names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultOwner {
    /// The team.
    pub team: String,
    /// Where it is reached.
    pub contact: String,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnerRule {
    /// Kind and name: `route:/api/gmail/*`.
    pub r#match: String,
    /// The team.
    pub team: String,
    /// Where it is reached; the default's contact where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// File and anchor: `RUNBOOK.md#chat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Minutes until the next in line is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after_min: Option<u64>,
}

/// Who answers for one subject, as every row of a report carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Owner {
    /// The team.
    pub team: String,
    /// Where it is reached.
    pub contact: String,
    /// Minutes until the next in line is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after_min: Option<u64>,
}

/// Kinds of subjects a rule may name.
const KINDS: [&str; 7] = ["route", "circuit", "bulkhead", "ratelimit", "replay", "jobs", "check"];

impl Owners {
    /// Who answers for a subject such as `circuit:openrouter`, and the page of the runbook.
    pub fn of(&self, subject: &str) -> (Owner, Option<&str>) {
        let Some(rule) = self.rule(subject) else {
            let DefaultOwner { team, contact } = self.default.clone();
            return (Owner { team, contact, escalate_after_min: None }, None);
        };
        let owner = Owner {
            team: rule.team.clone(),
            contact: rule.contact.clone().unwrap_or_else(|| self.default.contact.clone()),
            escalate_after_min: rule.escalate_after_min,
        };
        (owner, rule.runbook.as_deref())
    }

    /// A problem for each subject that only the default answers for.
    pub fn unowned<'a>(&self, subjects: impl IntoIterator<Item = &'a str>) -> Vec<Problem> {
        let left = subjects.into_iter().filter(|subject| self.rule(subject).is_none());
        left.map(|subject| {
            let fix = format!("add a rule with \"match\": {subject:?}");
            Problem::new("rules", format!("nobody owns {subject:?}"), fix)
        })
        .collect()
    }

    /// A problem for each rule whose page is missing in the runbook of that file name.
    pub fn without_page(&self, file: &str, markdown: &str) -> Vec<Problem> {
        let anchors: HashSet<String> = anchors(markdown).collect();
        let mut problems = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let Some(runbook) = &rule.runbook else { continue };
            let Some((_, anchor)) = runbook.split_once('#').filter(|(name, _)| *name == file)
            else {
                continue;
            };
            if !anchors.contains(anchor) {
                let what = format!("{file} has no section #{anchor}");
                let path = format!("rules[{place}].runbook");
                problems.push(Problem::new(path, what, "write the section, or its right name"));
            }
        }
        problems
    }

    fn rule(&self, subject: &str) -> Option<&OwnerRule> {
        self.rules.iter().rev().find(|rule| matches(&rule.r#match, subject))
    }
}

impl Policy for Owners {
    const FILE: &'static str = "ownership-matrix.json";
    const SCHEMA: &'static str = "sendcat.owners/1";
    const BUILT_IN: &'static str = include_str!("ownership-matrix.json");

    fn schema(&self) -> &str {
        &self.schema
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let kind = rule.r#match.split_once(':').map_or("", |(kind, _)| kind);
            if !KINDS.contains(&kind) {
                let fix = format!("begin with one of {}:", KINDS.join(":, "));
                let what = format!("{:?} names no kind of subject", rule.r#match);
                problems.push(Problem::new(format!("rules[{place}].match"), what, fix));
            }
            let mut later = self.rules[place + 1..].iter();
            if let Some(winner) = later.find(|later| matches(&later.r#match, &rule.r#match)) {
                let what = format!("a later rule, {:?}, always wins", winner.r#match);
                let fix = "put the general rule first: the last match wins";
                problems.push(Problem::new(format!("rules[{place}].match"), what, fix));
            }
            if rule.runbook.as_ref().is_some_and(|page| !page.contains('#')) {
                let path = format!("rules[{place}].runbook");
                problems.push(Problem::new(path, "no section is named", "write file#section"));
            }
            if rule.team.is_empty() {
                let path = format!("rules[{place}].team");
                problems.push(Problem::new(path, "the team has no name", "name it"));
            }
        }
        problems
    }
}

/// Whether a pattern, in which `*` stands for any letters, fits a subject whole.
fn matches(pattern: &str, subject: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == subject };
    let Some(subject) = subject.strip_prefix(start) else { return false };
    let mut ends = subject.char_indices().map(|(place, _)| place).chain([subject.len()]);
    ends.any(|place| matches(rest, &subject[place..]))
}

/// The anchors of a markdown text's headings, as its renderers make them.
fn anchors(markdown: &str) -> impl Iterator<Item = String> {
    let titles = markdown.lines().filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim().to_lowercase())
    });
    titles.map(|title| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}
