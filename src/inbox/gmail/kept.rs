//! Pushes about mailboxes that nobody has connected: they are kept as evidence.

use serde::Deserialize;

use crate::contract::function::Args;

/// What works it off is called so in errors.
pub(in crate::inbox) const FUNCTION: &str = "gmail.processPush";

/// A push as it was accepted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::inbox) struct Kept {
    email_address: String,
    history_id: String,
}

impl Args for Kept {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.email_address.is_empty() {
            return Err(("emailAddress", "a mailbox"));
        }
        let digits = self.history_id.bytes().all(|byte| byte.is_ascii_digit());
        let fits = digits && !self.history_id.is_empty();
        if fits { Ok(()) } else { Err(("historyId", "decimal digits")) }
    }
}
