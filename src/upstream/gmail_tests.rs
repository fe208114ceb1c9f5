//! Gmail's answers, from samples.

use super::*;

fn refused(status: u16, body: &str) -> UpstreamError {
    let retry_after = Some("3".to_owned());
    read_refusal(&RefusedAnswer { status, retry_after, body: body.as_bytes().to_vec() })
}

#[test]
fn both_samples_of_a_history_are_read() {
    let whole = include_bytes!("../../tests/it/samples/gmail_history_list.json");
    let expected = HistoryPage {
        added: vec!["18c0ffee00000001".into()],
        history_id: 9_876_543_210,
        at_end: true,
    };
    assert_eq!(read_history(whole).unwrap(), expected);
    let page = include_bytes!("../../tests/it/samples/upstream/gmail-history.json");
    let expected =
        HistoryPage { added: vec!["18d1".into()], history_id: 987_654_322, at_end: false };
    assert_eq!(read_history(page).unwrap(), expected);
    let empty = include_bytes!("../../tests/it/samples/upstream/gmail-history-empty.json");
    let expected = HistoryPage { added: vec![], history_id: 987_654_330, at_end: true };
    assert_eq!(read_history(empty).unwrap(), expected);
}

#[test]
fn a_history_names_each_message_once_and_none_that_is_no_message() {
    let added = |id: Value| json!({"messagesAdded": [{"message": {"id": id}}], "id": 5});
    let body = json!({
        "history": [added(json!("a")), added(json!("b")), added(json!("a")), added(json!("../x")),
            added(json!(7)), added(json!("")), {"id": "9"}, null],
        "historyId": 12,
    });
    let read = read_history(body.to_string().as_bytes()).unwrap();
    let expected =
        HistoryPage { added: vec!["a".into(), "b".into()], history_id: 12, at_end: true };
    assert_eq!(read, expected);
    for body in ["{}", "[]", "<html>", r#"{"history":[],"nextPageToken":"1","historyId":"5"}"#] {
        let read = read_history(body.as_bytes());
        assert!(matches!(read, Err(UpstreamError::Malformed { .. })), "{body}");
    }
}

#[test]
fn the_sample_of_a_message_is_evidence() {
    let sample = include_bytes!("../../tests/it/samples/gmail_message_get_metadata.json");
    let expected = json!({
        "source": "gmail",
        "messageId": "18c0ffee00000001",
        "threadId": "18c0ffee00000001",
        "snippet": "Your order has shipped",
        "receivedAt": "2025-06-08T20:59:43.000Z",
        "labels": ["UNREAD", "INBOX"],
        "from": "Shop <orders@example.com>",
        "subject": "Your order has shipped",
        "text": "Hello world!",
    });
    assert_eq!(Value::Object(read_message(sample).unwrap()), expected);
}

#[test]
fn the_text_of_a_message_is_found_among_its_parts_and_bounded() {
    let data = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let html = json!({"mimeType": "text/html", "body": {"data": data("<b>no</b>")}});
    let plain = json!({"mimeType": "TEXT/plain", "body": {"data": data("grüße?>")}});
    let inner = json!({"mimeType": "multipart/alternative", "parts": [html, plain]});
    let message = |payload: Value| {
        let body = json!({"id": "a", "payload": payload}).to_string();
        read_message(body.as_bytes()).unwrap().get("text").cloned()
    };
    assert_eq!(message(json!({"parts": [inner]})), Some(json!("grüße?>")));
    let endless = json!({"mimeType": "text/plain", "body": {"data": data(&"x".repeat(9000))}});
    let kept = message(endless.clone()).unwrap();
    assert_eq!(kept.as_str().unwrap().chars().count(), MAX_TEXT_CHARS + 1);
    let deep = (0..20).fold(endless, |part, _| json!({"parts": [part]}));
    assert_eq!(message(deep), None);
    assert_eq!(message(json!({"mimeType": "text/plain", "body": {"data": "%%"}})), None);
    // In the widest letters, and with every header at its longest, it fits into a record.
    let wide = "\u{10FFFF}\"\\".repeat(3000);
    let header = |name: &str| json!({"name": name, "value": wide});
    let body = json!({
        "id": "a", "snippet": wide, "labelIds": ["INBOX"],
        "payload": {"mimeType": "text/plain", "body": {"data": data(&wide)},
            "headers": KEPT_HEADERS.map(header)},
    });
    let kept = Value::Object(read_message(body.to_string().as_bytes()).unwrap()).to_string();
    assert!(kept.len() < crate::config::fixed::RECORD_BYTES_MAX, "{}", kept.len());
}

