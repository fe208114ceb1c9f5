//! Any store, failing on a schedule: for tests of what depends on a disk.

use std::sync::{Arc, Mutex};

use super::{Commit, JournalRecord, Store, StoreError};
use crate::machine::Records;

/// When the store fails; shared with the test that sets it.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults {
    schedule: Arc<Mutex<Schedule>>,
}

#[derive(Debug, Default)]
struct Schedule {
    fail_writes: Times,
    fail_syncs: Times,
    fail_opens: Times,
}

/// How often something fails from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Never.
    #[default]
    Never,
    /// So many times.
    Next(u32),
    /// Until told otherwise.
    Always,
}

impl Times {
    fn strike(&mut self) -> bool {
        match *self {
            Self::Never | Self::Next(0) => false,
            Self::Always => true,
            Self::Next(left) => {
                *self = if left > 1 { Self::Next(left - 1) } else { Self::Never };
                true
            }
        }
    }
}

impl DiskFaults {
    /// Lets writes fail.
    pub fn fail_writes(&self, times: Times) {
        self.set(|schedule| schedule.fail_writes = times);
    }

    /// Lets syncs fail: what was applied is visible, and never becomes durable.
    pub fn fail_syncs(&self, times: Times) {
        self.set(|schedule| schedule.fail_syncs = times);
    }

    /// Lets opening the store fail.
    pub fn fail_opens(&self, times: Times) {
        self.set(|schedule| schedule.fail_opens = times);
    }

    /// Whether an attempt to open the store fails now.
    ///
    /// # Errors
    /// The error that the attempt gets.
    pub fn on_open(&self) -> Result<(), StoreError> {
        self.strike("open", |schedule| &mut schedule.fail_opens)
    }

    fn set(&self, change: impl FnOnce(&mut Schedule)) {
        change(&mut self.schedule.lock().expect("no holder panics"));
    }

    fn strike(
        &self,
        what: &str,
        times: impl FnOnce(&mut Schedule) -> &mut Times,
    ) -> Result<(), StoreError> {
        let mut schedule = self.schedule.lock().expect("no holder panics");
        if times(&mut schedule).strike() {
            return Err(StoreError::Io(format!(
                "injected: {what} failed, no space left on device"
            )));
        }
        Ok(())
    }
}

/// A store that fails as told.
pub struct FaultyStore<S> {
    inner: S,
    faults: DiskFaults,
}

impl<S: Store> FaultyStore<S> {
    /// `inner`, failing as `faults` says.
    pub fn new(inner: S, faults: &DiskFaults) -> Self {
        Self { inner, faults: faults.clone() }
    }

    fn on_write(&self) -> Result<(), StoreError> {
        self.faults.strike("write", |schedule| &mut schedule.fail_writes)
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn apply(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        self.on_write()?;
        self.inner.apply(commits)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.faults.strike("sync", |schedule| &mut schedule.fail_syncs)?;
        self.inner.sync()
    }

    fn last_seq(&self) -> u64 {
        self.inner.last_seq()
    }

    fn journal_after(&self, after: u64) -> Result<Vec<JournalRecord>, StoreError> {
        self.inner.journal_after(after)
    }

    fn cut_journal(&mut self, upto: u64) -> Result<(), StoreError> {
        self.on_write()?;
        self.inner.cut_journal(upto)
    }

    fn put_snapshot(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.on_write()?;
        self.inner.put_snapshot(name, sealed)
    }

    fn snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.snapshot(name)
    }

    fn reader(&self) -> Arc<dyn Records + Send + Sync> {
        self.inner.reader()
    }

    fn size_on_disk(&self) -> u64 {
        self.inner.size_on_disk()
    }
}
