//! The way to the disk: one writer that alone makes, owns and reopens the store.
//!
//! Whatever waits when the writer is free is one group: applied in order, made durable by one flush
//! and one fsync, and only then answered. If a group fails, everything in it is answered
//! `NotDurable`, its machines' incarnations are fenced off, and the store is dropped and opened
//! anew by the next group, for an engine may answer one failed write for ever.
//!
//! The queue is bounded; whoever finds it full has changed nothing yet and says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sendcat_state::machine::{ReadError, RecordWrite, Records};
use sendcat_state::snapshot::{self, SnapshotError};
use sendcat_state::store::{Commit, JournalRecord, Store, StoreError};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::clock::SharedClock;
use crate::failure::AskError;
use crate::machine::Machine;
use crate::observe::{Status, Vitals};

/// Jobs that may wait for the disk.
const QUEUE_CAP: usize = 8192;

/// Jobs that share one fsync: past 128 the wait grows faster than the rate.
const GROUP: usize = 128;

/// How long a caller waits for the disk.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// The shortest time between two attempts to open the store.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// The snapshot that holds the newest time that was told.
const CLOCK: &str = "clock";

/// Makes the store, again after each failure.
pub type StoreFactory = Box<dyn FnMut() -> Result<Box<dyn Store>, StoreError> + Send>;

/// A commit that reached no disk: it may come true or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDurable;

/// Called with what came of a commit, on the writer's thread.
type Done = Box<dyn FnOnce(Result<(), NotDurable>) + Send>;

/// What a transaction decided: what to write, and whom to tell when that is durable.
pub(crate) struct Transaction {
    writes: Vec<RecordWrite>,
    done: Done,
}

enum Job {
    Append(Append, Done),
    Transact(Box<dyn FnOnce(&dyn Records) -> Transaction + Send>),
    Save(Snapshot),
    Load(Load),
}

/// A machine that wants to be read back; incarnations before its own may write no more (SV-3).
struct Load {
    machine: Arc<str>,
    incarnation: u64,
    to: oneshot::Sender<Result<Loaded, StoreError>>,
}

/// A change of a journalled machine, or its wait for what it appended before.
pub(crate) struct Append {
    /// What to write; empty if only the wait matters.
    pub(crate) commit: Commit,
    /// Which machine.
    pub(crate) machine: Arc<str>,
    /// Its incarnation; a fenced one is refused.
    pub(crate) incarnation: u64,
}

/// A machine's saved form, sealed on the writer's thread.
pub(crate) struct Snapshot {
    pub(crate) machine: Arc<str>,
    pub(crate) incarnation: u64,
    pub(crate) seal: Box<dyn FnOnce(u64) -> Vec<u8> + Send>,
    /// Whether the journal behind it is needed no more.
    pub(crate) cuts_journal: bool,
    /// Called if it reached no disk.
    pub(crate) unsaved: Box<dyn FnOnce() + Send>,
}

/// What a machine is built from.
struct Loaded {
    snapshot: Option<Vec<u8>>,
    changes: Vec<JournalRecord>,
}

/// A machine read back: its snapshot, and every change since.
pub(crate) struct Built<M: Machine> {
    pub(crate) base: Option<M>,
    pub(crate) changes: Vec<M::Change>,
}

/// Why a machine could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The journal's queue is full or its thread is gone.
    #[error("the journal does not answer")]
    Unavailable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot is not this machine's, or not of a known version.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A change in the journal is not one of this machine's.
    #[error("journal record {seq}: {reason}")]
    Change {
        /// The record.
        seq: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The handle on the writer. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

struct Shared {
    vitals: Arc<Vitals>,
    reader: Mutex<Option<Arc<dyn Records + Send + Sync>>>,
    state: Mutex<JournalState>,
}

/// How the disk stands, for readiness and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    /// Since when nothing could be written; `None` while all is well.
    pub failing_since: Option<Timestamp>,
    /// The last failure.
    pub last_error: Option<String>,
    /// Groups committed.
    pub groups: u64,
    /// Commits in them.
    pub commits: u64,
    /// Bytes on disk after the last snapshot.
    pub size_on_disk: u64,
}

/// Room for one job in the queue, taken before anything changes.
pub(crate) struct Room<'a> {
    permit: mpsc::Permit<'a, Job>,
    shared: &'a Shared,
}

impl Room<'_> {
    pub(crate) fn append(
        self,
        append: Append,
        done: impl FnOnce(Result<(), NotDurable>) + Send + 'static,
    ) {
        self.shared.vitals.enter(Timestamp::ZERO);
        self.permit.send(Job::Append(append, Box::new(done)));
    }
}

