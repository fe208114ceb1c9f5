//! Google's consent page, as far as a browser sees it: it sends the user straight back.
//!
//! The code that it gives holds what the token endpoint must check later (client, redirect
//! address, PKCE challenge), so that nothing is remembered in between.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How every code of this stand-in starts.
const CODE_PREFIX: &str = "4/sandbox-";

/// What was granted, inside the code.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) serial: u64,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) code_challenge: Option<String>,
    pub(super) offline: bool,
}

impl Grant {
    /// The code that a browser carries back.
    pub(super) fn code(&self) -> String {
        let json = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        format!("{CODE_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(json))
    }

    /// The grant inside a code of ours.
    pub(super) fn of(code: &str) -> Option<Self> {
        let json = BASE64_URL_SAFE_NO_PAD.decode(code.strip_prefix(CODE_PREFIX)?).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// Where the browser goes next.
///
/// # Errors
/// One sentence, when the request is one that Google shows an error page for.
pub(super) fn redirect(
    query: &std::collections::BTreeMap<String, String>,
    serial: u64,
) -> Result<String, String> {
    let need = |name: &str| {
        let value = query.get(name).filter(|value| !value.is_empty());
        value.cloned().ok_or_else(|| format!("invalid_request: missing {name}"))
    };
    if need("response_type")? != "code" {
        return Err("unsupported_response_type: expected code".into());
    }
    let challenge = query.get("code_challenge").cloned();
    let method = query.get("code_challenge_method").map(String::as_str);
    if challenge.is_some() && method != Some("S256") {
        return Err("invalid_request: expected code_challenge_method S256".into());
    }
    let grant = Grant {
        serial,
        client_id: need("client_id")?,
        redirect_uri: need("redirect_uri")?,
        scope: need("scope")?,
        code_challenge: challenge,
        offline: query.get("access_type").map(String::as_str) == Some("offline"),
    };
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let joint = if grant.redirect_uri.contains('?') { '&' } else { '?' };
    let state =
        query.get("state").map_or(String::new(), |state| format!("&state={}", encoded(state)));
    let (code, scope) = (encoded(&grant.code()), encoded(&grant.scope));
    Ok(format!("{}{joint}code={code}&scope={scope}{state}", grant.redirect_uri))
}
