//! The rows of what a caller owns: threads and records.

use super::{BodyLimit, Guard, rows};
use crate::http::{records, threads};

/// What stands before every row without a body.
const BARE: &[Guard] = &[Guard::Origin, Guard::Method, Guard::Bearer];

/// What stands before every row with one.
const WITH_BODY: &[Guard] =
    &[Guard::Origin, Guard::Method, Guard::Bearer, Guard::Json, Guard::Body(BodyLimit::Chat)];

rows! {
    "GET" "/api/threads" BARE, threads::list, [InvalidRequest, StorageUnavailable];
    "POST" "/api/threads" WITH_BODY, threads::create,
        [InvalidJson, InvalidRequest, Conflict, StorageUnavailable];
    "GET" "/api/threads/{id}" BARE, threads::get, [NotFound, StorageUnavailable];
    "PATCH" "/api/threads/{id}" WITH_BODY, threads::rename,
        [InvalidJson, InvalidRequest, NotFound, StorageUnavailable];
    "DELETE" "/api/threads/{id}" BARE, threads::delete, [NotFound, StorageUnavailable];
    "GET" "/api/threads/{id}/messages" BARE, threads::messages,
        [InvalidRequest, NotFound, StorageUnavailable];
    "GET" "/api/favorites" BARE, records::favorites::list, [InvalidRequest, StorageUnavailable];
    "POST" "/api/favorites" WITH_BODY, records::favorites::keep,
        [InvalidJson, InvalidRequest, Conflict, StorageUnavailable];
    "DELETE" "/api/favorites/{id}" BARE, records::favorites::remove, [NotFound, StorageUnavailable];
    "GET" "/api/packages" BARE, records::packages::list, [InvalidRequest, StorageUnavailable];
    "POST" "/api/packages" WITH_BODY, records::packages::keep,
        [InvalidJson, InvalidRequest, Conflict, StorageUnavailable];
    "DELETE" "/api/packages/{id}" BARE, records::packages::remove, [NotFound, StorageUnavailable];
    "GET" "/api/evidence" BARE, records::evidence::list, [InvalidRequest, StorageUnavailable];
    "POST" "/api/evidence" WITH_BODY, records::evidence::keep,
        [InvalidJson, InvalidRequest, Conflict, StorageUnavailable];
    "DELETE" "/api/evidence/{id}" BARE, records::evidence::remove, [NotFound, StorageUnavailable];
    "GET" "/api/preferences" BARE, records::preferences, [StorageUnavailable];
    "PUT" "/api/preferences" WITH_BODY, records::set_preferences,
        [InvalidJson, InvalidRequest, StorageUnavailable];
}
