//! eBay: application tokens, Browse search and item, a small category tree.

use serde_json::{Value, json};

use super::ask::Ask;
use super::reply::Reply;

/// Every token of this stand-in starts so; Browse takes no other.
const TOKEN_PREFIX: &str = "v^1.1#i^1#sandbox#";
/// How many items every query finds.
const TOTAL: u64 = 40;
const TREE_VERSION: &str = "129";

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    let path = ask.segments();
    if ask.method == "POST" && path == ["identity", "v1", "oauth2", "token"] {
        return token(ask);
    }
    if !ask.bearer().is_some_and(|token| token.starts_with(TOKEN_PREFIX)) {
        return refuse(401);
    }
    match (ask.method, path.as_slice()) {
        ("GET", ["buy", "browse", "v1", "item_summary", "search"]) => search(ask),
        ("GET", ["buy", "browse", "v1", "item", id]) => item(id),
        ("GET", ["commerce", "taxonomy", "v1", rest @ ..]) => taxonomy(ask, rest),
        _ => refuse(404),
    }
}

/// An error in the shape of eBay's REST APIs.
pub(super) fn refuse(status: u16) -> Reply {
    let (id, domain, category, message) = match status {
        400 => (12001, "API_BROWSE", "REQUEST", NO_QUERY),
        401 => (1001, "OAuth", "REQUEST", "Invalid access token"),
        403 => (1100, "ACCESS", "REQUEST", "Access denied"),
        404 => (11001, "API_BROWSE", "REQUEST", "The specified item Id was not found."),
        429 => (2001, "ACCESS", "REQUEST", "Too many requests."),
        _ => (12000, "API_BROWSE", "APPLICATION", "There was a problem with an eBay system."),
    };
    let error = json!({"errorId": id, "domain": domain, "category": category, "message": message});
    Reply::json(status, &json!({"errors": [error]}))
}

const NO_QUERY: &str =
    "The call must have a valid 'q', 'category_ids', 'epid' or 'gtin' query parameter.";

fn token(ask: &Ask<'_>) -> Reply {
    let refusal = |status, error: &str, description: &str| {
        Reply::json(status, &json!({"error": error, "error_description": description}))
    };
    let client = ask.basic().filter(|(id, secret)| !id.is_empty() && !secret.is_empty());
    if client.is_none() {
        return refusal(401, "invalid_client", "client authentication failed");
    }
    let form = ask.form().unwrap_or_default();
    if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
        return refusal(400, "unsupported_grant_type", "grant type in request is not supported");
    }
    if !form.get("scope").is_some_and(|scope| scope.contains("oauth/api_scope")) {
        return refusal(400, "invalid_scope", "The requested scope is invalid");
    }
    let token = format!("{TOKEN_PREFIX}{}", ask.serial);
    let kind = "Application Access Token";
    Reply::json(200, &json!({"access_token": token, "expires_in": 7200, "token_type": kind}))
}

fn search(ask: &Ask<'_>) -> Reply {
    let asked = ["q", "category_ids", "epid", "gtin"].iter().find_map(|name| ask.param(name));
    let Some(query) = asked else {
        return refuse(400);
    };
    let number = |name, default| ask.param(name).map_or(Some(default), |text| text.parse().ok());
    let limit = number("limit", 50).filter(|limit| (1..=200).contains(limit));
    let offset = number("offset", 0).filter(|offset| *offset <= 10_000);
    let (Some(limit), Some(offset)) = (limit, offset) else {
        return refuse(400);
    };
    let total = if query.starts_with("zzz") { 0 } else { TOTAL };
    let href = |offset: u64| {
        let query =
            percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
        let path = "/buy/browse/v1/item_summary/search";
        format!("{}{path}?q={query}&limit={limit}&offset={offset}", ask.base)
    };
    let mut body = json!({"href": href(offset), "total": total, "limit": limit, "offset": offset});
    let end = total.min(offset + limit);
    if offset < end {
        body["itemSummaries"] = (offset..end).map(|at| summary(query, at + 1)).collect();
    }
    if end < total {
        body["next"] = json!(href(end));
    }
    Reply::json(200, &body)
}

