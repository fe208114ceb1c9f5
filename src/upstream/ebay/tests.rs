//! eBay's answers as they are sent, whole and cut.

use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/it/samples/upstream/", $name)).as_slice()
    };
}

#[test]
fn a_query_has_its_filters_in_ebays_words() {
    let plain = ItemQuery { q: "usb-c dock", ..ItemQuery::default() };
    assert_eq!(plain.written(), "q=usb%2Dc%20dock&limit=12");
    let dear = ItemQuery { min_price: Some(10.0), ..plain };
    let filter = "price%3A%5B10%2E00%2E%2E%5D%2CpriceCurrency%3AUSD";
    assert_eq!(dear.written(), format!("{}&filter={filter}", plain.written()));
    let all = ItemQuery { max_price: Some(50.5), condition: Some(ItemCondition::Used), ..dear };
    let filter =
        "price%3A%5B10%2E00%2E%2E50%2E50%5D%2CpriceCurrency%3AUSD%2Cconditions%3A%7BUSED%7D";
    assert_eq!(all.written(), format!("{}&filter={filter}", plain.written()));
    let new = ItemQuery { condition: Some(ItemCondition::New), ..plain };
    assert_eq!(new.written(), format!("{}&filter=conditions%3A%7BNEW%7D", plain.written()));
}

#[test]
fn a_real_answer_becomes_offers() {
    let offers = read_search(sample!("ebay-search.json")).unwrap();
    let first = concat!(
        r#"{"title":"USB-C Dock & charger","price":"$54.99","amount":54.99,"shop":"eBay","#,
        r#""link":"https://www.ebay.example/itm/110553010000?hash=item1","#,
        r#""image":"https://i.ebayimg.example/g/1/s-l225.jpg","condition":"New","#,
        r#""delivery":"Free delivery"}"#,
    );
    assert_eq!(serde_json::to_string(&offers[0]).unwrap(), first);
    assert_eq!(offers[1].title, "Dock, auction only");
    assert_eq!(offers.len(), 2);
}

#[test]
fn a_pure_auction_is_offered_at_its_bid_which_is_no_price() {
    let body = br#"{"total":1,"itemSummaries":[{"title":"t",
        "currentBidPrice":{"value":"5.00","currency":"EUR"}}]}"#;
    let price = Price { shown: "5.00 EUR (current bid)".into(), amount: None };
    assert_eq!(read_search(body).unwrap()[0].price, Some(price));
}

#[test]
fn nothing_found_and_a_warning_are_answers() {
    assert_eq!(read_search(sample!("ebay-search-empty.json")).unwrap(), []);
    assert_eq!(read_search(sample!("ebay-search-warnings.json")).unwrap(), []);
}

#[test]
fn an_answer_cut_anywhere_is_a_failure_and_never_a_panic() {
    for whole in [
        sample!("ebay-search.json"),
        sample!("ebay-search-empty.json"),
        sample!("ebay-search-warnings.json"),
        sample!("ebay-token.json"),
        sample!("ebay-item.json"),
        sample!("ebay-category-tree.json"),
        sample!("ebay-category-tree-id.json"),
        sample!("ebay-category-suggestions.json"),
    ] {
        for cut in 0..whole.trim_ascii_end().len() {
            assert!(read_search(&whole[..cut]).is_err(), "{cut}");
            assert!(read_token(&whole[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn a_failure_within_a_200_and_another_answer_are_told_apart() {
    let errors = read_search(sample!("ebay-error-500.json"));
    assert!(matches!(errors, Err(UpstreamError::FailedWithin { status: None, .. })));
    for body in [b"{}".as_slice(), b"[]", b"null", b"<html>", sample!("ebay-item.json")] {
        assert!(matches!(read_search(body), Err(UpstreamError::Malformed { .. })));
    }
}

#[test]
fn odd_items_are_left_out_and_no_more_than_the_model_is_given() {
    let odd = br#"{"itemSummaries":[7,null,{},{"title":" "},{"title":"t","price":{"value":9},
        "itemWebUrl":"ftp://x","image":[],"shippingOptions":{},"condition":1}]}"#;
    let shop = Some("eBay".to_owned());
    assert_eq!(read_search(odd).unwrap(), [Offer { title: "t".into(), shop, ..Offer::default() }]);
    let many = serde_json::json!({"itemSummaries": vec![serde_json::json!({"title": "t"}); 99]});
    assert_eq!(read_search(many.to_string().as_bytes()).unwrap().len(), MAX_OFFERS);
}

#[test]
fn a_token_holds_as_long_as_it_says_and_no_longer_than_they_do() {
    let (token, lifetime) = read_token(sample!("ebay-token.json")).unwrap();
    assert!(token.expose().starts_with("v^1.1#"), "{token}");
    assert_eq!(lifetime, Duration::from_secs(7200));
    let lifetime = |body: &[u8]| read_token(body).unwrap().1;
    assert_eq!(lifetime(br#"{"access_token":"x","expires_in":60}"#), Duration::from_secs(60));
    assert_eq!(lifetime(br#"{"access_token":"x","expires_in":999999}"#), LONGEST);
    assert_eq!(lifetime(br#"{"access_token":"x"}"#), LONGEST);
    for body in [br#"{"access_token":""}"#.as_slice(), br#"{"access_token":1}"#, b"{}"] {
        assert!(read_token(body).is_err());
    }
}

#[test]
fn every_refusal_has_its_meaning() {
    let told = |status, body: &[u8]| {
        let refused = RefusedAnswer { status, retry_after: None, body: body.to_vec() };
        read_refusal(&refused).code_name()
    };
    assert_eq!(told(400, sample!("ebay-error-400.json")), "upstream_rejected");
    assert_eq!(told(401, sample!("ebay-error-401.json")), "misconfigured");
    assert_eq!(told(403, b""), "misconfigured");
    assert_eq!(told(404, sample!("ebay-error-404-item.json")), "upstream_rejected");
    assert_eq!(told(429, sample!("ebay-error-429.json")), "upstream_rate_limited");
    assert_eq!(told(500, sample!("ebay-error-500.json")), "upstream_error");
}

#[test]
fn a_refused_token_is_ours_to_mend_and_not_asked_for_again() {
    let told = |status, body: &[u8]| {
        let refused = RefusedAnswer { status, retry_after: None, body: body.to_vec() };
        read_token_refusal(&refused)
    };
    let refused = told(401, sample!("ebay-token-error-401.json"));
    assert!(matches!(refused, UpstreamError::OurKey { status: 403, .. }), "{refused:?}");
    let refused = told(400, sample!("ebay-token-error-scope.json"));
    assert!(matches!(refused, UpstreamError::OurKey { status: 400, .. }), "{refused:?}");
    assert!(matches!(told(500, b""), UpstreamError::ServerFault { .. }));
}
