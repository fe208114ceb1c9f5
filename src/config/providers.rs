//! Keys and addresses of providers, and the configured senders of webhooks.
//!
//! An address has no slash at its end, so a path is put behind it as it is.

use super::fault::Fault;
use super::kind::{Kind, SCHEMES, Value};
use super::secret::Secret;
use super::settled::{Settled, Settlement};
use super::source::{SOURCE_SECRET, Source};
use crate::contract::webhook::standard_secret;

/// The model provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Openrouter {
    /// The key; without it every chat is `misconfigured`.
    pub api_key: Option<Secret>,
    /// Where `/chat/completions` is.
    pub base_url: String,
    /// The model that answers.
    pub model: String,
    /// Models to try when it is not available.
    pub fallback_models: Vec<String>,
}

/// A provider that needs one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// The key; without it the provider is not called.
    pub api_key: Option<Secret>,
    /// Where it is.
    pub base_url: String,
}

/// eBay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ebay {
    /// Our name there.
    pub client_id: Option<String>,
    /// Our password there.
    pub client_secret: Option<Secret>,
    /// Where it is.
    pub base_url: String,
}

/// Google: connecting mailboxes, reading them, and its pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Google {
    /// Our name there.
    pub client_id: Option<String>,
    /// Our password there.
    pub client_secret: Option<Secret>,
    /// Where a user is asked.
    pub auth_url: String,
    /// Where tokens are had.
    pub token_url: String,
    /// Where mailboxes are read.
    pub gmail_base_url: String,
    /// Where the keys of pushes' tokens are.
    pub jwks_url: String,
    /// Where Google sends users back; `None`: to the address by which we were called.
    pub redirect_url: Option<String>,
    /// The topic through which we are told of changes; without it mailboxes are polled.
    pub push_topic: Option<String>,
    /// Whom a push's token must be for.
    pub push_audience: Option<String>,
    /// Who must have signed a push's token.
    pub push_service_account: Option<String>,
    /// Subscriptions whose pushes are taken; where there are none, those of any.
    pub push_subscriptions: Vec<String>,
    /// Shared tokens of a push, any of which is good.
    pub push_tokens: Vec<Secret>,
}

/// WhatsApp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whatsapp {
    /// What Meta must know to set the callback address, any of which is good.
    pub verify_tokens: Vec<Secret>,
    /// What signs deliveries, any of which is good.
    pub app_secrets: Vec<Secret>,
    /// The key for sending and for media.
    pub access_token: Option<Secret>,
    /// The number that answers are sent from.
    pub phone_number_id: Option<String>,
    /// Where it is, version included.
    pub graph_base_url: String,
}

/// Outgoing mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resend {
    /// The key; without it no mail is sent.
    pub api_key: Option<Secret>,
    /// Where mail is handed in.
    pub base_url: String,
    /// The sender.
    pub from: Option<String>,
}

/// Every provider's keys and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Providers {
    /// Chat completions.
    pub openrouter: Openrouter,
    /// Web search.
    pub serper: Keyed,
    /// Shopping search.
    pub serpapi: Keyed,
    /// Product search.
    pub ebay: Ebay,
    /// Mailboxes.
    pub google: Google,
    /// Messages.
    pub whatsapp: Whatsapp,
    /// Mail.
    pub resend: Resend,
}

impl Providers {
    pub(super) fn take(from: &mut Settled) -> Self {
        Self {
            openrouter: Openrouter {
                api_key: from.secret("OPENROUTER_API_KEY"),
                base_url: from.set_text("OPENROUTER_BASE_URL"),
                model: from.set_text("OPENROUTER_MODEL"),
                fallback_models: from.list("OPENROUTER_FALLBACK_MODELS"),
            },
            serper: Keyed {
                api_key: from.secret("SERPER_API_KEY"),
                base_url: from.set_text("SERPER_BASE_URL"),
            },
            serpapi: Keyed {
                api_key: from.secret("SERPAPI_API_KEY"),
                base_url: from.set_text("SERPAPI_BASE_URL"),
            },
            ebay: Ebay {
                client_id: from.text("EBAY_CLIENT_ID"),
                client_secret: from.secret("EBAY_CLIENT_SECRET"),
                base_url: from.set_text("EBAY_BASE_URL"),
            },
            google: take_google(from),
            whatsapp: Whatsapp {
                verify_tokens: from.secrets("WHATSAPP_VERIFY_TOKEN"),
                app_secrets: from.secrets("WHATSAPP_APP_SECRET"),
                access_token: from.secret("WHATSAPP_ACCESS_TOKEN"),
                phone_number_id: from.text("WHATSAPP_PHONE_NUMBER_ID"),
                graph_base_url: from.set_text("WHATSAPP_GRAPH_BASE_URL"),
            },
            resend: Resend {
                api_key: from.secret("RESEND_API_KEY"),
                base_url: from.set_text("RESEND_BASE_URL"),
                from: from.text("RESEND_FROM"),
            },
        }
    }
}

