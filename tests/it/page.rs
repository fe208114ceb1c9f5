//! `GET /`: the chat page, in a sandbox only.

use serde_json::json;

use crate::support::client::Caller;
use crate::support::expected::{assert_problem, of, whole};
use crate::support::scene::get;
use crate::support::server::Setup;
use sendcat::contract::code::ErrorCode;

#[test]
fn a_sandbox_serves_the_page_with_its_token() {
    let server = Setup::sandbox().start();
    let caller = Caller::of(&server);
    let headers = [
        ("cache-control", "no-store"),
        ("content-security-policy", sendcat::console::chat_csp()),
        ("content-type", "text/html; charset=utf-8"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    let page = sendcat::console::chat_page(server.banner("chat token"));
    assert_eq!(get(caller.get("/")), whole(200, &headers, &page));
    let refused = of(ErrorCode::MethodNotAllowed, &[("allow", "GET")]);
    assert_eq!(get(caller.post("/")), refused);
}

#[test]
fn without_a_sandbox_there_is_no_page() {
    let server = Setup::bare().start();
    let caller = Caller::of(&server);
    let refused = of(ErrorCode::NotFound, &[]);
    assert_eq!(get(caller.get("/")), refused);
    let problem = get(caller.get("/").header("accept", "application/problem+json"));
    assert_problem(&problem, &refused, "Not Found", &json!({}));
}
