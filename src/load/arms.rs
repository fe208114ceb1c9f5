//! What a comparison asks of each server before its first request that counts.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::scenarios::{Chat, NoSession};
use super::traffic::Traffic;
use crate::config::Secret;

/// Whether a server says that it is ready.
///
/// # Errors
/// A half sentence that says why it is not.
pub async fn ready(address: &str, timeout: Duration) -> Result<(), String> {
    let client = reqwest::Client::builder().no_proxy().timeout(timeout).build();
    let client = client.map_err(|error| error.to_string())?;
    let url = Url::parse(address).and_then(|url| url.join("/readyz"));
    let url = url.map_err(|error| error.to_string())?;
    match client.get(url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("is not ready: {}", answer.status())),
        Err(error) => Err(format!("cannot be reached: {}", error.without_url())),
    }
}

/// So many chats with a server: as a user in a thread, or as anonymous sessions.
///
/// # Errors
/// A sentence that says why there is nobody to chat as.
pub async fn chats(
    address: &str,
    user: Option<(Secret, Option<String>)>,
    chats: u64,
    (seed, timeout): (u64, Duration),
) -> Result<Arc<dyn Traffic>, String> {
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    let chat: Result<Chat, NoSession> = match user {
        Some((token, thread)) => Chat::as_user(&token, thread, seed),
        None => Chat::anonymous(&url, chats, seed, timeout).await,
    };
    chat.map(Chat::shared).map_err(|error| error.to_string())
}
