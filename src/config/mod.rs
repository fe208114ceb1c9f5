//! The configuration: complete, checked once, then passed down by value.
//!
//! Every value has a knob in one table ([`knobs`]); it comes from the environment, a file, the
//! sandbox or the knob's default, in that order ([`Source`]). Whatever is wrong is told at once,
//! one line a fault, and then there is no configuration at all: a slip in a name must not leave a
//! limit at its default unnoticed.
//!
//! # Invariants
//! - A [`Config`] that exists has every value within its range.
//! - No secret is printed by it, by its rows, or by a fault.

mod fault;
pub mod fixed;
pub mod kind;
pub mod knobs;
mod listing;
mod live;
mod providers;
mod rows;
mod secret;
mod sections;
mod settled;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use sendcat_state::alert_monitor::MonitorRules;
use sendcat_state::alert_rules::AlertRules;
use sendcat_state::bulkhead::BulkheadRules;
use sendcat_state::circuit_breaker::CircuitRules;
use sendcat_state::events::EventRules;
use sendcat_state::job::{JobKind, PartitionRules, QueueRules};
use sendcat_state::key::{Bucket, PerProvider, ProviderId};
use sendcat_state::rate_window::Limit;

pub use fault::Fault;
pub use listing::{Listing, ListingRow, markdown};
pub use live::{Live, Reloaded, Reread};
pub use providers::{
    Ebay, Google, Keyed, Openrouter, Providers, Resend, Scheme, WebhookSource, Whatsapp,
};
pub use secret::{MASK, Secret};
pub use sections::{Auth, ChatRules, Ops, ShardPlacement, ToolCache, ToolJobs};
pub use source::{Origin, Source};

use crate::contract::headers::RateLimitStyle;
use kind::Value;
use settled::Settled;

/// Everything that can be set, as the rooms use it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// The file that was read, if one is named.
    pub file: Option<PathBuf>,
    /// Threads that serve HTTP.
    pub workers: usize,
    /// Where limiter shards run.
    pub placement: ShardPlacement,
    /// How often changed machines are snapshotted.
    pub snapshot_every: Duration,
    /// How long live streams may go on at shutdown.
    pub drain: Duration,
    /// How long readiness says 503 before the listener closes.
    pub lame_duck: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Faults to inject, as `SENDCAT_FAULTS` has them; read by test builds.
    pub faults: Option<String>,
    /// Origins whose pages may call, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose word on a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Where the front end is.
    pub app_base_url: String,
    /// The largest body of a webhook, in bytes.
    pub webhook_max_bytes: usize,
    /// The largest body of a WhatsApp delivery, in bytes.
    pub whatsapp_max_bytes: usize,
    /// Accepted events of one kind that may wait.
    pub webhook_backlog_max: usize,
    /// In which form answers tell what is left of a limit.
    pub rate_limit_style: RateLimitStyle,
    /// Clocks and bounds of a chat answer.
    pub chat: ChatRules,
    /// The queue of tool calls.
    pub tool_jobs: ToolJobs,
    /// What tools found before.
    pub tool_cache: ToolCache,
    /// Operators' answers and alerts.
    pub ops: Ops,
    /// How callers prove who they are.
    pub auth: Auth,
    /// Keys and addresses of providers.
    pub providers: Providers,
    /// Configured senders of webhooks.
    pub webhook_sources: Vec<WebhookSource>,
    limits: Vec<Limit>,
    circuits: PerProvider<CircuitRules>,
    bulkheads: PerProvider<BulkheadRules>,
    listing: Listing,
    secrets: Vec<Secret>,
    /// What all of it was made from, for a reload to begin with.
    settled: Settled,
}

impl Config {
    /// Reads and checks every knob.
    ///
    /// # Errors
    /// Every [`Fault`] there is, one line each: names that no knob has, values out of range,
    /// webhook sources without a secret.
    pub fn load(source: &Source) -> Result<Self, Vec<Fault>> {
        Self::settle(source).map(Self::of)
    }

    fn settle(source: &Source) -> Result<Settled, Vec<Fault>> {
        let mut settled = Settled::of(source)?;
        if let Value::List(pairs) = settled.0["WEBHOOK_SOURCES"].value.clone() {
            settled.0.extend(providers::settle_source_secrets(source, &pairs)?);
        }
        Ok(settled)
    }

    fn of(settled: Settled) -> Self {
        let mut left = settled.clone();
        let config = Self::take(&mut left, settled);
        debug_assert!(left.0.is_empty(), "nobody reads {:?}", left.0.keys());
        config
    }

    fn take(from: &mut Settled, settled: Settled) -> Self {
        Self {
            bind: from.address("SENDCAT_BIND"),
            data_dir: from.path("SENDCAT_DATA_DIR").expect("the data directory has a default"),
            file: from.path("SENDCAT_CONFIG"),
            workers: from.size("SENDCAT_WORKERS"),
            placement: placement_of(&from.set_text("SENDCAT_SHARD_PLACEMENT")),
            snapshot_every: from.span("SENDCAT_SNAPSHOT_MS"),
            drain: from.span("SENDCAT_DRAIN_MS"),
            lame_duck: from.span("SENDCAT_LAME_DUCK_MS"),
            body_timeout: from.span("SENDCAT_BODY_TIMEOUT_MS"),
            faults: from.text("SENDCAT_FAULTS"),
            allowed_origins: from.list("ALLOWED_ORIGINS"),
            trusted_proxies: from.networks("TRUSTED_PROXIES"),
            app_base_url: from.set_text("APP_BASE_URL"),
            webhook_max_bytes: from.size("WEBHOOK_MAX_BYTES"),
            webhook_backlog_max: from.size("WEBHOOK_BACKLOG_MAX"),
            whatsapp_max_bytes: from.size("WHATSAPP_MAX_BYTES"),
            rate_limit_style: style_of(&from.set_text("RATE_LIMIT_HEADERS")),
            chat: ChatRules::take(from),
            tool_jobs: ToolJobs::take(from),
            tool_cache: ToolCache::take(from),
            ops: Ops::take(from),
            auth: Auth::take(from),
            providers: Providers::take(from),
            webhook_sources: providers::take_sources(from),
            limits: Bucket::ALL.iter().map(|&bucket| take_limit(from, bucket)).collect(),
            circuits: PerProvider::new(|each| take_circuit(from, each)),
            bulkheads: PerProvider::new(|each| take_bulkhead(from, each)),
            listing: Listing::of(&settled),
            secrets: settled.secrets_in_force(),
            settled,
        }
    }

