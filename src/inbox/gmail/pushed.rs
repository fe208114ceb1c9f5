//! Accepted pushes: what is read of them, and those about mailboxes that nobody has connected.
//!
//! The latter are accepted as any other, or Pub/Sub would send them for days, and leave nothing
//! behind: whoever may push could else fill the disk with mailboxes that are none of ours.

use std::sync::atomic::{AtomicU64, Ordering};

use sendcat_state::job::{AttemptOutcome, ClaimedJob};
use serde::Deserialize;

use super::{Mailboxes, Trouble};
use crate::contract::code::ErrorCode;
use crate::contract::function::{self, Args, FunctionError, INVALID_ARGS};

/// What works pushes off is called so in errors.
const FUNCTION: &str = "gmail.processPush";

/// What reads mailboxes is called so.
pub(super) const SYNC: &str = "gmail.incrementalSync";

/// A push as it was accepted, or what is left of one that nobody can read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pushed {
    #[serde(default)]
    email_address: String,
    #[serde(default)]
    history_id: String,
    /// Why it cannot be read.
    poison: Option<String>,
}

impl Args for Pushed {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.poison.is_some() {
            return Ok(());
        }
        if self.email_address.is_empty() {
            return Err(("emailAddress", "a mailbox"));
        }
        let digits = self.history_id.bytes().all(|byte| byte.is_ascii_digit());
        let fits = digits && !self.history_id.is_empty();
        if fits { Ok(()) } else { Err(("historyId", "decimal digits")) }
    }
}

/// Counts pushes about mailboxes that nobody has connected.
#[derive(Debug, Default)]
pub struct Strangers(AtomicU64);

impl Strangers {
    /// One more; told at the first, the tenth, the hundredth, so that a flood is not one of lines.
    fn count(&self) {
        let pushes = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if pushes == 10_u64.pow(pushes.ilog10()) {
            tracing::warn!(pushes, "a push is about a mailbox that nobody has connected");
        }
    }
}

/// Works off an accepted push; `mailboxes` is `None` where no call can leave the process.
pub(in crate::inbox) async fn work_off(
    mailboxes: Option<&Mailboxes>,
    strangers: &Strangers,
    job: &ClaimedJob,
    body: &[u8],
) -> AttemptOutcome {
    let pushed: Pushed = match function::args(FUNCTION, body) {
        Ok(pushed) => pushed,
        Err(error) => return AttemptOutcome::Dead { error: error.to_string() },
    };
    if let Some(why) = pushed.poison {
        let error = FunctionError::new(INVALID_ARGS, FUNCTION, why).to_string();
        return AttemptOutcome::Dead { error };
    }
    let known = match mailboxes {
        Some(mailboxes) => mailboxes.work_off(job, &pushed.email_address).await,
        None => None,
    };
    known.unwrap_or_else(|| {
        strangers.count();
        AttemptOutcome::Done { writes: Vec::new() }
    })
}

/// A reading that failed, as operators see it.
pub(super) fn failure(trouble: &Trouble) -> String {
    let code = match trouble {
        Trouble::Upstream(error) => error.code_name(),
        Trouble::Unreadable(_) | Trouble::Unwritten(_) => ErrorCode::StorageUnavailable.name(),
        Trouble::Full => ErrorCode::Conflict.name(),
        Trouble::Unconnected => ErrorCode::NotFound.name(),
    };
    FunctionError::new(code, SYNC, trouble.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> Result<Option<String>, String> {
        let read = function::args::<Pushed>(FUNCTION, payload.as_bytes());
        read.map(|it| it.poison).map_err(|error| error.to_string())
    }

    #[test]
    fn a_push_is_read_whole_before_anything_is_done_about_it() {
        assert_eq!(read(r#"{"emailAddress":"a@b.c","historyId":"7","messageId":null}"#), Ok(None));
        assert_eq!(read(r#"{"poison":"no JSON","body":"{"}"#), Ok(Some("no JSON".into())));
        let wrong = "[invalid_function_args:gmail.processPush] ";
        let table = [
            ("{}", "emailAddress: expected a mailbox"),
            (r#"{"emailAddress":"a@b.c"}"#, "historyId: expected decimal digits"),
            (r#"{"emailAddress":"a@b.c","historyId":"x"}"#, "historyId: expected decimal digits"),
            (
                r#"{"emailAddress":"planted"#,
                "the payload is not what it takes, at line 1 column 24",
            ),
        ];
        for (payload, why) in table {
            assert_eq!(read(payload), Err(format!("{wrong}{why}")), "{payload}");
        }
    }

    #[test]
    fn a_reading_that_failed_is_told_by_code_and_function() {
        assert_eq!(
            failure(&Trouble::Full),
            "[conflict:gmail.incrementalSync] its owner has no room for more evidence"
        );
    }
}
