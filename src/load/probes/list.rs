//! The probes themselves: what each asks, and what must be answered (OPERATIONS.md §3;
//! INTERFACE.md §2–§5).
//!
//! One fault is one probe's to find: statuses and what belongs to them are each guard's own, the
//! error codes of all of them are [`Probe::ErrorCodes`]'s alone.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::exchange::{Ask, On429};
use super::expect::{get, json_of, present, read_as, same, status};
use super::{Attempt, Failure, Secrets, name_of_its_own};
use crate::config::Secret;
use crate::contract::code::ErrorCode;
use crate::contract::headers;
use crate::contract::ops::Snapshot;
use crate::contract::session::AnonymousSession;
use crate::contract::signature::sign_meta;

/// The end of every stream (UI-STREAM.md §3).
const DONE: &str = "data: [DONE]";

/// An origin that nobody can have listed: the name is reserved (RFC 2606).
const FOREIGN: &str = "https://sendcat-probe.invalid";

const CHAT: &str = "/api/chat";
const PUSH: &str = "/api/gmail/push";
const WHATSAPP: &str = "/api/whatsapp/webhook";
const SNAPSHOT: &str = "/ops/snapshot";

/// Declares the probes: one row each.
macro_rules! probes {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $route:expr, $asks:literal;)+) => {
        /// A probe. Its id never changes: reports are compared by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Probe { $($(#[$doc])* $variant,)+ }

        impl Probe {
            /// All of them, in the order they run in.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in reports, and for `--only`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The route it looks at; its owner is the probe's.
            pub const fn route(self) -> &'static str {
                match self { $(Self::$variant => $route,)+ }
            }

            /// What it asks and what must be answered, for `--explain`.
            pub const fn asks(self) -> &'static str {
                match self { $(Self::$variant => $asks,)+ }
            }
        }
    };
}

probes! {
    /// The process lives.
    Live = "health.live", "/livez",
        "GET /livez answers 200 and {\"status\":\"ok\"}.";
    /// It can do its work.
    Ready = "health.ready", "/readyz",
        "GET /readyz answers 200; the status \"degraded\" is a warning.";
    /// Pages of allowed origins may call, others may not.
    ChatCors = "chat.cors", CHAT,
        "OPTIONS /api/chat names an allowed origin back, exactly, with methods, headers and \
         max-age; a foreign one gets none of these.";
    /// Nobody chats without a token.
    ChatAuth = "chat.auth", CHAT,
        "POST /api/chat without and with a bad token answers 401 with WWW-Authenticate.";
    /// Nobody pushes without Google's token.
    GmailGuard = "gmail.guard", PUSH,
        "POST /api/gmail/push without and with a wrong token answers 403.";
    /// Only who knows the verify token sets the callback address.
    WhatsappVerify = "whatsapp.verify", WHATSAPP,
        "GET /api/whatsapp/webhook with a wrong verify token answers 403; with the right one, \
         where WHATSAPP_VERIFY_TOKEN is set here, 200 and the challenge.";
    /// Only who knows the app secret delivers.
    WhatsappSignature = "whatsapp.signature", WHATSAPP,
        "POST /api/whatsapp/webhook without, with a malformed and with a wrong signature answers \
         403.";
    /// A delivery that comes again is known again.
    Replay = "replay.header", WHATSAPP,
        "A signed delivery of one status answers 200 without X-Idempotent-Replay, the same again \
         with it. Needs WHATSAPP_APP_SECRET here; the status is of a message that nobody has sent.";
    /// Nobody reads the operators' snapshot without their token.
    SnapshotAuth = "snapshot.auth", SNAPSHOT,
        "GET /ops/snapshot answers 401 without and with a wrong token, and a snapshot with the \
         right one. Needs OPS_TOKEN (or OPS_READ_TOKEN) here.";
    /// A stream begins in time and ends cleanly.
    ChatStream = "chat.stream", CHAT,
        "An anonymous session asks for one word: 200, an event stream, its first byte in time, and \
         its end, data: [DONE]. One call of the model. With RELIABILITY_AUTH_TOKEN, by that token.";
    /// Every failure says which it is.
    ErrorCodes = "errors.code", "/api",
        "Eight requests that must fail: each failure carries x-sendcat-error-code, a known code \
         whose status is the one answered.";
}

