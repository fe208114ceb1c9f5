//! `/ops/faults`: arms, leases, lists and ends injected faults, in builds that have them.

use std::time::Duration;

use actix_web::HttpResponse;
use sendcat_actors::faults::{self, ScheduledFault};
use serde_json::{Map, Value};

use super::Shared;
use super::dispatch::Call;
use super::leases::Order;
use super::respond::{self, Refusal};
use crate::contract::body::{BodyError, parse_object};
use crate::contract::code::ErrorCode;
use crate::contract::ops::{ArmedFault, FaultsAnswer};

/// The name that faults of handlers are armed by.
const HANDLERS: &str = "http";

/// The longest lease, in seconds, and the one of who names none.
const TTL_MAX_S: u64 = 300;
const TTL_S: u64 = 60;

/// What is in force, and how often it bit.
pub(super) async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    let armed = call.shared().tree.armed().into_iter();
    let faults =
        armed.map(|(actor, fault)| ArmedFault { actor, fault: format!("{:?}", fault.kind) });
    let (leases, ended) = call.shared().leases.seen();
    Ok(respond::json(&FaultsAnswer { faults: faults.collect(), leases, ended }))
}

/// Arms a fault, written as in `SENDCAT_FAULTS`: `{"fault": "actor:kind@n[:1500ms]"}`; or leases
/// one: `{"fault": "actor.hang", "target": "idempotency", "params": {}, "ttlS": 30}`.
pub(super) async fn arm(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    // Whoever can be reached from outside must not be one that can be broken from outside.
    if !call.shared().config().bind.ip().is_loopback() {
        let sentence = "Faults are armed only on a server that listens on loopback.";
        return Err(Refusal::from(ErrorCode::Forbidden).saying(sentence.to_owned()));
    }
    let body = parse_object(&call.body)?;
    let text = body.get("fault").and_then(Value::as_str).unwrap_or_default();
    // A colon makes it a line of SENDCAT_FAULTS, and so does what is neither.
    if !text.contains(':') && (text == "noop" || text.contains('.')) {
        return lease(&call, text, &body);
    }
    let scheduled: ScheduledFault =
        text.parse().map_err(|expected: String| BodyError::shape("fault", expected))?;
    let ScheduledFault { actor, fault } = scheduled;
    tracing::warn!(%actor, ?fault, "an operator armed a fault");
    if actor == HANDLERS {
        call.shared().faults.arm(fault);
    } else if !call.shared().tree.arm(&actor, fault) {
        return Err(BodyError::shape("fault", "the name of an actor").into());
    }
    Ok(respond::no_content())
}

fn lease(call: &Call, fault: &str, body: &Map<String, Value>) -> Result<HttpResponse, Refusal> {
    let ttl_s = match body.get("ttlS") {
        None => TTL_S,
        Some(given) => {
            let given = given.as_u64().filter(|given| (1..=TTL_MAX_S).contains(given));
            let expected = format!("a whole number of 1 to {TTL_MAX_S}");
            given.ok_or_else(|| BodyError::shape("ttlS", expected))?
        }
    };
    let target = match body.get("target") {
        None => None,
        Some(given) => Some(given.as_str().ok_or_else(|| BodyError::shape("target", "a text"))?),
    };
    let none = Map::new();
    let params = match body.get("params") {
        None => &none,
        Some(given) => given.as_object().ok_or_else(|| BodyError::shape("params", "an object"))?,
    };
    let wall = call.shared().tree.clock.wall().duration_since(std::time::UNIX_EPOCH);
    let wall_ms = u64::try_from(wall.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let order = Order::read(fault, target, params, wall_ms)?;
    let granted = call.shared().leases.grant(order, Duration::from_secs(ttl_s))?;
    let (by, lease) = (call.client, &granted.lease);
    let (target, params) = (&granted.target, &granted.params);
    tracing::warn!(%by, %lease, %fault, %target, ?params, ttl_s, "a fault was leased");
    Ok(respond::json(&granted))
}

/// Ends every lease and disarms every fault.
pub(super) async fn clear(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    let shared: &Shared = call.shared();
    tracing::warn!(by = %call.client, "an operator disarmed every fault");
    // Leases first, for they say how they ended; where they are kept, so is what they armed.
    shared.leases.end_all();
    if shared.leases.seen().0.is_empty() {
        shared.tree.clear_faults();
        shared.faults.clear();
    }
    Ok(respond::no_content())
}

/// Ends one lease.
pub(super) async fn end(call: Call) -> Result<HttpResponse, Refusal> {
    built_with_faults()?;
    let lease = call.path("lease");
    if !call.shared().leases.end(lease) {
        return Err(ErrorCode::NotFound.into());
    }
    tracing::warn!(by = %call.client, %lease, "an operator ended a lease");
    Ok(respond::no_content())
}

/// A build without faults has no such route.
fn built_with_faults() -> Result<(), Refusal> {
    if faults::COMPILED { Ok(()) } else { Err(ErrorCode::NotFound.into()) }
}
