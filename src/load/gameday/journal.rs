//! What was played when: one line a game day, kept beside the reports. Which chapter of the runbook
//! was last exercised is read from it; the runbook itself is inside the program and never written.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One game day that was played to its end, or to its abort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it ended: RFC 3339, UTC.
    pub at: String,
    /// The plan.
    pub id: String,
    /// Its fault.
    pub fault: String,
    /// What came of it, such as `HELD`.
    pub score: String,
    /// The chapter it exercised.
    pub runbook: String,
}

/// Where the journal of a directory of reports is.
pub fn file_in(out: &Path) -> PathBuf {
    out.join("game-day-journal.jsonl")
}

/// Writes one line.
///
/// # Errors
/// Of the file.
pub fn note(out: &Path, entry: &Entry) -> std::io::Result<()> {
    let mut line = serde_json::to_string(entry)?;
    line.push('\n');
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(file_in(out))?;
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

/// Every entry, oldest first; lines that are none are skipped, for a crash may have cut the last.
pub fn read(out: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(file_in(out)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// When each chapter of the runbook was last exercised, by its anchor. A game day that did not bite
/// or was aborted has exercised nothing.
pub fn exercised(entries: &[Entry]) -> BTreeMap<String, String> {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| matches!(&*entry.score, "HELD" | "DEVIATED")) {
        let at = last.entry(entry.runbook.clone()).or_default();
        if *at < entry.at {
            at.clone_from(&entry.at);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: &str, score: &str, runbook: &str) -> Entry {
        let [at, score, runbook] = [at, score, runbook].map(str::to_owned);
        Entry { at, id: "p".into(), fault: "noop".into(), score, runbook }
    }

    #[test]
    fn a_chapter_was_exercised_when_a_fault_of_it_last_bit() {
        let out = tempfile::TempDir::new().unwrap();
        let entries = [
            entry("2026-02-17T10:00:00.000Z", "HELD", "circuit-open"),
            entry("2026-02-18T10:00:00.000Z", "DEVIATED", "circuit-open"),
            entry("2026-02-19T10:00:00.000Z", "ABORTED", "circuit-open"),
            entry("2026-02-19T10:00:00.000Z", "NO_EFFECT", "actor-stuck"),
        ];
        for each in &entries {
            note(out.path(), each).unwrap();
        }
        let mut file = std::fs::OpenOptions::new().append(true).open(file_in(out.path())).unwrap();
        file.write_all(b"{\"at\":\"20").unwrap();
        assert_eq!(read(out.path()), entries);
        let expected = [("circuit-open".to_owned(), "2026-02-18T10:00:00.000Z".to_owned())];
        assert_eq!(exercised(&read(out.path())), expected.into());
    }
}
