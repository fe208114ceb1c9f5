//! The rows of operators.

use super::{BodyLimit, Guard, rows};
use crate::http::dispatch::FAULTS_PATH;
use crate::http::{ops, ops_cache, ops_config, ops_guards, ops_inbox, ops_jobs, ops_snapshot};

const OPERATOR: &[Guard] = &[Guard::Operator, Guard::Method];

const WITH_BODY: &[Guard] =
    &[Guard::Operator, Guard::Method, Guard::Json, Guard::Body(BodyLimit::Chat)];

rows! {
    "GET" "/ops/actors" OPERATOR, ops::actors, [];
    "GET" "/ops/circuits" OPERATOR, ops_guards::circuits, [];
    "POST" "/ops/circuits/{provider}/{verb}" OPERATOR, ops_guards::steer, [Overloaded];
    "GET" "/ops/bulkheads" OPERATOR, ops_guards::bulkheads, [];
    "GET" "/ops/idempotency/{scope}" OPERATOR, ops_jobs::claims, [InvalidRequest, Overloaded];
    "GET" "/ops/jobs" OPERATOR, ops_jobs::jobs, [InvalidRequest, Overloaded];
    "GET" "/ops/config" OPERATOR, ops_config::get, [];
    "POST" "/ops/config/reload" OPERATOR, ops_config::reload, [InvalidRequest];
    "GET" "/ops/explain" OPERATOR, ops_guards::explain, [InvalidRequest, Overloaded];
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
