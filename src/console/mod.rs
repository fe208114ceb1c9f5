//! Pages for people, built in: none asks any other server.
//!
//! The chat page is one file for the browser and a client of `/api` like any other. Its script and
//! style are allowed by their digests, so that a text which slipped into the page could still run
//! nothing. The operators' console is [`ops`], and [`runbook`] what to do about what it shows.

pub mod ops;
pub mod runbook;

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("chat.html");
const STYLE: &str = include_str!("chat.css");
const SCRIPT: &str = concat!(include_str!("chat_view.js"), include_str!("chat_talk.js"));
const TOKEN_PLACE: &str = "{{token}}";

/// The page with everything in it but the token.
static CHAT: LazyLock<String> =
    LazyLock::new(|| PAGE.replace("{{style}}", STYLE).replace("{{script}}", SCRIPT));

static CHAT_CSP: LazyLock<String> = LazyLock::new(|| {
    let digest = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE)
    )
});

/// The chat page, which speaks with this token; with an empty one it asks
/// `POST /api/sessions/anonymous` for its own. To be served as `text/html; charset=utf-8` with
/// [`chat_csp`] and `cache-control: no-store`, for it holds a token.
pub fn chat_page(token: &str) -> String {
    CHAT.replacen(TOKEN_PLACE, &escaped(token), 1)
}

/// The value of `content-security-policy` for the chat page.
pub fn chat_csp() -> &'static str {
    &CHAT_CSP
}

/// A text that is safe in an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
        page.split_once(start).unwrap().1.split_once(end).unwrap().0
    }

    #[test]
    fn a_token_cannot_break_out_of_the_page() {
        let page = chat_page(r#""><script>alert('1&2')</script>"#);
        let token = between(&page, r#"<meta name="sendcat-token" content=""#, "\">\n");
        assert_eq!(token, "&quot;&gt;&lt;script&gt;alert(&#39;1&amp;2&#39;)&lt;/script&gt;");
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(!chat_page("").contains(TOKEN_PLACE));
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_as_the_browser_sees_them() {
        let page = chat_page("t");
        for (start, end) in [("<script>", "</script>"), ("<style>", "</style>")] {
            let digest = BASE64_STANDARD.encode(Sha256::digest(between(&page, start, end)));
            assert!(chat_csp().contains(&format!("'sha256-{digest}'")), "{start}");
        }
    }

    #[test]
    fn the_page_asks_no_other_server_and_turns_no_text_into_html() {
        let page = chat_page("t");
        for banned in ["://", "src=", "@import", "url(", "innerHTML", "insertAdjacentHTML", "eval("]
        {
            assert!(!page.contains(banned), "{banned}");
        }
    }
}
