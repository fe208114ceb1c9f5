//! What every row of the table keeps to.

use super::*;
use crate::http::dispatch::FAULTS_PATH;

#[test]
fn rows_of_one_path_stand_together() {
    let mut paths: Vec<_> = paths().collect();
    let count = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), count);
}

/// What a row answers because of what stands before it.
fn by_guards(route: &Route) -> Vec<Code> {
    let mut codes = Vec::new();
    // A browser on its way is sent on instead.
    let sends_on = route.path == crate::http::gmail::CALLBACK;
    if route.path != FAULTS_PATH && !sends_on {
        codes.push(Code::InternalError);
    }
    if route.path.starts_with("/api/") && !sends_on {
        // While the process drains.
        codes.push(Code::Overloaded);
    }
    for guard in route.guards {
        codes.extend_from_slice(match guard {
            Guard::Origin => &[Code::Forbidden],
            Guard::Method => &[Code::MethodNotAllowed],
            Guard::IpLimit(_) | Guard::ChatLimit => &[Code::RateLimited],
            Guard::Bearer => &[Code::Unauthorized, Code::Misconfigured, Code::UpstreamUnavailable],
            Guard::Operator => &[Code::NotFound, Code::Unauthorized],
            Guard::User => &[Code::Forbidden],
            Guard::Json => &[Code::UnsupportedMediaType],
            Guard::Body(_) => &[Code::PayloadTooLarge, Code::RequestTimeout],
        });
    }
    codes
}

#[test]
fn every_row_lists_the_codes_of_its_guards_and_none_twice() {
    for route in ROUTES {
        let name = format!("{} {}", route.method, route.path);
        for code in by_guards(route) {
            assert!(route.codes.contains(&code), "{name} lacks {code}");
        }
        for (at, code) in route.codes.iter().enumerate() {
            assert!(!route.codes[..at].contains(code), "{name} lists {code} twice");
        }
    }
}

#[test]
fn every_row_checks_its_method() {
    for route in ROUTES {
        assert!(route.guards.contains(&Guard::Method), "{} {}", route.method, route.path);
    }
}
