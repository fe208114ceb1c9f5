//! The secrets that `serve --sandbox` makes once and keeps beside its data.
//!
//! A token that was printed before a crash is good after it: the file is written whole, made
//! durable and then put in place, and what it holds is never replaced.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::tokens::SigningKey;

/// The file's name in the data directory.
const FILE: &str = "sandbox.json";
/// The entry that is no knob: what signs users' tokens.
const SIGNING_KEY: &str = "signing key";
/// The model's name; it is no secret, but it is made here like the rest.
const MODEL: &str = "sandbox/echo-1";
/// Knobs that get 32 random bytes, with what stands in front of them.
const RANDOM: &[(&str, &str)] = &[
    ("AUTH_JWT_SECRET", ""),
    ("EBAY_CLIENT_ID", "sandbox-"),
    ("EBAY_CLIENT_SECRET", ""),
    ("GMAIL_PUSH_TOKEN", ""),
    ("GOOGLE_CLIENT_ID", ""),
    ("GOOGLE_CLIENT_SECRET", ""),
    ("OPENROUTER_API_KEY", "sk-or-sandbox-"),
    ("OPS_TOKEN", ""),
    ("RESEND_API_KEY", "re_sandbox_"),
    ("SERPAPI_API_KEY", ""),
    ("SERPER_API_KEY", ""),
    ("SESSION_SECRET", ""),
    ("WHATSAPP_ACCESS_TOKEN", "EAAsandbox"),
    ("WHATSAPP_APP_SECRET", ""),
    ("WHATSAPP_VERIFY_TOKEN", ""),
];

/// The sandbox's keys and secrets, by knob.
#[derive(Clone, Copy, Debug)]
pub struct Secrets;

impl Secrets {
    /// The values by knob, and the key that signs users' tokens, from `<dir>/sandbox.json`, which
    /// is made (mode 0600) if need be. What the file does not know yet is added to it.
    ///
    /// # Errors
    /// When randomness or the disk fails, or when the file is there and cannot be read: it is
    /// then left as it is, for tokens from it may be in use.
    pub fn load_or_make(dir: &Path) -> io::Result<(BTreeMap<String, String>, SigningKey)> {
        let mut values = Self::all(dir)?;
        let signing = SigningKey::from_text(&values.remove(SIGNING_KEY).unwrap_or_default())?;
        Ok((values, signing))
    }

    fn all(dir: &Path) -> io::Result<BTreeMap<String, String>> {
        let path = dir.join(FILE);
        let mut values = match fs::read(&path) {
            Ok(bytes) => parsed(&bytes, &path)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(cause),
        };
        let known = values.len();
        for (knob, prefix) in RANDOM {
            if !values.contains_key(*knob) {
                values.insert((*knob).to_owned(), format!("{prefix}{}", random_hex()?));
            }
        }
        values.entry("OPENROUTER_MODEL".to_owned()).or_insert_with(|| MODEL.to_owned());
        if !values.contains_key("WHATSAPP_PHONE_NUMBER_ID") {
            values.insert("WHATSAPP_PHONE_NUMBER_ID".to_owned(), phone_number_id()?);
        }
        if !values.contains_key(SIGNING_KEY) {
            values.insert(SIGNING_KEY.to_owned(), SigningKey::make()?.to_text());
        }
        if values.len() > known {
            fs::create_dir_all(dir)?;
            write(dir, &values)?;
        }
        Ok(values)
    }
}

fn parsed(bytes: &[u8], path: &Path) -> io::Result<BTreeMap<String, String>> {
    serde_json::from_slice(bytes).map_err(|cause| {
        let sentence = format!("{} holds no sandbox secrets: {cause}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, sentence)
    })
}

/// Beside the place first, durable, then into it: a crash leaves the old file or the new one.
fn write(dir: &Path, values: &BTreeMap<String, String>) -> io::Result<()> {
    let beside = dir.join(format!("{FILE}.tmp"));
    // One left by a crash may have another mode.
    match fs::remove_file(&beside) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(serde_json::to_string_pretty(values)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn random_hex() -> io::Result<String> {
    Ok(hex::encode(random::<32>()?))
}

/// Fifteen digits, as Meta's are.
fn phone_number_id() -> io::Result<String> {
    let number = u64::from_le_bytes(random()?) % 100_000_000_000_000;
    Ok(format!("1{number:014}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_made_once_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("data");
        let first = Secrets::all(&nested).unwrap();
        assert_eq!(first.len(), RANDOM.len() + 3);
        assert_eq!(Secrets::all(&nested).unwrap(), first);
        let mode = fs::metadata(nested.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&nested).unwrap().count(), 1);
    }

    #[test]
    fn the_key_that_signs_tokens_stays_and_is_no_knob() {
        let dir = tempfile::tempdir().unwrap();
        let (values, key) = Secrets::load_or_make(dir.path()).unwrap();
        assert_eq!(values.len(), RANDOM.len() + 2);
        let (_, again) = Secrets::load_or_make(dir.path()).unwrap();
        assert_eq!(again.to_text(), key.to_text());
        fs::write(dir.path().join(FILE), r#"{"signing key":"none"}"#).unwrap();
        assert!(Secrets::load_or_make(dir.path()).is_err());
    }

    #[test]
    fn two_sandboxes_share_no_secret() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = Secrets::all(one.path()).unwrap();
        let two = Secrets::all(two.path()).unwrap();
        let same: Vec<_> =
            one.iter().filter(|(knob, value)| two.get(*knob) == Some(value)).collect();
        assert_eq!(
            same.iter().map(|(knob, _)| knob.as_str()).collect::<Vec<_>>(),
            ["OPENROUTER_MODEL"]
        );
    }

    #[test]
    fn a_knob_that_the_file_does_not_know_is_added_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), r#"{"OPS_TOKEN":"kept"}"#).unwrap();
        let values = Secrets::all(dir.path()).unwrap();
        assert_eq!(values["OPS_TOKEN"], "kept");
        assert_eq!(values.len(), RANDOM.len() + 3);
        assert_eq!(Secrets::all(dir.path()).unwrap(), values);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "not json").unwrap();
        let error = Secrets::all(dir.path()).unwrap_err();
        assert!(error.to_string().contains("sandbox.json holds no sandbox secrets"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not json");
    }
}
