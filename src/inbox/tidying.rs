//! Drops what was kept long enough: events that are done, dead letters beyond their number, claims.
//!
//! Once an hour, a page at a time: whoever waits for the disk waits for one page at most.

use std::time::Duration;

use sendcat_actors::clock::SharedClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::journal::Journal;
use sendcat_state::machine::ReadError;
use sendcat_state::retention::{self, Swept};

use crate::config::fixed;

/// How often.
const EVERY: Duration = Duration::from_secs(3600);

/// Why a sweep ended before its end; the next one takes it up.
#[derive(Debug, thiserror::Error)]
enum Unswept {
    #[error(transparent)]
    Unavailable(#[from] AskError),
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// Sweeps as long as it is polled.
pub async fn sweep_hourly(journal: Journal, clock: SharedClock) {
    loop {
        tokio::time::sleep(EVERY).await;
        match sweep(&journal, &clock).await {
            Ok(Swept { done, dead, claims, .. }) => {
                if dead > 0 {
                    tracing::warn!(
                        dead,
                        "the oldest dead letters were dropped: there were too many"
                    );
                }
                tracing::info!(done, claims, "the inbox was swept");
            }
            Err(error) => tracing::warn!(%error, "the inbox was not swept to its end"),
        }
    }
}

async fn sweep(journal: &Journal, clock: &SharedClock) -> Result<Swept, Unswept> {
    let mut too_many = dead(journal).await?.saturating_sub(fixed::DEAD_LETTERS_MAX);
    let mut all = Swept::default();
    let mut next = None;
    loop {
        let (now, from, limits) = (clock.now(), next, (fixed::DONE_EVENT_TTL, too_many));
        let swept = journal.transact(move |records| {
            retention::sweep_events(records, now, from.as_deref(), limits)
        });
        let swept: Swept = swept.await??;
        too_many -= swept.dead;
        all.done += swept.done;
        all.dead += swept.dead;
        next = swept.next;
        if next.is_none() {
            break;
        }
    }
    loop {
        let (now, from) = (clock.now(), next);
        let swept =
            journal.transact(move |records| retention::sweep_claims(records, now, from.as_deref()));
        let swept: Swept = swept.await??;
        all.claims += swept.claims;
        next = swept.next;
        if next.is_none() {
            return Ok(all);
        }
    }
}

/// How many dead letters there are.
async fn dead(journal: &Journal) -> Result<usize, ReadError> {
    let (mut dead, mut next) = (0, None);
    loop {
        let from: Option<Vec<u8>> = next;
        let page = journal.read(move |records| retention::count_dead(records, from.as_deref()));
        let (of_page, beyond) = page.await?;
        dead += of_page;
        next = beyond;
        if next.is_none() {
            return Ok(dead);
        }
    }
}
