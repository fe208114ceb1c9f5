//! Names of headers, the lists of CORS, and the one renderer of the rate limit fields.
//!
//! The fields follow draft-ietf-httpapi-ratelimit-headers-11, which is no standard yet; because
//! its names may still change, everything about them is written here and nowhere else.
//!
//! # Invariants
//! - `Retry-After` never names a time earlier than the field's `t`: both are rounded up.
//! - A policy's name always renders as a well-formed sf-string.

use std::fmt;
use std::time::Duration;

/// Which refusal this is.
pub const ERROR_CODE: &str = "x-sendcat-error-code";
/// `1` on the answer to something that was accepted before.
pub const IDEMPOTENT_REPLAY: &str = "x-idempotent-replay";
/// The only value of [`IDEMPOTENT_REPLAY`].
pub const REPLAYED: &str = "1";
/// Names the request in logs and reports.
pub const REQUEST_ID: &str = "x-request-id";
/// Seconds to wait.
pub const RETRY_AFTER: &str = "retry-after";
/// What is left of a limit.
pub const RATE_LIMIT: &str = "ratelimit";
/// What the limit is.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// The limit, in the form before the draft's seventh version.
pub const LEGACY_LIMIT: &str = "x-ratelimit-limit";
/// What is left of it, in that form.
pub const LEGACY_REMAINING: &str = "x-ratelimit-remaining";
/// Seconds until there is more, in that form.
pub const LEGACY_RESET: &str = "x-ratelimit-reset";
/// What becomes of an answer whose reader goes away.
pub const ON_DISCONNECT: &str = "x-sendcat-on-disconnect";
/// Value of [`ON_DISCONNECT`]: end the answer. The default.
pub const ON_DISCONNECT_CANCEL: &str = "cancel";
/// Value of [`ON_DISCONNECT`]: let the answer run on.
pub const ON_DISCONNECT_FINISH: &str = "finish";
/// The caller's own key of a request that must act once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The version of the stream's protocol.
pub const UI_MESSAGE_STREAM: &str = "x-vercel-ai-ui-message-stream";
/// The only value of [`UI_MESSAGE_STREAM`].
pub const UI_MESSAGE_STREAM_V1: &str = "v1";
/// Keeps proxies from collecting a stream.
pub const ACCEL_BUFFERING: &str = "x-accel-buffering";
/// The value of `cache-control` of a stream.
pub const STREAM_CACHE_CONTROL: &str = "no-cache, no-transform";
/// Meta's and GitHub's signature over the raw body.
pub const HUB_SIGNATURE: &str = "x-hub-signature-256";
/// What GitHub says a delivery is about; its signature does not cover it.
pub const GITHUB_EVENT: &str = "x-github-event";
/// Stripe's signature, with the time it was made.
pub const STRIPE_SIGNATURE: &str = "stripe-signature";
/// Identifier, time and signature of Standard Webhooks.
pub const STANDARD_WEBHOOK: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];
/// The same three as Svix names them.
pub const SVIX_WEBHOOK: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];
/// Which subscription a push is of that Pub/Sub has unwrapped.
pub const PUBSUB_SUBSCRIPTION: &str = "x-goog-pubsub-subscription-name";
/// Pub/Sub's name for it.
pub const PUBSUB_MESSAGE_ID: &str = "x-goog-pubsub-message-id";
/// When Pub/Sub took it.
pub const PUBSUB_PUBLISH_TIME: &str = "x-goog-pubsub-publish-time";
/// Forbids a browser to guess another type than the declared one.
pub const CONTENT_TYPE_OPTIONS: &str = "x-content-type-options";

/// The address of a client as Cloudflare tells it; believed of a trusted peer only.
pub const CF_CONNECTING_IP: &str = "cf-connecting-ip";
/// The addresses a request came through; believed from the right, while trusted.
pub const FORWARDED_FOR: &str = "x-forwarded-for";
/// The address of a client as a proxy tells it; believed of a trusted peer only.
pub const REAL_IP: &str = "x-real-ip";

/// What a browser may read of an answer from another origin (INTERFACE.md §3).
pub const CORS_EXPOSED: &str = "x-sendcat-error-code, retry-after, x-idempotent-replay, \
                                ratelimit, ratelimit-policy, x-request-id";
/// What a browser may send from another origin. `user-agent` is here because the AI SDK sets it
/// and Firefox and Safari then ask for it (UI-STREAM.md §2).
pub const CORS_ALLOWED: &str = "authorization, content-type, accept, user-agent, \
                                idempotency-key, x-sendcat-on-disconnect, traceparent, tracestate";
