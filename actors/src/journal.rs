//! The way to the disk: one writer that alone makes, owns and reopens the store.
//!
//! Whatever waits when the writer is free is one group: applied in order, made durable by one flush
//! and one fsync, and only then answered. If a group fails, everything in it is answered
//! `NotDurable`, its machines' incarnations are fenced off, and the store is dropped and opened
//! anew by the next group, for an engine may answer one failed write for ever.
//!
//! The queue is bounded; whoever finds it full has changed nothing yet and says so. After a failure
//! the supervisor has the writer try a write of its own ([`Journal::probe`]), so that a disk that
//! has come back is found also by a process that nobody asks for anything.

mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sendcat_state::machine::{ReadError, RecordWrite, Records};
use sendcat_state::snapshot::{self, SnapshotError};
use sendcat_state::store::{Commit, JournalRecord, Store, StoreError};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::clock::SharedClock;
use crate::failure::AskError;
use crate::faults::FaultBoard;
use crate::machine::Machine;
use crate::observe::Vitals;
pub(crate) use writer::Writer;

/// Jobs that may wait for the disk.
const QUEUE_CAP: usize = 8192;

/// How long a caller waits for the disk.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

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

/// Rules over records, run alone on the writer's thread.
type Rules = Box<dyn FnOnce(&dyn Records) -> Transaction + Send>;

enum Job {
    Append(Append, Done),
    Transact(Rules),
    Save(Snapshot),
    Load(Load),
    /// A write that says nothing but whether writing works.
    Probe,
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
    /// Raised if it does not reach the disk: it is to be saved again.
    pub(crate) failed: Arc<AtomicBool>,
}

/// What a machine is built from.
struct Loaded {
    snapshot: Option<Vec<u8>>,
    changes: Vec<JournalRecord>,
}

/// A machine read back: its snapshot, and every change since with its number.
pub(crate) struct Built<M: Machine> {
    pub(crate) base: Option<M>,
    /// Whether there is a snapshot and it cannot be read: the changes are without their base then.
    pub(crate) unreadable: bool,
    pub(crate) changes: Vec<(u64, M::Change)>,
}

/// Why a machine could not be read back now; what makes no sense is put aside instead.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The journal's queue is full or its thread is gone.
    #[error("the journal does not answer")]
    Unavailable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The handle on the writer. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

struct Shared {
    vitals: Arc<Vitals>,
    clock: SharedClock,
    /// What could not be read back: the machine, and why.
    put_aside: Mutex<Vec<(String, String)>>,
    reader: Mutex<Option<Arc<dyn Records + Send + Sync>>>,
    /// Whether the writer is a task among others, and reading is done where it is asked: on one
    /// thread in virtual time another thread would come back when it likes.
    in_place: AtomicBool,
    state: Mutex<JournalState>,
    faults: FaultBoard,
}

/// How the disk stands, for readiness and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    /// Since when nothing could be written; `None` while all is well.
    pub failing_since: Option<Timestamp>,
    /// The last failure.
    pub last_error: Option<String>,
    /// Groups made durable, each by one sync.
    pub groups: u64,
    /// Commits and waits in them.
    pub commits: u64,
    /// Bytes on disk after the last snapshot.
    pub size_on_disk: u64,
    /// How long making groups durable has taken in all.
    pub syncing: Duration,
    /// When each machine's newest snapshot was written.
    pub saved: BTreeMap<Arc<str>, Timestamp>,
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
        let _ = self.shared.vitals.enter(self.shared.clock.now());
        self.permit.send(Job::Append(append, Box::new(done)));
    }
}

impl Shared {
    fn set_aside(&self, machine: &str, reason: String) {
        tracing::error!(actor = machine, %reason, "a part of a saved state was put aside");
        let mut put_aside = self.put_aside.lock().unwrap_or_else(PoisonError::into_inner);
        let note = (machine.to_owned(), reason);
        if !put_aside.contains(&note) {
            put_aside.push(note);
        }
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
            clock: clock.clone(),
            put_aside: Mutex::default(),
            reader: Mutex::new(None),
            in_place: AtomicBool::new(false),
            state: Mutex::new(JournalState::default()),
            faults: FaultBoard::default(),
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
        self.post(Job::Save(snapshot))
    }

