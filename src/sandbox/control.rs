//! What the sandbox knows about its stand-ins: armed faults, counters, the requests it saw, and
//! what a stand-in must remember between two requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::WallClock;
use super::ask::{Ask, pairs};
use super::fault::Fault;
use super::gmail::Mailbox;
use super::provider::STAND_INS;
use super::tokens::SigningKey;

/// How many requests are kept for each provider.
const SEEN_MAX: usize = 200;

/// Headers whose value is a secret.
const SECRET_HEADERS: &[&str] = &["authorization", "x-api-key", "x-sentry-auth", "cookie"];

/// Fields of queries and forms whose value is a secret.
const SECRET_FIELDS: &[&str] = &[
    "api_key",
    "client_secret",
    "code",
    "code_verifier",
    "refresh_token",
    "access_token",
    "token",
];

/// Shared by the worker and the calls that it plays.
pub(super) struct Control {
    wall: WallClock,
    serial: AtomicU64,
    rows: Arc<Mutex<Vec<Row>>>,
    pub(super) memory: Memory,
}

/// What stand-ins remember: spent codes, sent mails, the mailbox, the key of users' tokens.
pub(super) struct Memory {
    /// Signs users' tokens.
    pub(super) signing: Mutex<SigningKey>,
    /// Authorisation codes that were exchanged.
    pub(super) spent_codes: Mutex<Vec<String>>,
    /// Refresh tokens that are good no more.
    pub(super) revoked: Mutex<Revoked>,
    /// Per idempotency key: digest of the payload, and the mail's id.
    pub(super) mails: Mutex<BTreeMap<String, (String, String)>>,
    /// The one mailbox behind Gmail.
    pub(super) mailbox: Mutex<Mailbox>,
}

/// Grants that were ended, by their refresh tokens.
#[derive(Default)]
pub(super) struct Revoked {
    /// Those of tokens whose serial is below this, all of them.
    pub(super) below: u64,
    /// Single ones.
    pub(super) tokens: Vec<String>,
}

#[derive(Default)]
struct Row {
    requests: u64,
    in_flight: u64,
    completed: u64,
    client_gone: u64,
    armed: Option<Armed>,
    seen: VecDeque<Value>,
}

struct Armed {
    fault: Fault,
    left: Option<u64>,
    serial: u64,
    /// Requests since it was armed.
    met: u64,
    how: How,
}

/// How a fault strikes.
#[derive(Clone, Debug)]
pub struct How {
    /// How much later every answer comes, struck or not.
    pub late_by: Duration,
    /// Of a hundred requests so many are struck, evenly.
    pub percent: u64,
    /// Counts every request that is struck or late.
    pub counter: Arc<AtomicU64>,
}

impl Default for How {
    fn default() -> Self {
        Self { late_by: Duration::ZERO, percent: 100, counter: Arc::default() }
    }
}

impl Armed {
    /// What strikes the next request, and how late its answer is.
    fn strikes(&mut self) -> (Option<Fault>, Duration) {
        let share = |met: u64| met * self.how.percent.min(100) / 100;
        let struck = share(self.met + 1) > share(self.met);
        self.met += 1;
        if struck || !self.how.late_by.is_zero() {
            self.how.counter.fetch_add(1, Ordering::Relaxed);
        }
        (struck.then_some(self.fault), self.how.late_by)
    }
}

/// One request that is being answered. Dropped before [`Call::complete`], the client has gone.
pub(super) struct Call {
    rows: Arc<Mutex<Vec<Row>>>,
    provider: usize,
    open: bool,
}

impl Control {
    /// Nothing armed, nothing counted; users' tokens are signed by that key.
    pub(super) fn new(wall: WallClock, signing: SigningKey) -> Self {
        let rows = STAND_INS.iter().map(|_| Row::default()).collect();
        Self {
            wall,
            serial: AtomicU64::new(1),
            rows: Arc::new(Mutex::new(rows)),
            memory: Memory {
                signing: Mutex::new(signing),
                spent_codes: Mutex::default(),
                revoked: Mutex::default(),
                mails: Mutex::default(),
                mailbox: Mutex::default(),
            },
        }
    }

