//! `GET /`: the chat page, where there is one.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::dispatch::Call;
use super::respond::Refusal;
use crate::console;
use crate::contract::code::ErrorCode;

/// The page, with a token for whoever opens it; only a sandbox has one.
pub(super) async fn chat(call: Call) -> Result<HttpResponse, Refusal> {
    let Some(token) = &call.shared().page_token else {
        return Err(ErrorCode::NotFound.into());
    };
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, console::chat_csp()))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((crate::contract::headers::CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(console::chat_page(token)))
}
