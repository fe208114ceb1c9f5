//! What is known of rate limits from their callers' answers alone.

use std::collections::BTreeMap;

/// How long a call may lie in a mailbox before its caller is gone and it is skipped.
const IN_MAILBOX_MS: u64 = 250;

/// A snapshot is taken each second when dirty, and looked at four times a second.
const SNAPSHOT_MS: u64 = 1500;

/// A limit as the model has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) calls: u64,
    pub(crate) per_ms: u64,
}

/// An answer that admitted.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    asked: u64,
    answered: u64,
    /// Which call of its window it was, from 1.
    used: u64,
}

/// One key's answers.
#[derive(Debug, Default)]
struct Calls {
    /// When anything was asked of it.
    asks: Vec<u64>,
    admitted: Vec<Admitted>,
    /// Answers that named the end of their window: how many each window admitted.
    windows: BTreeMap<u64, u64>,
}

/// Every key's answers.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    keys: BTreeMap<String, Calls>,
}

impl Limits {
    /// A key is asked for.
    pub(crate) fn asked(&mut self, key: &str, now: u64) {
        self.keys.entry(key.to_owned()).or_default().asks.push(now);
    }

    /// A call under one limit was admitted. Says what is wrong with that, if anything is.
    pub(crate) fn admitted(
        &mut self,
        key: &str,
        rule: Rule,
        (asked, answered): (u64, u64),
        left: u64,
    ) -> Option<String> {
        let calls = self.keys.entry(key.to_owned()).or_default();
        if left >= rule.calls {
            return Some(format!("{key} has {left} calls left of {}", rule.calls));
        }
        let used = rule.calls - left;
        let opened = opened_no_earlier(&calls.admitted, rule);
        let last = calls.admitted.last().map_or(0, |last| last.used);
        calls.admitted.push(Admitted { asked, answered, used });
        let reopened = used <= last && answered < opened.saturating_add(rule.per_ms);
        reopened.then(|| {
            format!("{key}: call {used} of its window after call {last}, and the window still open")
        })
    }

    /// A call under several limits was admitted, in a window that ends then.
    pub(crate) fn admitted_until(
        &mut self,
        key: &str,
        rule: Rule,
        (asked, answered): (u64, u64),
        resets_in: u64,
    ) -> Option<String> {
        if asked != answered {
            // Nobody outside knows when it was decided.
            return None;
        }
        let windows = &mut self.keys.entry(key.to_owned()).or_default().windows;
        let end = answered + resets_in;
        let count = windows.entry(end).or_default();
        *count += 1;
        if *count > rule.calls {
            return Some(format!("{key}: {count} calls in a window of {}", rule.calls));
        }
        let overlaps =
            windows.keys().find(|other| **other != end && other.abs_diff(end) < rule.per_ms);
        overlaps.map(|other| format!("{key}: windows that end at {other} and {end} overlap"))
    }

    /// A call was refused. Nobody may be refused who has room.
    pub(crate) fn refused(&mut self, key: &str, rule: Rule, asked: u64) -> Option<String> {
        let since = asked.saturating_sub(rule.per_ms + IN_MAILBOX_MS);
        let asks = self.keys.get(key).map_or(&[][..], |calls| &calls.asks);
        let possible = asks.iter().filter(|ask| **ask >= since && **ask <= asked).count() as u64;
        // The refused call itself is among them.
        (possible <= rule.calls).then(|| {
            format!("{key} was refused, but of {} calls only {possible} were made", rule.calls)
        })
    }

    /// The process ended. What was admitted since the last snapshot may be forgotten; all of it if
    /// something has kept snapshots from being written.
    pub(crate) fn process_ended(&mut self, now: u64, drained: bool, saved: impl Fn(&str) -> bool) {
        for (key, calls) in &mut self.keys {
            let kept = saved(key);
            let upto = match (kept, drained) {
                (false, _) => 0,
                (true, true) => u64::MAX,
                (true, false) => now.saturating_sub(SNAPSHOT_MS),
            };
            calls.admitted.retain(|admitted| admitted.answered < upto);
            if upto != u64::MAX {
                calls.windows.clear();
            }
        }
    }
}

/// When the window of the last of these was opened at the earliest.
fn opened_no_earlier(admitted: &[Admitted], rule: Rule) -> u64 {
    let (mut opened, mut last) = (0, u64::MAX);
    for each in admitted {
        if each.used == 1 {
            opened = each.asked;
        } else if each.used <= last && last != u64::MAX {
            // Another window: it opened when the one before had ended.
            opened += rule.per_ms;
        }
        last = each.used;
    }
    opened
}
