//! Pages in a real browser, opened from files: nothing is asked of anybody, everything is drawn and
//! can be read, in light and dark and on a small phone, with scripts off (OPERATIONS.md §7, §8).

use std::path::Path;

use sendcat::report::html::{POLICY, page};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{fixed, trend};
use crate::support::node::alone;

/// The most bytes of a page.
const MOST_BYTES: usize = 1 << 20;

fn opened(folder: &Path, pages: &[(&str, String)]) -> Value {
    let paths: Vec<_> = pages
        .iter()
        .map(|(name, text)| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    alone("report.mjs", &paths)
}

#[test]
fn pages_need_no_network_and_no_script_and_can_be_read_in_every_light_and_width() {
    let folder = TempDir::new().unwrap();
    let dashboard = sendcat::report::dashboard::html(&trend::dashboard());
    let pages = [
        ("drill.html", page(&fixed::drill()), 8),
        ("canary.html", page(&fixed::canary()), 9),
        ("gameday.html", page(&fixed::game_day()), 1),
        ("dashboard.html", dashboard, 10),
    ];
    let texts: Vec<_> = pages.iter().map(|(name, text, _)| (*name, text.clone())).collect();
    let seen = opened(folder.path(), &texts);
    for (name, text, charts) in &pages {
        assert!(text.len() < MOST_BYTES, "{name} has {} bytes", text.len());
        let page = &seen[name];
        assert_eq!((&page["asked"], &page["complaints"]), (&json!([]), &json!([])), "{name}");
        for (look, background) in [
            ("light", "rgb(243, 244, 246)"),
            ("dark", "rgb(14, 17, 22)"),
            ("narrow", "rgb(14, 17, 22)"),
        ] {
            let expected = json!({"charts": charts, "undrawn": [], "nameless": 0, "faint": [],
                "background": background, "isWide": false, "policy": POLICY, "scripts": 0});
            assert_eq!(page["looks"][look], expected, "{name} {look}");
        }
    }
}

/// What finds nothing in good pages must find something in a bad one.
#[test]
fn a_page_that_asks_is_faint_too_wide_or_empty_would_be_seen() {
    let folder = TempDir::new().unwrap();
    let bad = page(&fixed::drill())
        .replace("http-equiv=\"Content-Security-Policy\"", "name=\"none\"")
        .replace("<main>", "<main><img src=\"http://127.0.0.1:9/x.png\" alt=\"\">")
        .replace(".soft { color: var(--soft)", ".soft { color: light-dark(#ccc, #444)")
        .replace("overflow-x: auto", "overflow-x: visible; min-width: 60rem")
        .replace(" d=\"M", " d=\"X");
    let seen = &opened(folder.path(), &[("bad.html", bad)])["bad.html"];
    assert_eq!(seen["asked"], json!(["http://127.0.0.1:9/x.png"]));
    let narrow = &seen["looks"]["narrow"];
    assert_eq!((&narrow["isWide"], &narrow["policy"]), (&json!(true), &Value::Null));
    for list in ["undrawn", "faint"] {
        assert!(!narrow[list].as_array().unwrap().is_empty(), "{list}: {narrow}");
    }
}
