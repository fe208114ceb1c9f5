//! The rows of operators.

use super::{BodyLimit, Guard, rows};
use crate::http::dispatch::FAULTS_PATH;
use crate::http::{
    ops, ops_alerts, ops_cache, ops_config, ops_faults, ops_guards, ops_inbox, ops_jobs,
    ops_snapshot,
};

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
        [Conflict, Overloaded, StorageUnavailable];
    "GET" "/ops/snapshot" OPERATOR, ops_snapshot::get, [InvalidRequest];
    "GET" "/ops/rate-limit/events" OPERATOR, ops_alerts::events, [InvalidRequest];
    "GET" "/ops/rate-limit/summary" OPERATOR, ops_alerts::summary, [InvalidRequest];
    "GET" "/ops/alerts" OPERATOR, ops_alerts::alerts, [InvalidRequest];
    "POST" "/ops/alerts/run" OPERATOR, ops_alerts::run, [Overloaded];
    "GET" "/ops/cache" OPERATOR, ops_cache::get, [];
    "DELETE" "/ops/cache/{namespace}" OPERATOR, ops_cache::clear, [Overloaded];
    "GET" FAULTS_PATH OPERATOR, ops_faults::list, [];
    "POST" FAULTS_PATH WITH_BODY, ops_faults::arm, [Forbidden, InvalidJson, InvalidRequest];
    "DELETE" FAULTS_PATH OPERATOR, ops_faults::clear, [];
    "DELETE" "/ops/faults/{lease}" OPERATOR, ops_faults::end, [];
}
