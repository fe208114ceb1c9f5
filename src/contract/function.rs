//! Errors of what runs behind the routes, and the check of what it is handed.
//!
//! An internal function takes a payload that was written earlier, maybe by an earlier version, and
//! has effects. So it reads the payload whole before it writes anything, and what it cannot read
//! is named by the function and never quoted: `[invalid_function_args:whatsapp.processWebhook]`
//! (log 2.4). Every failure of a function is written `[code:function] message` (log 2.6).

use std::fmt;

use serde::de::DeserializeOwned;

/// The code of a payload that is not what a function takes.
pub const INVALID_ARGS: &str = "invalid_function_args";

/// Why a function has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// A code, as in `x-sendcat-error-code` where there is one of that meaning.
    pub code: &'static str,
    /// Which function.
    pub function: &'static str,
    /// What happened, in words without secrets.
    pub message: String,
}

impl FunctionError {
    /// A failure of that function.
    pub fn new(code: &'static str, function: &'static str, message: impl Into<String>) -> Self {
        Self { code, function, message: message.into() }
    }
}

impl fmt::Display for FunctionError {
    /// `[code:function] message`; of a wrong payload the bracket is the prefix that the log names.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{}:{}] {}", self.code, self.function, self.message)
    }
}

impl std::error::Error for FunctionError {}

/// What a function takes.
pub trait Args: DeserializeOwned {
    /// What the types do not say: the member that is wrong, and what it must be.
    ///
    /// # Errors
    /// The member's path, and what was expected there.
    fn check(&self) -> Result<(), (&'static str, &'static str)>;
}

/// Reads what a function is handed; nothing may be written before.
///
/// # Errors
/// [`FunctionError`] of code [`INVALID_ARGS`], which quotes nothing of the payload.
pub fn args<T: Args>(function: &'static str, payload: &[u8]) -> Result<T, FunctionError> {
    let wrong = |message: String| FunctionError::new(INVALID_ARGS, function, message);
    let read: T = serde_json::from_slice(payload).map_err(|fault| {
        // The parser's own words may quote what it found.
        let (line, column) = (fault.line(), fault.column());
        wrong(format!("the payload is not what it takes, at line {line} column {column}"))
    })?;
    match read.check() {
        Ok(()) => Ok(read),
        Err((path, expected)) => Err(wrong(format!("{path}: expected {expected}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Greeting {
        name: String,
    }

    impl Args for Greeting {
        fn check(&self) -> Result<(), (&'static str, &'static str)> {
            if self.name.is_empty() { Err(("name", "a name")) } else { Ok(()) }
        }
    }

    #[test]
    fn a_wrong_payload_is_told_by_function_and_place_and_is_not_quoted() {
        let read = |payload: &str| {
            args::<Greeting>("greetings.send", payload.as_bytes())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(r#"{"name":"ann"}"#), Ok(Greeting { name: "ann".into() }));
        let prefix = "[invalid_function_args:greetings.send] ";
        let table = [
            (
                r#"{"name":7,"secret":"hunter2"}"#,
                "the payload is not what it takes, at line 1 column 9",
            ),
            ("{}", "the payload is not what it takes, at line 1 column 2"),
            ("hunter2", "the payload is not what it takes, at line 1 column 1"),
            (r#"{"name":""}"#, "name: expected a name"),
        ];
        for (payload, message) in table {
            assert_eq!(read(payload), Err(format!("{prefix}{message}")), "{payload}");
        }
    }
}
