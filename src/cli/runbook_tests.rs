//! The runbook has no command that this release does not understand.

use clap::Parser as _;
use sendcat_state::alert_rules::AlertRule;

use super::Arguments;
use crate::console::runbook;
use crate::http::routes::{Guard, ROUTES, Route};
use crate::load::gameday::catalog;
use crate::load::probes::Probe;
use crate::telemetry;

/// Lines of the runbook's blocks of commands.
fn commands() -> Vec<&'static str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in runbook::TEXT.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            found.push(line);
        }
    }
    found
}

/// What else a runbook needs, by its beginning.
const OTHERS: &[&str] = &["URL=", "export OPS_TOKEN=", "WHO=", "OTHER=", "df ", "kill -TERM "];

#[test]
fn a_command_of_the_runbook_is_ours_or_one_that_every_machine_has() {
    let ours = |line: &str| line.starts_with("sendcat ") || line.starts_with("curl ");
    let known = |line: &&str| ours(line) || OTHERS.iter().any(|other| line.starts_with(other));
    let strange: Vec<_> = commands().into_iter().filter(|line| !known(line)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn every_sendcat_command_of_the_runbook_is_understood() {
    let ours: Vec<_> = commands().into_iter().filter(|line| line.starts_with("sendcat ")).collect();
    assert!(ours.len() > 2, "{ours:?}");
    for line in ours {
        let understood = Arguments::try_parse_from(line.split_whitespace());
        assert!(understood.is_ok(), "{line}: {:?}", understood.err().map(|it| it.to_string()));
    }
}

#[test]
fn every_tool_has_its_place_in_the_runbook() {
    for tool in ["snapshot", "config", "probe", "drill", "gate", "canary", "gameday", "dashboard"] {
        let is_there = commands().iter().any(|line| line.starts_with(&format!("sendcat {tool}")));
        assert!(is_there, "sendcat {tool}");
    }
}

/// The game day that a chapter names is one that exercises this chapter.
#[test]
fn a_chapter_is_rehearsed_by_a_fault_of_its_own() {
    let mut chapter = "";
    let mut rehearsed = 0;
    for line in runbook::TEXT.lines() {
        chapter = line.strip_prefix("## ").unwrap_or(chapter);
        let Some(fault) = line.trim().strip_prefix("sendcat gameday --faults ") else { continue };
        let fault = fault.split(' ').next().unwrap_or_default();
        let kind = catalog::of(fault).unwrap_or_else(|| panic!("there is no fault {fault}"));
        let anchor = chapter.to_lowercase().replace(' ', "-");
        if anchor != "rehearsals" {
            assert_eq!(kind.runbook, anchor, "{line}");
            rehearsed += 1;
        }
    }
    assert!(rehearsed > 4, "{rehearsed}");
}

#[test]
fn every_probe_of_the_runbook_is_one() {
    let mut asked = 0;
    for line in commands() {
        let Some((_, ids)) = line.split_once("--only ") else { continue };
        for id in ids.split(' ').next().unwrap_or_default().split(',') {
            assert!(Probe::by_id(id).is_some(), "{line}");
            asked += 1;
        }
    }
    assert!(asked > 4, "{asked}");
}

/// The row that a line of curl asks, if there is one.
fn asked(line: &str) -> Option<&'static Route> {
    let words: Vec<_> = line.split_whitespace().collect();
    let method = words.iter().position(|word| *word == "-X").map_or("GET", |at| words[at + 1]);
    let address = words.iter().find(|word| word.contains("$URL"))?;
    let path = address.trim_matches('"').trim_start_matches("$URL").split('?').next()?;
    ROUTES.iter().find(|route| {
        let (pattern, path): (Vec<_>, Vec<_>) =
            (route.path.split('/').collect(), path.split('/').collect());
        let fits = |(wanted, given): (&&str, &&str)| wanted.starts_with('{') || wanted == given;
        route.method == method && pattern.len() == path.len() && pattern.iter().zip(&path).all(fits)
    })
}

#[test]
fn every_request_of_the_runbook_is_a_route_and_has_the_token_that_it_needs() {
    let ours: Vec<_> = commands().into_iter().filter(|line| line.starts_with("curl ")).collect();
    assert!(ours.len() > 20, "{ours:?}");
    for line in ours {
        let Some(route) = asked(line) else { panic!("no route is asked by {line}") };
        let is_operators = route.guards.contains(&Guard::Operator);
        assert_eq!(is_operators, line.ends_with(r#" -H "$WHO""#), "{line}");
    }
}

#[test]
fn every_alert_leads_to_a_playbook_that_is_there() {
    let of_rules = telemetry::alerts::ALERTS.iter().map(|alert| alert.runbook());
    let raised = AlertRule::ALL.iter().map(|rule| rule.runbook());
    let lost: Vec<_> = of_rules
        .chain(raised)
        .filter(|link| {
            let anchor = link.strip_prefix("/ops/runbook#").expect("it leads to the runbook");
            !runbook::anchors().contains(anchor)
        })
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}
