//! What every row of the table keeps to.

use super::*;

#[test]
fn rows_of_one_path_stand_together() {
    let mut paths: Vec<_> = paths().collect();
    let count = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), count);
}

#[test]
fn every_row_checks_its_method() {
    for route in ROUTES {
        assert!(route.guards.contains(&Guard::Method), "{} {}", route.method, route.path);
    }
}

#[test]
fn a_handler_names_no_code_that_stands_before_it_anyway() {
    for route in ROUTES {
        let by_guards: Vec<_> = route.guards.iter().flat_map(|guard| guard.codes()).collect();
        let again = |code: &&Code| by_guards.contains(code) || **code == Code::InternalError;
        // A handler may say in its own words what a guard has no words for.
        let own = [Code::UpstreamUnavailable, Code::RateLimited, Code::NotFound];
        let twice: Vec<_> = route.codes.iter().filter(again).collect();
        assert!(twice.iter().all(|code| own.contains(code)), "{} {twice:?}", route.path);
    }
}
