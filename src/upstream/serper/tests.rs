//! Serper's answers as they are sent, whole and cut.

use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/it/samples/upstream/", $name)).as_slice()
    };
}

#[test]
fn a_request_has_no_field_that_is_not_set() {
    let plain = serde_json::to_string(&SearchRequest::new("rust \"actors\"")).unwrap();
    assert_eq!(plain, r#"{"q":"rust \"actors\"","num":8}"#);
    let local = SearchRequest { gl: Some("de"), hl: Some("en"), ..SearchRequest::new("x") };
    let local = serde_json::to_string(&local).unwrap();
    assert_eq!(local, r#"{"q":"x","num":8,"gl":"de","hl":"en"}"#);
}

#[test]
fn a_real_answer_becomes_small_json() {
    let answer = read_search(sample!("serper-search.json")).unwrap();
    assert_eq!(
        answer.to_json().as_str(),
        concat!(
            r#"{"answer":{"title":"USB-C","link":"https://answers.example/usb-c","#,
            r#""snippet":"A reversible connector."},"results":["#,
            r#"{"title":"Best USB-C docks “2026”","#,
            r#""link":"https://reviews.example/docks?ref=a&b=1","#,
            r#""snippet":"We tested 14 docks …","date":"Feb 1, 2026"},"#,
            r#"{"title":"USB-C ドック","link":"https://shop.example/ja","snippet":"最高のドック"}]}"#,
        ),
    );
}

#[test]
fn nothing_found_is_an_answer() {
    let empty = read_search(sample!("serper-search-empty.json")).unwrap();
    assert_eq!(empty.to_json().as_str(), r#"{"results":[]}"#);
    assert_eq!(read_search(b"{}").unwrap(), SearchAnswer::default());
}

#[test]
fn odd_entries_are_left_out_and_long_ones_cut() {
    let long = "é".repeat(600);
    let body = serde_json::json!({"organic": [
        7, null, {}, {"title": 3}, {"position": 1},
        {"title": "no link", "link": "javascript:alert(1)", "snippet": long},
        {"link": "https://a.example/"},
    ], "answerBox": [], "knowledgeGraph": {"title": "no words"}});
    let answer = read_search(body.to_string().as_bytes()).unwrap();
    let result =
        |title: &str| SearchResult { title: title.into(), link: None, snippet: None, date: None };
    let expected = vec![
        SearchResult { snippet: Some("é".repeat(500) + "…"), ..result("no link") },
        SearchResult { link: Some("https://a.example/".into()), ..result("https://a.example/") },
    ];
    assert_eq!(answer, SearchAnswer { answer: None, results: expected });
}

#[test]
fn no_more_results_than_the_model_is_given() {
    let body = serde_json::json!({"organic": vec![serde_json::json!({"title": "t"}); 100]});
    assert_eq!(read_search(body.to_string().as_bytes()).unwrap().results.len(), MAX_RESULTS);
}

#[test]
fn what_is_not_an_object_is_malformed() {
    for body in [b"<html>".as_slice(), b"", b"[]", b"null"] {
        assert!(matches!(read_search(body), Err(UpstreamError::Malformed { .. })));
    }
}

#[test]
fn a_bad_key_and_spent_credits_are_ours_to_mend() {
    let code = |status, body: &[u8]| refusal(status, None, body).code_name();
    assert_eq!(code(403, sample!("serper-error-403.json")), "misconfigured");
    assert_eq!(code(400, sample!("serper-error-400-credits.json")), "misconfigured");
    assert_eq!(code(400, b"<html>"), "upstream_rejected");
    assert_eq!(code(429, sample!("serper-error-429.json")), "upstream_rate_limited");
    assert_eq!(code(500, b""), "upstream_error");
}
#[test]
fn a_real_shopping_answer_becomes_offers() {
    let offers = read_shopping(sample!("serper-shopping.json")).unwrap();
    assert_eq!(
        serde_json::to_string(&offers).unwrap(),
        concat!(
            r#"[{"title":"Acme 11-in-1 dock","price":"$1,129.00","amount":1129.0,"shop":"Acme","#,
            r#""link":"https://www.google.example/search?ibp=oshop&prds=1","#,
            r#""image":"https://img.example/d.webp","rating":4.6,"reviews":8900,"#,
            r#""delivery":"Free delivery"},"#,
            r#"{"title":"Dock ohne Bewertung","price":"29,99 €","amount":29.99,"#,
            r#""shop":"Beispiel GmbH","#,
            r#""link":"https://www.google.example/search?ibp=oshop&prds=2"},"#,
            r#"{"title":"Dock per month","price":"$9.99/mo","shop":"Carrier","#,
            r#""link":"https://www.google.example/search?ibp=oshop&prds=3"}]"#,
        ),
    );
    let many = serde_json::json!({"shopping": vec![serde_json::json!({"title": "t"}); 99]});
    assert_eq!(read_shopping(many.to_string().as_bytes()).unwrap().len(), MAX_OFFERS);
    assert_eq!(read_shopping(br#"{"shopping":[7,{},{"title":" "}]}"#).unwrap(), []);
}

#[test]
fn an_answer_cut_anywhere_is_a_failure_and_never_a_panic() {
    for whole in [
        sample!("serper-search.json"),
        sample!("serper-search-empty.json"),
        sample!("serper-shopping.json"),
    ] {
        for cut in 0..whole.trim_ascii_end().len() {
            assert!(read_search(&whole[..cut]).is_err(), "{cut}");
            assert!(read_shopping(&whole[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn a_failure_within_a_200_is_no_empty_result() {
    let failed = read_search(br#"{"message":"Internal Server Error","statusCode":500}"#);
    assert!(matches!(failed, Err(UpstreamError::FailedWithin { status: Some(500), .. })));
    let failed = read_shopping(sample!("serper-error-429.json"));
    assert!(matches!(failed, Err(UpstreamError::FailedWithin { status: Some(429), .. })));
}
