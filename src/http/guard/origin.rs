//! Which pages may call (CORS): those of listed origins, those of our own, and whatever is no page.
//!
//! Errors carry the headers too, or a browser would see nothing but a network error.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::super::respond::{self, Refusal};
use super::super::routes::{self, Route};
use crate::config::Config;
use crate::contract::code::ErrorCode;
use crate::contract::headers;

/// Refuses a page of an origin that is not listed.
pub(super) fn check(request: &HttpRequest, config: &Config) -> Result<(), Refusal> {
    if !request.headers().contains_key(header::ORIGIN) || allowed_origin(request, config).is_some()
    {
        return Ok(());
    }
    Err(ErrorCode::Forbidden.into())
}

/// The origin of the request, if it is one that may call.
fn allowed_origin<'a>(request: &'a HttpRequest, config: &Config) -> Option<&'a HeaderValue> {
    let mut origins = request.headers().get_all(header::ORIGIN);
    let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
    let text = origin.to_str().ok()?;
    let listed = config.allowed_origins.iter().any(|listed| listed == text);
    (listed || text == own_origin(request)?).then_some(origin)
}

/// The origin of a page that this server itself served to the caller.
fn own_origin(request: &HttpRequest) -> Option<String> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    Some(format!("http://{host}"))
}

/// Adds what every response carries, and what a page of an allowed origin needs to read that of a
/// path with these rows.
pub fn add_fields(
    request: &HttpRequest,
    config: &Config,
    routes: &[Route],
    response: &mut HttpResponse,
) {
    let fields = response.headers_mut();
    fields.insert(header::VARY, HeaderValue::from_static("Origin"));
    if !routes.iter().any(Route::is_for_pages) {
        return;
    }
    if let Some(origin) = allowed_origin(request, config) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static(headers::CORS_EXPOSED);
        fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        // Nowhere else does a cookie say anything, so nowhere else is one asked for.
        if routes.iter().any(Route::keeps_cookies) {
            let allowed = HeaderValue::from_static("true");
            fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
    }
}

/// Answers a preflight. A page of another origin gets an answer without a word of what is allowed.
pub fn preflight(request: &HttpRequest, config: &Config, routes: &'static [Route]) -> HttpResponse {
    let mut response = respond::no_content();
    if allowed_origin(request, config).is_some() {
        let fields = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, routes::allowed(routes)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, headers::CORS_ALLOWED.to_owned()),
            (header::ACCESS_CONTROL_MAX_AGE, headers::CORS_MAX_AGE.to_owned()),
        ];
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}