    /// The limit of a bucket.
    pub fn limit(&self, bucket: Bucket) -> Limit {
        self.limits[bucket.index()]
    }

    /// When a provider's circuit opens, and for how long.
    pub fn circuit(&self, provider: ProviderId) -> CircuitRules {
        *self.circuits.of(provider)
    }

    /// How many calls to a provider may be in flight.
    pub fn bulkhead(&self, provider: ProviderId) -> BulkheadRules {
        *self.bulkheads.of(provider)
    }

    /// Caps and rules of everything that is queued.
    pub fn queue_rules(&self) -> QueueRules {
        let queued_max = self.webhook_backlog_max;
        let inbox = PartitionRules { queued_max, running_max: fixed::INBOX_RUNNING_MAX };
        let rules = |kind: JobKind| match kind {
            JobKind::Tool(tool) => (self.tool_jobs.partition(tool), self.tool_jobs.rules),
            JobKind::Inbox(_) => (inbox, fixed::INBOX_JOB),
        };
        let mut kinds = [(inbox, fixed::INBOX_JOB); JobKind::COUNT];
        for kind in JobKind::all() {
            kinds[kind.index()] = rules(kind);
        }
        QueueRules { kinds, claim_scan: self.tool_jobs.claim_scan }
    }

    /// What counts as one event of the limiter, and when there is an alert.
    pub fn monitor_rules(&self) -> MonitorRules {
        MonitorRules {
            events: EventRules {
                same_for: fixed::EVENT_DEDUPE,
                kept_for: fixed::EVENT_TTL,
                rows_max: fixed::EVENT_ROWS_MAX,
                keys_max: fixed::EVENT_KEYS_MAX,
            },
            alerts: AlertRules {
                threshold: self.ops.alert_threshold,
                window: fixed::ALERT_WINDOW,
                cooldown: self.ops.alert_cooldown,
                bulkhead_cooldown: self.ops.bulkhead_report_cooldown,
                kept_for: fixed::EVENT_TTL,
                alerts_max: fixed::ALERTS_MAX,
            },
        }
    }

    /// How long one call to a provider may take, retries included. A chat answer has clocks of
    /// its own, of which this is the last.
    pub fn deadline(&self, provider: ProviderId) -> Duration {
        let millis = match provider {
            ProviderId::OpenrouterChat => return self.chat.total,
            ProviderId::SerperSearch | ProviderId::EbayBrowse => 8000,
            ProviderId::SerpapiShopping => 15_000,
            ProviderId::GmailOauth
            | ProviderId::GmailApi
            | ProviderId::WhatsappGraph
            | ProviderId::ResendEmail => 10_000,
            ProviderId::Jwks => 5000,
            ProviderId::SentryIngest => 2000,
        };
        Duration::from_millis(millis)
    }

    /// Every secret that is set, for whoever keeps them out of what leaves the process.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Every knob with the value in force, secrets masked: what `sendcat config` prints.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }
}

fn placement_of(word: &str) -> ShardPlacement {
    match word {
        "dedicated" => ShardPlacement::Dedicated,
        _ => ShardPlacement::Worker,
    }
}

fn style_of(word: &str) -> RateLimitStyle {
    let known = RateLimitStyle::ALL.into_iter().find(|(_, name)| *name == word);
    known.map_or(RateLimitStyle::default(), |(style, _)| style)
}

fn take_limit(from: &mut Settled, bucket: Bucket) -> Limit {
    let stem = knobs::bucket_stem(bucket);
    Limit {
        calls: from.number(&format!("RATE_LIMIT_{stem}_MAX")),
        per: from.span(&format!("RATE_LIMIT_{stem}_WINDOW_MS")),
    }
}

fn take_circuit(from: &mut Settled, provider: ProviderId) -> CircuitRules {
    let stem = knobs::provider_stem(provider);
    CircuitRules {
        threshold: from.count(&format!("CIRCUIT_{stem}_THRESHOLD")),
        cooldown: from.span(&format!("CIRCUIT_{stem}_COOLDOWN_MS")),
        slow: from.span_or_off(&format!("CIRCUIT_{stem}_SLOW_MS")),
        probe_deadline: fixed::PROBE_DEADLINE,
    }
}

fn take_bulkhead(from: &mut Settled, provider: ProviderId) -> BulkheadRules {
    let stem = knobs::provider_stem(provider);
    BulkheadRules {
        capacity: from.size(&format!("BULKHEAD_{stem}_MAX_CONCURRENT")),
        lease_ttl: from.span(&format!("BULKHEAD_{stem}_LEASE_TTL_MS")),
        wait: from.span(&format!("BULKHEAD_{stem}_WAIT_MS")),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