    /// Has the writer find out whether a disk that failed works again; nothing if none did.
    pub(crate) fn probe(&self) {
        let failing = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.failing_since.is_some() {
            drop(failing);
            // A full queue finds out by itself.
            let _ = self.post(Job::Probe);
        }
    }

    /// Notes that something of a machine could not be read back and was left out.
    pub(crate) fn set_aside(&self, machine: &str, reason: String) {
        self.shared.set_aside(machine, reason);
    }

    /// What could not be read back since the process started: the machine, and why.
    pub fn put_aside(&self) -> Vec<(String, String)> {
        self.shared.put_aside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs rules over records on the writer's thread, alone, and writes what they decide. The
    /// answer comes when it is durable; rules that refuse write nothing.
    ///
    /// # Errors
    /// [`AskError::Overloaded`] if the queue is full, [`AskError::NotDurable`] if the disk failed,
    /// [`AskError::Timeout`] if it did not answer in time: of the last two nobody knows the
    /// outcome.
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
        if self.shared.in_place.load(Ordering::Acquire) {
            return of(reader.as_ref());
        }
        let reading = tokio::task::spawn_blocking(move || of(reader.as_ref()));
        match tokio::time::timeout(COMMIT_DEADLINE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(ReadError("reading panicked".into())),
            Err(_) => Err(ReadError("the store did not answer in time".into())),
        }
    }

    /// Reads a machine back: its snapshot, and every change since. An unreadable snapshot is kept
    /// under a name of its own and noted, and so is a change that is not the machine's.
    pub(crate) async fn load<M: Machine>(
        &self,
        name: &str,
        incarnation: u64,
    ) -> Result<Built<M>, LoadError> {
        let (to, answer) = oneshot::channel();
        let load = Load { machine: Arc::from(name), incarnation, to };
        self.post(Job::Load(load)).map_err(|_| LoadError::Unavailable)?;
        let Loaded { snapshot, changes } = answer.await.map_err(|_| LoadError::Unavailable)??;
        let opened = snapshot.map(|sealed| {
            snapshot::open::<M>(M::KIND, &sealed)
                .map_err(|error| self.keep_unreadable(name, sealed, &error))
        });
        let unreadable = matches!(opened, Some(Err(())));
        let (seq, base) = match opened {
            Some(Ok((seq, base))) => (seq, Some(base)),
            Some(Err(())) | None => (0, None),
        };
        let since = changes.into_iter().filter(|record| record.seq > seq);
        let decode = |record: JournalRecord| match serde_json::from_slice(&record.change.change) {
            Ok(change) => Some((record.seq, change)),
            Err(error) => {
                self.set_aside(name, format!("journal record {}: {error}", record.seq));
                None
            }
        };
        Ok(Built { base, unreadable, changes: since.filter_map(decode).collect() })
    }

    /// Notes an unreadable snapshot and copies it to where the machine's next one spares it.
    fn keep_unreadable(&self, name: &str, sealed: Vec<u8>, error: &SnapshotError) {
        self.set_aside(name, error.to_string());
        let copy = Snapshot {
            machine: format!("{name}.aside").into(),
            incarnation: 0,
            seal: Box::new(move |_| sealed),
            cuts_journal: false,
            failed: Arc::default(),
        };
        if let Err(full) = self.save(copy) {
            tracing::warn!(actor = name, error = %full, "an unreadable snapshot was not kept");
        }
    }

    /// How the disk stands.
    pub fn state(&self) -> JournalState {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The faults armed on the writer.
    pub(crate) fn faults(&self) -> &FaultBoard {
        &self.shared.faults
    }

    /// What is seen of the writer from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.shared.vitals
    }

    fn post(&self, job: Job) -> Result<(), AskError> {
        let permit = self.jobs.try_reserve().map_err(|_| AskError::Overloaded)?;
        let _ = self.shared.vitals.enter(self.shared.clock.now());
        permit.send(job);
        Ok(())
    }
}
