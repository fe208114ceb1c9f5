//! The operators' console: a page, its style and its scripts, a client of `/ops` like any other.
//!
//! The page holds no value and no token: whoever opens it is asked for a token, which stays in the
//! tab. Scripts are modules that import each other by their names in [`ASSETS`].

/// The page, to be served as `text/html; charset=utf-8` with [`POLICY`].
pub const PAGE: &str = include_str!("ops/console.html");

/// The value of `content-security-policy` for the console and the runbook. Nothing runs that stands
/// in a page, and no script can make markup of text.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file that the pages ask for.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name below `/ops/assets/`.
    pub name: &'static str,
    /// Its `content-type`.
    pub media_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Declares assets by their names, which are those of their files.
macro_rules! assets {
    ($($media_type:ident $name:literal;)+) => {
        /// Every file that the pages ask for.
        pub const ASSETS: &[Asset] = &[$(Asset {
            name: $name,
            media_type: $media_type,
            text: include_str!(concat!("ops/", $name)),
        },)+];
    };
}

assets! {
    STYLE "console.css";
    STYLE "runbook.css";
    SCRIPT "actions.js";
    SCRIPT "console.js";
    SCRIPT "dom.js";
    SCRIPT "format.js";
    SCRIPT "panel.js";
    SCRIPT "panels_config.js";
    SCRIPT "panels_guards.js";
    SCRIPT "panels_tree.js";
    SCRIPT "panels_work.js";
    SCRIPT "session.js";
    SCRIPT "store.js";
    SCRIPT "stream.js";
    SCRIPT "theme.js";
    SCRIPT "verdict.js";
}

/// The file of that name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::console::runbook;

    /// What stands between these and a quotation mark, wherever it stands.
    fn quoted<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn every_file_that_is_asked_for_is_there_and_every_one_that_is_there_is_asked_for() {
        let runbook = runbook::page();
        let pages = [PAGE, runbook];
        let mut asked: BTreeSet<_> =
            pages.iter().flat_map(|page| quoted(page, "/ops/assets/")).collect();
        for asset in ASSETS {
            asked.extend(quoted(asset.text, "from \"./"));
        }
        assert_eq!(asked, ASSETS.iter().map(|asset| asset.name).collect());
        assert_eq!(asset("dom.js").map(|asset| asset.media_type), Some(SCRIPT));
        assert!(asset("../mod.rs").is_none());
    }

    #[test]
    fn nothing_asks_another_server_and_no_text_becomes_markup() {
        let texts = ASSETS.iter().map(|asset| asset.text).chain([PAGE]);
        for text in texts.map(|text| text.replace("http://www.w3.org/2000/svg", "")) {
            for banned in
                ["://", "@import", "url(", "innerHTML", "insertAdjacentHTML", "eval(", "style=\""]
            {
                assert!(!text.contains(banned), "{banned}");
            }
        }
    }

    #[test]
    fn no_file_is_longer_than_four_hundred_lines_or_wider_than_a_hundred_columns() {
        for asset in ASSETS {
            assert!(asset.text.lines().count() <= 400, "{}", asset.name);
            let wide = asset.text.lines().position(|line| line.chars().count() > 100);
            assert_eq!(wide, None, "{}", asset.name);
        }
    }

    #[test]
    fn every_playbook_that_the_console_leads_to_is_in_the_runbook() {
        let anchors = runbook::anchors();
        let wanted: BTreeSet<_> =
            ASSETS.iter().flat_map(|asset| quoted(asset.text, "\"#")).collect();
        assert!(wanted.len() > 10, "{wanted:?}");
        let missing: Vec<_> = wanted.iter().filter(|each| !anchors.contains(**each)).collect();
        assert!(missing.is_empty(), "the runbook has no {missing:?}");
    }
}
