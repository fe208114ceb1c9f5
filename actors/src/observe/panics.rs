//! What a panic says of itself: its message, and its place if the hook has seen it.

use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

/// The longest piece of a panic's message that is kept.
const MESSAGE_CHARS: usize = 200;

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaughtPanic {
    message: String,
    location: Option<String>,
}

/// Takes secrets out of what a panic says.
pub type Redact = fn(&str) -> String;

static REDACT: OnceLock<Redact> = OnceLock::new();

thread_local! {
    static LATEST: RefCell<Option<CaughtPanic>> = const { RefCell::new(None) };
}

impl CaughtPanic {
    /// Its message, cut, and its file and line where known.
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.message, self.location)
    }

    /// The panic whose payload a guard has caught on this thread.
    pub(crate) fn of(payload: &(dyn std::any::Any + Send)) -> Self {
        let noted = LATEST.with(|latest| latest.borrow_mut().take());
        noted.unwrap_or_else(|| Self { message: message_of(payload), location: None })
    }

    /// The panic that ends the task being dropped, if one does and the hook has noted it. Never
    /// panics itself.
    pub(crate) fn unwinding() -> Option<Self> {
        if !std::thread::panicking() {
            return None;
        }
        LATEST.try_with(|latest| latest.try_borrow_mut().ok()?.take()).ok().flatten()
    }
}

/// Has every panic leave its message, redacted, and its place for the guard that catches it, and
/// then be told to `say`, which replaces the hook that prints it as it is. Called once, when the
/// process starts.
pub fn note_panics(redact: Redact, say: fn(message: &str, location: Option<&str>)) {
    let _ = REDACT.set(redact);
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let note = CaughtPanic {
            message: message_of(info.payload()),
            location: info.location().map(|at| format!("{}:{}", at.file(), at.line())),
        };
        let said = note.clone();
        // While a thread ends its locals may be gone; a hook must not panic.
        let _ = LATEST.try_with(|latest| {
            if let Ok(mut latest) = latest.try_borrow_mut() {
                *latest = Some(note);
            }
        });
        say(&said.message, said.location.as_deref());
    }));
}

/// What it says, without secrets; redacted before it is cut, for half a secret is not known as one.
fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without a message");
    let redacted = REDACT.get().map_or_else(|| text.to_owned(), |redact| redact(text));
    redacted.chars().take(MESSAGE_CHARS).collect()
}
