//! The writer itself: groups what waits, commits it, answers, and opens the store anew.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sendcat_state::machine::{ReadError, Records};
use sendcat_state::snapshot;
use sendcat_state::store::{Commit, Store, StoreError};
use sendcat_state::timestamp::Timestamp;
use tokio::sync::mpsc;

use super::{Done, Job, Loaded, NotDurable, Rules, Shared, Snapshot, StoreFactory, Transaction};
use crate::clock::SharedClock;
use crate::observe::{Era, Status};

/// Jobs that share one fsync: past 128 the wait grows faster than the rate.
const GROUP: usize = 128;

/// From how many bytes on what is gathered is handed over: the store keeps it in memory twice.
const GATHERED_BYTES: usize = 256 << 10;

/// The shortest time between two attempts to open the store.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// The snapshot that holds the newest time that was told.
const CLOCK: &str = "clock";

/// The one writer. On a thread of its own in a serving process; a task among others in a test.
pub(crate) struct Writer {
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: SharedClock,
    pub(super) factory: StoreFactory,
    pub(super) store: Option<Box<dyn Store>>,
    pub(super) tried_at: Option<Timestamp>,
    /// The lowest incarnation of each machine that may still write.
    pub(super) fenced: HashMap<Arc<str>, u64>,
    /// Up to which record each journalled machine's snapshot holds.
    pub(super) saved_seq: HashMap<Arc<str>, u64>,
    /// Whether something was applied that no sync has covered.
    pub(super) unsynced: bool,
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
        self.shared.in_place.store(true, Ordering::Release);
        while let Some(first) = self.queue.recv().await {
            self.work_off(first);
        }
        self.close();
    }

    fn close(&mut self) {
        let synced = self.store.as_mut().map_or(Ok(()), |store| store.sync());
        if let Err(error) = synced {
            tracing::error!(%error, "the last writes may not be on disk");
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
            self.shared.vitals.leave(Era::FIRST);
        }
        self.shared.vitals.step_ends();
    }

    /// Applies a group in order, makes it durable, and answers.
    fn commit(&mut self, group: Vec<Job>) {
        let mut waiting: Vec<Done> = Vec::with_capacity(group.len());
        let mut writers: Vec<(Arc<str>, u64)> = Vec::new();
        let mut loads = Vec::new();
        let mut saves = Vec::new();
        let mut gathered = Gathered::default();
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
                    failure = failure.or_else(|| self.gather(&mut gathered, append.commit).err());
                }
                Job::Transact(run) => {
                    // Its rules read what came before it.
                    failure = failure.or_else(|| self.apply(&mut gathered).err());
                    match self.transact(run, failure.is_none()) {
                        Ok(Transaction { writes, done }) => {
                            waiting.push(done);
                            let commit = Commit { change: None, writes };
                            failure = failure.or_else(|| self.gather(&mut gathered, commit).err());
                        }
                        Err(unreadable) => failure = failure.or(unreadable),
                    }
                }
                Job::Save(snapshot) => {
                    saves.push(Arc::clone(&snapshot.failed));
                    failure = failure.or_else(|| self.apply(&mut gathered).err());
                    if failure.is_none() {
                        failure = self.save(snapshot).err();
                    }
                }
                Job::Load(load) => loads.push(load),
                Job::Probe => self.unsynced = true,
            }
        }
        failure = failure.or_else(|| self.apply(&mut gathered).err());
        let synced = if failure.is_none() { self.sync() } else { Ok(false) };
        let (wrote, failure) = (*synced.as_ref().unwrap_or(&false), failure.or(synced.err()));
        self.note(waiting.len(), wrote, failure.as_ref());
        if failure.is_some() {
            self.fail(&writers);
            saves.iter().for_each(|failed| failed.store(true, Ordering::Release));
            waiting.into_iter().for_each(|done| done(Err(NotDurable)));
        } else {
            waiting.into_iter().for_each(|done| done(Ok(())));
        }
        // What is read back is on disk: reading comes after the group, and of a failed one nothing.
        for load in loads {
            self.fence(&load.machine, load.incarnation);
            drop(load.to.send(self.load(&load.machine)));
        }
    }

    /// Runs one transaction's rules. `Err(None)`: they panicked, and their caller knows by the
    /// answer that never comes; the store is as it was.
    fn transact(&self, run: Rules, usable: bool) -> Result<Transaction, Option<StoreError>> {
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

    /// Puts a commit, if it holds anything, to those that the store is given together.
    fn gather(&mut self, gathered: &mut Gathered, commit: Commit) -> Result<(), StoreError> {
        if commit == Commit::default() {
            return Ok(());
        }
        let values = commit.writes.iter().filter_map(|write| write.value.as_ref());
        gathered.bytes += values.map(Vec::len).sum::<usize>();
        gathered.commits.push(commit);
        if gathered.bytes >= GATHERED_BYTES { self.apply(gathered) } else { Ok(()) }
    }

    fn apply(&mut self, gathered: &mut Gathered) -> Result<(), StoreError> {
        let Gathered { commits, .. } = std::mem::take(gathered);
        if commits.is_empty() {
            return Ok(());
        }
        self.has_room()?;
        let store = self.store.as_mut().ok_or_else(not_open)?;
        self.unsynced = true;
        store.apply(&commits).map(|_| ())
    }

    /// Whether a fault makes the disk full.
    fn has_room(&self) -> Result<(), StoreError> {
        if self.shared.faults.disk_is_full() {
            return Err(StoreError::Io("injected: no space left on device".into()));
        }
        Ok(())
    }

    /// Makes durable what was applied, and the time that was told meanwhile, before which no later
    /// process may decide. `false` if there was nothing: a group of mere waits costs no fsync.
    fn sync(&mut self) -> Result<bool, StoreError> {
        if !self.unsynced {
            return Ok(false);
        }
        // The time below is written too: a probe finds a full disk full.
        self.has_room()?;
        let now = self.clock.now();
        self.shared.faults.strike(crate::faults::Step::Flush);
        let store = self.store.as_mut().ok_or_else(not_open)?;
        store.put_snapshot(CLOCK, &snapshot::seal(CLOCK, store.last_seq(), &now))?;
        store.sync()?;
        self.unsynced = false;
        let took = now.until(self.clock.now());
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).syncing += took;
        Ok(true)
    }

    fn save(&mut self, snapshot: Snapshot) -> Result<(), StoreError> {
        if self.is_fenced(&snapshot.machine, snapshot.incarnation) {
            return Ok(());
        }
        // Whoever saves has succeeded every incarnation before it (SV-3).
        self.fence(&snapshot.machine, snapshot.incarnation);
        let store = self.store.as_mut().ok_or_else(not_open)?;
        let seq = store.last_seq();
        self.unsynced = true;
        store.put_snapshot(&snapshot.machine, &(snapshot.seal)(seq))?;
        if snapshot.cuts_journal {
            // One sync makes the snapshot durable before what it replaces is cut.
            store.sync()?;
            self.saved_seq.insert(Arc::clone(&snapshot.machine), seq);
            let upto = self.saved_seq.values().copied().min().unwrap_or(0);
            store.cut_journal(upto)?;
        }
        let size = store.size_on_disk();
        let now = self.clock.now();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.size_on_disk = size;
        state.saved.insert(snapshot.machine, now);
        Ok(())
    }

    /// Reads a machine back from a store whose every bit is on disk: what a failed sync has left in
    /// sight must not be built on.
    fn load(&mut self, name: &str) -> Result<Loaded, StoreError> {
        let synced = self.ready().and_then(|()| self.sync());
        if let Err(error) = synced {
            self.note(0, false, Some(&error));
            self.fail(&[]);
            return Err(error);
        }
        self.read_back(name)
    }

    fn read_back(&self, name: &str) -> Result<Loaded, StoreError> {
        let store = self.store.as_ref().ok_or_else(not_open)?;
        let snapshot = store.snapshot(name)?;
        if !self.saved_seq.contains_key(name) {
            // Nothing of it is in the journal, so that need not be read.
            return Ok(Loaded { snapshot, changes: Vec::new() });
        }
        let all = store.journal_after(0)?;
        let changes = all.into_iter().filter(|record| record.change.machine == name).collect();
        Ok(Loaded { snapshot, changes })
    }

    fn is_fenced(&self, machine: &str, incarnation: u64) -> bool {
        self.fenced.get(machine).is_some_and(|lowest| incarnation < *lowest)
    }

    /// Fences off whoever wrote in a failed group, and drops the store.
    fn fail(&mut self, writers: &[(Arc<str>, u64)]) {
        for (machine, incarnation) in writers {
            self.fence(machine, incarnation + 1);
        }
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
        let saved = store.snapshot(CLOCK)?;
        let newest = saved.and_then(|sealed| snapshot::open::<Timestamp>(CLOCK, &sealed).ok());
        if let Some((_, newest)) = newest {
            self.clock.not_before(newest);
        }
        if let Some(damage) = store.damage() {
            self.shared.set_aside("the store", damage.to_owned());
        }
        self.set_reader(Some(store.reader()));
        self.store = Some(store);
        self.unsynced = true;
        Ok(())
    }

    fn set_reader(&self, reader: Option<Arc<dyn Records + Send + Sync>>) {
        *self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
    }

    fn note(&self, commits: usize, wrote: bool, failure: Option<&StoreError>) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            // Only a write that reached the disk says that writing works.
            None if wrote => {
                if state.failing_since.take().is_some() {
                    tracing::info!("the store can be written again");
                }
                state.groups += 1;
                state.commits += commits as u64;
            }
            None => {}
            Some(error) => {
                if state.failing_since.is_none() {
                    tracing::error!(%error, "the store failed and is opened anew");
                }
                state.failing_since.get_or_insert(self.clock.now());
                state.last_error = Some(error.to_string());
            }
        }
    }
}

/// Commits that the store is given in one: one by one, each costs a write of its own.
#[derive(Default)]
struct Gathered {
    commits: Vec<Commit>,
    bytes: usize,
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
