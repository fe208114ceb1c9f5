//! `GET /ops/stream`: the snapshot, and each second what of it has changed.
//!
//! An `access` event, a `snapshot`, then a `delta` a second whose data replaces the sections that
//! it names. Each second has one, for the time at least has changed, so nothing else has to show
//! that the stream lives. It ends with `end` when the process drains.

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;

use super::dispatch::Call;
use super::ops_alerts::Wanted;
use super::ops_feed::{News, Sections, Slot, event};
use super::respond::Refusal;
use super::{Shared, guard, health, ops_snapshot};
use crate::contract::code::ErrorCode;
use crate::contract::{headers, ops, rfc3339};

/// One reader on its way.
struct Reader {
    shared: Arc<Shared>,
    at: Place,
    /// Held for as long as it reads.
    _slot: Slot,
}

enum Place {
    /// Told nothing yet but what this says.
    Begin(Bytes),
    /// Told everything up to this number, if anything.
    Within(Option<u64>),
    /// Told that nothing more comes.
    End,
}

/// Streams to one more reader, if there is room for it.
pub(super) async fn get(call: Call) -> Result<HttpResponse, Refusal> {
    let shared = Arc::clone(&call.worker.shared);
    if shared.is_draining() {
        return Err(ErrorCode::Overloaded.into());
    }
    let Some(slot) = shared.feed.slot() else {
        let sentence = "As many read this stream as may; close another console first.";
        return Err(Refusal::from(ErrorCode::Overloaded).saying(sentence));
    };
    let access = if guard::may_change(&call) { "operate" } else { "read" };
    let access = ops::StreamAccess { access: access.to_owned() };
    let at = Place::Begin(event(None, ops::ACCESS_EVENT, &access));
    let told = stream::unfold(Reader { shared, at, _slot: slot }, |mut reader| async move {
        let bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(bytes), reader))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, headers::STREAM_CACHE_CONTROL))
        .insert_header((headers::ACCEL_BUFFERING, "no"))
        .streaming(told))
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        let known = match std::mem::replace(&mut self.at, Place::Within(None)) {
            Place::Begin(bytes) => return Some(bytes),
            Place::Within(known) => known,
            Place::End => return None,
        };
        loop {
            if self.shared.is_draining() {
                self.at = Place::End;
                let end = ops::StreamEnd { reason: "draining".to_owned() };
                return Some(event(None, ops::END_EVENT, &end));
            }
            let (feed, clock) = (&self.shared.feed, &self.shared.tree.clock);
            if let Some(News { number, bytes }) =
                feed.after(known, clock.now(), async || taken(&self.shared).await).await
            {
                self.at = Place::Within(Some(number));
                return Some(bytes);
            }
            let due_in = feed.due_in(clock.now()).await;
            tokio::time::sleep(due_in).await;
        }
    }
}

/// The snapshot as `/ops/snapshot` has it, and the process.
async fn taken(shared: &Shared) -> Sections {
    let snapshot = ops_snapshot::taken(shared, &Wanted::by_default(shared)).await;
    let (status, reasons) = health::readiness(shared);
    let process = ops::ProcessSection {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: rfc3339(shared.feed.started.as_millis()),
        status: status.to_owned(),
        reasons,
    };
    let mut sections = match serde_json::to_value(&snapshot) {
        Ok(Value::Object(sections)) => sections,
        // A snapshot is an object of plain rows.
        Ok(_) | Err(_) => Sections::new(),
    };
    let process = serde_json::to_value(&process).unwrap_or_default();
    sections.insert(ops::PROCESS_SECTION.to_owned(), process);
    sections
}
