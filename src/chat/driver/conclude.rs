//! The end of an answer, and what of it is on disk before: parts noted while it runs, the message
//! and the stream of its key when it is over.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::stream_log::AnswerWriter;
use sendcat_state::machine::{ReadError, RecordWrite, Records};
use sendcat_state::saved_answers::{self, SentParts};
use sendcat_state::threads::{self, Message, ThreadRefusal};

use super::{Driver, of_code};
use crate::chat::cut::{kept_stream, message_of};
use crate::chat::engine::Parts;
use crate::chat::turn::{Ending, Turn};
use crate::contract::code::ErrorCode;
use crate::contract::ui_stream::{DONE, Part};

/// How often what was sent is noted: a process that dies loses no more of an answer.
const NOTE_EVERY: Duration = Duration::from_millis(250);

/// Notes what an answer sends, for as long as it is polled.
pub(super) async fn note(parts: Arc<Parts>, writer: Arc<AnswerWriter>, mut sent: SentParts) {
    let (id, mut from) = (writer.id(), 0);
    for number in 0.. {
        let new = loop {
            tokio::time::sleep(NOTE_EVERY).await;
            let new = writer.parts_from(from);
            if !new.is_empty() {
                break new;
            }
        };
        from += new.len();
        sent.parts = new.iter().map(ToString::to_string).collect();
        let row = saved_answers::note(id, number, &sent);
        // Nobody waits for a note, but one at a time is enough for a slow disk.
        let noted = parts.journal.transact(move |_| Ok::<_, ()>(((), vec![row])));
        if let Err(error) = noted.await {
            tracing::warn!(%error, "parts of an answer were not noted");
        }
    }
}

impl Driver {
    /// Stores the answer, then writes its last parts, or tells its caller why there is none.
    pub(super) async fn conclude(mut self, ending: Ending) {
        let cut_by = match &ending {
            Ending::Failed(failure) => Some(failure.code.to_owned()),
            Ending::Finished(_)
            | Ending::Aborted
            | Ending::FailedBeforeContent(_)
            | Ending::AbortedBeforeContent => None,
        };
        let failed = match ending {
            Ending::FailedBeforeContent(failure) => Some(failure),
            Ending::AbortedBeforeContent if self.told_to_stop => Some(of_code(ErrorCode::Conflict)),
            // Nobody is there any more, or the process ends.
            Ending::AbortedBeforeContent => Some(of_code(ErrorCode::Overloaded)),
            Ending::Finished(_) | Ending::Failed(_) | Ending::Aborted => None,
        };
        if let Some(failure) = failed {
            if let Some(started) = self.started.take() {
                let _ = started.send(Err(failure));
            }
            return;
        }
        let closing = std::mem::take(&mut self.closing);
        let last: Vec<Arc<str>> = match closing.is_empty() {
            true => Vec::new(),
            false => closing.iter().map(Part::to_sse).map(Arc::from).chain([DONE.into()]).collect(),
        };
        let turn = std::mem::replace(&mut self.turn, Turn::new(self.opening.clone()));
        if let Some(answer) = turn.into_answer() {
            self.writer.settle();
            let now = self.engine.parts.clock.now();
            let message = Message { code: cut_by, ..message_of(answer, now) };
            self.store(message, &last).await;
        }
        self.writer.write_closing(last);
        if let Some(started) = self.started.take() {
            let _ = started.send(Ok(()));
        }
    }

    async fn store(&self, message: Message, last: &[Arc<str>]) {
        let now = self.engine.parts.clock.now();
        let (owner, thread_id, id) = (self.owner.clone(), self.thread_id.clone(), self.writer.id());
        let keyed = self.asking.as_ref().map(|asking| {
            let stream: Vec<_> = [self.writer.parts_from(0).as_slice(), last].concat();
            (asking.asked.clone(), kept_stream(&asking.asked, &stream, now))
        });
        let stored = self.engine.parts.journal.transact(move |records| {
            let noted = |records: &dyn Records| -> Result<Vec<RecordWrite>, ReadError> {
                let mut writes = saved_answers::forget(records, id)?;
                if let Some((asked, kept)) = &keyed {
                    writes.extend(saved_answers::keep_stream(records, now, &asked.key, kept)?);
                }
                Ok(writes)
            };
            let mut writes = noted(records)?;
            // A thread that was deleted meanwhile keeps no answer.
            let appended = threads::append_answer(records, now, &owner, &thread_id, &message);
            let refused = match appended {
                Ok(((), stored)) => {
                    writes.extend(stored);
                    None
                }
                Err(refusal) => Some(refusal),
            };
            Ok::<_, ThreadRefusal>((refused, writes))
        });
        let why = match stored.await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(refusal)) | Err(refusal)) => refusal.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(thread = %self.thread_id, why, "an answer was not stored");
    }
}
