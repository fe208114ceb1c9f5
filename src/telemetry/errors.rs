//! Panics and errors of our own, reported by the `sentry` crate.
//!
//! Only errors that our code logs and panics become events: what HTTP and TLS below us log while a
//! report is under way would report the reporting. Every text is redacted before it leaves, and the
//! same thing is said once a minute, for an error in a loop says nothing new.
//!
//! A panic is reported with its message and its place. The crate's own hook would resolve a
//! backtrace first, on the thread that panics: that takes seconds, and an actor that panics must be
//! back in milliseconds.

use std::collections::BTreeMap;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sentry::protocol::{Event, Exception};
use serde_json::Value;
use tracing::{Level, Metadata};

use super::redact;
use crate::config::Secret;

/// What lines about panics are logged under; the hook reports them itself.
pub(super) const PANICS: &str = "panic";

/// How long the same error is not reported again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The longest piece of a panic's message that is reported.
const MESSAGE_CHARS: usize = 200;

/// Errors that are told apart; beyond it the oldest is forgotten.
const MOST_KNOWN: usize = 256;

/// Reports to Sentry. A DSN that makes no sense is a line in the log, not a reason to stay down.
pub(super) fn report_to(dsn: &Secret) -> Option<sentry::ClientInitGuard> {
    match dsn.expose().parse::<sentry::types::Dsn>() {
        Ok(parsed) => {
            let scrubber = Scrubber::default();
            let options = sentry::ClientOptions::new()
                .maybe_release(sentry::release_name!())
                .send_default_pii(false)
                .before_send(move |event| scrubber.scrub(event));
            let guard = sentry::init((parsed, options));
            report_panics();
            Some(guard)
        }
        Err(_) => {
            tracing::error!("SENTRY_DSN cannot be used; nothing is reported");
            None
        }
    }
}

/// Has every panic reported, after what hooks set before make of it.
fn report_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        // The main hub needs no thread-local, which may be gone while a thread ends.
        sentry::Hub::main().capture_event(of_panic(info));
    }));
}

fn of_panic(info: &PanicHookInfo<'_>) -> Event<'static> {
    let text = info.payload_as_str().unwrap_or("a panic without a message");
    let text = text.chars().take(MESSAGE_CHARS).collect();
    let exception = Exception { ty: "panic".into(), value: Some(text), ..Exception::default() };
    let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
    Event {
        level: sentry::Level::Error,
        culprit: place,
        exception: vec![exception].into(),
        ..Event::default()
    }
}

/// Whether what is logged there is reported.
pub(super) fn is_reported(of: &Metadata<'_>) -> bool {
    let ours = of
        .target()
        .split("::")
        .next()
        .is_some_and(|name| matches!(name, "sendcat" | "sendcat_actors" | "sendcat_state"));
    of.is_event() && *of.level() == Level::ERROR && ours
}

/// What every event goes through before it leaves.
#[derive(Default)]
struct Scrubber {
    /// When each error was reported last, by the event's own time.
    known: Arc<Mutex<BTreeMap<String, SystemTime>>>,
}

impl Scrubber {
    /// The event without secrets; `None` if it says nothing new, or cannot be made safe.
    fn scrub(&self, event: Event<'static>) -> Option<Event<'static>> {
        if !self.is_new(&event) {
            return None;
        }
        let value = serde_json::to_value(&event).ok()?;
        serde_json::from_value(redacted(value)).ok()
    }

    fn is_new(&self, event: &Event<'static>) -> bool {
        let exception = event.exception.last();
        let text = exception.and_then(|it| it.value.as_ref()).or(event.message.as_ref());
        let place = event.logger.as_deref().or(event.culprit.as_deref());
        let name = format!("{}: {}", place.unwrap_or_default(), text.map_or("", String::as_str));
        let now = event.timestamp;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ago = known.get(&name).map(|last| now.duration_since(*last).unwrap_or_default());
        if ago.is_some_and(|ago| ago < AGAIN_AFTER) {
            return false;
        }
        if known.len() >= MOST_KNOWN && !known.contains_key(&name) {
            let oldest = known.iter().min_by_key(|(_, last)| **last).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(name, now);
        true
    }
}

/// The value with every text in it, names of members included, without secrets.
fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact::owned(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(redacted).collect()),
        Value::Object(members) => {
            let redacted = |(name, value): (String, Value)| (redact::owned(&name), redacted(value));
            Value::Object(members.into_iter().map(redacted).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn event(message: &str, seconds: u64) -> Event<'static> {
        Event {
            message: Some(message.to_owned()),
            timestamp: UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds),
            ..Event::default()
        }
    }

    fn scrubber() -> Scrubber {
        redact::know(&[Secret::new("planted-secret")]);
        Scrubber::default()
    }

    #[test]
    fn an_event_leaves_without_secrets_and_otherwise_as_it_was() {
        let mut secret = event("it said planted-secret", 0);
        secret.extra.insert("url".into(), "https://x?token=abc".into());
        secret.server_name = Some("planted-secret".into());
        let mut wanted = secret.clone();
        wanted.message = Some("it said ***".into());
        wanted.extra.insert("url".into(), "https://x?token=***".into());
        wanted.server_name = Some("***".into());
        assert_eq!(scrubber().scrub(secret), Some(wanted));
    }

    #[test]
    fn the_same_error_is_reported_once_a_minute() {
        let scrubber = scrubber();
        let reported = |message, seconds| scrubber.scrub(event(message, seconds)).is_some();
        assert!(reported("one", 0) && reported("two", 1));
        assert!(!reported("one", 59));
        assert!(reported("one", 60) && !reported("two", 60));
    }

    #[test]
    fn what_is_remembered_of_errors_is_bounded() {
        let scrubber = scrubber();
        for number in 0..2000_u64 {
            assert!(scrubber.scrub(event(&number.to_string(), number / 100)).is_some());
        }
        assert_eq!(scrubber.known.lock().unwrap().len(), MOST_KNOWN);
    }
}
