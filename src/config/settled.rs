//! Every knob with the value in force, checked; taken out one by one into the typed form.
//!
//! # Invariants
//! - A settled set holds a value of the knob's kind for every knob of the table.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::fault::Fault;
use super::kind::{Kind, Value};
use super::knobs::{self, Fallback, Knob};
use super::secret::Secret;
use super::source::{Origin, SOURCE_SECRET, Source};

/// A value in force: what it is, how it was written, where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) value: Value,
    pub(super) text: Option<String>,
    pub(super) origin: Origin,
}

/// All values in force, by name.
#[derive(Clone)]
pub(super) struct Settled(pub(super) BTreeMap<String, Settlement>);

/// Names alone: secrets stand among the values.
impl fmt::Debug for Settled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl Settled {
    /// Settles every knob of the table.
    pub(super) fn of(source: &Source) -> Result<Self, Vec<Fault>> {
        let mut faults = source.unknown();
        let mut settled = BTreeMap::new();
        for knob in knobs::all() {
            match settle(source, knob) {
                Ok(settlement) => drop(settled.insert(knob.name.clone(), settlement)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self(settled)) } else { Err(faults) }
    }

    /// The values of all that is secret; a configured source's secrets too.
    pub(super) fn secrets_in_force(&self) -> Vec<Secret> {
        let is_secret = |name: &str| {
            name.starts_with(SOURCE_SECRET)
                || knobs::find(name).is_some_and(|knob| knob.kind.is_secret())
        };
        let secret = self.0.iter().filter(|(name, _)| is_secret(name));
        let texts = secret.flat_map(|(_, settlement)| match &settlement.value {
            Value::Text(text) => std::slice::from_ref(text),
            Value::List(texts) => texts.as_slice(),
            Value::Unset
            | Value::Off
            | Value::Number(_)
            | Value::Networks(_)
            | Value::Address(_) => &[],
        });
        texts.map(Secret::new).collect()
    }

    fn take(&mut self, name: &str) -> Value {
        let settlement = self.0.remove(name).unwrap_or_else(|| panic!("knob {name} is taken once"));
        settlement.value
    }

    pub(super) fn number(&mut self, name: &str) -> u64 {
        let Value::Number(number) = self.take(name) else {
            unreachable!("{name} is a number");
        };
        number
    }

    pub(super) fn count(&mut self, name: &str) -> u32 {
        u32::try_from(self.number(name)).expect("a count is at most 10^9")
    }

    pub(super) fn size(&mut self, name: &str) -> usize {
        usize::try_from(self.number(name)).expect("a size is at most 10^9")
    }

    pub(super) fn span(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    pub(super) fn span_or_off(&mut self, name: &str) -> Option<Duration> {
        match self.take(name) {
            Value::Off => None,
            Value::Number(millis) => Some(Duration::from_millis(millis)),
            Value::Unset
            | Value::Text(_)
            | Value::List(_)
            | Value::Networks(_)
            | Value::Address(_) => unreachable!("{name} is a span or off"),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Value::Unset => None,
            Value::Text(text) => Some(text),
            Value::Off
            | Value::Number(_)
            | Value::List(_)
            | Value::Networks(_)
            | Value::Address(_) => unreachable!("{name} is a text"),
        }
    }

    /// A text whose knob has a default.
    pub(super) fn set_text(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| unreachable!("{name} has a default"))
    }

    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    pub(super) fn secrets(&mut self, name: &str) -> Vec<Secret> {
        self.list(name).into_iter().map(Secret::new).collect()
    }

    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        match self.take(name) {
            Value::Unset => Vec::new(),
            Value::List(items) => items,
            Value::Off
            | Value::Number(_)
            | Value::Text(_)
            | Value::Networks(_)
            | Value::Address(_) => unreachable!("{name} is a list"),
        }
    }

    pub(super) fn networks(&mut self, name: &str) -> Vec<IpNet> {
        let Value::Networks(networks) = self.take(name) else {
            unreachable!("{name} is a list of networks");
        };
        networks
    }

    pub(super) fn address(&mut self, name: &str) -> SocketAddr {
        let Value::Address(address) = self.take(name) else {
            unreachable!("{name} is an address");
        };
        address
    }
}

fn settle(source: &Source, knob: &Knob) -> Result<Settlement, Fault> {
    let set = source
        .values(&knob.name)
        .find(|(text, _)| knob.kind.takes_empty() || !text.trim().is_empty());
    if let Some((text, origin)) = set {
        return read(knob.kind, text, origin).ok_or_else(|| Fault::refused(knob, text));
    }
    let default = match &knob.default {
        Fallback::Unset => None,
        Fallback::Fixed(text) => Some(text.clone()),
        Fallback::Cores => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            Some(cores.to_string())
        }
    };
    let unset = Settlement { value: Value::Unset, text: None, origin: Origin::Default };
    Ok(default.map_or(unset, |text| {
        read(knob.kind, &text, Origin::Default).expect("a knob takes its own default")
    }))
}

fn read(kind: Kind, text: &str, origin: Origin) -> Option<Settlement> {
    let value = kind.read(text)?;
    Some(Settlement { value, text: Some(text.trim().to_owned()), origin })
}
