//! Files of messages on disk, each under its own digest.
//!
//! The same bytes have the same place, so a file that is fetched again after a crash is the file
//! that is there. A file is there whole or not at all: it is written beside, synced, and renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::contract::signature::digest;

/// The folder of the files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MediaStore {
    folder: PathBuf,
}

impl MediaStore {
    /// Files below that folder, which is made with the first of them.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a file; its digest, which is its name. It is durable when this is over.
    ///
    /// # Errors
    /// The disk's.
    pub async fn keep(&self, bytes: Vec<u8>) -> io::Result<String> {
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || keep(&folder, &bytes)).await;
        kept.unwrap_or_else(|_| Err(io::Error::other("the task that wrote it was lost")))
    }
}

fn keep(folder: &Path, bytes: &[u8]) -> io::Result<String> {
    let name = digest(bytes);
    let place = folder.join(&name);
    if place.exists() {
        return Ok(name);
    }
    fs::create_dir_all(folder)?;
    let random = getrandom::u64().map_err(io::Error::other)?;
    let beside = folder.join(format!("{name}.{random:016x}"));
    let written = write_synced(&beside, bytes).and_then(|()| fs::rename(&beside, &place));
    if let Err(error) = written {
        // Half a file is of no use; if it cannot be removed either, the disk says so once.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    File::open(folder)?.sync_all()?;
    Ok(name)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_once_under_its_digest_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let media = folder.path().join("media");
        let name = keep(&media, b"hello").unwrap();
        assert_eq!(name, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(keep(&media, b"hello").unwrap(), name);
        let files: Vec<_> =
            fs::read_dir(&media).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [media.join(&name)]);
        assert_eq!(fs::read(media.join(name)).unwrap(), b"hello");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(keep(&file.join("media"), b"hello").is_err());
    }
}
