//! What is known of events, jobs, records and answers.

use std::collections::{BTreeMap, BTreeSet};

/// What senders were told of an event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Somebody heard that it is accepted, or that it was before.
    pub(crate) acknowledged: bool,
    /// Attempts to hand it in of which nobody knows the outcome.
    pub(crate) unknown: u64,
}

/// Events by their number.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) told: BTreeMap<usize, Told>,
    /// Who works on the acceptance of a key.
    first: BTreeMap<usize, u64>,
}

impl Events {
    pub(crate) fn handed_in(&mut self, event: usize) {
        self.told.entry(event).or_default().unknown += 1;
    }

    pub(crate) fn surely_not(&mut self, event: usize) {
        self.told.entry(event).or_default().unknown -= 1;
    }

    /// Whether nobody had heard so before.
    pub(crate) fn acknowledged(&mut self, event: usize) -> bool {
        let told = self.told.entry(event).or_default();
        !std::mem::replace(&mut told.acknowledged, true)
    }

    /// Somebody is told to be the first; how many are now.
    pub(crate) fn begin(&mut self, event: usize) -> u64 {
        let first = self.first.entry(event).or_default();
        *first += 1;
        *first
    }

    pub(crate) fn end(&mut self, event: usize) {
        *self.first.entry(event).or_default() -= 1;
    }
}

/// Attempts at jobs that are under way.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    running: BTreeMap<String, u64>,
}

impl Runs {
    /// An attempt begins; how many are under way at this job now.
    pub(crate) fn begin(&mut self, job: &str) -> u64 {
        let running = self.running.entry(job.to_owned()).or_default();
        *running += 1;
        *running
    }

    pub(crate) fn end(&mut self, job: &str) {
        if let Some(running) = self.running.get_mut(job) {
            *running -= 1;
        }
    }

    pub(crate) fn process_ended(&mut self) {
        self.running.clear();
    }
}

/// Counters kept in records: what was acknowledged, and how often nobody knows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    told: BTreeMap<usize, BTreeSet<u64>>,
    asked: BTreeMap<usize, u64>,
}

impl Counters {
    /// A count is asked for; it must come out above this.
    pub(crate) fn asked(&mut self, counter: usize) -> u64 {
        *self.asked.entry(counter).or_default() += 1;
        self.highest(counter)
    }

    /// It was surely not counted.
    pub(crate) fn surely_not(&mut self, counter: usize) {
        *self.asked.entry(counter).or_default() -= 1;
    }

    pub(crate) fn told(&mut self, counter: usize, above: u64, count: u64) -> Option<String> {
        let fresh = self.told.entry(counter).or_default().insert(count);
        (!fresh || count <= above)
            .then(|| format!("counter {counter} gave {count} after {above}, new: {fresh}"))
    }

    /// Whether a record may say this.
    pub(crate) fn permits(&self, counter: usize, count: u64) -> bool {
        let most = self.asked.get(&counter).copied().unwrap_or_default();
        self.highest(counter) <= count && count <= most
    }

    fn highest(&self, counter: usize) -> u64 {
        self.told.get(&counter).and_then(BTreeSet::last).copied().unwrap_or_default()
    }
}

/// Answers by their number: thread, parts kept, whether it ended.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<u64, (u64, usize, bool)>,
}

impl Answers {
    pub(crate) fn opened(&mut self, answer: u64, thread: u64) {
        self.kept.insert(answer, (thread, 0, false));
    }

    pub(crate) fn kept(&mut self, answer: u64) {
        self.kept.entry(answer).or_default().1 += 1;
    }

    pub(crate) fn ended(&mut self, answer: u64) {
        self.kept.entry(answer).or_default().2 = true;
    }

    /// A reader has these parts, in this order; `ended` if it was told that there are no more.
    pub(crate) fn read(&self, thread: u64, parts: &[String], ended: bool) -> Option<String> {
        let first = parts.first()?;
        let answer: u64 = first.split(':').next()?.parse().ok()?;
        let (of, kept, over) = self.kept.get(&answer).copied().unwrap_or_default();
        let prefix = (0..parts.len()).all(|place| parts[place] == format!("{answer}:{place}"));
        let whole = !ended || (over && parts.len() == kept);
        (!prefix || parts.len() > kept || of != thread || !whole).then(|| {
            format!(
                "a reader in thread {thread} has {parts:?}, ended: {ended}; \
                 kept of {of}: {kept}, ended: {over}"
            )
        })
    }

    pub(crate) fn process_ended(&mut self) {
        self.kept.clear();
    }
}
