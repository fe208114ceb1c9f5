//! What is not there.

use serde_json::json;

use crate::support::client::{Caller, answer, run};
use crate::support::exchange;
use crate::support::server::Setup;
use crate::support::webhook::refused;

#[test]
fn what_is_not_there_is_not_found_by_any_method() {
    let server = Setup::bare().start();
    let caller = Caller::of(&server);
    let nothing = refused(404, "not_found", "There is nothing here; check the address.", &[]);
    let paths = [
        "/nothing",
        "/api",
        "/api/",
        "/api/chat/",
        "/api/chats",
        "/API/chat",
        "/api//chat",
        "/api/whatsapp/webhook/",
        "/livez/",
        "/ops",
        "/ops/",
        "/index.html",
        "/.env",
        "/%2e%2e/etc/passwd",
        "/api/gmail/push%2F",
        // The chat page is there with the sandbox only.
        "/",
    ];
    run(async {
        for path in paths {
            for method in ["GET", "POST", "OPTIONS", "DELETE"] {
                let expected = if path == "/" && method != "GET" { continue } else { &nothing };
                let seen = answer(caller.request(method, path).body("body")).await;
                assert_eq!(seen, *expected, "{method} {path}");
            }
        }
        let problem = caller.get("/nothing").header("accept", "application/problem+json");
        let expected = json!({"type": "about:blank", "title": "Not Found", "status": 404,
            "detail": "There is nothing here; check the address.", "code": "not_found",
            "issues": []});
        assert_eq!(answer(problem).await.json(), expected);
    });
}

#[test]
fn a_request_with_two_lengths_is_no_request() {
    let server = Setup::bare().start();
    let both = "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
                transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n";
    assert!(!exchange::status_line(&server, both.as_bytes()).contains(" 200 "));
    let twice =
        "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde";
    assert!(exchange::status_line(&server, twice.as_bytes()).contains(" 400 "));
    let caller = Caller::of(&server);
    assert_eq!(run(answer(caller.get("/livez"))).status, 200);
}