/// From how long on a probe is degraded, and from how long on it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Slower is a warning, and does not count against uptime.
    pub degraded: Duration,
    /// Slower is a failure.
    pub failed: Duration,
}

impl Probe {
    /// The probe of that id.
    pub fn by_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|probe| probe.id() == id)
    }

    /// Its two thresholds. Of a stream the time to its first byte is held against them: the
    /// objectives' 2 s, and 12 s for a whole chat; of the rest the whole exchange.
    pub const fn limits(self) -> Limits {
        match self {
            Self::ChatStream => {
                Limits { degraded: Duration::from_secs(2), failed: Duration::from_secs(12) }
            }
            Self::Live
            | Self::Ready
            | Self::ChatCors
            | Self::ChatAuth
            | Self::GmailGuard
            | Self::WhatsappVerify
            | Self::WhatsappSignature
            | Self::Replay
            | Self::SnapshotAuth
            | Self::ErrorCodes => Limits {
                degraded: Duration::from_millis(1500),
                failed: Duration::from_millis(2500),
            },
        }
    }

    /// Why it cannot be asked with what is known here; `None` if it can.
    pub fn skipped(self, secrets: &Secrets) -> Option<&'static str> {
        let needs = |secret: &Option<Secret>, why| secret.is_none().then_some(why);
        match self {
            Self::Replay => needs(
                &secrets.whatsapp_app_secret,
                "WHATSAPP_APP_SECRET is not set here, so no delivery can be signed",
            ),
            Self::SnapshotAuth => needs(
                &secrets.ops_token,
                "OPS_TOKEN is not set here, so the operators' routes cannot be opened",
            ),
            Self::Live
            | Self::Ready
            | Self::ChatCors
            | Self::ChatAuth
            | Self::GmailGuard
            | Self::WhatsappVerify
            | Self::WhatsappSignature
            | Self::ChatStream
            | Self::ErrorCodes => None,
        }
    }

    pub(super) async fn attempt(self, run: &mut Attempt<'_>) -> Result<(), Failure> {
        match self {
            Self::Live => live(run).await,
            Self::Ready => ready(run).await,
            Self::ChatCors => chat_cors(run).await,
            Self::ChatAuth => chat_auth(run).await,
            Self::GmailGuard => gmail_guard(run).await,
            Self::WhatsappVerify => whatsapp_verify(run).await,
            Self::WhatsappSignature => whatsapp_signature(run).await,
            Self::Replay => replay(run).await,
            Self::SnapshotAuth => snapshot_auth(run).await,
            Self::ChatStream => chat_stream(run).await,
            Self::ErrorCodes => error_codes(run).await,
        }
    }
}

async fn live(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let answer = run.ask(get("/livez")).await?;
    status(&answer, 200)?;
    same("status in the body", json_of(&answer)?["status"].as_str(), Some("ok"))
}

async fn ready(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let answer = run.ask(get("/readyz")).await?;
    status(&answer, 200)?;
    match json_of(&answer)?["status"].as_str() {
        Some("ok") => {}
        Some("degraded") => run.degraded("it says that it is degraded"),
        other => return same("status in the body", other, Some("ok")),
    }
    Ok(())
}

