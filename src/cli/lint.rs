//! Nothing that can fail is without an owner and a page that says what to do (OPERATIONS.md §1.6).

use std::time::Duration;

use crate::console::runbook;
use crate::http::routes::ROUTES;
use crate::slo::policy::{Owners, Problem};
use crate::slo::report::{Kind, Report};

/// How old the last game day may be.
const GAME_DAY: Duration = Duration::from_secs(90 * 24 * 3600);

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Linted {
    /// What must be mended: exit code 2.
    pub(super) problems: Vec<Problem>,
    /// What is worth a look.
    pub(super) warnings: Vec<String>,
}

/// Every route that this server registers and every subject of a check (`check:probe.chat_cors`)
/// has an owner that is not the default, and every page that a rule names is there; a game day
/// older than 90 days, or none, is a warning. `now` is since the Unix epoch.
pub(super) fn lint<'a>(
    owners: &Owners,
    checks: impl IntoIterator<Item = &'a str>,
    reports: &[Report],
    now: Duration,
) -> Linted {
    let mut routes: Vec<_> = ROUTES.iter().map(|route| format!("route:{}", route.path)).collect();
    routes.dedup();
    let mut problems = owners.unowned(routes.iter().map(String::as_str));
    problems.extend(owners.unowned(checks));
    problems.extend(owners.without_page("RUNBOOK.md", runbook::TEXT));
    let days = reports.iter().filter(|report| report.kind == Kind::GameDay);
    let warnings = match days.filter_map(Report::ended).max() {
        Some(last) if now.saturating_sub(last) <= GAME_DAY => Vec::new(),
        Some(last) => {
            let days = now.saturating_sub(last).as_secs() / 86_400;
            vec![format!("the last game day was {days} days ago; 90 are allowed")]
        }
        None => vec!["no game day is on record".to_owned()],
    };
    Linted { problems, warnings }
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
        let linted = lint(&Owners::built_in(), CHECKS, &[], Duration::ZERO);
        assert_eq!(linted.problems, []);
        assert_eq!(linted.warnings, ["no game day is on record"]);
    }

    #[test]
    fn a_route_without_an_owner_and_a_page_that_is_not_there_are_named() {
        let mut owners = Owners::built_in();
        owners.rules.retain(|rule| rule.r#match != "route:/metrics");
        owners.rules[0].runbook = Some("RUNBOOK.md#nowhere".to_owned());
        let said: Vec<_> = lint(&owners, ["check:else.x"], &[], Duration::ZERO)
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
}
