//! Texts on their way out and in: encoded for a URL, and cut to what the model is given.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const MAX_LINK_BYTES: usize = 2048;

/// Names and values as a query or a form has them.
pub(super) fn pairs(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        format!("{}={value}", utf8_percent_encode(name, NON_ALPHANUMERIC))
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A text as one segment of a path. One or two dots lead elsewhere also when they are encoded (URL
/// Standard §4.1), so they are encoded twice: nothing has that name.
pub(super) fn segment(text: &str) -> String {
    let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    if matches!(text, "." | "..") { encoded.replace('%', "%25") } else { encoded }
}

/// A text without the space around it, cut to so many characters; `None` if nothing is left.
pub(super) fn bounded(text: &str, most_chars: usize) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    match text.char_indices().nth(most_chars) {
        None => Some(text.to_owned()),
        Some((end, _)) => Some(format!("{}…", &text[..end])),
    }
}

/// A link, if it leads to the web and is not endless.
pub(super) fn web_address(link: &str) -> Option<String> {
    let web = ["https://", "http://"].iter().any(|scheme| link.starts_with(scheme));
    (web && link.len() <= MAX_LINK_BYTES).then(|| link.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_holds_any_text() {
        let encoded = pairs(&[("q", "a&b=c é"), ("filter", "price:[10..50]")]);
        assert_eq!(encoded, "q=a%26b%3Dc%20%C3%A9&filter=price%3A%5B10%2E%2E50%5D");
    }

    #[test]
    fn a_segment_stays_one_whatever_it_holds() {
        for text in ["1037543291543636", "a/../b", "a?b#c", ".", "..", "%2e%2E", ".%2e", ""] {
            let url = format!("https://a.example/v1/{}/end", segment(text));
            let parts = crate::upstream::call::Url::parse(&url).unwrap();
            let parts: Vec<_> = parts.path_segments().unwrap().map(str::to_owned).collect();
            assert_eq!(
                (parts.len(), parts[0].as_str(), parts[2].as_str()),
                (3, "v1", "end"),
                "{text}"
            );
        }
    }

    #[test]
    fn only_the_web_is_linked_to() {
        assert_eq!(web_address("https://a.example/").as_deref(), Some("https://a.example/"));
        let endless = format!("https://a.example/{}", "x".repeat(MAX_LINK_BYTES));
        for link in ["javascript:alert(1)", "data:image/webp;base64,UklGRg==", "", &endless] {
            assert_eq!(web_address(link), None, "{link}");
        }
    }
}
