//! Nothing that can fail is without an owner and a page that says what to do (OPERATIONS.md §1.6).

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::console::runbook;
use crate::http::routes::ROUTES;
use crate::slo::policy::{Owners, Problem};

/// How old the last game day of a chapter may be.
const GAME_DAY: Duration = Duration::from_secs(90 * 24 * 3600);

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Linted {
    /// What must be mended: exit code 2.
    pub(super) problems: Vec<Problem>,
    /// What is worth a look.
    pub(super) warnings: Vec<String>,
    /// When each chapter of the runbook was last exercised; those that never were stand nowhere.
    pub(super) exercised: Vec<String>,
}

/// Every route that this server registers and every subject of a check (`check:probe.chat_cors`)
/// has an owner that is not the default, and every page that a rule names is there; a chapter
/// whose last game day is older than 90 days, or that there was none at all, is a warning.
/// `exercised` has the last game day of chapters by their anchors; `now` is since the Unix epoch.
pub(super) fn lint<'a>(
    owners: &Owners,
    checks: impl IntoIterator<Item = &'a str>,
    exercised: &BTreeMap<String, String>,
    now: Duration,
) -> Linted {
    let mut routes: Vec<_> = ROUTES.iter().map(|route| format!("route:{}", route.path)).collect();
    routes.dedup();
    let mut problems = owners.unowned(routes.iter().map(String::as_str));
    problems.extend(owners.unowned(checks));
    problems.extend(owners.without_page("RUNBOOK.md", runbook::TEXT));
    let mut linted = Linted { problems, ..Linted::default() };
    if exercised.is_empty() {
        linted.warnings.push("no game day is on record".to_owned());
    }
    for (page, at) in exercised {
        let Some(last) = moment(at) else { continue };
        let age = now.saturating_sub(last);
        let days = age.as_secs() / 86_400;
        linted.exercised.push(format!("RUNBOOK.md#{page} was exercised {at}, {days} days ago"));
        if age > GAME_DAY {
            let say =
                format!("RUNBOOK.md#{page}: its last game day was {days} days ago; 90 are allowed");
            linted.warnings.push(say);
        }
    }
    linted
}

fn moment(text: &str) -> Option<Duration> {
    humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::policy::Policy as _;

    const CHECKS: [&str; 5] = [
        "check:probe.chat_cors",
        "check:burn.whatsapp_webhook.http5xx.long",
        "check:snapshot.maxDeadJobs",
        "check:canary.chat_stream_http.p95",
        "check:gameday.actor.kill",
    ];

    #[test]
    fn every_route_and_check_as_shipped_has_an_owner_and_a_page_that_is_there() {
        let linted = lint(&Owners::built_in(), CHECKS, &BTreeMap::new(), Duration::ZERO);
        assert_eq!(linted.problems, []);
        assert_eq!(linted.warnings, ["no game day is on record"]);
    }

    #[test]
    fn a_route_without_an_owner_and_a_page_that_is_not_there_are_named() {
        let mut owners = Owners::built_in();
        owners.rules.retain(|rule| rule.r#match != "route:/metrics");
        owners.rules[0].runbook = Some("RUNBOOK.md#nowhere".to_owned());
        let said: Vec<_> = lint(&owners, ["check:else.x"], &BTreeMap::new(), Duration::ZERO)
            .problems
            .into_iter()
            .map(|problem| problem.what)
            .collect();
        let expected = [
            "nobody owns \"route:/metrics\"",
            "nobody owns \"check:else.x\"",
            "RUNBOOK.md has no section #nowhere",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_chapter_is_dated_by_its_last_game_day_and_one_of_long_ago_is_warned_of() {
        let days = [("actor-stuck", "2026-02-17"), ("circuit-open", "2025-10-01")];
        let at = |(page, day): (&str, &str)| (page.to_owned(), format!("{day}T10:00:00.000Z"));
        let exercised: BTreeMap<_, _> = days.map(at).into();
        let now = moment("2026-02-18T10:00:00.000Z").unwrap();
        let linted = lint(&Owners::built_in(), CHECKS, &exercised, now);
        let expected = [
            "RUNBOOK.md#actor-stuck was exercised 2026-02-17T10:00:00.000Z, 1 days ago",
            "RUNBOOK.md#circuit-open was exercised 2025-10-01T10:00:00.000Z, 140 days ago",
        ];
        assert_eq!(linted.exercised, expected);
        let expected =
            "RUNBOOK.md#circuit-open: its last game day was 140 days ago; 90 are allowed";
        assert_eq!(linted.warnings, [expected]);
    }
}
