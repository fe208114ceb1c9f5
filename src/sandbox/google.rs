//! Google's token endpoint, its user's profile, and its keys.
//!
//! A code of this sandbox's consent page is checked as Google checks it. Any other code is taken
//! too, once, but for those that start with `expired`, so that a test needs no browser.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::ask::Ask;
use super::authorize::Grant;
use super::control::locked;
use super::gmail::ADDRESS;
use super::reply::Reply;

/// Every access token of this stand-in starts so; Gmail takes no other.
pub(super) const TOKEN_PREFIX: &str = "ya29.";
/// Every refresh token starts so.
const REFRESH_PREFIX: &str = "1//0";
/// Those that are good once, and give another, start so.
const ROTATING_PREFIX: &str = "1//0rotating";
/// Codes that are remembered as spent; older ones are forgotten.
const SPENT_MAX: usize = 10_000;
const SCOPE: &str = "https://www.googleapis.com/auth/gmail.readonly openid \
                     https://www.googleapis.com/auth/userinfo.email";

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    match (ask.method, ask.segments().as_slice()) {
        ("POST", ["token"]) => token(ask),
        ("GET", ["v1" | "oauth2", "userinfo"] | ["userinfo"]) => userinfo(ask),
        ("POST", ["revoke"]) => revoke(ask),
        _ => refuse(404),
    }
}

/// The key sets: of the sandbox's own identity provider, and of Google. Google's is empty: the
/// sandbox signs no pushes, so one in its name is authenticated by `GMAIL_PUSH_TOKEN`.
pub(super) fn keys(ask: &Ask<'_>) -> Reply {
    match (ask.method, ask.segments().as_slice()) {
        ("GET", ["users"]) => Reply::json(200, &locked(&ask.memory.signing).set()),
        ("GET", ["oauth2", "v3", "certs"]) => Reply::json(200, &json!({"keys": []}))
            .header("Cache-Control", "public, max-age=19845, must-revalidate"),
        _ => refuse(404),
    }
}

/// An error in the shape of the token endpoint.
pub(super) fn refuse(status: u16) -> Reply {
    let (error, description) = match status {
        400 => ("invalid_grant", "Token has been expired or revoked."),
        401 => ("invalid_client", "Unauthorized"),
        403 => ("access_denied", "Forbidden"),
        404 => ("not_found", "Not Found"),
        429 => ("rate_limit_exceeded", "Too many requests"),
        _ => ("internal_failure", "Backend Error"),
    };
    failure(status, error, description)
}

fn failure(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": description}))
}

fn token(ask: &Ask<'_>) -> Reply {
    let Some(form) = ask.form() else {
        return failure(400, "invalid_request", "expected a form");
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("client_id").is_empty() || field("client_secret").is_empty() {
        return refuse(401);
    }
    let mut body = json!({
        "access_token": format!("{TOKEN_PREFIX}sandbox{}", ask.serial),
        "expires_in": 3599,
        "scope": SCOPE,
        "token_type": "Bearer",
    });
    match field("grant_type") {
        "refresh_token" => match refreshed(ask, field("refresh_token")) {
            Ok(None) => {}
            Ok(Some(next)) => body["refresh_token"] = json!(next),
            Err(Over) => return refuse(400),
        },
        "authorization_code" => {
            let code = field("code");
            let grant = Grant::of(code);
            if let Some(refusal) = refused_code(code, grant.as_ref(), &field) {
                return refusal;
            }
            if !ask.refused && !spend(ask, code) {
                return refuse(400);
            }
            if let Some(grant) = &grant {
                body["scope"] = json!(grant.scope);
            }
            if grant.is_none_or(|grant| grant.offline) {
                body["refresh_token"] = json!(format!("{REFRESH_PREFIX}sandbox{}", ask.serial));
            }
        }
        _ => return failure(400, "unsupported_grant_type", "Invalid grant_type"),
    }
    Reply::json(200, &body)
}

/// A grant has ended.
struct Over;

/// The next refresh token, if this one is good once only: those that begin with
/// [`ROTATING_PREFIX`] are, so that a client can be seen to keep what it is given.
fn refreshed(ask: &Ask<'_>, token: &str) -> Result<Option<String>, Over> {
    let serial = token.rsplit(|letter: char| !letter.is_ascii_digit()).next();
    let serial: u64 = serial.and_then(|serial| serial.parse().ok()).unwrap_or(0);
    let mut revoked = locked(&ask.memory.revoked);
    let good = token.starts_with(REFRESH_PREFIX) && serial >= revoked.below;
    if !good || revoked.tokens.iter().any(|each| each == token) {
        return Err(Over);
    }
    if !token.starts_with(ROTATING_PREFIX) {
        return Ok(None);
    }
    revoked.tokens.push(token.to_owned());
    Ok(Some(format!("{ROTATING_PREFIX}{}", ask.serial)))
}

/// Ends a grant, once.
fn revoke(ask: &Ask<'_>) -> Reply {
    let token = ask.form().and_then(|mut form| form.remove("token")).unwrap_or_default();
    if refreshed(ask, &token).is_err() {
        return failure(400, "invalid_token", "Token expired or revoked");
    }
    let mut revoked = locked(&ask.memory.revoked);
    if revoked.tokens.len() == SPENT_MAX {
        revoked.tokens.remove(0);
    }
    revoked.tokens.push(token);
    Reply::json(200, &json!({}))
}

/// What Google has against a code, beside that it is used once.
fn refused_code<'a>(
    code: &str,
    grant: Option<&Grant>,
    field: &impl Fn(&str) -> &'a str,
) -> Option<Reply> {
    if code.is_empty() || code.starts_with("expired") {
        return Some(refuse(400));
    }
    if field("redirect_uri").is_empty() {
        return Some(failure(400, "invalid_request", "Missing parameter: redirect_uri"));
    }
    let grant = grant?;
    if grant.redirect_uri != field("redirect_uri") {
        return Some(failure(400, "redirect_uri_mismatch", "Bad Request"));
    }
    if grant.client_id != field("client_id") {
        return Some(refuse(401));
    }
    let shown = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    if grant.code_challenge.as_ref().is_some_and(|challenge| *challenge != shown) {
        return Some(failure(400, "invalid_grant", "Invalid code verifier."));
    }
    None
}

/// Whether the code was not used before.
fn spend(ask: &Ask<'_>, code: &str) -> bool {
    let mut spent = locked(&ask.memory.spent_codes);
    if spent.iter().any(|each| each == code) {
        return false;
    }
    if spent.len() == SPENT_MAX {
        spent.remove(0);
    }
    spent.push(code.to_owned());
    true
}

fn userinfo(ask: &Ask<'_>) -> Reply {
    if !ask.bearer().is_some_and(|token| token.starts_with(TOKEN_PREFIX)) {
        return failure(401, "invalid_request", "Invalid Credentials");
    }
    Reply::json(200, &json!({"sub": "sandbox-user", "email": ADDRESS, "email_verified": true}))
}