    /// A number that no other request of this sandbox has.
    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Seconds since 1970.
    pub(super) fn now_s(&self) -> u64 {
        (self.wall)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Counts a request in, and says which fault strikes it, and how late its answer is to be.
    pub(super) fn enter(&self, provider: usize) -> (Call, Option<Fault>, Duration) {
        let mut rows = locked(&self.rows);
        let row = &mut rows[provider];
        row.requests += 1;
        row.in_flight += 1;
        let struck = row.armed.as_mut().map(Armed::strikes);
        let (fault, late_by) = struck.unwrap_or_default();
        if let Some(left) = row.armed.as_mut().and_then(|armed| armed.left.as_mut()) {
            *left -= 1;
            if *left == 0 {
                row.armed = None;
            }
        }
        (Call { rows: Arc::clone(&self.rows), provider, open: true }, fault, late_by)
    }

    /// Keeps what was asked, without its secrets.
    pub(super) fn remember(&self, provider: usize, ask: &Ask<'_>) {
        let seen = json!({
            "method": ask.method,
            "path": format!("/{}", ask.path.join("/")),
            "query": without_secrets(ask.query.clone()),
            "headers": headers_without_secrets(&ask.headers),
            "body": body_without_secrets(ask),
        });
        let mut rows = locked(&self.rows);
        let kept = &mut rows[provider].seen;
        if kept.len() == SEEN_MAX {
            kept.pop_front();
        }
        kept.push_back(seen);
    }

    /// The last requests of a provider, oldest first.
    pub(super) fn seen(&self, provider: usize) -> Vec<Value> {
        locked(&self.rows)[provider].seen.iter().cloned().collect()
    }

    /// Arms a fault in place of the one that was armed; the number tells it from later ones.
    pub(super) fn arm(&self, provider: usize, fault: Fault, times: Option<u64>, how: How) -> u64 {
        let serial = self.next_serial();
        let armed = Armed { fault, left: times, serial, met: 0, how };
        locked(&self.rows)[provider].armed = Some(armed);
        serial
    }

    /// Clears what is armed: whatever it is, or only the fault of that number.
    pub(super) fn clear(&self, provider: usize, only: Option<u64>) {
        let mut rows = locked(&self.rows);
        let armed = &mut rows[provider].armed;
        if only.is_none() || armed.as_ref().map(|each| each.serial) == only {
            *armed = None;
        }
    }

    /// Armed faults and counters, per provider.
    pub(super) fn view(&self) -> Value {
        let rows = locked(&self.rows);
        let faults = rows.iter().zip(STAND_INS).filter_map(|(row, stand_in)| {
            let armed = row.armed.as_ref()?;
            let name = armed.fault.name();
            Some(json!({"provider": stand_in.name, "fault": name, "timesLeft": armed.left}))
        });
        let counters = rows.iter().zip(STAND_INS).map(|(row, stand_in)| {
            let counters = json!({
                "requests": row.requests,
                "inFlight": row.in_flight,
                "completed": row.completed,
                "clientGone": row.client_gone,
            });
            (stand_in.name.to_owned(), counters)
        });
        json!({
            "faults": faults.collect::<Vec<_>>(),
            "providers": counters.collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Call {
    /// The stand-in did all that it meant to, be it a fault.
    pub(super) fn complete(&mut self) {
        self.leave(|row| row.completed += 1);
    }

    fn leave(&mut self, count: impl FnOnce(&mut Row)) {
        if std::mem::replace(&mut self.open, false) {
            let mut rows = locked(&self.rows);
            let row = &mut rows[self.provider];
            row.in_flight -= 1;
            count(row);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leave(|row| row.client_gone += 1);
    }
}

/// Takes a lock also after a panic of its holder: counters and lists stay usable as they are.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A secret as it may be kept: enough to tell two apart.
fn digest(secret: &str) -> String {
    format!("sha256:{}", &hex::encode(Sha256::digest(secret))[..12])
}

fn without_secrets(mut fields: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for (name, value) in &mut fields {
        if SECRET_FIELDS.contains(&name.as_str()) {
            *value = digest(value);
        }
    }
    fields
}

/// `Authorization: Bearer x` keeps its scheme, so that a test can see which one was used.
fn headers_without_secrets(headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let redact = |(name, value): (&String, &String)| {
        let value = match (SECRET_HEADERS.contains(&name.as_str()), value.split_once(' ')) {
            (false, _) => value.clone(),
            (true, Some((scheme, secret))) => format!("{scheme} {}", digest(secret)),
            (true, None) => digest(value),
        };
        (name.clone(), value)
    };
    headers.iter().map(redact).collect()
}

fn body_without_secrets(ask: &Ask<'_>) -> Value {
    if ask.has_type("application/x-www-form-urlencoded") {
        return json!(without_secrets(pairs(&String::from_utf8_lossy(ask.body))));
    }
    serde_json::from_slice(ask.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(ask.body).into_owned()))
}
