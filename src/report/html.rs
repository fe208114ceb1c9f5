//! A report as one page that needs no network and no script (OPERATIONS.md §8).

use maud::{DOCTYPE, html};

use crate::slo::report::Report;

/// What the page may load: nothing but its own styles.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The page.
pub fn page(report: &Report) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta http-equiv="Content-Security-Policy" content=(POLICY); }
            body { p { (super::human::verdict_line(report)) } }
        }
    }
    .into_string()
}