fn take_google(from: &mut Settled) -> Google {
    Google {
        client_id: from.text("GOOGLE_CLIENT_ID"),
        client_secret: from.secret("GOOGLE_CLIENT_SECRET"),
        auth_url: from.set_text("GOOGLE_AUTH_URL"),
        token_url: from.set_text("GOOGLE_TOKEN_URL"),
        gmail_base_url: from.set_text("GMAIL_BASE_URL"),
        jwks_url: from.set_text("GOOGLE_JWKS_URL"),
        redirect_url: from.text("GMAIL_REDIRECT_URL"),
        push_topic: from.text("GMAIL_PUSH_TOPIC"),
        push_audience: from.text("GMAIL_PUSH_AUDIENCE"),
        push_service_account: from.text("GMAIL_PUSH_SERVICE_ACCOUNT"),
        push_subscriptions: from.list("GMAIL_PUSH_SUBSCRIPTIONS"),
        push_tokens: from.secrets("GMAIL_PUSH_TOKEN"),
    }
}

/// How a configured source signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks.
    Standard,
    /// GitHub.
    Github,
    /// Stripe.
    Stripe,
}

/// A configured sender of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSource {
    /// Its name in the path.
    pub name: String,
    /// How it signs.
    pub scheme: Scheme,
    /// What it signs with, any of which is good; never empty.
    pub secrets: Vec<Secret>,
}

/// The knob that holds a source's secrets: its name in upper case, `-` as `_`.
pub(super) fn secret_knob(source: &str) -> String {
    format!("{SOURCE_SECRET}{}", source.to_ascii_uppercase().replace('-', "_"))
}

/// The settled secrets of each source that `WEBHOOK_SOURCES` names; a source without is a fault,
/// for an unsigned sender would be let in.
pub(super) fn settle_source_secrets(
    source: &Source,
    pairs: &[String],
) -> Result<Vec<(String, Settlement)>, Vec<Fault>> {
    let settle = |pair: &String| {
        let knob = secret_knob(name_of(pair));
        let found = source.values(&knob).find(|(text, _)| !text.trim().is_empty());
        let settled = found.and_then(|(text, origin)| {
            let value = Kind::Secrets.read(text)?;
            if pair.ends_with("=standard") && !all_standard(&value) {
                return None;
            }
            Some(Settlement { value, text: Some(text.to_owned()), origin })
        });
        let form = if pair.ends_with("=standard") { ", each in base64" } else { "" };
        let expected = Kind::Secrets.expected();
        let why = || format!("expected {expected}{form}, for {pair} in WEBHOOK_SOURCES");
        settled.map(|settled| (knob.clone(), settled)).ok_or_else(|| Fault::bare(&knob, &why()))
    };
    let (good, bad): (Vec<_>, Vec<_>) = pairs.iter().map(settle).partition(Result::is_ok);
    if bad.is_empty() {
        Ok(good.into_iter().flatten().collect())
    } else {
        Err(bad.into_iter().filter_map(Result::err).collect())
    }
}

/// Whether every secret can be a key of Standard Webhooks: one that cannot would let nobody in.
fn all_standard(value: &Value) -> bool {
    let is_one = |secret: &String| standard_secret(secret.as_bytes()).is_some();
    matches!(value, Value::List(secrets) if secrets.iter().all(is_one))
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

pub(super) fn take_sources(from: &mut Settled) -> Vec<WebhookSource> {
    let pairs = from.list("WEBHOOK_SOURCES");
    let secrets: Vec<_> =
        pairs.iter().map(|pair| from.secrets(&secret_knob(name_of(pair)))).collect();
    let source = |(pair, secrets): (&String, Vec<Secret>)| {
        let (name, scheme) = pair.split_once('=').expect("the kind checked name=scheme");
        let scheme = match SCHEMES.iter().position(|known| *known == scheme) {
            Some(0) => Scheme::Standard,
            Some(1) => Scheme::Github,
            Some(2) => Scheme::Stripe,
            Some(_) | None => unreachable!("the kind checked the scheme {scheme}"),
        };
        WebhookSource { name: name.to_owned(), scheme, secrets }
    };
    pairs.iter().zip(secrets).map(source).collect()
}
