//! Running answers and their logs.
//!
//! The task of a turn is the one writer of its answer's log; every HTTP response is a reader of it,
//! from the start or from where it left off. When the last reader goes, the writer learns it and
//! ends the turn, unless it was told to finish. Which answers run is the actor's to know; the parts
//! themselves go from writer to readers without passing a mailbox.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sendcat_state::key::TimedId;
use sendcat_state::live_answers::{LiveAnswers, LiveChange, Opened};
use sendcat_state::machine::Decision;
use sendcat_state::stream_log::{Append, StreamLog};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::watch;

use crate::failure::AskError;
use crate::handle::{Around, Handle};
use crate::machine::{Class, Machine};
use crate::supervisor::Subtree;

/// What the actor is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// An answer begins in a thread.
    Open(String, TimedId),
    /// It ended.
    Close(String, TimedId),
    /// Which runs, the newest of a thread?
    Newest(String),
    /// Does this one run in that thread?
    Runs(String, TimedId),
}

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::Open`].
    Opened(Opened, String, TimedId),
    /// To [`Command::Newest`].
    Newest(Option<TimedId>),
    /// To [`Command::Runs`].
    Runs(bool),
    /// To all else.
    Noted,
}

impl Machine for LiveAnswers {
    type Command = Command;
    type Answer = Answer;
    type Change = LiveChange;
    type Rules = ();
    type View = usize;

    const KIND: &'static str = "live_answers";
    const CLASS: Class = Class::Passing;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(&self, _: Timestamp, (): &(), command: Command) -> Decision<Answer, LiveChange> {
        match command {
            Command::Open(thread_id, answer) => self
                .open(&thread_id, answer)
                .map(|opened| Answer::Opened(opened, thread_id, answer)),
            Command::Close(thread_id, answer) => {
                self.close(&thread_id, answer).map(|()| Answer::Noted)
            }
            Command::Newest(thread_id) => {
                Decision::unchanged(Answer::Newest(self.newest(&thread_id)))
            }
            Command::Runs(thread_id, answer) => {
                Decision::unchanged(Answer::Runs(self.runs(&thread_id, answer)))
            }
        }
    }

    fn undo(answer: Answer) -> Option<Command> {
        match answer {
            Answer::Opened(Opened::Running, thread_id, answer) => {
                Some(Command::Close(thread_id, answer))
            }
            Answer::Opened(Opened::TooMany, ..)
            | Answer::Newest(_)
            | Answer::Runs(_)
            | Answer::Noted => None,
        }
    }

    fn view(&self, _: Timestamp) -> usize {
        self.count()
    }
}

/// How far a log has come; readers wait for it to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    parts: usize,
    ended: bool,
}

struct AnswerLog {
    log: Mutex<StreamLog>,
    progress: watch::Sender<Progress>,
    /// Whether somebody told the answer to stop.
    stop: watch::Sender<bool>,
    /// Whether it is being stored, so that nobody may take it up any more.
    settling: AtomicBool,
}

impl AnswerLog {
    fn new(log: StreamLog) -> Arc<Self> {
        let (progress, _) = watch::channel(Progress { parts: log.len(), ended: log.has_ended() });
        let (stop, _) = watch::channel(false);
        let (log, settling) = (Mutex::new(log), AtomicBool::new(false));
        Arc::new(Self { log, progress, stop, settling })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StreamLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who writes an answer. Dropping it ends the answer.
pub struct AnswerWriter {
    id: TimedId,
    thread_id: String,
    answer: Arc<AnswerLog>,
    answers: Answers,
}

impl AnswerWriter {
    /// The answer's identifier.
    pub fn id(&self) -> TimedId {
        self.id
    }

    /// Writes parts, in order, as one step to readers. [`Append::Full`] says that the answer has
    /// outgrown its log and must be closed; parts before the one that did not fit were kept.
    pub fn write(&self, parts: impl IntoIterator<Item = Arc<str>>) -> Append {
        self.append(parts, StreamLog::append)
    }

    /// Writes the parts that close the answer; there is room for them also in a full log.
    pub fn write_closing(&self, parts: impl IntoIterator<Item = Arc<str>>) -> Append {
        self.append(parts, StreamLog::append_closing)
    }

    fn append(
        &self,
        parts: impl IntoIterator<Item = Arc<str>>,
        append: fn(&mut StreamLog, Arc<str>) -> Append,
    ) -> Append {
        let mut log = self.answer.lock();
        let mut outcome = Append::Kept;
        for part in parts {
            outcome = append(&mut log, part);
            if outcome != Append::Kept {
                break;
            }
        }
        let parts = log.len();
        drop(log);
        self.answer.progress.send_modify(|progress| progress.parts = parts);
        outcome
    }

    /// Resolves when no reader is left.
    pub fn abandoned(&self) -> impl Future<Output = ()> + Send + use<> {
        let answer = Arc::clone(&self.answer);
        async move { answer.progress.closed().await }
    }

    /// Resolves when somebody told the answer to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let answer = Arc::clone(&self.answer);
        async move {
            // The sender lives in the log that is held here, so waiting cannot fail.
            let mut told = answer.stop.subscribe();
            drop(told.wait_for(|told| *told).await);
        }
    }

    /// Says that the answer is about to be stored: whoever would take it up from now on waits, and
    /// finds it stored instead.
    pub fn settle(&self) {
        self.answer.settling.store(true, Ordering::Release);
    }

    /// The parts from number `from` on.
    pub fn parts_from(&self, from: usize) -> Vec<Arc<str>> {
        self.answer.lock().read(from, usize::MAX).to_vec()
    }

    /// Another reader, from the start.
    pub fn reader(&self) -> AnswerReader {
        AnswerReader::of(&self.answer)
    }
}

/// A way to an answer for as long as it runs or is read.
#[derive(Clone)]
pub struct AnswerLink(Weak<AnswerLog>);

impl AnswerLink {
    /// A reader, from the start; `None` if the answer is over and nobody reads it.
    pub fn reader(&self) -> Option<AnswerReader> {
        self.0.upgrade().map(|answer| AnswerReader::of(&answer))
    }
}

impl Drop for AnswerWriter {
    fn drop(&mut self) {
        self.answer.lock().end();
        self.answer.progress.send_modify(|progress| progress.ended = true);
        self.answers.forget(&self.thread_id, self.id);
    }
}

/// One who reads an answer from its start.
pub struct AnswerReader {
    answer: Arc<AnswerLog>,
    progress: watch::Receiver<Progress>,
    at: usize,
}

impl AnswerReader {
    fn of(answer: &Arc<AnswerLog>) -> Self {
        let progress = answer.progress.subscribe();
        Self { answer: Arc::clone(answer), progress, at: 0 }
    }

    /// A way to the same answer that is no reader: it keeps nothing running.
    pub fn link(&self) -> AnswerLink {
        AnswerLink(Arc::downgrade(&self.answer))
    }

    /// A reader of an answer that is over, of which these parts are all.
    pub fn replay(parts: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut log = StreamLog::new(usize::MAX);
        for part in parts {
            log.append(part);
        }
        log.end();
        Self::of(&AnswerLog::new(log))
    }

    /// The next parts: all that are there, up to `most_bytes` and at least one. Waits for the
    /// first; `None` when the answer has ended. Cancel-safe.
    pub async fn next(&mut self, most_bytes: usize) -> Option<Vec<Arc<str>>> {
        let seen = self.at;
        // The sender lives in the log that this reader holds, so waiting cannot fail.
        let waited = self.progress.wait_for(|to| to.parts > seen || to.ended).await;
        drop(waited);
        self.ready(most_bytes)
    }

    /// Waits until the answer has begun; `false` if it ended without a part. Cancel-safe.
    pub async fn begun(&mut self) -> bool {
        // As in `next`, waiting cannot fail.
        let waited = self.progress.wait_for(|to| to.parts > 0 || to.ended).await;
        waited.is_ok_and(|to| to.parts > 0)
    }

    /// The next parts if there are any already.
    pub fn ready(&mut self, most_bytes: usize) -> Option<Vec<Arc<str>>> {
        let parts = self.answer.lock().read(self.at, most_bytes).to_vec();
        self.at += parts.len();
        (!parts.is_empty()).then_some(parts)
    }
}

/// Why an answer could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too many run in that thread.
    #[error("too many answers run in this thread")]
    TooMany,
    /// The actor gave no answer.
    #[error(transparent)]
    Unavailable(#[from] AskError),
}

/// The handle on the running answers.
#[derive(Clone)]
pub struct Answers {
    registry: Handle<LiveAnswers>,
    logs: Arc<Mutex<HashMap<TimedId, Weak<AnswerLog>>>>,
}

impl Answers {
    pub(crate) fn new(subtree: &Arc<Subtree>, around: &Around) -> Self {
        let registry = Handle::new("stream_log", subtree, around, (), LiveAnswers::default());
        Self { registry, logs: Arc::default() }
    }

    /// Begins an answer in a thread, with a log of at most `limit_bytes`.
    ///
    /// # Errors
    /// [`OpenError`] says why not.
    pub async fn open(
        &self,
        thread_id: &str,
        id: TimedId,
        limit_bytes: usize,
    ) -> Result<AnswerWriter, OpenError> {
        let opened = self.registry.ask(Command::Open(thread_id.to_owned(), id)).await?;
        if matches!(opened, Answer::Opened(Opened::TooMany, ..)) {
            return Err(OpenError::TooMany);
        }
        let answer = AnswerLog::new(StreamLog::new(limit_bytes));
        self.logs().insert(id, Arc::downgrade(&answer));
        let (thread_id, answers) = (thread_id.to_owned(), self.clone());
        Ok(AnswerWriter { id, thread_id, answer, answers })
    }

    /// A reader of the newest running answer of a thread; `None` if none runs. One that is being
    /// stored is waited for: it is then stored, and no longer here.
    ///
    /// # Errors
    /// [`AskError`] if the actor gave no answer.
    pub async fn resume(&self, thread_id: &str) -> Result<Option<AnswerReader>, AskError> {
        loop {
            let Some((_, answer)) = self.newest(thread_id).await? else { return Ok(None) };
            if !answer.settling.load(Ordering::Acquire) {
                return Ok(Some(AnswerReader::of(&answer)));
            }
            let mut progress = answer.progress.subscribe();
            drop(progress.wait_for(|to| to.ended).await);
            // Its writer has told the actor, or is about to; what is asked next comes after.
            tokio::task::yield_now().await;
        }
    }

    /// Tells an answer of a thread to stop: the newest, or the one of that identifier. `false` if
    /// it does not run.
    ///
    /// # Errors
    /// [`AskError`] if the actor gave no answer.
    pub async fn stop(&self, thread_id: &str, id: Option<TimedId>) -> Result<bool, AskError> {
        let answer = match id {
            None => self.newest(thread_id).await?.map(|(_, answer)| answer),
            Some(id) => self.runs(thread_id, id).await?.then(|| self.log(id)).flatten(),
        };
        let answer = answer.filter(|answer| !answer.settling.load(Ordering::Acquire));
        if let Some(answer) = &answer {
            answer.stop.send_replace(true);
        }
        Ok(answer.is_some())
    }

    async fn newest(&self, thread_id: &str) -> Result<Option<(TimedId, Arc<AnswerLog>)>, AskError> {
        let newest = self.registry.ask(Command::Newest(thread_id.to_owned())).await?;
        let Answer::Newest(Some(id)) = newest else { return Ok(None) };
        Ok(self.log(id).map(|answer| (id, answer)))
    }

    async fn runs(&self, thread_id: &str, id: TimedId) -> Result<bool, AskError> {
        let runs = self.registry.ask(Command::Runs(thread_id.to_owned(), id)).await?;
        Ok(matches!(runs, Answer::Runs(true)))
    }

    fn log(&self, id: TimedId) -> Option<Arc<AnswerLog>> {
        self.logs().get(&id).and_then(Weak::upgrade)
    }

    /// How many answers run, as last published.
    pub fn running(&self) -> usize {
        *self.registry.view()
    }

    /// The actor.
    pub fn actor(&self) -> &Handle<LiveAnswers> {
        &self.registry
    }

    fn forget(&self, thread_id: &str, id: TimedId) {
        self.logs().remove(&id);
        self.registry.tell(Command::Close(thread_id.to_owned(), id));
    }

    fn logs(&self) -> std::sync::MutexGuard<'_, HashMap<TimedId, Weak<AnswerLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
