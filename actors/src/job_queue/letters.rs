//! Accepted events as operators read them, and dead letters that they put back in line.

use sendcat_state::job::EventRow;
use sendcat_state::job_queue::Redelivery;
use sendcat_state::key::TimedId;
use sendcat_state::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};

use super::{Answer, Command, Jobs};
use crate::failure::AskError;

/// Rows looked at for one page: a rare status must not read the whole store.
const MOST_READ: usize = 10_000;

/// A page of accepted events, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events.
    pub rows: Vec<EventRow>,
    /// Behind which the next page begins; `None` where there is none. A page of few rows, even of
    /// none, may have a next one: only so many are looked at for each.
    pub next: Option<TimedId>,
}

/// Why a dead letter was not put back in line.
#[derive(Debug, thiserror::Error)]
pub enum NotRedelivered {
    /// There is no such event.
    #[error("there is no such event")]
    Unknown,
    /// It is no dead letter, or no longer.
    #[error("the event is no dead letter")]
    NotDead,
    /// The backlog of its kind is full.
    #[error("the backlog is full")]
    Full,
    /// The queue gave no answer, or the disk failed: nobody knows what became of it.
    #[error(transparent)]
    Unavailable(#[from] AskError),
    /// The store could not be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

impl Jobs {
    /// Accepted events that `fits` lets through, newest first, beyond one of them.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn events(
        &self,
        (beyond, limit): (Option<TimedId>, usize),
        fits: impl Fn(&EventRow) -> bool + Send + 'static,
    ) -> Result<EventPage, ReadError> {
        let read = self.journal.read(move |records| {
            let beyond = beyond.map(TimedId::to_bytes);
            let beyond = beyond.as_ref().map(<[u8; 16]>::as_slice);
            let scan = Scan { prefix: &[], beyond, order: Order::Descending, limit: MOST_READ };
            let all = records.scan(Table::Events, scan)?;
            let looked_at_all = all.len() < MOST_READ;
            let (mut page, mut seen) = (EventPage::default(), None);
            for (at, (_, row)) in all.iter().enumerate() {
                let row = row_of(row)?;
                seen = Some(row.id);
                if fits(&row) {
                    page.rows.push(row);
                }
                if page.rows.len() >= limit {
                    let is_last = looked_at_all && at + 1 == all.len();
                    page.next = seen.filter(|_| !is_last);
                    return Ok(page);
                }
            }
            page.next = seen.filter(|_| !looked_at_all);
            Ok(page)
        });
        read.await
    }

    /// What an accepted event said.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn event_body(&self, id: TimedId) -> Result<Option<Vec<u8>>, ReadError> {
        let read =
            self.journal.read(move |records| records.get(Table::EventBodies, &id.to_bytes()));
        if let Some(body) = read.await? {
            return Ok(Some(body));
        }
        // A worker may hold an event whose commit still waits for the writer: look behind it.
        let behind = self.journal.transact(move |records| {
            records.get(Table::EventBodies, &id.to_bytes()).map(|body| (body, Vec::new()))
        });
        behind.await.map_err(|error| ReadError(error.to_string()))?
    }

    /// Puts a dead letter back in line, once however many ask at once. What `beside` finds to
    /// write is committed with it. The answer comes when it is on disk.
    ///
    /// # Errors
    /// [`NotRedelivered`]; nothing has changed then, unless it is
    /// [`NotRedelivered::Unavailable`].
    pub async fn redeliver(
        &self,
        id: TimedId,
        beside: impl FnOnce(&dyn Records) -> Result<Vec<RecordWrite>, ReadError> + Send + 'static,
    ) -> Result<(), NotRedelivered> {
        let _one_at_a_time = self.redelivering.lock().await;
        let found = self.journal.transact(move |records| {
            let row = records.get(Table::Events, &id.to_bytes())?;
            let row = row.as_deref().map(row_of).transpose()?;
            Ok::<_, ReadError>(((row, beside(records)?), Vec::new()))
        });
        let (row, writes) = found.await??;
        let row = row.ok_or(NotRedelivered::Unknown)?;
        let answer = self.queue.ask(Command::Redeliver(Box::new(row), writes)).await?;
        let Answer::Redelivered(answer) = answer else { return Err(AskError::Crashed.into()) };
        match answer {
            Redelivery::Queued => {
                self.work.notify_one();
                Ok(())
            }
            Redelivery::NotDead => Err(NotRedelivered::NotDead),
            Redelivery::Full => Err(NotRedelivered::Full),
        }
    }
}

fn row_of(row: &[u8]) -> Result<EventRow, ReadError> {
    serde_json::from_slice(row).map_err(|error| ReadError(error.to_string()))
}
