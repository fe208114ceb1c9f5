//! Which answers of which thread are running, newest last.
//!
//! Durability: passing. An answer dies with its process; what it had said is in its log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::key::TimedId;
use crate::machine::{Apply, Decision};

/// Answers that may run in one thread at once; one more is refused.
pub const MOST_IN_A_THREAD: usize = 16;

/// The running answers of every thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAnswers {
    by_thread: BTreeMap<String, Vec<TimedId>>,
}

/// Whether an answer may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It runs, and is the newest of its thread.
    Running,
    /// Too many run in that thread already.
    TooMany,
}

/// What a verb makes of the running answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveChange {
    /// An answer began.
    Opened {
        /// In which thread.
        thread_id: String,
        /// Which.
        answer: TimedId,
    },
    /// An answer ended.
    Closed {
        /// In which thread.
        thread_id: String,
        /// Which.
        answer: TimedId,
    },
}

impl LiveAnswers {
    /// Begins an answer.
    pub fn open(&self, thread_id: &str, answer: TimedId) -> Decision<Opened, LiveChange> {
        if self.running(thread_id).len() >= MOST_IN_A_THREAD {
            return Decision::unchanged(Opened::TooMany);
        }
        let thread_id = thread_id.to_owned();
        Decision::new(Opened::Running, LiveChange::Opened { thread_id, answer })
    }

    /// Ends an answer; one that had ended changes nothing.
    pub fn close(&self, thread_id: &str, answer: TimedId) -> Decision<(), LiveChange> {
        if !self.running(thread_id).contains(&answer) {
            return Decision::unchanged(());
        }
        Decision::new((), LiveChange::Closed { thread_id: thread_id.to_owned(), answer })
    }

    /// The newest running answer of a thread: what a reader that resumes is given.
    pub fn newest(&self, thread_id: &str) -> Option<TimedId> {
        self.running(thread_id).last().copied()
    }

    /// Whether that answer runs in that thread.
    pub fn runs(&self, thread_id: &str, answer: TimedId) -> bool {
        self.running(thread_id).contains(&answer)
    }

    /// How many answers run.
    pub fn count(&self) -> usize {
        self.by_thread.values().map(Vec::len).sum()
    }

    fn running(&self, thread_id: &str) -> &[TimedId] {
        self.by_thread.get(thread_id).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Apply<LiveChange> for LiveAnswers {
    fn apply(&mut self, change: &LiveChange) {
        match change {
            LiveChange::Opened { thread_id, answer } => {
                self.by_thread.entry(thread_id.clone()).or_default().push(*answer);
            }
            LiveChange::Closed { thread_id, answer } => {
                if let Some(running) = self.by_thread.get_mut(thread_id) {
                    running.retain(|each| each != answer);
                    if running.is_empty() {
                        self.by_thread.remove(thread_id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn answer(number: u64) -> TimedId {
        TimedId::new(Timestamp::ZERO, number)
    }

    #[test]
    fn the_newest_running_answer_of_a_thread_is_the_one_to_resume() {
        let mut live = LiveAnswers::default();
        for number in 0..2 {
            assert_eq!(live.open("t", answer(number)).settle(&mut live), Opened::Running);
        }
        assert_eq!(live.newest("t"), Some(answer(1)));
        live.close("t", answer(1)).settle(&mut live);
        live.close("t", answer(1)).settle(&mut live);
        assert_eq!(live.newest("t"), Some(answer(0)));
        live.close("t", answer(0)).settle(&mut live);
        assert_eq!((live.newest("t"), live.count()), (None, 0));
    }

    #[test]
    fn one_thread_runs_a_bounded_number_of_answers() {
        let mut live = LiveAnswers::default();
        for number in 0..MOST_IN_A_THREAD as u64 {
            assert_eq!(live.open("t", answer(number)).settle(&mut live), Opened::Running);
        }
        assert_eq!(live.open("t", answer(99)).settle(&mut live), Opened::TooMany);
        assert_eq!(live.open("u", answer(99)).settle(&mut live), Opened::Running);
    }
}
