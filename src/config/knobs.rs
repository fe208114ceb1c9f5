//! THE table of knobs: every name, its kind and range, its default, and what it does.
//!
//! `sendcat config`, `/ops/config` and the table in README are made from it, and the loading
//! refuses a value that it does not describe. Names of providers, buckets and tools are made from
//! their enums, so a new one has its knobs at once (INTERFACE.md §6).

use std::sync::LazyLock;

use sendcat_state::key::{Bucket, ProviderId, ToolKind};

use super::kind::Kind::{self, Count, Millis, MillisOrOff};
use super::rows::{ACCESS, CHAT, LIMITS, PROVIDERS, Row, SERVER, TOOLS};

/// The largest count: ranges are wide, they catch slips and set no policy.
pub(super) const MANY: u64 = 1_000_000_000;
/// The longest span: 30 days in milliseconds.
pub(super) const LONG: u64 = 30 * 24 * 60 * 60 * 1000;

pub(super) const COUNT: Kind = Count(1, MANY);
pub(super) const MILLIS: Kind = Millis(1, LONG);
pub(super) const MILLIS_OR_NONE: Kind = Millis(0, LONG);

/// The words of `SENDCAT_SHARD_PLACEMENT`.
pub const PLACEMENTS: &[&str] = &["worker", "dedicated"];
/// The words of `RATE_LIMIT_HEADERS`.
pub const HEADER_FORMS: &[&str] = &["draft11", "legacy", "off"];

/// What a knob is when nobody sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing.
    Unset,
    /// This text.
    Fixed(String),
    /// The number of cores of this machine.
    Cores,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At the next reload.
    Live,
    /// At the next start.
    AtStart,
}

/// One knob.
#[derive(Clone, Debug)]
pub struct Knob {
    /// Its name in the environment; the file has it in lower case.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub default: Fallback,
    /// When a change takes effect.
    pub reload: Reload,
    /// What it does, in one sentence.
    pub about: String,
}

/// Every knob: those of the server first, then providers, buckets and tools.
pub fn all() -> &'static [Knob] {
    static ALL: LazyLock<Vec<Knob>> = LazyLock::new(table);
    &ALL
}

/// The knob of that name.
pub fn find(name: &str) -> Option<&'static Knob> {
    all().iter().find(|knob| knob.name == name)
}

/// The knob whose name differs least, if it differs by less than a third of it.
pub fn nearest(name: &str) -> Option<&'static Knob> {
    let distance = |knob: &&Knob| edits(name, &knob.name);
    all().iter().min_by_key(distance).filter(|knob| edits(name, &knob.name) * 3 <= name.len())
}

/// How many letters must be put, removed or replaced to make one word of the other.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, other_letter) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != other_letter);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// The part of a provider's knobs that names it.
pub const fn provider_stem(provider: ProviderId) -> &'static str {
    match provider {
        ProviderId::OpenrouterChat => "OPENROUTER",
        ProviderId::SerperSearch => "SERPER",
        ProviderId::GmailOauth => "GMAIL_OAUTH",
        ProviderId::SerpapiShopping => "SERPAPI",
        ProviderId::EbayBrowse => "EBAY",
        ProviderId::GmailApi => "GMAIL_API",
        ProviderId::WhatsappGraph => "WHATSAPP",
        ProviderId::ResendEmail => "RESEND",
        ProviderId::Jwks => "JWKS",
        ProviderId::SentryIngest => "SENTRY_INGEST",
    }
}

/// The part of a bucket's knobs that names it.
pub const fn bucket_stem(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::ChatStream => "CHAT_STREAM",
        Bucket::AnonIp => "ANON_IP",
        Bucket::GmailOauthCallback => "GMAIL_OAUTH",
        Bucket::GmailPushWebhook => "GMAIL_PUSH",
        Bucket::WhatsappWebhook => "WHATSAPP",
        Bucket::WaLinkCode => "WA_LINK_CODE",
        Bucket::GenericWebhook => "WEBHOOK",
        Bucket::WebhookSender => "WEBHOOK_SENDER",
    }
}

/// The part of a tool's knobs that names it.
pub const fn tool_stem(tool: ToolKind) -> &'static str {
    match tool {
        ToolKind::SearchWeb => "WEB",
        ToolKind::SearchProducts => "PROD",
        ToolKind::SearchGlobal => "GLOB",
    }
}

/// Calls of a window and its milliseconds.
const fn bucket_defaults(bucket: Bucket) -> (u64, u64) {
    match bucket {
        Bucket::ChatStream => (30, 60_000),
        Bucket::AnonIp => (60, 60_000),
        Bucket::GmailOauthCallback => (30, 300_000),
        Bucket::GmailPushWebhook | Bucket::WhatsappWebhook => (120, 60_000),
        Bucket::WaLinkCode => (5, 600_000),
        Bucket::GenericWebhook => (600, 60_000),
        Bucket::WebhookSender => (6000, 60_000),
    }
}

