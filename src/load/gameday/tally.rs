//! What is seen each second, and what that makes over a phase.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::{SERVER, Sli};

/// Requests of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// All that ended.
    pub total: u64,
    /// Answered 5xx.
    pub http_5xx: u64,
    /// Of these, 500.
    pub http_500: u64,
    /// Without a whole answer.
    pub network: u64,
    /// Refused by a limit: neither good nor bad.
    pub limited: u64,
    /// Duplicates that were not told from fresh deliveries.
    pub unreplayed: u64,
    /// The slowest, in milliseconds.
    pub max_ms: f64,
    /// Every one, from when it was due, in milliseconds.
    #[serde(skip)]
    pub latencies_ms: Vec<f64>,
}

impl Tally {
    /// Those that somebody would have noticed.
    pub fn hurt(&self) -> u64 {
        self.http_5xx + self.network + self.unreplayed
    }

    /// Those that were 5xx, or without an answer.
    pub fn failures(&self) -> u64 {
        self.http_5xx + self.network
    }

    /// What 99 of a hundred took at most, by the nearest rank.
    fn p99_ms(&self) -> Option<f64> {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }

    /// Takes another in.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.http_5xx += other.http_5xx;
        self.http_500 += other.http_500;
        self.network += other.network;
        self.limited += other.limited;
        self.unreplayed += other.unreplayed;
        self.max_ms = self.max_ms.max(other.max_ms);
        self.latencies_ms.extend(&other.latencies_ms);
    }
}

/// What the server's operators see at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gauges {
    /// Circuits that are open or half-open.
    pub circuits_open: u64,
    /// Restarts of actors since the process began.
    pub restarts: u64,
    /// Of these, of those that hung.
    pub hang_restarts: u64,
    /// Actors that were given up.
    pub actors_down: u64,
    /// Actors that do not run, for whatever reason.
    pub actors_away: u64,
    /// Calls in flight of the fullest bulkhead.
    pub in_flight: u64,
    /// The longest mailbox.
    pub mailbox_depth: u64,
    /// Alerts that are shown.
    pub alerts: u64,
    /// Readiness says `degraded` or 503.
    pub degraded: bool,
    /// Memory of the process, where it can be seen.
    pub rss_mb: Option<f64>,
}

impl Gauges {
    /// Whether the server itself says that something is wrong, against how it was before.
    pub fn tells(&self, before: &Self) -> bool {
        self.circuits_open > before.circuits_open
            || self.restarts > before.restarts
            || self.actors_away > before.actors_away
            || self.alerts > before.alerts
            || (self.degraded && !before.degraded)
    }

    /// Whether nothing is left of a fault.
    pub fn is_calm(&self, before: &Self) -> bool {
        self.circuits_open <= before.circuits_open
            && self.actors_away <= before.actors_away
            && (!self.degraded || before.degraded)
    }
}

/// Everything over a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// By scenario.
    pub scenarios: BTreeMap<String, Tally>,
    /// What the server looked like when the phase began.
    pub before: Gauges,
    /// The most of each since then.
    pub most: Option<Gauges>,
}

impl Seen {
    /// Nothing yet, of a phase that begins so.
    pub fn from(before: Gauges) -> Self {
        Self { before, ..Self::default() }
    }

    /// Takes one second in.
    pub fn add(&mut self, scenarios: &BTreeMap<String, Tally>, gauges: Option<&Gauges>) {
        for (name, tally) in scenarios {
            self.scenarios.entry(name.clone()).or_default().add(tally);
        }
        let Some(now) = gauges else { return };
        let most = self.most.get_or_insert(*now);
        most.circuits_open = most.circuits_open.max(now.circuits_open);
        most.restarts = most.restarts.max(now.restarts);
        most.hang_restarts = most.hang_restarts.max(now.hang_restarts);
        most.actors_down = most.actors_down.max(now.actors_down);
        most.actors_away = most.actors_away.max(now.actors_away);
        most.in_flight = most.in_flight.max(now.in_flight);
        most.mailbox_depth = most.mailbox_depth.max(now.mailbox_depth);
        most.alerts = most.alerts.max(now.alerts);
        most.degraded |= now.degraded;
        most.rss_mb = most.rss_mb.into_iter().chain(now.rss_mb).reduce(f64::max);
    }

    /// Requests that somebody would have noticed.
    pub fn hurt(&self) -> u64 {
        self.scenarios.values().map(Tally::hurt).sum()
    }

    /// An indicator's value; `None` where nothing was seen of it.
    pub fn value(&self, scenario: &str, sli: Sli) -> Option<f64> {
        if scenario == SERVER {
            return self.of_server(sli);
        }
        let tally = self.scenarios.get(scenario).filter(|tally| tally.total > 0)?;
        let share = |part: u64| Some(part as f64 / tally.total as f64);
        match sli {
            Sli::Http5xx => share(tally.http_5xx),
            Sli::Http500 => share(tally.http_500),
            Sli::Network => share(tally.network),
            Sli::Unreplayed => share(tally.unreplayed),
            Sli::MaxMs => Some(tally.max_ms),
            Sli::P99Ms => tally.p99_ms(),
            Sli::Failures => Some(tally.failures() as f64),
            Sli::CircuitsOpen
            | Sli::Restarts
            | Sli::HangRestarts
            | Sli::ActorsDown
            | Sli::InFlight
            | Sli::MailboxDepth
            | Sli::RssGrowthMb
            | Sli::Degraded => None,
        }
    }

    fn of_server(&self, sli: Sli) -> Option<f64> {
        let (most, before) = (self.most.as_ref()?, &self.before);
        let since = |now: u64, then: u64| Some(now.saturating_sub(then) as f64);
        match sli {
            Sli::CircuitsOpen => Some(most.circuits_open as f64),
            Sli::Restarts => since(most.restarts, before.restarts),
            Sli::HangRestarts => since(most.hang_restarts, before.hang_restarts),
            Sli::ActorsDown => Some(most.actors_down as f64),
            Sli::InFlight => Some(most.in_flight as f64),
            Sli::MailboxDepth => Some(most.mailbox_depth as f64),
            Sli::RssGrowthMb => Some((most.rss_mb? - before.rss_mb?).max(0.0)),
            Sli::Degraded => Some(f64::from(u8::from(most.degraded))),
            Sli::Http5xx
            | Sli::Http500
            | Sli::Network
            | Sli::Unreplayed
            | Sli::MaxMs
            | Sli::P99Ms
            | Sli::Failures => None,
        }
    }
}
