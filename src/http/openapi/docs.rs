//! What a row of the table cannot say of itself: its summary, its query, and the types of its body
//! and its answers.

use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{RefOr, Schema};

use super::{Schemas, named, page_of};
use crate::contract::chat::{ChatBody, StopBody, StoredMessage};
use crate::contract::connection::{Connect, Connection};
use crate::contract::ops;
use crate::contract::records::{NewPreferences, NewRecord, Preferences, Record};
use crate::contract::session::AnonymousSession;
use crate::contract::threads::{NewThread, Thread, ThreadPatch};
use crate::contract::whatsapp::LinkCodeAnswer;
use crate::http::health::{Liveness, Readiness};

/// A schema, which keeps what it names.
pub(super) type Shape = fn(&mut Schemas) -> RefOr<Schema>;

/// What an answer carries.
pub(super) enum Media {
    /// Nothing.
    None,
    /// Text of that type.
    Text(&'static str),
    /// JSON of that shape.
    Json(Shape),
}

/// One row's description.
pub(super) struct Doc {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Parameters of the query, and what they are.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) body: Option<Shape>,
    /// Status, what it says, and what it carries.
    pub(super) answers: &'static [(u16, &'static str, Media)],
}

/// The description of a row.
///
/// # Panics
/// If it has none, which a test rules out.
pub(super) fn of(method: &str, path: &str) -> &'static Doc {
    let found = DOCS.iter().find(|doc| doc.method == method && doc.path == path);
    found.unwrap_or_else(|| panic!("{method} {path} has no row in openapi/docs.rs"))
}

const PAGED: &[(&str, &str)] = &[
    ("limit", "How many items, 1 to 100; 20 unless asked."),
    ("cursor", "The nextCursor of the page before."),
];
const LIMITED: &[(&str, &str)] = &[("limit", "How many rows.")];
const REFUSALS: &[(&str, &str)] = &[
    ("windowMinutes", "How far back it reaches."),
    ("bucket", "Of that limit alone."),
    ("outcome", "blocked or contention_fallback."),
    LIMITED[0],
];
const NO_QUERY: &[(&str, &str)] = &[];

/// A JSON object whose members are somebody else's to describe.
fn object(_: &mut Schemas) -> RefOr<Schema> {
    ObjectBuilder::new().into()
}

/// Declares descriptions: method, path, query, body, answers, summary.
macro_rules! docs {
    ($($method:literal $path:literal ($query:expr) ($($body:expr)?)
        [$($status:literal $about:literal $media:expr),+] $summary:literal;)+) => {
        /// Every description, in the order of the table.
        pub(super) const DOCS: &[Doc] = &[$(Doc {
            method: $method,
            path: $path,
            summary: $summary,
            query: $query,
            body: docs!(@body $($body)?),
            answers: &[$(($status, $about, $media)),+],
        },)+];
    };
    (@body) => { None };
    (@body $body:expr) => { Some($body) };
}

const DONE: Media = Media::None;
const THREAD: Media = Media::Json(named::<Thread>);
const RECORD: Media = Media::Json(named::<Record>);
const RECORDS: Media = Media::Json(page_of::<Record>);

