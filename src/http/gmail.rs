//! Mailboxes: users connect them, Google sends users back, Pub/Sub tells that one has changed.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::dispatch::Call;
use super::guard::{bearer, push as pushes};
use super::respond::{self, Refusal};
use super::whatsapp::{accepted, not_accepted};
use crate::config::{Config, Secret};
use crate::contract::code::ErrorCode;
use crate::contract::connection::{Connect, Connection};
use crate::contract::{gmail, rfc3339};
use crate::inbox;
use crate::inbox::gmail::{CannotConnect, Comeback, Landed, Trouble};

/// Where Google sends users back.
pub(super) const CALLBACK: &str = "/api/gmail/auth/callback";

/// The longest code and state that are looked at, in bytes.
const MAX_PARAMETER_BYTES: usize = 2048;

/// The longest error.
const MAX_ERROR_BYTES: usize = 256;

/// Accepts a push of somebody who may. One that cannot be read is refused, and put among the dead
/// letters when it has come too often: Pub/Sub would send it for days.
pub(super) async fn push(call: Call) -> Result<HttpResponse, Refusal> {
    let google = &call.shared().config().providers.google;
    let shared = call.query("token");
    let bearer = bearer::token_of(call.field("authorization"));
    let keys = call.worker.push_keys.as_deref();
    if !pushes::is_ours(google, keys, shared.as_deref(), bearer).await {
        return Err(ErrorCode::Forbidden.into());
    }
    let event = match gmail::read(&call.body) {
        Ok(push) => inbox::gmail::event(&push),
        Err(error) => {
            let attempt = gmail::delivery_attempt(&call.body);
            if !call.worker.mailboxes.shared().is_poison(&call.body, attempt) {
                return Err(error.into());
            }
            inbox::gmail::poison(&call.body, &error.sentence())
        }
    };
    let outcome = call.shared().inbox.accept(vec![event]).await;
    outcome.map(accepted).map_err(not_accepted)
}

/// The caller's connection, or that there is none.
pub(super) async fn connection(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let found = call.worker.mailboxes.connection(&owner).await.map_err(unavailable)?;
    let time = |at: sendcat_state::timestamp::Timestamp| rfc3339(at.as_millis());
    Ok(respond::json(&match found {
        None => Connection::None,
        Some(mailbox) => match mailbox.death {
            Some(death) => Connection::Ended {
                email_address: mailbox.address,
                connected_at: time(mailbox.connected_at),
                ended_at: time(death.at),
            },
            None => Connection::Connected {
                email_address: mailbox.address,
                connected_at: time(mailbox.connected_at),
                synced_at: time(mailbox.synced_at),
                watched_until: mailbox.watched_until.map(time),
            },
        },
    }))
}

/// Ends the caller's connection.
pub(super) async fn disconnect(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let was = call.worker.mailboxes.disconnect(&owner).await.map_err(unavailable)?;
    if was { Ok(respond::no_content()) } else { Err(ErrorCode::NotFound.into()) }
}

fn unavailable(trouble: Trouble) -> Refusal {
    tracing::error!(error = %trouble, "a connection could not be read or ended");
    ErrorCode::StorageUnavailable.into()
}

/// Where the caller's browser goes to connect a mailbox.
pub(super) async fn connect(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let redirect = call.shared().config().providers.google.redirect_url.clone();
    let redirect = redirect.unwrap_or_else(|| {
        let host = call.field("host").unwrap_or_default();
        format!("http://{host}{CALLBACK}")
    });
    let url = call.worker.mailboxes.authorize_url(&owner, redirect).await;
    let authorize_url = url.map_err(|error| match error {
        CannotConnect::NotConfigured => Refusal::from(ErrorCode::Misconfigured),
        CannotConnect::Unavailable => Refusal::from(ErrorCode::StorageUnavailable),
    })?;
    Ok(respond::json(&Connect { authorize_url }))
}

/// Takes a browser back from Google, and sends it on to the front end, whatever has come of it.
pub(super) async fn callback(call: Call) -> Result<HttpResponse, Refusal> {
    let landed = match comeback(call.request.query_string()) {
        Some(comeback) => call.worker.mailboxes.comes_back(comeback).await,
        None => Landed::Failed,
    };
    Ok(redirect(&call.shared().config(), landed))
}

/// What stands in place of a refusal where a browser is on its way: too much is going on, or
/// something is wrong. `None` where the refusal stands.
pub(super) fn in_place_of(path: &str, code: ErrorCode, config: &Config) -> Option<HttpResponse> {
    if path != CALLBACK || matches!(code, ErrorCode::RateLimited | ErrorCode::MethodNotAllowed) {
        return None;
    }
    let landed = if code == ErrorCode::Overloaded { Landed::Busy } else { Landed::Failed };
    Some(redirect(config, landed))
}

fn redirect(config: &Config, landed: Landed) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, landed.address(&config.app_base_url)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

/// What a browser brings; `None` if a part of it is there twice, or longer than it can be.
fn comeback(query: &str) -> Option<Comeback> {
    let mut comeback = Comeback::default();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8().ok()?.into_owned();
        let (taken, most) = match name {
            "code" => (comeback.code.replace(Secret::new(&*value)).is_some(), MAX_PARAMETER_BYTES),
            "state" => (comeback.state.replace(value.clone()).is_some(), MAX_PARAMETER_BYTES),
            "error" => (comeback.error.replace(value.clone()).is_some(), MAX_ERROR_BYTES),
            _ => continue,
        };
        if taken || value.is_empty() || value.len() > most {
            return None;
        }
    }
    Some(comeback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_brings_is_read_strictly() {
        let read = |query: &str| {
            comeback(query)
                .map(|it| (it.code.map(|code| code.expose().to_owned()), it.state, it.error))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read("code=4%2Fa&scope=x+y&state=s.t"), Some((text("4/a"), text("s.t"), None)));
        assert_eq!(
            read("error=access_denied&state=s"),
            Some((None, text("s"), text("access_denied")))
        );
        assert_eq!(read(""), Some((None, None, None)));
        let long = |name: &str, length: usize| format!("{name}={}", "x".repeat(length));
        for most in [("code", 2048), ("state", 2048), ("error", 256)] {
            assert!(read(&long(most.0, most.1)).is_some(), "{most:?}");
            assert_eq!(read(&long(most.0, most.1 + 1)), None, "{most:?}");
        }
        for bad in ["code=a&code=b", "state=a&state=a", "error=a&error=b", "code=", "state=%FF"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
