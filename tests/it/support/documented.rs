//! Which codes a route lists, for every answer that any test sees.

use sendcat::http::routes::{ROUTES, Route};

/// Fails if an answer has a code that its route does not list.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, code: Option<&str>) {
    let Some(code) = code else { return };
    let rows: Vec<&Route> = ROUTES.iter().filter(|route| fits(route.path, path)).collect();
    let of_method: Vec<_> = rows.iter().filter(|route| route.method == method).collect();
    let listed = |route: &&Route| route.codes().iter().any(|listed| listed.name() == code);
    let known = match (rows.is_empty(), of_method.is_empty()) {
        (true, _) => code == "not_found",
        // A method that the path has not is refused by the guards of its rows, or for itself.
        (false, true) => rows.iter().any(listed),
        (false, false) => of_method.into_iter().any(listed),
    };
    assert!(known, "{method} {path} answers {code}, which its row in ROUTES does not list");
}

/// Whether a path is one of a pattern, whose parameters stand in braces.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), path.split('/').collect());
    let same = |(wanted, given): (&&str, &&str)| {
        if wanted.starts_with('{') { !given.is_empty() } else { wanted == given }
    };
    pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
}
