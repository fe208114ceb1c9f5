//! SerpAPI: `GET /search.json?engine=google_shopping`. The key travels in the query string.

use serde_json::{Value, json};

use super::ask::Ask;
use super::reply::Reply;
use super::serper::slug;

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    if !matches!((ask.method, ask.segments().as_slice()), ("GET", ["search" | "search.json"])) {
        return refuse(404);
    }
    if ask.param("api_key").is_none() {
        return refuse(401);
    }
    if ask.param("engine") != Some("google_shopping") {
        return error(400, "Unsupported `engine` parameter.");
    }
    let Some(query) = ask.param("q") else {
        return refuse(400);
    };
    let id = format!("{:024x}", ask.serial);
    let mut body = json!({
        "search_metadata": {
            "id": id,
            "status": "Success",
            "json_endpoint": format!("{}/searches/{id}.json", ask.base),
            "total_time_taken": 0.84,
        },
        "search_parameters": {
            "engine": "google_shopping",
            "q": query,
            "google_domain": "google.com",
            "hl": ask.param("hl").unwrap_or("en"),
            "gl": ask.param("gl").unwrap_or("us"),
            "device": "desktop",
        },
        "search_information": {
            "query_displayed": query,
            "shopping_results_state": "Results for exact spelling",
        },
    });
    if query.starts_with("zzz") {
        body["search_information"]["shopping_results_state"] = json!("Fully empty");
        body["error"] = json!("Google hasn't returned any results for this query.");
    } else {
        let direct = ask.param("direct_link") == Some("true");
        body["shopping_results"] = (1..=6).map(|at| product(query, at, direct)).collect();
    }
    Reply::json(200, &body)
}

/// An error in SerpAPI's shape.
pub(super) fn refuse(status: u16) -> Reply {
    let sentence = match status {
        400 => "Missing query `q` parameter.",
        401 => "Invalid API key. Your API key should be here: https://serpapi.example/manage",
        403 => "Your account has been deactivated.",
        429 => "Your account has run out of searches.",
        404 => "Not found.",
        _ => "We couldn't get valid results for this search. Please try again later.",
    };
    error(status, sentence)
}

fn error(status: u16, sentence: &str) -> Reply {
    let mut body = json!({"error": sentence});
    if status >= 500 {
        body["search_metadata"] = json!({"status": "Error"});
    }
    Reply::json(status, &body)
}

/// One shop's offer; `link` only when it was asked for.
fn product(query: &str, position: u64, direct: bool) -> Value {
    let price = 24 + 15 * position + query.len() as u64 % 11;
    let slug = slug(query);
    let mut product = json!({
        "position": position,
        "title": format!("{query} from abroad No. {position}"),
        "product_id": format!("{}", 1_963_782_759_000 + position),
        "product_link": format!("https://www.google.example/search?ibp=oshop&q={slug}"),
        "source": format!("World Shop {position}"),
        "price": format!("${price}.00"),
        "extracted_price": price,
        "thumbnail": format!("https://img.example/{slug}/{position}.webp"),
        "immersive_product_page_token": "c2FuZGJveA==",
        "delivery": "Free delivery",
    });
    if position.is_multiple_of(2) {
        product["rating"] = json!(4.2);
        product["reviews"] = json!(10 * position);
    }
    if direct {
        product["link"] = json!(format!("https://world-shop-{position}.example/{slug}"));
    }
    product
}