/// A circuit's threshold and cooldown, a bulkhead's capacity and lease, in milliseconds.
const fn provider_defaults(provider: ProviderId) -> (u64, u64, u64, u64) {
    match provider {
        ProviderId::OpenrouterChat => (5, 30_000, 24, 180_000),
        ProviderId::SerperSearch => (4, 20_000, 12, 30_000),
        ProviderId::GmailOauth => (4, 30_000, 8, 30_000),
        ProviderId::SerpapiShopping
        | ProviderId::EbayBrowse
        | ProviderId::GmailApi
        | ProviderId::WhatsappGraph
        | ProviderId::ResendEmail
        | ProviderId::Jwks
        | ProviderId::SentryIngest => (4, 20_000, 8, 30_000),
    }
}

/// Running and waiting calls at most.
const fn tool_defaults(tool: ToolKind) -> (u64, u64) {
    match tool {
        ToolKind::SearchWeb => (6, 200),
        ToolKind::SearchProducts | ToolKind::SearchGlobal => (4, 120),
    }
}

fn table() -> Vec<Knob> {
    let fixed = [
        (Reload::AtStart, SERVER),
        (Reload::Live, LIMITS),
        (Reload::AtStart, CHAT),
        (Reload::Live, TOOLS),
        (Reload::AtStart, ACCESS),
        (Reload::AtStart, PROVIDERS),
    ];
    let mut table: Vec<Knob> = fixed
        .into_iter()
        .flat_map(|(reload, rows)| rows.iter().map(move |row| row.knob(reload)))
        .collect();
    Bucket::ALL.iter().for_each(|&bucket| table.extend(of_bucket(bucket)));
    ProviderId::ALL.iter().for_each(|&provider| table.extend(of_provider(provider)));
    ToolKind::ALL.iter().for_each(|&tool| table.extend(of_tool(tool)));
    table
}

fn of_bucket(bucket: Bucket) -> [Knob; 2] {
    let stem = bucket_stem(bucket);
    let (calls, window) = bucket_defaults(bucket);
    let knob = |end: &str, kind, default: u64, about: &str| {
        live(
            format!("RATE_LIMIT_{stem}_{end}"),
            kind,
            &default.to_string(),
            format!("{about} {bucket}."),
        )
    };
    [
        knob("MAX", COUNT, calls, "Requests that one window admits in bucket"),
        knob("WINDOW_MS", MILLIS, window, "How long a window stays open in bucket"),
    ]
}

fn of_provider(provider: ProviderId) -> [Knob; 6] {
    let stem = provider_stem(provider);
    let (threshold, cooldown, capacity, lease) = provider_defaults(provider);
    let knob = |family: &str, end: &str, kind, default: &str, about: &str| {
        live(format!("{family}_{stem}_{end}"), kind, default, format!("{about} {provider}."))
    };
    let circuit = |end, kind, default: &str, about| knob("CIRCUIT", end, kind, default, about);
    let bulkhead =
        |end, kind, default: u64, about| knob("BULKHEAD", end, kind, &default.to_string(), about);
    [
        circuit(
            "THRESHOLD",
            COUNT,
            &threshold.to_string(),
            "Failures in a row that open the circuit of",
        ),
        circuit(
            "COOLDOWN_MS",
            MILLIS,
            &cooldown.to_string(),
            "How long an open circuit refuses calls to",
        ),
        circuit("SLOW_MS", MillisOrOff(1, LONG), "off", "From when a call counts as a slow one of"),
        bulkhead("MAX_CONCURRENT", COUNT, capacity, "Calls in flight at most to"),
        bulkhead("LEASE_TTL_MS", MILLIS, lease, "How long a silent caller keeps its slot of"),
        bulkhead("WAIT_MS", MILLIS_OR_NONE, 0, "How long a call may wait for a slot of"),
    ]
}

fn of_tool(tool: ToolKind) -> [Knob; 2] {
    let stem = tool_stem(tool);
    let (running, waiting) = tool_defaults(tool);
    let knob = |end: &str, default: u64, about: &str| {
        live(
            format!("TOOL_JOB_{end}_{stem}"),
            COUNT,
            &default.to_string(),
            format!("{about} {tool}."),
        )
    };
    [
        knob("RUNMAX", running, "Calls that may run at once of tool"),
        knob("QMAX", waiting, "Calls that may wait of tool"),
    ]
}

fn live(name: String, kind: Kind, default: &str, about: String) -> Knob {
    let default = Fallback::Fixed(default.to_owned());
    Knob { name, kind, default, reload: Reload::Live, about }
}

impl Row {
    fn knob(&self, reload: Reload) -> Knob {
        let default = match self.2 {
            "-" => Fallback::Unset,
            "cores" => Fallback::Cores,
            text => Fallback::Fixed(text.to_owned()),
        };
        Knob { name: self.0.to_owned(), kind: self.1, default, reload, about: self.3.to_owned() }
    }
}

#[cfg(test)]
#[path = "knobs_tests.rs"]
mod tests;
