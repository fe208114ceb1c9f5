//! Who pushes: Pub/Sub in the name of our service account, or somebody who knows the shared token.
//!
//! The token of Pub/Sub signs no body, and may be an hour old (WEBHOOKS.md §2.3): it says only who
//! calls. Both its audience and its service account must be set before one is believed, or anybody
//! with an account at Google could make one. Because what a push says is signed by nobody, pushes
//! can be confined to subscriptions that are listed.

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

/// What whoever knows the shared token is called where senders are counted.
const SHARED_TOKEN: &str = "shared token";

/// Who sends a push that is one of ours: known by the shared token of its query, or else by the
/// token of its `Authorization`. `None` of everybody else.
pub async fn sender<'a>(
    google: &'a Google,
    keys: Option<&dyn KeySource>,
    shared: Option<&str>,
    bearer: Option<&str>,
) -> Option<&'a str> {
    let presented = shared.unwrap_or_default();
    if signature::token_matches(&google.push_tokens, presented.as_bytes()) {
        return Some(SHARED_TOKEN);
    }
    let (audience, account) = (google.push_audience.as_ref()?, &google.push_service_account);
    let account = account.as_ref()?;
    is_signed(bearer?, keys?, audience, account).await.then_some(account)
}

/// Whether pushes of that subscription are taken.
pub fn is_listed(google: &Google, subscription: Option<&str>) -> bool {
    let listed = &google.push_subscriptions;
    listed.is_empty() || subscription.is_some_and(|name| listed.iter().any(|it| it == name))
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
