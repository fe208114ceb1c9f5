//! `/ops/cache`: what tools found before, and how to forget it.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use sendcat_state::key::ToolKind;
use sendcat_state::tool_cache::{NamespaceView, namespace};

use super::Shared;
use super::dispatch::Call;
use super::ops::now;
use super::respond::{self, Refusal};
use crate::contract::code::ErrorCode;
use crate::contract::ops::{self, Counts};

/// Every namespace, and how look-ups went.
pub(super) async fn get(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let cache = &shared.tree.cache;
    let at = shared.tree.clock.now();
    let (view, lookups) = (cache.view(), cache.lookups());
    let mut namespaces: BTreeMap<_, _> = in_force(shared)
        .map(|name| (name, ops::CacheNamespace { in_force: true, ..Default::default() }))
        .collect();
    for (name, NamespaceView { entries, bytes, oldest }) in &view.namespaces {
        let row = namespaces.entry(name.clone()).or_default();
        row.entries = *entries as u64;
        row.bytes = *bytes as u64;
        let age = oldest.map(|oldest| at.since(oldest).as_millis());
        row.oldest_age_ms = age.map(|age| u64::try_from(age).unwrap_or(u64::MAX));
    }
    Ok(respond::json(&ops::CacheAnswer {
        generated_at: now(shared),
        bytes: view.bytes as u64,
        max_bytes: cache.actor().rules().bytes_max as u64,
        hits: lookups.hits,
        misses: lookups.misses,
        namespaces,
    }))
}

/// Empties a namespace, also of what is under way to it.
pub(super) async fn clear(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = call.shared();
    let name = call.path("namespace");
    let cache = &shared.tree.cache;
    // A name that nobody uses is a slip, and must not look like a namespace that was empty.
    let known =
        in_force(shared).any(|each| each == name) || cache.view().namespaces.contains_key(name);
    if !known {
        return Err(ErrorCode::NotFound.into());
    }
    let cleared = cache.clear(name).await.map_err(|error| {
        tracing::error!(%error, namespace = name, "the cache was not cleared");
        Refusal::from(ErrorCode::Overloaded)
            .saying("The cache gave no answer; look what it holds, and try again.")
    })?;
    tracing::warn!(namespace = name, cleared, by = %call.client, "an operator cleared the cache");
    Ok(respond::json(&ops::CacheCleared { cleared: cleared as u64 }))
}

/// The cache as the snapshot has it.
pub(super) fn section(shared: &Shared) -> ops::ToolCacheSection {
    let view = shared.tree.cache.view();
    let count = |(name, view): (&String, &NamespaceView)| (name.clone(), view.entries as u64);
    let by_namespace: Counts = view.namespaces.iter().map(count).collect();
    let sampled_active_entries = by_namespace.values().sum();
    ops::ToolCacheSection { sampled_active_entries, by_namespace }
}

/// The namespaces that new results go to.
fn in_force(shared: &Shared) -> impl Iterator<Item = String> + use<'_> {
    let config = shared.config();
    ToolKind::ALL.iter().map(move |tool| namespace(*tool, config.tool_cache.space(*tool).0))
}
