//! The rows of connecting mailboxes.

use sendcat_state::key::Bucket;

use super::{Guard, rows};
use crate::http::gmail;

/// What stands before a row that only somebody signed in may use.
const USER: &[Guard] = &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::User];

rows! {
    "GET" "/api/gmail/connection" USER, gmail::connection, [StorageUnavailable];
    "DELETE" "/api/gmail/connection" USER, gmail::disconnect, [NotFound, StorageUnavailable];
    "POST" (gmail::CONNECT) USER, gmail::connect, [StorageUnavailable];
    // Whatever goes wrong in it is a redirect that says so: a browser is on its way.
    "GET" (gmail::CALLBACK) &[Guard::IpLimit(Bucket::GmailOauthCallback), Guard::Method],
        gmail::callback, [];
}