/// How long a browser may keep a preflight's answer, in seconds.
pub const CORS_MAX_AGE: &str = "600";

/// The seconds of a `Retry-After` field: rounded up, at least one.
pub fn retry_after_seconds(wait: Duration) -> u64 {
    ceil_seconds(wait).max(1)
}

fn ceil_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}

/// In which form the rate limit fields are written (`RATE_LIMIT_HEADERS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimitStyle {
    /// `RateLimit` and `RateLimit-Policy` as of draft 11.
    #[default]
    Draft11,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset`; one limit only.
    Legacy,
    /// None at all.
    Off,
}

impl RateLimitStyle {
    /// Every form, with the word that chooses it.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Draft11, "draft11"), (Self::Legacy, "legacy"), (Self::Off, "off")];
}

/// The name of a limit as it stands in the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName(String);

/// A name that no sf-string can hold: empty, over 64 bytes, or not printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy's name is 1 to 64 characters of printable ascii")]
pub struct BadPolicyName;

impl PolicyName {
    /// The name, if an sf-string can hold it (RFC 8941 §3.3.3).
    ///
    /// # Errors
    /// [`BadPolicyName`] otherwise.
    pub fn new(name: &str) -> Result<Self, BadPolicyName> {
        let printable = name.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if printable && (1..=64).contains(&name.len()) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadPolicyName)
        }
    }
}

impl fmt::Display for PolicyName {
    /// Writes the name as an sf-string, quotes included.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// One limit and how much of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quota {
    /// So many requests in a window.
    Window {
        /// The limit's name.
        name: PolicyName,
        /// Requests a window admits.
        calls: u64,
        /// How long a window stays open.
        per: Duration,
        /// Requests left in the open window.
        left: u64,
        /// How long until there are more.
        resets_in: Duration,
    },
    /// So many at once. What is left of it would be stale before it is read, so it is not told.
    Concurrent {
        /// The limit's name.
        name: PolicyName,
        /// Requests at once.
        calls: u64,
    },
}

/// The fields to add to an answer for these limits, as name and value, in the chosen form.
pub fn rate_limit_fields(style: RateLimitStyle, quotas: &[Quota]) -> Vec<(&'static str, String)> {
    match style {
        RateLimitStyle::Off => Vec::new(),
        RateLimitStyle::Draft11 => draft11_fields(quotas),
        RateLimitStyle::Legacy => legacy_fields(quotas),
    }
}

fn draft11_fields(quotas: &[Quota]) -> Vec<(&'static str, String)> {
    let mut policies = Vec::new();
    let mut limits = Vec::new();
    for quota in quotas {
        match quota {
            Quota::Window { name, calls, per, left, resets_in } => {
                let (calls, left) = (sf_integer(*calls), sf_integer(*left));
                let window = sf_integer(ceil_seconds(*per).max(1));
                let resets_in = sf_integer(ceil_seconds(*resets_in));
                policies.push(format!("{name};q={calls};w={window}"));
                limits.push(format!("{name};r={left};t={resets_in}"));
            }
            Quota::Concurrent { name, calls } => {
                let calls = sf_integer(*calls);
                policies.push(format!("{name};q={calls};qu=\"concurrent-requests\""));
            }
        }
    }
    let mut fields = Vec::new();
    if !policies.is_empty() {
        fields.push((RATE_LIMIT_POLICY, policies.join(", ")));
    }
    if !limits.is_empty() {
        fields.push((RATE_LIMIT, limits.join(", ")));
    }
    fields
}

/// The old form has no names, so it can tell one limit: the one with least left.
fn legacy_fields(quotas: &[Quota]) -> Vec<(&'static str, String)> {
    let windows = quotas.iter().filter_map(|quota| match quota {
        Quota::Window { calls, left, resets_in, .. } => Some((left, calls, resets_in)),
        Quota::Concurrent { .. } => None,
    });
    match windows.min_by_key(|(left, ..)| **left) {
        None => Vec::new(),
        Some((left, calls, resets_in)) => vec![
            (LEGACY_LIMIT, calls.to_string()),
            (LEGACY_REMAINING, left.to_string()),
            (LEGACY_RESET, ceil_seconds(*resets_in).to_string()),
        ],
    }
}

/// An sf-integer has at most fifteen digits (RFC 8941 §3.3.1).
fn sf_integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(name: &str, left: u64, resets_in_millis: u64) -> Quota {
        Quota::Window {
            name: PolicyName::new(name).unwrap(),
            calls: 30,
            per: Duration::from_secs(60),
            left,
            resets_in: Duration::from_millis(resets_in_millis),
        }
    }

    #[test]
    fn a_wait_is_rounded_up_and_never_zero() {
        let table = [(0, 1), (1, 1), (1000, 1), (1001, 2), (16_999, 17)];
        for (millis, seconds) in table {
            assert_eq!(retry_after_seconds(Duration::from_millis(millis)), seconds, "{millis}");
        }
        assert_eq!(retry_after_seconds(Duration::from_nanos(1_000_000_001)), 2);
        assert_eq!(retry_after_seconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_window_is_told_as_the_draft_writes_it() {
        let fields =
            rate_limit_fields(RateLimitStyle::Draft11, &[window("chat_stream", 0, 16_001)]);
        let expected = vec![
            (RATE_LIMIT_POLICY, "\"chat_stream\";q=30;w=60".to_owned()),
            (RATE_LIMIT, "\"chat_stream\";r=0;t=17".to_owned()),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn several_limits_are_one_list() {
        let quotas = [window("chat_stream", 3, 1000), window("anon_ip", 9, 2000)];
        let fields = rate_limit_fields(RateLimitStyle::Draft11, &quotas);
        let expected = vec![
            (RATE_LIMIT_POLICY, "\"chat_stream\";q=30;w=60, \"anon_ip\";q=30;w=60".to_owned()),
            (RATE_LIMIT, "\"chat_stream\";r=3;t=1, \"anon_ip\";r=9;t=2".to_owned()),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_full_bulkhead_tells_its_policy_alone() {
        let name = PolicyName::new("openrouter_chat").unwrap();
        let quotas = [Quota::Concurrent { name, calls: 24 }];
        let policy = "\"openrouter_chat\";q=24;qu=\"concurrent-requests\"".to_owned();
        assert_eq!(
            rate_limit_fields(RateLimitStyle::Draft11, &quotas),
            vec![(RATE_LIMIT_POLICY, policy)]
        );
        assert_eq!(rate_limit_fields(RateLimitStyle::Legacy, &quotas), Vec::new());
    }

    #[test]
    fn the_old_form_tells_the_limit_with_least_left() {
        let quotas = [window("chat_stream", 3, 1000), window("anon_ip", 2, 1500)];
        let expected = vec![
            (LEGACY_LIMIT, "30".to_owned()),
            (LEGACY_REMAINING, "2".to_owned()),
            (LEGACY_RESET, "2".to_owned()),
        ];
        assert_eq!(rate_limit_fields(RateLimitStyle::Legacy, &quotas), expected);
        assert_eq!(rate_limit_fields(RateLimitStyle::Off, &quotas), Vec::new());
    }

    #[test]
    fn a_name_is_escaped_or_refused() {
        assert_eq!(PolicyName::new("a\"b\\c").unwrap().to_string(), r#""a\"b\\c""#);
        for bad in ["", "tab\t", "line\n", "naïve", "\u{7f}", &"x".repeat(65)] {
            assert_eq!(PolicyName::new(bad), Err(BadPolicyName), "{bad:?}");
        }
    }

    #[test]
    fn no_number_outgrows_an_sf_integer() {
        let quota = Quota::Window {
            name: PolicyName::new("x").unwrap(),
            calls: u64::MAX,
            per: Duration::MAX,
            left: u64::MAX,
            resets_in: Duration::MAX,
        };
        for (_, value) in rate_limit_fields(RateLimitStyle::Draft11, &[quota]) {
            assert!(value.matches("999999999999999").count() == 2, "{value}");
        }
    }

    #[test]
    fn the_lists_of_cors_are_those_of_the_interface() {
        let exposed = [
            "x-sendcat-error-code",
            "retry-after",
            "x-idempotent-replay",
            "ratelimit",
            "ratelimit-policy",
            "x-request-id",
        ];
        let allowed = [
            "authorization",
            "content-type",
            "accept",
            "user-agent",
            "idempotency-key",
            "x-sendcat-on-disconnect",
            "traceparent",
            "tracestate",
        ];
        let lists = (exposed.join(", "), allowed.join(", "));
        assert_eq!((CORS_EXPOSED.to_owned(), CORS_ALLOWED.to_owned()), lists);
    }
}