/// One hit. Every fourth is a pure auction, which has no price but a bid.
fn summary(query: &str, number: u64) -> Value {
    let id = 110_553_000_000 + number;
    let price = json!({"value": format!("{}.49", 12 + 7 * number), "currency": "USD"});
    let auction = number.is_multiple_of(4);
    let mut item = json!({
        "itemId": format!("v1|{id}|0"),
        "title": format!("{query} lot {number}"),
        "condition": if number.is_multiple_of(3) { "Used" } else { "New" },
        "conditionId": if number.is_multiple_of(3) { "3000" } else { "1000" },
        "image": {"imageUrl": format!("https://i.ebayimg.example/g/{id}/s-l225.jpg")},
        "itemWebUrl": format!("https://www.ebay.example/itm/{id}"),
        "seller": {"username": "sandboxshop", "feedbackPercentage": "99.8", "feedbackScore": 5012},
        "shippingOptions": [{
            "shippingCostType": "FIXED",
            "shippingCost": {"value": "0.00", "currency": "USD"},
        }],
        "buyingOptions": [if auction { "AUCTION" } else { "FIXED_PRICE" }],
        "itemLocation": {"postalCode": "941**", "country": "US"},
        "categories": [{"categoryId": "183062", "categoryName": "Docking Stations"}],
    });
    item[if auction { "currentBidPrice" } else { "price" }] = price;
    item
}

fn item(id: &str) -> Reply {
    let number = id.split('|').nth(1).and_then(|number| number.parse::<u64>().ok());
    let number = number.and_then(|number| number.checked_sub(110_553_000_000));
    let Some(number) = number.filter(|number| id.starts_with("v1|") && *number > 0) else {
        return refuse(404);
    };
    let mut item = summary("Sandbox", number);
    item["description"] = json!("<div>As <b>new</b>, with box.</div>");
    item["estimatedAvailabilities"] =
        json!([{"estimatedAvailabilityStatus": "IN_STOCK", "estimatedAvailableQuantity": 3}]);
    item["returnTerms"] =
        json!({"returnsAccepted": true, "returnPeriod": {"value": 30, "unit": "CALENDAR_DAY"}});
    item["localizedAspects"] = json!([{"type": "STRING", "name": "Ports", "value": "11"}]);
    Reply::json(200, &item)
}

fn taxonomy(ask: &Ask<'_>, path: &[&str]) -> Reply {
    let version = json!({"categoryTreeId": "0", "categoryTreeVersion": TREE_VERSION});
    match path {
        ["get_default_category_tree_id"] if ask.param("marketplace_id").is_some() => {
            Reply::json(200, &version)
        }
        ["category_tree", "0"] => {
            let mut tree = version;
            tree["applicableMarketplaceIds"] = json!(["EBAY_US"]);
            tree["rootCategoryNode"] = tree_node(
                "0",
                "Root",
                0,
                &[
                    tree_node(
                        "58058",
                        "Computers/Tablets & Networking",
                        1,
                        &[
                            tree_node("183062", "Docking Stations", 2, &[]),
                            tree_node("175672", "Laptops & Netbooks", 2, &[]),
                        ],
                    ),
                    tree_node(
                        "293",
                        "Consumer Electronics",
                        1,
                        &[tree_node("112529", "Headphones", 2, &[])],
                    ),
                ],
            );
            Reply::json(200, &tree)
        }
        ["category_tree", "0", "get_category_suggestions"] => {
            let Some(query) = ask.param("q") else {
                return refuse(400);
            };
            if query.starts_with("zzz") {
                return Reply::whole(204, "application/json", bytes::Bytes::new());
            }
            let mut found = version;
            found["categorySuggestions"] = json!([{
                "category": {"categoryId": "183062", "categoryName": "Docking Stations"},
                "categoryTreeNodeLevel": 2,
                "categoryTreeNodeAncestors": [{
                    "categoryId": "58058",
                    "categoryName": "Computers/Tablets & Networking",
                    "categoryTreeNodeLevel": 1,
                }],
            }]);
            Reply::json(200, &found)
        }
        _ => refuse(404),
    }
}

fn tree_node(id: &str, name: &str, level: u64, children: &[Value]) -> Value {
    let mut node = json!({
        "category": {"categoryId": id, "categoryName": name},
        "categoryTreeNodeLevel": level,
    });
    if children.is_empty() {
        node["leafCategoryTreeNode"] = json!(true);
    } else {
        node["childCategoryTreeNodes"] = json!(children);
    }
    node
}
