//! `GET /ops`, the console, with its files, and the runbook: pages without a value in them.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::dispatch::Call;
use super::respond::Refusal;
use crate::console;
use crate::contract::code::ErrorCode;
use crate::contract::headers;

/// The console.
pub(super) async fn console(_: Call) -> Result<HttpResponse, Refusal> {
    Ok(page(console::ops::PAGE))
}

/// The runbook.
pub(super) async fn runbook(_: Call) -> Result<HttpResponse, Refusal> {
    Ok(page(console::runbook::page()))
}

/// A script or the style of these pages.
pub(super) async fn asset(call: Call) -> Result<HttpResponse, Refusal> {
    let asset = console::ops::asset(call.path("file")).ok_or(ErrorCode::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type(asset.media_type)
        // A script of another release must not meet this page.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((headers::CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(asset.text))
}

fn page(text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, console::ops::POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((headers::CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(text)
}
