//! `POST /api/webhooks/{source}`: deliveries of configured senders, each signing by its scheme.

use std::time::UNIX_EPOCH;

use actix_web::HttpResponse;
use sendcat_actors::clock::SharedClock;

use super::dispatch::Call;
use super::guard::rate_limit;
use super::respond::Refusal;
use super::whatsapp::{accepted, not_accepted};
use crate::config::{Scheme, WebhookSource};
use crate::contract::body::parse_object;
use crate::contract::code::ErrorCode;
use crate::contract::signature::SignatureFault;
use crate::contract::{headers, webhook};
use crate::inbox::generic::{self, Signed};

/// Accepts a signed delivery once.
pub(super) async fn post(call: Call) -> Result<HttpResponse, Refusal> {
    let sources = &call.shared().config().webhook_sources;
    let source = sources.iter().find(|source| source.name == call.path("source"));
    let source = source.ok_or_else(|| Refusal::from(ErrorCode::NotFound))?;
    let id = verify(source, &call).map_err(|fault| {
        tracing::warn!(source = %source.name, %fault, "a delivery was refused");
        Refusal::from(ErrorCode::Forbidden)
    })?;
    rate_limit::by_sender(&call, "webhook", &source.name).await?;
    let body = parse_object(&call.body)?;
    let id = match source.scheme {
        Scheme::Stripe => webhook::id_within(&body),
        Scheme::Standard | Scheme::Github => id.map(str::to_owned),
    };
    let key = webhook::known_by(id.as_deref(), &call.body);
    let about = match source.scheme {
        Scheme::Github => call.field(headers::GITHUB_EVENT).map(str::to_owned),
        Scheme::Standard | Scheme::Stripe => None,
    };
    let source = source.name.clone();
    let event = generic::event(&key, &Signed { source, id, about, payload: body.into() });
    let outcome = call.shared().inbox.accept(vec![event]).await;
    outcome.map(accepted).map_err(not_accepted)
}

/// Whether the source has signed the delivery; the identifier that it signed, if it did.
fn verify<'a>(source: &WebhookSource, call: &'a Call) -> Result<Option<&'a str>, SignatureFault> {
    let (secrets, body) = (&source.secrets, &call.body);
    match source.scheme {
        Scheme::Standard => {
            let names = match once(call, headers::STANDARD_WEBHOOK[0])? {
                Some(_) => headers::STANDARD_WEBHOOK,
                None => headers::SVIX_WEBHOOK,
            };
            let [id, timestamp, signature] = names.map(|name| once(call, name));
            let (id, timestamp, signature) = (id?, timestamp?, signature?);
            let fields = webhook::StandardFields { id, timestamp, signature };
            let now = seconds(&call.shared().tree.clock);
            webhook::verify_standard(secrets, fields, body, now).map(Some)
        }
        Scheme::Github => {
            let signature = once(call, headers::HUB_SIGNATURE)?;
            webhook::verify_github(secrets, signature, body).map(|()| None)
        }
        Scheme::Stripe => {
            let signature = once(call, headers::STRIPE_SIGNATURE)?;
            let now = seconds(&call.shared().tree.clock);
            webhook::verify_stripe(secrets, signature, body, now).map(|()| None)
        }
    }
}

/// A header that may stand once: of two, nobody knows which one a proxy would believe.
fn once<'a>(call: &'a Call, name: &'static str) -> Result<Option<&'a str>, SignatureFault> {
    let mut values = call.fields(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.map(Some).ok_or(SignatureFault::Malformed),
        (Some(_), Some(_)) => Err(SignatureFault::Malformed),
    }
}

/// The wall's time in seconds since 1970: senders sign by theirs.
fn seconds(clock: &SharedClock) -> u64 {
    clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
