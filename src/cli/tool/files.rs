//! Files of reports: whole or not there, whatever happens in between.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

/// A point in time as it stands in a file's name: `2026-02-17T11-57-56-470Z`.
pub(in crate::cli) fn stamp(time: SystemTime) -> String {
    crate::contract::rfc3339(super::millis(time)).replace([':', '.'], "-")
}

/// Writes a file whole: beside it, synced, then renamed over it. Its folder is made.
///
/// # Errors
/// What the system says, with the path; the old file stands then.
pub(in crate::cli) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let write = || {
        fs::create_dir_all(folder)?;
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        // Best effort: what matters is that the file of that name is whole.
        let _ = fs::remove_file(&beside);
        named(error)
    })
}
