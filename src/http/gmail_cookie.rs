//! The cookie that tells the browser which asked to connect a mailbox from every other one.
//!
//! Front ends may be at another origin and carry bearer tokens; their page asks with
//! `credentials: "include"`, and the answer allows it to pages of listed origins
//! ([`super::guard::origin`]). `SameSite=Lax` has the cookie sent when Google sends the browser
//! back, and kept only where page and server are of one site, as `www` and `api` of one domain
//! are. Elsewhere the browser keeps none, and connecting ends as an error and not as a risk.
//!
//! Over HTTPS its name begins with `__Host-`: no other host of the domain can plant one.

use super::dispatch::Call;
use crate::inbox::gmail::{ANSWER_WITHIN, Browser};

const NAME: &str = "sendcat-connect";
const NAME_BY_HTTPS: &str = "__Host-sendcat-connect";

/// The browser that sent this, where it comes back to that address; `None` if it says nothing, or
/// two things.
pub(super) fn browser_of(call: &Call, redirect: &str) -> Option<Browser> {
    let name = name(redirect);
    let pairs = call.fields("cookie").flatten().flat_map(|field| field.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|it| it.0 == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Browser::named(value),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

/// What has the browser keep its name as long as a question is open.
pub(super) fn field(browser: &Browser, redirect: &str) -> String {
    let secure = if is_secure(redirect) { "; Secure" } else { "" };
    let (name, value, seconds) = (name(redirect), browser.name(), ANSWER_WITHIN.as_secs());
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

fn name(redirect: &str) -> &'static str {
    if is_secure(redirect) { NAME_BY_HTTPS } else { NAME }
}

fn is_secure(redirect: &str) -> bool {
    redirect.starts_with("https://")
}
