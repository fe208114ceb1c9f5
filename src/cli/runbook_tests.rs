//! The runbook has no command that this release does not understand.

use clap::Parser as _;
use sendcat_state::alert_rules::AlertRule;

use super::Arguments;
use crate::console::runbook;
use crate::http::routes::{Guard, ROUTES, Route};
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
const OTHERS: &[&str] = &["URL=", "export OPS_TOKEN=", "WHO=", "df ", "kill -TERM "];

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