async fn chat_cors(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let preflight = |origin: &str| {
        let ask = Ask::new(Method::OPTIONS, CHAT).with("origin", origin);
        ask.with("access-control-request-method", "POST")
    };
    let origin = run.prober.origin.clone();
    let allowed = run.ask(preflight(&origin)).await?;
    status(&allowed, 204)?;
    same("allow-origin", allowed.header("access-control-allow-origin"), Some(&origin))?;
    let lists = [
        ("access-control-allow-methods", "POST, OPTIONS"),
        ("access-control-allow-headers", headers::CORS_ALLOWED),
        ("access-control-max-age", "600"),
    ];
    for (name, value) in lists {
        same(name, allowed.header(name), Some(value))?;
    }
    let foreign = run.ask(preflight(FOREIGN)).await?;
    status(&foreign, 204)?;
    let given = foreign.header("access-control-allow-origin");
    same("allow-origin for a foreign origin", given, None)
}

async fn chat_auth(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let body = chat_body("probe");
    let post = || Ask::new(Method::POST, CHAT).json(body.clone());
    for ask in [post(), post().bearer("sendcat-probe-no-token")] {
        let answer = run.ask(ask).await?;
        status(&answer, 401)?;
        present(&answer, "www-authenticate")?;
    }
    Ok(())
}

async fn gmail_guard(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let push = |path: &str| Ask::new(Method::POST, path).json(PUSHED);
    for path in [PUSH, "/api/gmail/push?token=sendcat-probe-wrong"] {
        status(&run.ask(push(path)).await?, 403)?;
    }
    Ok(())
}

/// A push about nobody's mailbox.
const PUSHED: &str = r#"{"message":{"data":"e30=","messageId":"1"},"subscription":"probe"}"#;

async fn whatsapp_verify(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let asked = |token: &str| {
        let mode = "hub.mode=subscribe&hub.challenge=1158201444";
        get(format!("{WHATSAPP}?{mode}&hub.verify_token={token}"))
    };
    status(&run.ask(asked("sendcat-probe-wrong")).await?, 403)?;
    if let Some(token) = run.prober.secrets.whatsapp_verify_token.clone() {
        let answer = run.ask(asked(&encoded(token.expose()))).await?;
        status(&answer, 200)?;
        let echoed = String::from_utf8_lossy(&answer.body);
        same("the challenge", Some(&echoed), Some("1158201444"))?;
    }
    Ok(())
}

/// A query's value, its bytes escaped.
fn encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn whatsapp_signature(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let body = delivery("wamid.sendcat-probe");
    let post = || Ask::new(Method::POST, WHATSAPP).json(body.clone());
    let wrong = sign_meta(b"sendcat-probe-wrong", body.as_bytes());
    let asks = [
        post(),
        post().with(headers::HUB_SIGNATURE, "sha256=probe"),
        post().with(headers::HUB_SIGNATURE, wrong),
    ];
    for ask in asks {
        status(&run.ask(ask).await?, 403)?;
    }
    Ok(())
}

async fn replay(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let secrets = run.prober.secrets.clone();
    let secret = secrets.whatsapp_app_secret.as_ref().map_or("", |secret| secret.expose());
    // During a rotation the first of the list is the new one.
    let secret = secret.split(',').next().unwrap_or_default().trim();
    let body = delivery(&run.prober.delivery_id);
    let signature = sign_meta(secret.as_bytes(), body.as_bytes());
    let post = || {
        let ask = Ask::new(Method::POST, WHATSAPP).json(body.clone());
        ask.with(headers::HUB_SIGNATURE, signature.clone())
    };
    let first = run.ask(post()).await?;
    status(&first, 200)?;
    if run.is_first() {
        let marked = first.header(headers::IDEMPOTENT_REPLAY);
        same("x-idempotent-replay of a new delivery", marked, None)?;
    }
    let second = run.ask(post()).await?;
    status(&second, 200)?;
    let marked = second.header(headers::IDEMPOTENT_REPLAY);
    same(headers::IDEMPOTENT_REPLAY, marked, Some(headers::REPLAYED))
}

/// A delivery of one status of a message: it moves nothing but that message's own mark.
fn delivery(id: &str) -> String {
    let status = json!({"id": id, "status": "sent", "timestamp": "1750030073",
        "recipient_id": "15550000000"});
    let value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550000000", "phone_number_id": "0"},
        "statuses": [status]});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "0", "changes": [{"value": value, "field": "messages"}]}]})
    .to_string()
}

