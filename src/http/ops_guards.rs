//! What stands between callers and providers, one by one: circuits with their verbs, bulkheads with
//! who holds them, and what decides a limit.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use sendcat_actors::failure::AskError;
use sendcat_actors::handle::Handle;
use sendcat_state::bulkhead::{Bulkhead, LeaseView};
use sendcat_state::circuit_breaker::CircuitMode;
use sendcat_state::key::{Bucket, ClientKey, ProviderId};
use sendcat_state::timestamp::Timestamp;

use super::Shared;
use super::dispatch::Call;
use super::ops::{millis, now};
use super::ops_snapshot;
use super::pages::wrong;
use super::respond::{self, Refusal};
use crate::contract::code::ErrorCode;
use crate::contract::{ops, rfc3339};

/// Every circuit.
pub(super) async fn circuits(call: Call) -> Result<HttpResponse, Refusal> {
    Ok(answer(call.shared()))
}

/// Closes a circuit, holds it open until it is released, or lets it go on as it stands.
pub(super) async fn steer(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let provider = ProviderId::from_name(call.path("provider"));
    let provider = provider.ok_or_else(|| Refusal::from(ErrorCode::NotFound))?;
    let circuits = &shared.tree.circuits;
    let verb = call.path("verb");
    let done = match verb {
        "reset" => circuits.reset(provider).await,
        "force-open" => circuits.set_mode(provider, CircuitMode::ForcedOpen).await,
        "release" => circuits.set_mode(provider, CircuitMode::Normal).await,
        _ => return Err(ErrorCode::NotFound.into()),
    };
    done.map_err(|error| unanswered(&error))?;
    tracing::warn!(%provider, verb, by = %call.client, "an operator steered a circuit");
    Ok(answer(shared))
}

fn answer(shared: &Shared) -> HttpResponse {
    let circuits = ops_snapshot::circuits(shared, shared.tree.clock.now());
    respond::json(&ops::CircuitsAnswer { generated_at: now(shared), circuits })
}

/// An actor that gave no answer: it is being started again, or has too much to do.
pub(super) fn unanswered(error: &AskError) -> Refusal {
    tracing::error!(%error, "an actor gave an operator no answer");
    Refusal::from(ErrorCode::Overloaded)
        .saying("The actor that decides this gave no answer; look at /ops/actors, and try again.")
}

/// Every bulkhead with its live leases.
pub(super) async fn bulkheads(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let at = shared.tree.clock.now();
    let detail = |(provider, bulkhead): (ProviderId, &Handle<Bulkhead>)| {
        let view = bulkhead.view();
        let leases = view.leases.iter().map(|lease| lease_row(lease, at)).collect();
        let detail = ops::BulkheadDetail {
            in_flight: view.leases.len() as u64,
            max: bulkhead.rules().capacity as u64,
            waiting: view.waiting as u64,
            overruns: view.overruns,
            leases,
        };
        (provider.to_string(), detail)
    };
    let bulkheads: BTreeMap<_, _> = shared.tree.bulkheads.bulkheads().map(detail).collect();
    Ok(respond::json(&ops::BulkheadsAnswer { generated_at: now(shared), bulkheads }))
}

fn lease_row(lease: &LeaseView, at: Timestamp) -> ops::LeaseRow {
    ops::LeaseRow {
        id: lease.id.0,
        holder: lease.holder.clone(),
        age_ms: millis(at.since(lease.since)),
        ends_in_ms: millis(at.until(lease.ends)),
    }
}

/// Which rule decides the next call of a key, what is left, and until when. Counts nothing.
pub(super) async fn explain(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let bucket = call.query("bucket").and_then(|name| Bucket::from_name(&name));
    let bucket = bucket.ok_or_else(|| wrong("bucket", bucket_names()))?;
    let asked = call.query("key").unwrap_or_default();
    let key = key_of(bucket, &asked).ok_or_else(|| wrong("key", KEYS))?;
    let limit = shared.config().limit(bucket);
    let explained = shared.tree.limiter.explain(key, limit).await;
    let explained = explained.map_err(|error| unanswered(&error))?;
    let left = limit.calls.saturating_sub(explained.used);
    let at = shared.tree.clock.now();
    let resets_at = explained.resets_in.map(|after| rfc3339(at.after(after).as_millis()));
    Ok(respond::json(&ops::Explanation {
        generated_at: now(shared),
        bucket: bucket.to_string(),
        key: asked,
        actor: format!("rate_limiter-{}", key.shard()),
        rule: if explained.overflow { "overflow" } else { "window" }.to_owned(),
        admitted: left > 0,
        max: limit.calls,
        window_ms: millis(limit.per),
        used: explained.used,
        left,
        resets_at,
    }))
}

const KEYS: &str = "ip:ADDRESS, session:ID, user:SUBJECT or sender:SOURCE:SENDER";

fn bucket_names() -> String {
    let names: Vec<_> = Bucket::ALL.iter().map(|bucket| bucket.as_str()).collect();
    format!("one of {}", names.join(", "))
}

/// A caller as an operator writes it.
fn key_of(bucket: Bucket, text: &str) -> Option<ClientKey> {
    let (kind, who) = text.split_once(':').filter(|(_, who)| !who.is_empty())?;
    match kind {
        "ip" => Some(ClientKey::ip(bucket, who.parse().ok()?)),
        "session" => Some(ClientKey::session(bucket, who)),
        "user" => Some(ClientKey::user(bucket, who)),
        "sender" => {
            let (source, sender) = who.split_once(':')?;
            Some(ClientKey::sender(bucket, source, sender))
        }
        _ => None,
    }
}
