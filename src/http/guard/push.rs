//! Who pushes: Pub/Sub in the name of our service account, or somebody who knows the shared token.
//!
//! The token of Pub/Sub signs no body, and may be an hour old (WEBHOOKS.md §2.3): it says only who
//! calls. Both its audience and its service account must be set before one is believed, or anybody
//! with an account at Google could make one.

use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode_header};
use serde::Deserialize;

use super::keys::{KeySource, NoKey};
use crate::config::Google;
use crate::contract::signature;

/// Who issues Google's tokens; both are in use.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// How far two clocks may differ.
const LEEWAY: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Claims {
    email: Option<String>,
    email_verified: Option<serde_json::Value>,
}

/// Whether a push is one of ours: by the shared token of its query, or else by the token of its
/// `Authorization`.
pub async fn is_ours(
    google: &Google,
    keys: Option<&dyn KeySource>,
    shared: Option<&str>,
    bearer: Option<&str>,
) -> bool {
    let presented = shared.unwrap_or_default();
    if signature::token_matches(&google.push_tokens, presented.as_bytes()) {
        return true;
    }
    let (Some(audience), Some(account)) = (&google.push_audience, &google.push_service_account)
    else {
        return false;
    };
    match (keys, bearer) {
        (Some(keys), Some(token)) => is_signed(token, keys, audience, account).await,
        (Some(_) | None, None) | (None, Some(_)) => false,
    }
}

async fn is_signed(token: &str, keys: &dyn KeySource, audience: &str, account: &str) -> bool {
    let Ok(head) = decode_header(token) else { return false };
    // Before a key is looked for: a token of another kind must not make us fetch.
    if head.alg != Algorithm::RS256 || head.crit.is_some() {
        return false;
    }
    let key = match keys.key(head.kid).await {
        Ok(key) => key,
        Err(NoKey::Unknown) => return false,
        Err(NoKey::Unavailable) => {
            tracing::warn!("a push cannot be checked: Google's keys cannot be had");
            return false;
        }
    };
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_issuer(&ISSUERS);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let Ok(token) = jsonwebtoken::decode::<Claims>(token, &key, &validation) else { return false };
    let Claims { email, email_verified } = token.claims;
    email.as_deref() == Some(account) && email_verified == Some(serde_json::Value::Bool(true))
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
