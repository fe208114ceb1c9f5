//! The rows that ask for no token.

use sendcat_state::key::Bucket;

use super::{Guard, rows};
use crate::http::{health, metrics, openapi, page, sessions};

const METHOD: &[Guard] = &[Guard::Method];

rows! {
    "POST" "/api/sessions/anonymous"
        &[Guard::Origin, Guard::Method, Guard::IpLimit(Bucket::AnonIp)], sessions::post,
        [Misconfigured];
    "GET" "/" METHOD, page::chat, [NotFound];
    "GET" "/livez" METHOD, health::livez, [];
    "GET" "/readyz" METHOD, health::readyz, [];
    "GET" "/metrics" METHOD, metrics::get, [];
    "GET" "/openapi.json" METHOD, openapi::get, [];
}
