//! The rows of webhooks, and of the numbers that they tell of.

use sendcat_state::key::Bucket;

use super::{BodyLimit, Guard, rows};
use crate::http::{gmail, webhooks, whatsapp, whatsapp_links};

const fn delivery(bucket: Bucket, declared: Guard, limit: BodyLimit) -> [Guard; 4] {
    [Guard::IpLimit(bucket), Guard::Method, declared, Guard::Body(limit)]
}

const WHATSAPP: &[Guard] = &delivery(Bucket::WhatsappWebhook, Guard::Json, BodyLimit::Whatsapp);
const GMAIL: &[Guard] =
    &delivery(Bucket::GmailPushWebhook, Guard::JsonOrUnwrapped, BodyLimit::Webhook);
const GENERIC: &[Guard] = &delivery(Bucket::GenericWebhook, Guard::Json, BodyLimit::Webhook);

rows! {
    "POST" "/api/whatsapp/webhook" WHATSAPP, whatsapp::post,
        [Forbidden, InvalidJson, InvalidRequest, StorageUnavailable];
    "GET" "/api/whatsapp/webhook" &[Guard::Method], whatsapp::verify, [Forbidden];
    "POST" "/api/gmail/push" GMAIL, gmail::push,
        [Forbidden, InvalidJson, InvalidRequest, StorageUnavailable];
    "POST" "/api/webhooks/{source}" GENERIC, webhooks::post,
        [NotFound, Forbidden, InvalidJson, InvalidRequest, StorageUnavailable];
    "POST" "/api/whatsapp/link-code"
        &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::User], whatsapp_links::post,
        [RateLimited, StorageUnavailable];
}