impl Journal {
    /// A journal and its writer, which has opened nothing yet.
    /// `journalled` names every machine whose changes it will hold: the journal is cut only behind
    /// the snapshots of all of them.
    pub(crate) fn new(
        factory: StoreFactory,
        clock: SharedClock,
        journalled: &[&str],
    ) -> (Self, Writer) {
        let (jobs, queue) = mpsc::channel(QUEUE_CAP);
        let shared = Arc::new(Shared {
            vitals: Arc::new(Vitals::new("journal")),
            reader: Mutex::new(None),
            state: Mutex::new(JournalState::default()),
        });
        let writer = Writer {
            queue,
            shared: Arc::clone(&shared),
            clock,
            factory,
            store: None,
            tried_at: None,
            fenced: HashMap::new(),
            saved_seq: journalled.iter().map(|name| (Arc::from(*name), 0)).collect(),
            unsynced: false,
        };
        (Self { jobs, shared }, writer)
    }

    pub(crate) fn room(&self) -> Result<Room<'_>, AskError> {
        let permit = self.jobs.try_reserve().map_err(|_| AskError::Overloaded)?;
        Ok(Room { permit, shared: &self.shared })
    }

    pub(crate) fn save(&self, snapshot: Snapshot) -> Result<(), AskError> {
        let permit = self.jobs.try_reserve().map_err(|_| AskError::Overloaded)?;
        self.shared.vitals.enter(Timestamp::ZERO);
        permit.send(Job::Save(snapshot));
        Ok(())
    }

    /// Runs rules over records on the writer's thread, alone, and writes what they decide. The
    /// answer comes when it is durable; rules that refuse write nothing.
    ///
    /// # Errors
    /// [`AskError::Overloaded`] if the queue is full, [`AskError::NotDurable`] if the disk failed,
    /// [`AskError::Timeout`] if it did not answer in time: of the last two nobody knows the outcome.
    pub async fn transact<T, E, F>(&self, rules: F) -> Result<Result<T, E>, AskError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), E> + Send + 'static,
    {
        let (to, answer) = oneshot::channel();
        let run = Box::new(move |records: &dyn Records| {
            let (result, writes) = match rules(records) {
                Ok((value, writes)) => (Ok(value), writes),
                Err(refusal) => (Err(refusal), Vec::new()),
            };
            let done = Box::new(move |outcome: Result<(), NotDurable>| {
                drop(to.send(outcome.map(|()| result)));
            });
            Transaction { writes, done }
        });
        self.post(Job::Transact(run))?;
        match tokio::time::timeout(COMMIT_DEADLINE, answer).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(NotDurable))) => Err(AskError::NotDurable),
            // The rules panicked and their answer was dropped.
            Ok(Err(_)) => Err(AskError::Crashed),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// Reads records away from the writer and from every actor's thread.
    ///
    /// # Errors
    /// [`ReadError`] if the store is not open or cannot be read.
    pub async fn read<T, F>(&self, of: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Records) -> Result<T, ReadError> + Send + 'static,
    {
        let reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reader = reader.ok_or_else(|| ReadError("the store is not open".into()))?;
        let reading = tokio::task::spawn_blocking(move || of(reader.as_ref()));
        match tokio::time::timeout(COMMIT_DEADLINE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(ReadError("reading panicked".into())),
            Err(_) => Err(ReadError("the store did not answer in time".into())),
        }
    }

    /// Reads a machine back: its snapshot, and every change since.
    pub(crate) async fn load<M: Machine>(
        &self,
        name: &str,
        incarnation: u64,
    ) -> Result<Built<M>, LoadError> {
        let (to, answer) = oneshot::channel();
        let load = Load { machine: Arc::from(name), incarnation, to };
        self.post(Job::Load(load)).map_err(|_| LoadError::Unavailable)?;
        let Loaded { snapshot, changes } = answer.await.map_err(|_| LoadError::Unavailable)??;
        let (seq, base) = match snapshot {
            Some(sealed) => {
                let (seq, base) = snapshot::open::<M>(M::KIND, &sealed)?;
                (seq, Some(base))
            }
            None => (0, None),
        };
        let since = changes.into_iter().filter(|record| record.seq > seq);
        let decode = |record: JournalRecord| {
            serde_json::from_slice(&record.change.change)
                .map_err(|error| LoadError::Change { seq: record.seq, reason: error.to_string() })
        };
        let changes = since.map(decode).collect::<Result<Vec<M::Change>, LoadError>>()?;
        Ok(Built { base, changes })
    }

    /// How the disk stands.
    pub fn state(&self) -> JournalState {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is seen of the writer from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.shared.vitals
    }

    fn post(&self, job: Job) -> Result<(), AskError> {
        let permit = self.jobs.try_reserve().map_err(|_| AskError::Overloaded)?;
        self.shared.vitals.enter(Timestamp::ZERO);
        permit.send(job);
        Ok(())
    }
}

