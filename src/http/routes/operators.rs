//! The rows of operators.

use super::{BodyLimit, Guard, rows};
use crate::http::dispatch::FAULTS_PATH;
use crate::http::{ops, ops_cache, ops_inbox, ops_page, ops_snapshot, ops_stream};

const OPERATOR: &[Guard] = &[Guard::Operator, Guard::Method];

/// What has no values in it: whoever opens it is asked for a token by the page itself.
const PAGE: &[Guard] = &[Guard::OperatorsExist, Guard::Method];

const WITH_BODY: &[Guard] =
    &[Guard::Operator, Guard::Method, Guard::Json, Guard::Body(BodyLimit::Chat)];

rows! {
    "GET" "/ops" PAGE, ops_page::console, [];
    "GET" "/ops/runbook" PAGE, ops_page::runbook, [];
    "GET" "/ops/assets/{file}" PAGE, ops_page::asset, [NotFound];
    "GET" "/ops/stream" OPERATOR, ops_stream::get, [Overloaded];
    "GET" "/ops/actors" OPERATOR, ops::actors, [];
    "GET" "/ops/inbox" OPERATOR, ops_inbox::inbox, [InvalidRequest, StorageUnavailable];
    "GET" "/ops/dead-letters" OPERATOR, ops_inbox::dead_letters,
        [InvalidRequest, StorageUnavailable];
    "POST" "/ops/dead-letters/{id}/redeliver" OPERATOR, ops_inbox::redeliver,
        [Conflict, StorageUnavailable];
    "GET" "/ops/snapshot" OPERATOR, ops_snapshot::get, [InvalidRequest];
    "GET" "/ops/cache" OPERATOR, ops_cache::get, [];
    "DELETE" "/ops/cache/{namespace}" OPERATOR, ops_cache::clear, [Overloaded];
    "GET" FAULTS_PATH OPERATOR, ops::faults, [];
    "POST" FAULTS_PATH WITH_BODY, ops::arm_fault, [InvalidJson, InvalidRequest];
    "DELETE" FAULTS_PATH OPERATOR, ops::clear_faults, [];
}
