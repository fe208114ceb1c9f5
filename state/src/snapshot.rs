//! The envelope of every saved form: what it is, in which version, up to which journal record.
//!
//! A form of an older version is upgraded step by step when it is read; one of an unknown version
//! is refused, never guessed (SN-3): its file is put aside and the machine starts in its safe
//! direction.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version in which this build writes.
pub const VERSION: u32 = 1;

/// What stands around a saved form.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    kind: String,
    version: u32,
    /// The last journal record whose change is in the form.
    seq: u64,
    #[serde(borrow)]
    form: &'a RawValue,
}

/// Why a saved form could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// It is not an envelope at all.
    #[error("snapshot is not readable: {0}")]
    Unreadable(String),
    /// It is of another machine.
    #[error("snapshot is of {found}, not of {wanted}")]
    Foreign {
        /// What it says it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// It is of a version that this build does not know.
    #[error("snapshot of {kind} has version {version}, this build knows up to {VERSION}")]
    UnknownVersion {
        /// Of which machine.
        kind: String,
        /// Its version.
        version: u32,
    },
}

/// Encodes `form` as the saved form of machine `kind` with every change up to record `seq`.
pub fn seal(kind: &str, seq: u64, form: &impl Serialize) -> Vec<u8> {
    let form = serde_json::value::to_raw_value(form).expect("a saved form always encodes");
    let envelope = Envelope { kind: kind.into(), version: VERSION, seq, form: &form };
    serde_json::to_vec(&envelope).expect("an envelope always encodes")
}

/// Decodes a saved form of machine `kind`, and the record up to which it holds.
///
/// # Errors
/// [`SnapshotError`] says what is wrong with it; nothing is guessed.
pub fn open<T: DeserializeOwned>(kind: &str, sealed: &[u8]) -> Result<(u64, T), SnapshotError> {
    let unreadable = |error: serde_json::Error| SnapshotError::Unreadable(error.to_string());
    let envelope: Envelope<'_> = serde_json::from_slice(sealed).map_err(unreadable)?;
    if envelope.kind != kind {
        return Err(SnapshotError::Foreign { found: envelope.kind, wanted: kind.into() });
    }
    if envelope.version != VERSION {
        let version = envelope.version;
        return Err(SnapshotError::UnknownVersion { kind: envelope.kind, version });
    }
    let form = serde_json::from_str(envelope.form.get()).map_err(unreadable)?;
    Ok((envelope.seq, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_form_opens_as_it_was() {
        let sealed = seal("bulkhead", 7, &vec![1, 2, 3]);
        assert_eq!(open::<Vec<u8>>("bulkhead", &sealed), Ok((7, vec![1, 2, 3])));
    }

    #[test]
    fn sn3_an_unknown_version_is_refused() {
        let later = br#"{"kind":"bulkhead","version":2,"seq":7,"form":[1]}"#;
        let refused = SnapshotError::UnknownVersion { kind: "bulkhead".into(), version: 2 };
        assert_eq!(open::<Vec<u8>>("bulkhead", later), Err(refused));
    }

    #[test]
    fn a_form_of_another_machine_or_none_at_all_is_refused() {
        let foreign = open::<Vec<u8>>("bulkhead", &seal("circuit", 7, &[1]));
        assert!(matches!(foreign, Err(SnapshotError::Foreign { .. })));
        let torn = open::<Vec<u8>>("bulkhead", b"{\"kind\":\"bulkh");
        assert!(matches!(torn, Err(SnapshotError::Unreadable(_))));
    }
}