/// The one writer. On a thread of its own in a serving process; a task among others in a test.
pub(crate) struct Writer {
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    clock: SharedClock,
    factory: StoreFactory,
    store: Option<Box<dyn Store>>,
    tried_at: Option<Timestamp>,
    /// The lowest incarnation of each machine that may still write.
    fenced: HashMap<Arc<str>, u64>,
    /// Up to which record each journalled machine's snapshot holds.
    saved_seq: HashMap<Arc<str>, u64>,
    /// Whether something was applied that no sync has covered.
    unsynced: bool,
}

impl Writer {
    /// Opens the store for the first time and tells the clock how late it was.
    ///
    /// # Errors
    /// [`StoreError`]: the process cannot start without its store.
    pub(crate) fn open(&mut self) -> Result<(), StoreError> {
        self.try_open()?;
        self.shared.vitals.next_incarnation();
        self.shared.vitals.set_status(Status::Running);
        Ok(())
    }

    /// Works until every handle is gone, on a thread of its own.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            self.work_off(first);
        }
        self.close();
    }

    /// The same as a task.
    pub(crate) async fn run_local(mut self) {
        while let Some(first) = self.queue.recv().await {
            self.work_off(first);
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(store) = &mut self.store {
            if let Err(error) = store.sync() {
                tracing::error!(%error, "the last writes may not be on disk");
            }
        }
        self.store = None;
        self.shared.vitals.set_status(Status::Stopped);
    }

    fn work_off(&mut self, first: Job) {
        let now = self.clock.now();
        self.shared.vitals.step_begins(now, now);
        let mut group = Vec::with_capacity(GROUP);
        group.push(first);
        while group.len() < GROUP {
            match self.queue.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let size = group.len();
        self.commit(group);
        for _ in 0..size {
            self.shared.vitals.leave();
        }
        self.shared.vitals.step_ends();
    }

    /// Applies a group in order, makes it durable, and answers.
    fn commit(&mut self, group: Vec<Job>) {
        let mut waiting: Vec<Done> = Vec::with_capacity(group.len());
        let mut writers: Vec<(Arc<str>, u64)> = Vec::new();
        let (mut loads, mut saves) = (Vec::new(), Vec::new());
        let mut failure = self.ready().err();
        for job in group {
            match job {
                Job::Append(append, done) => {
                    if self.is_fenced(&append.machine, append.incarnation) {
                        done(Err(NotDurable));
                        continue;
                    }
                    writers.push((append.machine, append.incarnation));
                    waiting.push(done);
                    if failure.is_none() && append.commit != Commit::default() {
                        failure = self.apply(&append.commit).err();
                    }
                }
                Job::Transact(run) => {
                    let ran = self.transact(run, failure.is_none());
                    match ran {
                        Ok(Transaction { writes, done }) => {
                            waiting.push(done);
                            let commit = Commit { change: None, writes };
                            if failure.is_none() && commit != Commit::default() {
                                failure = self.apply(&commit).err();
                            }
                        }
                        Err(unreadable) => failure = failure.or(unreadable),
                    }
                }
                Job::Save(mut snapshot) => {
                    saves.push(std::mem::replace(&mut snapshot.unsaved, Box::new(|| {})));
                    if failure.is_none() {
                        failure = self.save(snapshot).err();
                    }
                }
                Job::Load(load) => loads.push(load),
            }
        }
        let failure = failure.or_else(|| self.sync().err());
        self.note(waiting.len(), failure.as_ref());
        if let Some(error) = failure {
            self.fail(&writers, &error);
            waiting.into_iter().for_each(|done| done(Err(NotDurable)));
            saves.into_iter().for_each(|unsaved| unsaved());
        } else {
            waiting.into_iter().for_each(|done| done(Ok(())));
        }
        // What is read back is on disk: reading comes after the group, and of a failed one nothing.
        for load in loads {
            self.fence(&load.machine, load.incarnation);
            let loaded = self.ready().and_then(|()| self.read_back(&load.machine));
            drop(load.to.send(loaded));
        }
    }

    /// Runs one transaction's rules. `Err(None)`: they panicked, and their caller knows by the
    /// answer that never comes; the store is as it was.
    fn transact(
        &self,
        run: Box<dyn FnOnce(&dyn Records) -> Transaction + Send>,
        usable: bool,
    ) -> Result<Transaction, Option<StoreError>> {
        let store = self.store.as_ref().filter(|_| usable);
        let closed = Closed;
        let reader = store.map(|store| store.reader());
        let records: &dyn Records = reader.as_deref().map_or(&closed, |reader| reader);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(records)));
        ran.map_err(|payload| {
            let panic = crate::observe::CaughtPanic::of(payload.as_ref());
            self.shared.vitals.note_panic(self.clock.now(), "transact", panic);
            None
        })
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let store = self.store.as_mut().ok_or_else(not_open)?;
        self.unsynced = true;
        store.apply(std::slice::from_ref(commit)).map(|_| ())
    }

    /// Makes durable what was applied; a group of mere waits costs no fsync.
    fn sync(&mut self) -> Result<(), StoreError> {
        if self.unsynced {
            self.store.as_mut().ok_or_else(not_open)?.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn save(&mut self, snapshot: Snapshot) -> Result<(), StoreError> {
        if self.is_fenced(&snapshot.machine, snapshot.incarnation) {
            return Ok(());
        }
        let now = self.clock.now();
        let store = self.store.as_mut().ok_or_else(not_open)?;
        let seq = store.last_seq();
        self.unsynced = true;
        store.put_snapshot(&snapshot.machine, &(snapshot.seal)(seq))?;
        store.put_snapshot(CLOCK, &snapshot::seal(CLOCK, seq, &now))?;
        if snapshot.cuts_journal {
            // One sync makes the snapshot durable before what it replaces is cut.
            store.sync()?;
            self.saved_seq.insert(snapshot.machine, seq);
            let upto = self.saved_seq.values().copied().min().unwrap_or(0);
            store.cut_journal(upto)?;
        }
        let size = store.size_on_disk();
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).size_on_disk = size;
        Ok(())
    }

    fn read_back(&self, name: &str) -> Result<Loaded, StoreError> {
        // What is read back must be on disk already, and of this machine alone.
        let store = self.store.as_ref().ok_or_else(not_open)?;
        let snapshot = store.snapshot(name)?;
        let all = store.journal_after(0)?;
        let changes = all.into_iter().filter(|record| record.change.machine == name).collect();
        Ok(Loaded { snapshot, changes })
    }

    fn is_fenced(&self, machine: &str, incarnation: u64) -> bool {
        self.fenced.get(machine).is_some_and(|lowest| incarnation < *lowest)
    }

    /// Fences off whoever wrote in a failed group, and drops the store.
    fn fail(&mut self, writers: &[(Arc<str>, u64)], error: &StoreError) {
        for (machine, incarnation) in writers {
            self.fence(machine, incarnation + 1);
        }
        tracing::error!(%error, "the store failed and is opened anew");
        self.set_reader(None);
        self.store = None;
        self.unsynced = false;
    }

    fn fence(&mut self, machine: &Arc<str>, lowest_allowed: u64) {
        let lowest = self.fenced.entry(Arc::clone(machine)).or_default();
        *lowest = (*lowest).max(lowest_allowed);
    }

    /// Makes sure that the store is open; tries again only after a while.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.store.is_some() {
            return Ok(());
        }
        let now = self.clock.now();
        if self.tried_at.is_some_and(|tried| tried.until(now) < REOPEN_AFTER) {
            return Err(not_open());
        }
        self.try_open()
    }

    fn try_open(&mut self) -> Result<(), StoreError> {
        self.tried_at = Some(self.clock.now());
        let store = (self.factory)()?;
        if let Some(sealed) = store.snapshot(CLOCK)? {
            if let Ok((_, newest)) = snapshot::open::<Timestamp>(CLOCK, &sealed) {
                self.clock.not_before(newest);
            }
        }
        self.set_reader(Some(store.reader()));
        self.store = Some(store);
        Ok(())
    }

    fn set_reader(&self, reader: Option<Arc<dyn Records + Send + Sync>>) {
        *self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
    }

    fn note(&self, commits: usize, failure: Option<&StoreError>) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => {
                state.failing_since = None;
                state.groups += 1;
                state.commits += commits as u64;
            }
            Some(error) => {
                state.failing_since.get_or_insert(self.clock.now());
                state.last_error = Some(error.to_string());
            }
        }
    }
}

fn not_open() -> StoreError {
    StoreError::Io("the store is not open".into())
}

/// Records of a store that is not open.
struct Closed;

impl Records for Closed {
    fn get(
        &self,
        _: sendcat_state::machine::Table,
        _: &[u8],
    ) -> Result<Option<Vec<u8>>, ReadError> {
        Err(ReadError("the store is not open".into()))
    }

    fn scan(
        &self,
        _: sendcat_state::machine::Table,
        _: sendcat_state::machine::Scan<'_>,
    ) -> Result<Vec<sendcat_state::machine::Entry>, ReadError> {
        Err(ReadError("the store is not open".into()))
    }
}
