//! The runbook as a page: Markdown in, markup of a fixed kind out.
//!
//! A heading's anchor is made of its words as other renderers of Markdown make it, so one link is
//! good here and where the file itself is read. Markup within the Markdown is shown, not obeyed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

/// The runbook itself.
pub const TEXT: &str = include_str!("RUNBOOK.md");

const SHELL: &str = include_str!("ops/runbook.html");
const PLACE: &str = "{{runbook}}";

static RENDERED: LazyLock<(String, BTreeSet<String>)> = LazyLock::new(|| {
    let (markup, anchors) = rendered(TEXT);
    (SHELL.replacen(PLACE, &markup, 1), anchors)
});

/// The page, to be served as `text/html; charset=utf-8` with [`super::ops::POLICY`].
pub fn page() -> &'static str {
    &RENDERED.0
}

/// Where a link into the page may lead.
pub fn anchors() -> &'static BTreeSet<String> {
    &RENDERED.1
}

fn rendered(text: &str) -> (String, BTreeSet<String>) {
    let mut events: Vec<_> = Parser::new_ext(text, Options::ENABLE_TABLES)
        .map(|event| {
            if let Event::Html(text) | Event::InlineHtml(text) = event {
                Event::Text(text)
            } else {
                event
            }
        })
        .collect();
    let mut anchors = BTreeSet::new();
    for at in 0..events.len() {
        let words = heading(&events[at..]);
        if let (Event::Start(Tag::Heading { id, .. }), Some(words)) = (&mut events[at], words) {
            let anchor = anchor(&words);
            *id = Some(anchor.clone().into());
            anchors.insert(anchor);
        }
    }
    let mut markup = String::new();
    html::push_html(&mut markup, events.into_iter());
    (markup, anchors)
}

/// The words of a heading that begins here.
fn heading(events: &[Event<'_>]) -> Option<String> {
    let Some(Event::Start(Tag::Heading { .. })) = events.first() else { return None };
    let within = events.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let words = within.filter_map(|event| {
        if let Event::Text(text) | Event::Code(text) = event { Some(text.as_ref()) } else { None }
    });
    Some(words.collect())
}

/// Lower case, blanks as hyphens, nothing else but letters and digits.
fn anchor(words: &str) -> String {
    let letter = |letter: char| match letter {
        ' ' | '-' => Some('-'),
        '_' => Some('_'),
        other => other.is_alphanumeric().then_some(other),
    };
    words.to_lowercase().chars().filter_map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_a_place_to_link_to_and_markup_is_text() {
        let (markup, anchors) =
            rendered("## A `b_c` is: *down*\n\n<script>x</script>\n\n[a](#x) <b>y</b>\n");
        let expected = "<h2 id=\"a-b_c-is-down\">A <code>b_c</code> is: <em>down</em></h2>\n\
             &lt;script&gt;x&lt;/script&gt;\n<p><a href=\"#x\">a</a> &lt;b&gt;y&lt;/b&gt;</p>\n";
        assert_eq!(markup, expected);
        assert_eq!(anchors, BTreeSet::from(["a-b_c-is-down".to_owned()]));
    }

    #[test]
    fn every_link_within_the_runbook_leads_to_a_heading_of_it() {
        let links: BTreeSet<_> =
            TEXT.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(links.len() > 5, "{links:?}");
        let gone: Vec<_> = links.iter().filter(|link| !anchors().contains(**link)).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }
}
