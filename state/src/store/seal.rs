//! How far a store had got, beside its files: what lets a loss be noticed.
//!
//! The engine takes a record that does not match its checksum for the torn end of its log, and
//! drops it with all that follows: after a damaged byte in the middle, a store opens well and is
//! shorter. The seal is written after each sync, so it is never ahead of what is on disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A number twice, the second time inverted: a seal that is torn is none.
const BYTES: usize = 16;

/// The seal of an open store.
#[derive(Debug)]
pub(super) struct Seal {
    file: Option<File>,
    written: Option<u64>,
}

impl Seal {
    /// The seal in a store's directory, and the number it was written with, if there is one.
    pub(super) fn open(directory: &Path) -> (Self, Option<u64>) {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join("seal")).ok();
        let mut bytes = [0; BYTES];
        let read = file.as_ref().is_some_and(|file| file.read_exact_at(&mut bytes, 0).is_ok());
        let number = u128::from_be_bytes(bytes);
        let (seq, check) = ((number >> 64) as u64, number as u64);
        let found = (read && check == !seq).then_some(seq);
        (Self { file, written: found }, found)
    }

    /// Notes that everything up to record `seq` is on disk. A seal that cannot be written shows
    /// less, and keeps nothing from being stored.
    pub(super) fn write(&mut self, seq: u64) {
        if self.written == Some(seq) {
            return;
        }
        let bytes = (u128::from(seq) << 64 | u128::from(!seq)).to_be_bytes();
        let wrote = self.file.as_ref().is_some_and(|file| file.write_all_at(&bytes, 0).is_ok());
        self.written = wrote.then_some(seq);
    }
}