#[test]
fn a_watch_says_until_when() {
    let sample = include_bytes!("../../tests/it/samples/upstream/gmail-watch.json");
    assert_eq!(read_watch(sample).unwrap(), Timestamp::from_millis(1_772_020_800_000));
    assert!(read_watch(b"{}").is_err());
}

#[test]
fn a_list_of_messages_may_be_empty_and_have_more() {
    let read = |body: Value| read_messages(body.to_string().as_bytes()).unwrap();
    assert_eq!(read(json!({})), MessagePage { ids: vec![], next: None });
    let page = read(json!({"messages": [{"id": "a"}, {"id": "b/c"}], "nextPageToken": "t"}));
    assert_eq!(page, MessagePage { ids: vec!["a".into()], next: Some("t".into()) });
}

#[test]
fn every_refusal_of_gmail_has_its_meaning() {
    let reason = |reason: &str| json!({"error": {"errors": [{"reason": reason}]}}).to_string();
    let unauthorized = include_str!("../../tests/it/samples/upstream/gmail-error-401.json");
    let gone = include_str!("../../tests/it/samples/upstream/gmail-error-404.json");
    let gone_too = include_str!("../../tests/it/samples/gmail_history_404.json");
    let limited = include_str!("../../tests/it/samples/upstream/gmail-error-429.json");
    let table = [
        (401, unauthorized.to_owned(), "misconfigured"),
        (404, gone.to_owned(), "upstream_rejected"),
        (404, gone_too.to_owned(), "upstream_rejected"),
        (429, limited.to_owned(), "upstream_rate_limited"),
        (403, reason("rateLimitExceeded"), "upstream_rate_limited"),
        (403, reason("userRateLimitExceeded"), "upstream_rate_limited"),
        (403, reason("dailyLimitExceeded"), "upstream_rejected"),
        (403, reason("insufficientPermissions"), "upstream_rejected"),
        (403, "<html>".to_owned(), "upstream_rejected"),
        (500, String::new(), "upstream_error"),
    ];
    for (status, body, code) in table {
        assert_eq!(refused(status, &body).code_name(), code, "{status} {body}");
    }
    let wait = Some(std::time::Duration::from_secs(3));
    assert_eq!(refused(403, &reason("rateLimitExceeded")).retry_after(), wait);
}

#[test]
fn requests_are_written_as_gmail_wants_them() {
    let table = [
        (Request::profile(), "profile"),
        (Request::history(7), "history?startHistoryId=7&historyTypes=messageAdded&maxResults=100"),
        (
            Request::messages(Timestamp::from_millis(7_900), Some("a b")),
            "messages?q=after%3A7&maxResults=100&pageToken=a%20b",
        ),
        (Request::message("a/b", true), "messages/a%2Fb?format=full"),
        (Request::message("a", false), "messages/a?format=metadata"),
        (Request::watch("t"), "watch"),
        (Request::stop(), "stop"),
    ];
    for (request, path) in table {
        let call = request.call("https://g.example", &Secret::new("planted"));
        assert_eq!(call.url, format!("https://g.example/gmail/v1/users/me/{path}"));
        assert_eq!(call.headers["authorization"], "Bearer planted");
        assert!(!format!("{call:?}").contains("planted"));
    }
}
