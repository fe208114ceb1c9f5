//! Serper: `POST /search` and `POST /shopping`, with results made from the query.

use serde_json::{Value, json};

use super::ask::Ask;
use super::reply::Reply;

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    if ask.header("x-api-key").is_empty() {
        return refuse(403);
    }
    let kind = match (ask.method, ask.segments().as_slice()) {
        ("POST", ["search"]) => "search",
        ("POST", ["shopping"]) => "shopping",
        _ => return refuse(404),
    };
    let Some(body) = ask.json().filter(|body| body["q"].as_str().is_some_and(|q| !q.is_empty()))
    else {
        return error(400, "Missing query parameter");
    };
    let query = body["q"].as_str().unwrap_or_default();
    let count = body["num"].as_u64().unwrap_or(10).clamp(1, 100);
    let parameters = json!({
        "q": query,
        "gl": body["gl"].as_str().unwrap_or("us"),
        "hl": body["hl"].as_str().unwrap_or("en"),
        "type": kind,
        "num": count,
        "engine": "google",
    });
    let results: Vec<Value> = match kind {
        // A query of z's finds nothing, as one does when no page has the word.
        _ if query.starts_with("zzz") => Vec::new(),
        "search" => (1..=count.min(PAGES.len() as u64)).map(|at| page(query, at)).collect(),
        _ => (1..=count.min(5)).map(|at| product(query, at)).collect(),
    };
    let (list, credits) = if kind == "search" { ("organic", 1) } else { ("shopping", 2) };
    Reply::json(200, &json!({"searchParameters": parameters, list: results, "credits": credits}))
}

/// An error in Serper's shape.
pub(super) fn refuse(status: u16) -> Reply {
    let message = match status {
        400 => "Not enough credits",
        401 | 403 => "Unauthorized.",
        404 => "Not Found",
        429 => "Too many requests",
        _ => "Internal Server Error",
    };
    error(status, message)
}

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"message": message, "statusCode": status}))
}

/// What kinds of pages every query finds: title behind the query, host, snippet.
const PAGES: &[(&str, &str, &str)] = &[
    ("an introduction", "guide.example", "What it is, where it comes from and how to begin."),
    ("the reference", "docs.example", "Every part described, with examples."),
    ("compared", "reviews.example", "We looked at nine of them for a month …"),
    ("questions and answers", "forum.example", "People ask, people answer."),
    ("news", "news.example", "What changed this week."),
];

fn page(query: &str, position: u64) -> Value {
    let index = usize::try_from(position - 1).unwrap_or(0) % PAGES.len();
    let (title, host, snippet) = PAGES[index];
    let mut page = json!({
        "title": format!("{query}: {title}"),
        "link": format!("https://{host}/{}", slug(query)),
        "snippet": snippet,
        "position": position,
    });
    if position == 5 {
        page["date"] = json!("2 days ago");
    }
    page
}

fn product(query: &str, position: u64) -> Value {
    let price = format!("${}.99", 19 + 10 * position + query.len() as u64 % 7);
    let mut product = json!({
        "title": format!("{query} No. {position}"),
        "source": format!("Shop {position}"),
        "link": format!("https://www.google.example/search?ibp=oshop&q={}", slug(query)),
        "price": price,
        "productId": format!("{}-{position}", slug(query)),
        "position": position,
    });
    if position != 2 {
        product["rating"] = json!(4.5);
        product["ratingCount"] = json!(100 * position);
    }
    product
}

/// The query as a part of a path.
pub(super) fn slug(query: &str) -> String {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}