async fn snapshot_auth(run: &mut Attempt<'_>) -> Result<(), Failure> {
    for ask in [get(SNAPSHOT), get(SNAPSHOT).bearer("sendcat-probe-wrong")] {
        status(&run.ask(ask).await?, 401)?;
    }
    let secrets = run.prober.secrets.clone();
    let token = secrets.ops_token.as_ref().map_or("", |token| token.expose());
    let answer = run.ask(get(SNAPSHOT).bearer(token)).await?;
    status(&answer, 200)?;
    read_as::<Snapshot>(&answer, "a snapshot").map(|_| ())
}

async fn chat_stream(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let token = match &run.prober.secrets.chat_token {
        Some(token) => token.expose().to_owned(),
        None => {
            let minted = run.ask(Ask::new(Method::POST, "/api/sessions/anonymous")).await?;
            status(&minted, 200)?;
            read_as::<AnonymousSession>(&minted, "a session")?.token
        }
    };
    let named = run.prober.plan.thread.clone();
    let thread = named.clone().unwrap_or_else(|| format!("sendcat-probe-{}", name_of_its_own()));
    let ask = Ask::new(Method::POST, CHAT).bearer(&token).json(chat_body(&thread));
    let answer = run.streamed(ask).await?;
    if named.is_none() {
        let forget = Ask::new(Method::DELETE, format!("/api/threads/{thread}")).bearer(&token);
        // What becomes of it is on record, and no matter of the stream.
        let _ = run.untimed(forget).await;
    }
    status(&answer, 200)?;
    same("content-type", answer.header("content-type"), Some("text/event-stream"))?;
    let version = answer.header(headers::UI_MESSAGE_STREAM);
    same(headers::UI_MESSAGE_STREAM, version, Some(headers::UI_MESSAGE_STREAM_V1))?;
    let text = String::from_utf8_lossy(&answer.body);
    let ended = text.lines().rfind(|line| line.starts_with("data: ")) == Some(DONE);
    let cut = || Failure::of(&format!("a stream that ends with {DONE}"), "another last part");
    if ended { Ok(()) } else { Err(cut()) }
}

fn chat_body(thread: &str) -> String {
    let text = "Reply with the single word: pong";
    let message = json!({"id": "probe", "role": "user", "parts": [{"type": "text", "text": text}]});
    json!({"id": thread, "message": message}).to_string()
}

async fn error_codes(run: &mut Attempt<'_>) -> Result<(), Failure> {
    let post = |path: &str| Ask::new(Method::POST, path).json("{}");
    let asks = [
        get("/sendcat-probe-nowhere"),
        Ask::new(Method::PUT, CHAT),
        Ask::new(Method::POST, CHAT).json(chat_body("probe")),
        Ask::new(Method::POST, CHAT).with("origin", FOREIGN),
        get("/api/threads"),
        post(PUSH),
        get(format!("{WHATSAPP}?hub.mode=subscribe")),
        post(WHATSAPP),
    ];
    for ask in asks {
        let what = format!("{} {}", ask.method, ask.path);
        let answer = run.untimed(Ask { on_429: On429::Take, ..ask }).await?;
        // What should have failed and did not is the guard's own probe's to find.
        if answer.status < 400 {
            continue;
        }
        let code = answer.header(headers::ERROR_CODE);
        let Some(code) = code.and_then(ErrorCode::from_name) else {
            let told = format!("{code:?} beside {}", answer.status);
            return Err(Failure::of(&format!("a known {} of {what}", headers::ERROR_CODE), &told));
        };
        if code.status() != answer.status {
            let told = answer.status.to_string();
            let wanted = format!("status {} with {} of {what}", code.status(), code.name());
            return Err(Failure::of(&wanted, &told));
        }
    }
    Ok(())
}
