//! One answer's parts in the order they were sent, for every reader from the first on.
//!
//! Readers may come late, several at once, and go; each sees the same parts from the start. The
//! log is bounded: an answer that outgrows it is ended by whoever writes it.
//!
//! Durability: noted. Parts are written to the journal in batches and nobody waits.
//!
//! # Invariants
//! - SL-1: what was sent is a prefix of what was kept.

use std::sync::Arc;

/// Whether a part was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// It was, and readers will see it.
    Kept,
    /// The log is full: the answer has to be ended.
    Full,
    /// The answer has ended; nothing may follow.
    Ended,
}

/// The parts of one answer.
#[derive(Debug, Clone)]
pub struct StreamLog {
    parts: Vec<Arc<str>>,
    bytes: usize,
    limit_bytes: usize,
    ended: bool,
}

/// What the last parts of an answer may take beyond the limit, so that one that is full can still
/// be closed in the grammar.
const CLOSING_BYTES: usize = 64 * 1024;

impl StreamLog {
    /// An empty log that keeps at most `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self { parts: Vec::new(), bytes: 0, limit_bytes, ended: false }
    }

    /// Keeps one part.
    pub fn append(&mut self, part: Arc<str>) -> Append {
        self.keep(part, self.limit_bytes)
    }

    /// Keeps one of the parts that close an answer, also when the log is full.
    pub fn append_closing(&mut self, part: Arc<str>) -> Append {
        self.keep(part, self.limit_bytes.saturating_add(CLOSING_BYTES))
    }

    fn keep(&mut self, part: Arc<str>, limit_bytes: usize) -> Append {
        if self.ended {
            return Append::Ended;
        }
        if self.bytes + part.len() > limit_bytes {
            return Append::Full;
        }
        self.bytes += part.len();
        self.parts.push(part);
        Append::Kept
    }

    /// Says that nothing will follow.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Parts from number `from` on, at most `most_bytes` of them but at least one if there is one.
    pub fn read(&self, from: usize, most_bytes: usize) -> &[Arc<str>] {
        let rest = self.parts.get(from..).unwrap_or_default();
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|part| {
            bytes += part.len();
            bytes <= most_bytes
        });
        let count = fitting.count().max(1).min(rest.len());
        &rest[..count]
    }

    /// How many parts were kept.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether none was kept yet.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the answer has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(parts: &[&str]) -> StreamLog {
        let mut log = StreamLog::new(10);
        for part in parts {
            assert_eq!(log.append((*part).into()), Append::Kept);
        }
        log
    }

    fn texts(parts: &[Arc<str>]) -> Vec<&str> {
        parts.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn a_reader_gets_what_fits_and_at_least_one_part() {
        let log = log(&["aaaa", "bb", "c"]);
        assert_eq!(texts(log.read(0, 6)), ["aaaa", "bb"]);
        assert_eq!(texts(log.read(0, 1)), ["aaaa"]);
        assert_eq!(texts(log.read(2, 100)), ["c"]);
        assert_eq!(log.read(3, 100), []);
        assert_eq!(log.read(9, 100), []);
    }

    #[test]
    fn a_full_log_keeps_only_what_closes_the_answer() {
        let mut log = log(&["aaaaaaaaaa"]);
        assert_eq!(log.append("b".into()), Append::Full);
        assert_eq!(log.append_closing("finish".into()), Append::Kept);
        log.end();
        assert_eq!(log.append_closing("more".into()), Append::Ended);
        assert_eq!(log.len(), 2);
    }
}
