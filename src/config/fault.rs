//! What is wrong with a setting, in one line that a person can act on.

use std::fmt;

use super::knobs::Knob;
use super::secret::MASK;

/// The most of a value that a line shows, in characters.
const SHOWN_MAX: usize = 80;

/// One thing that keeps the configuration from being whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name that was set.
    pub knob: String,
    /// What it was set to, quoted and cut; masked if it is a secret, or may be one.
    pub value: Option<String>,
    /// What was expected instead.
    pub why: String,
}

impl Fault {
    /// The sources could not be read at all.
    pub fn unread() -> Self {
        Self::bare("SENDCAT_CONFIG", "the configuration could not be read")
    }

    /// A fault of a value that may be shown.
    pub(super) fn new(knob: &str, value: &str, why: &str) -> Self {
        Self { value: Some(shown(value)), ..Self::bare(knob, why) }
    }

    /// A fault without a value.
    pub(super) fn bare(knob: &str, why: &str) -> Self {
        Self { knob: knob.to_owned(), value: None, why: why.to_owned() }
    }

    /// A value that its knob does not take.
    pub(super) fn refused(knob: &Knob, value: &str) -> Self {
        let why = format!("expected {}", knob.kind.expected());
        let value = if knob.kind.is_secret() { MASK.to_owned() } else { shown(value) };
        Self { value: Some(value), ..Self::bare(&knob.name, &why) }
    }

    /// A name that no knob has, with the nearest one as it would be written there. The value is
    /// shown only if that one is no secret: it may be a key under a misspelt name.
    pub(super) fn unknown(name: &str, nearest: Option<(String, &Knob)>, value: &str) -> Self {
        match nearest {
            None => {
                Self { value: Some(MASK.to_owned()), ..Self::bare(name, "there is no such knob") }
            }
            Some((near, knob)) => {
                let why = format!("there is no such knob, did you mean {near}?");
                let value = if knob.kind.is_secret() { MASK.to_owned() } else { shown(value) };
                Self { value: Some(value), ..Self::bare(name, &why) }
            }
        }
    }
}

fn shown(value: &str) -> String {
    let mut cut: String = value.chars().take(SHOWN_MAX).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(out, "{}={value}: {}", self.knob, self.why),
            None => write!(out, "{}: {}", self.knob, self.why),
        }
    }
}

impl std::error::Error for Fault {}
