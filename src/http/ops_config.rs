//! `/ops/config`: every knob with the value in force, and reading them again.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use sendcat_state::key::ProviderId;

use super::Shared;
use super::dispatch::Call;
use super::ops::now;
use super::respond::{self, Refusal};
use crate::config::{Config, Fault, ListingRow, Reloaded};
use crate::contract::body::Issue;
use crate::contract::code::ErrorCode;
use crate::contract::ops;

/// Every knob, as `sendcat config` prints them; secrets masked.
pub(super) async fn get(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let knobs = shared.config().listing().rows().iter().map(knob_row).collect();
    Ok(respond::json(&ops::ConfigAnswer { generated_at: now(shared), knobs }))
}

fn knob_row(row: &ListingRow) -> ops::KnobRow {
    let row = row.clone();
    ops::KnobRow {
        name: row.name,
        value: row.value,
        default: row.default,
        unit: row.unit,
        source: row.source,
        expected: row.expected,
        reloadable: row.reloadable,
        about: row.about,
    }
}

/// Reads the configuration again.
pub(super) async fn reload(call: Call) -> Result<HttpResponse, Refusal> {
    let by = format!("{} by POST /ops/config/reload", call.client);
    match reload_all(&call.worker.shared, &by).await {
        Ok(Reloaded { changed, at_next_start }) => {
            Ok(respond::json(&ops::ConfigReloaded { changed, at_next_start }))
        }
        Err(faults) => {
            let issues = faults.iter().map(|fault| Issue::new(&fault.knob, wanted(fault)));
            let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
            let sentence = format!("The values in force stay: {}.", lines.join("; "));
            let refusal = Refusal::from(ErrorCode::InvalidRequest).saying(sentence);
            Err(refusal.with_issues(issues.collect()))
        }
    }
}

/// What was expected, without the word that a sentence puts before it.
fn wanted(fault: &Fault) -> &str {
    fault.why.strip_prefix("expected ").unwrap_or(&fault.why)
}

/// Reads the configuration again and puts in force what may change now, for everyone or not at all.
///
/// # Errors
/// Every [`Fault`]; then the values in force stay.
pub async fn reload_all(shared: &Arc<Shared>, by: &str) -> Result<Reloaded, Vec<Fault>> {
    let live = shared.live.clone();
    // A file is read: no thread that serves may wait for a disk.
    let read = web::block(move || live.reload()).await;
    let read = read.unwrap_or_else(|_| Err(vec![Fault::unread()]));
    match &read {
        Ok(Reloaded { changed, at_next_start }) => {
            put_in_force(shared, &shared.config());
            tracing::warn!(by, ?changed, ?at_next_start, "the configuration was reloaded");
        }
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            tracing::error!(by, ?faults, "the configuration was refused: the values in force stay");
        }
    }
    read
}

/// Tells the actors that work by rules of their own; everyone else asks for the values each time.
fn put_in_force(shared: &Shared, config: &Config) {
    let tree = &shared.tree;
    for provider in ProviderId::ALL {
        tree.circuits.circuit(*provider).set_rules(config.circuit(*provider));
        tree.bulkheads.bulkhead(*provider).set_rules(config.bulkhead(*provider));
    }
    tree.jobs.set_rules(config.queue_rules(), config.tool_jobs.poll);
}