docs! {
    "POST" "/api/chat" (NO_QUERY) (named::<ChatBody>)
        [200 "The answer, as server-sent events." Media::Text("text/event-stream")]
        "Answers a question in a thread.";
    "GET" "/api/chat/{chatId}/stream" (NO_QUERY) ()
        [200 "The answer, from its start, then live." Media::Text("text/event-stream"),
         204 "None runs." DONE]
        "Takes up the answer that runs in a thread.";
    "POST" "/api/chat/{chatId}/stop" (NO_QUERY) (named::<StopBody>)
        [204 "It is stopped." DONE] "Stops an answer of a thread.";
    "POST" "/api/sessions/anonymous" (NO_QUERY) ()
        [200 "The session and its token." Media::Json(named::<AnonymousSession>)]
        "Mints an anonymous session.";
    "GET" "/api/threads" (PAGED) ()
        [200 "A page, newest first." Media::Json(page_of::<Thread>)]
        "Lists the caller's threads.";
    "POST" "/api/threads" (NO_QUERY) (named::<NewThread>)
        [201 "The thread." THREAD] "Founds a thread.";
    "GET" "/api/threads/{id}" (NO_QUERY) ()
        [200 "The thread." THREAD] "Reads a thread.";
    "PATCH" "/api/threads/{id}" (NO_QUERY) (named::<ThreadPatch>)
        [200 "The thread." THREAD] "Names a thread.";
    "DELETE" "/api/threads/{id}" (NO_QUERY) ()
        [204 "It is gone." DONE] "Deletes a thread with its messages.";
    "GET" "/api/threads/{id}/messages" (PAGED) ()
        [200 "A page, oldest first." Media::Json(page_of::<StoredMessage>)]
        "Reads what was said in a thread.";
    "GET" "/api/favorites" (PAGED) ()
        [200 "A page, newest first." RECORDS] "Lists the caller's favorites.";
    "POST" "/api/favorites" (NO_QUERY) (named::<NewRecord>)
        [200 "It was replaced." RECORD, 201 "It was made." RECORD] "Keeps a favorite.";
    "DELETE" "/api/favorites/{id}" (NO_QUERY) ()
        [204 "It is gone." DONE] "Removes a favorite.";
    "GET" "/api/packages" (PAGED) ()
        [200 "A page, newest first." RECORDS] "Lists the caller's packages.";
    "POST" "/api/packages" (NO_QUERY) (named::<NewRecord>)
        [200 "It was replaced." RECORD, 201 "It was made." RECORD] "Keeps a package.";
    "DELETE" "/api/packages/{id}" (NO_QUERY) ()
        [204 "It is gone." DONE] "Removes a package.";
    "GET" "/api/evidence" (PAGED) ()
        [200 "A page, newest first." RECORDS] "Lists the caller's evidence.";
    "POST" "/api/evidence" (NO_QUERY) (named::<NewRecord>)
        [200 "It was replaced." RECORD, 201 "It was made." RECORD] "Keeps a piece of evidence.";
    "DELETE" "/api/evidence/{id}" (NO_QUERY) ()
        [204 "It is gone." DONE] "Removes a piece of evidence.";
    "GET" "/api/preferences" (NO_QUERY) ()
        [200 "All of them." Media::Json(named::<Preferences>)] "Reads the caller's preferences.";
    "PUT" "/api/preferences" (NO_QUERY) (named::<NewPreferences>)
        [200 "All of them." Media::Json(named::<Preferences>)] "Writes the caller's preferences.";
    "GET" "/api/gmail/connection" (NO_QUERY) ()
        [200 "How it stands, or that there is none." Media::Json(named::<Connection>)]
        "Shows the caller's connection to a mailbox.";
    "DELETE" "/api/gmail/connection" (NO_QUERY) ()
        [204 "It is gone." DONE] "Ends the caller's connection to a mailbox.";
    "POST" "/api/gmail/connect" (NO_QUERY) ()
        [200 "Where the browser goes next." Media::Json(named::<Connect>)]
        "Begins to connect a mailbox in this browser, which a cookie tells from others.";
    "GET" "/api/gmail/auth/callback" (&[
            ("code", "What is exchanged for tokens."),
            ("state", "What was sent along."),
            ("error", "Why there is no code."),
        ]) ()
        [302 "Back to the front end, which is told how it ended." DONE]
        "Takes a browser back from Google.";
    "POST" "/api/gmail/push" (&[("token", "The shared secret of pushes.")]) (object)
        [200 "It is accepted, durably." DONE] "Takes a push of Google's Pub/Sub.";
    "POST" "/api/whatsapp/webhook" (NO_QUERY) (object)
        [200 "It is accepted, durably." DONE] "Takes a delivery of WhatsApp's.";
    "GET" "/api/whatsapp/webhook" (&[
            ("hub.mode", "subscribe"),
            ("hub.verify_token", "What only Meta and we know."),
            ("hub.challenge", "What is sent back."),
        ]) ()
        [200 "The challenge." Media::Text("text/plain")] "Verifies the address for Meta.";
    "POST" "/api/whatsapp/link-code" (NO_QUERY) ()
        [200 "The code, and until when it is good." Media::Json(named::<LinkCodeAnswer>)]
        "Makes a code that links the caller's number; the one before is good no longer.";
    "POST" "/api/webhooks/{source}" (NO_QUERY) (object)
        [200 "It is accepted, durably." DONE] "Takes a signed delivery of a configured sender.";
    "GET" "/" (NO_QUERY) ()
        [200 "The page." Media::Text("text/html")] "Shows the chat page of a sandbox.";
    "GET" "/livez" (NO_QUERY) ()
        [200 "The process lives." Media::Json(named::<Liveness>)] "Says whether the process lives.";
    "GET" "/readyz" (NO_QUERY) ()
        [200 "It can work, also badly." Media::Json(named::<Readiness>),
         503 "Traffic should go elsewhere." Media::Json(named::<Readiness>)]
        "Says whether the process can do its work.";
    "GET" "/metrics" (NO_QUERY) ()
        [200 "Every metric, as Prometheus reads them." Media::Text("text/plain")]
        "Shows what is measured.";
    "GET" "/openapi.json" (NO_QUERY) ()
        [200 "This document." Media::Json(object)] "Describes every route.";
    "GET" "/ops" (NO_QUERY) ()
        [200 "The page, without a value in it." Media::Text("text/html")]
        "Shows the operators' console, which asks for a token.";
    "GET" "/ops/runbook" (NO_QUERY) ()
        [200 "The page." Media::Text("text/html")] "Shows what to do when something is wrong.";
    "GET" "/ops/assets/{file}" (NO_QUERY) ()
        [200 "A script or a style." Media::Text("text/*")] "Hands out a file of these pages.";
    "GET" "/ops/stream" (NO_QUERY) ()
        [200 "Events access, snapshot, then a delta a second; end at drain."
            Media::Text("text/event-stream")]
        "Streams the snapshot and what changes of it.";
    "GET" "/ops/actors" (NO_QUERY) ()
        [200 "Every actor." Media::Json(named::<ops::ActorsAnswer>)] "Shows every actor.";
    "GET" "/ops/circuits" (NO_QUERY) ()
        [200 "Every circuit." Media::Json(named::<ops::CircuitsAnswer>)] "Shows every circuit.";
    "POST" "/ops/circuits/{provider}/{verb}" (NO_QUERY) ()
        [200 "Every circuit, as they are now." Media::Json(named::<ops::CircuitsAnswer>)]
        "Steers a circuit: reset closes it, force-open holds it open until release.";
    "GET" "/ops/bulkheads" (NO_QUERY) ()
        [200 "Every bulkhead." Media::Json(named::<ops::BulkheadsAnswer>)]
        "Shows who holds the slots of providers.";
    "GET" "/ops/idempotency/{scope}" (LIMITED) ()
        [200 "The scope." Media::Json(named::<ops::IdempotencyAnswer>)]
        "Shows the newest claims of a scope and how often each came again.";
    "GET" "/ops/jobs" (&[
            ("limit", "How many rows."),
            ("tool", "search_web, search_products or search_global."),
            ("status", "queued or running."),
        ]) ()
        [200 "Oldest first." Media::Json(named::<ops::JobsAnswer>)]
        "Shows tool calls that wait or run.";
    "GET" "/ops/config" (NO_QUERY) ()
        [200 "Every knob." Media::Json(named::<ops::ConfigAnswer>)]
        "Shows every knob with the value in force; secrets masked.";
    "POST" "/ops/config/reload" (NO_QUERY) ()
        [200 "What has changed." Media::Json(named::<ops::ConfigReloaded>)]
        "Reads the configuration again; refused whole if anything is wrong.";
    "GET" "/ops/explain" (&[
            ("bucket", "Which limit."),
            ("key", "Whose calls: ip:ADDRESS, session:ID, user:SUBJECT or sender:SOURCE:SENDER."),
        ]) ()
        [200 "What decides." Media::Json(named::<ops::Explanation>)]
        "Shows what decides the next call of a key; counts none.";
    "GET" "/ops/rate-limit/events" (REFUSALS) ()
        [200 "Refusals, newest first." Media::Json(named::<ops::RateLimitEvents>)]
        "Shows what the limiter refused.";
    "GET" "/ops/rate-limit/summary" (REFUSALS) ()
        [200 "How many, by kind." Media::Json(named::<ops::RateLimitSummary>)]
        "Counts what the limiter refused.";
    "GET" "/ops/alerts" (REFUSALS) ()
        [200 "Alerts, newest first." Media::Json(named::<ops::AlertsAnswer>)] "Shows alerts.";
    "POST" "/ops/alerts/run" (NO_QUERY) ()
        [200 "What came of it." Media::Json(named::<ops::AlertsRun>)]
        "Looks now whether something is worth an alert, and sends what waits.";
    "GET" "/ops/cache" (NO_QUERY) ()
        [200 "Every namespace." Media::Json(named::<ops::CacheAnswer>)]
        "Shows what tools found before.";
    "DELETE" "/ops/cache/{namespace}" (NO_QUERY) ()
        [200 "How many results it held." Media::Json(named::<ops::CacheCleared>)]
        "Forgets the results of a namespace.";
    "GET" "/ops/inbox" (&[
            ("limit", "How many rows."),
            ("source", "whatsapp, gmail or generic."),
            ("status", "pending, running, done or dead."),
            ("cursor", "The nextCursor of the page before."),
        ]) ()
        [200 "Events, newest first." Media::Json(named::<ops::InboxAnswer>)]
        "Shows accepted events.";
    "GET" "/ops/dead-letters" (&[
            ("limit", "How many rows."),
            ("source", "whatsapp, gmail or generic."),
            ("cursor", "The nextCursor of the page before."),
        ]) ()
        [200 "Events, newest first." Media::Json(named::<ops::DeadLettersAnswer>)]
        "Shows events that were given up, and why.";
    "POST" "/ops/dead-letters/{id}/redeliver" (NO_QUERY) ()
        [204 "It is back in line, durably." DONE] "Has a dead letter worked off again.";
    "GET" "/ops/snapshot" (REFUSALS) ()
        [200 "All of it." Media::Json(named::<ops::Snapshot>)] "Shows everything at once.";
    "GET" "/ops/faults" (NO_QUERY) ()
        [200 "What is armed and leased." Media::Json(named::<ops::FaultsAnswer>)]
        "Shows injected faults and how often they bit; builds with faults only.";
    "POST" "/ops/faults" (NO_QUERY) (object)
        [200 "The lease." Media::Json(named::<ops::FaultLease>), 204 "It is armed." DONE]
        "Leases a fault, or arms one; builds with faults only.";
    "DELETE" "/ops/faults" (NO_QUERY) ()
        [204 "None is in force." DONE] "Ends every fault; builds with faults only.";
    "DELETE" "/ops/faults/{lease}" (NO_QUERY) ()
        [204 "It is over." DONE] "Ends a leased fault; builds with faults only.";
}
