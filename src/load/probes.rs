//! Synthetic probes: what a stranger, a browser and a provider would be told by a running server,
//! asked one after another (OPERATIONS.md §1.4, §3; CONFORMANCE G1).
//!
//! # Invariants
//! - A probe that fails and passes when it is asked again is a warning, never a clean pass.
//! - A `429` with `Retry-After` is waited for once and recorded; it is no failure by itself.
//! - What is kept of an exchange holds no token, no signature and no body.

mod exchange;
mod expect;
mod list;
mod rows;

use std::time::Duration;

use reqwest::Url;
use serde::Serialize;

use self::exchange::{Answer, Ask, NoAnswer, Wire};
pub use self::exchange::{Exchange, Phases};
pub use self::list::{Limits, Probe};
pub use self::rows::{Found, Rounds};
use crate::config::Secret;
use crate::slo::policy::Owners;
use crate::slo::report::Check;

/// What some probes need beside an address, by the names that the server has them by.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// `OPS_TOKEN`, or `OPS_READ_TOKEN`.
    pub ops_token: Option<Secret>,
    /// `WHATSAPP_APP_SECRET`.
    pub whatsapp_app_secret: Option<Secret>,
    /// `WHATSAPP_VERIFY_TOKEN`.
    pub whatsapp_verify_token: Option<Secret>,
    /// `RELIABILITY_AUTH_TOKEN`: who chats; an anonymous session where it is missing.
    pub chat_token: Option<Secret>,
}

/// Which probes are asked, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub base: Url,
    /// Only these; all where there is none.
    pub only: Vec<Probe>,
    /// How often a probe that failed is asked again.
    pub retries: u32,
    /// How long one exchange may take.
    pub timeout: Duration,
    /// What is known here.
    pub secrets: Secrets,
    /// An origin that the server allows; its own where none is named.
    pub origin: Option<String>,
    /// The thread of the chat; where none is named, one of its own, which is deleted after.
    pub thread: Option<String>,
}

/// Asks the probes of a plan, again and again if need be.
#[derive(Clone, Debug)]
pub struct Prober {
    wire: Wire,
    plan: Plan,
    secrets: Secrets,
    origin: String,
    /// Of the delivery that is sent twice: new with each prober, so the first is no replay.
    delivery_id: String,
}

/// Why a probe did not pass: the first assertion that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `expected …, got …`.
    pub why: String,
}

/// How one probe ended in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was expected was answered in time.
    Passed,
    /// It passed, but slowly, or only when asked again.
    Degraded(String),
    /// It did not.
    Failed(String),
    /// It was not asked.
    Skipped(String),
}

/// One time that a probe was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// What did not hold; absent where all did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Every request and its answer.
    pub exchanges: Vec<Exchange>,
}

/// One probe in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which.
    pub probe: Probe,
    /// How it ended.
    pub ending: Ending,
    /// Every time it was asked, in order; none is left out.
    pub tries: Vec<Try>,
    /// The slowest exchange of the last try, of those that are held against the limits.
    pub slowest: Option<Exchange>,
}

/// Nobody is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} cannot be reached: {why}")]
pub struct Unreachable {
    /// Without user and password.
    pub address: String,
    /// What is known of it.
    pub why: String,
}

/// One time that a probe is asked.
struct Attempt<'a> {
    prober: &'a Prober,
    first_round: bool,
    exchanges: Vec<Exchange>,
    /// Of those so far, and the milliseconds that count.
    slowest: Option<(Exchange, f64)>,
    degraded: Option<String>,
}

impl Prober {
    /// A prober of that plan.
    ///
    /// # Errors
    /// No client can be made: there is no source of trusted certificates.
    pub fn new(plan: Plan) -> Result<Self, reqwest::Error> {
        let wire = Wire::new(&plan.base, plan.timeout)?;
        let origin = plan.origin.clone();
        let origin = origin.unwrap_or_else(|| plan.base.origin().ascii_serialization());
        Ok(Self {
            wire,
            secrets: plan.secrets.clone(),
            origin,
            delivery_id: format!("wamid.sendcat-probe-{}", name_of_its_own()),
            plan,
        })
    }

    /// The probes that are asked, in order.
    pub fn probes(&self) -> Vec<Probe> {
        let wanted = |probe: &Probe| self.plan.only.is_empty() || self.plan.only.contains(probe);
        Probe::ALL.iter().copied().filter(wanted).collect()
    }

    /// Asks every probe once, with its retries. `round` counts from 0.
    ///
    /// # Errors
    /// [`Unreachable`] if not even a connection is had before the first of them.
    pub async fn round(&self, round: u64) -> Result<Vec<Outcome>, Unreachable> {
        self.reach().await?;
        let mut outcomes = Vec::new();
        for probe in self.probes() {
            outcomes.push(match probe.skipped(&self.secrets) {
                Some(why) => Outcome {
                    probe,
                    ending: Ending::Skipped(why.to_owned()),
                    tries: Vec::new(),
                    slowest: None,
                },
                None => self.outcome(probe, round == 0).await,
            });
        }
        Ok(outcomes)
    }

    /// Why a probe cannot be asked; `None` if it can.
    pub fn skips(&self, probe: Probe) -> Option<&'static str> {
        probe.skipped(&self.secrets)
    }

    /// A round that nobody answered, as failures of all that would have been asked.
    pub fn missed(&self, missing: &Unreachable) -> Vec<Outcome> {
        let asked = self.probes().into_iter().filter(|probe| self.skips(*probe).is_none());
        let outcome = |probe| Outcome {
            probe,
            ending: Ending::Failed(missing.to_string()),
            tries: Vec::new(),
            slowest: None,
        };
        asked.map(outcome).collect()
    }

    /// The rows of a run that nobody ever answered.
    pub fn unasked(&self, missing: &Unreachable, owners: &Owners) -> Vec<Check> {
        let why = format!("not asked: {missing}");
        self.probes().into_iter().map(|probe| rows::unasked(probe, &why, owners)).collect()
    }

    async fn reach(&self) -> Result<(), Unreachable> {
        let ask = Ask::new(reqwest::Method::GET, "/livez");
        match self.wire.send(&ask, &mut Vec::new()).await {
            Err(NoAnswer { why, unreachable: true }) => {
                let address = self.plan.base.origin().ascii_serialization();
                Err(Unreachable { address, why })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn outcome(&self, probe: Probe, first_round: bool) -> Outcome {
        let mut tries: Vec<Try> = Vec::new();
        loop {
            let mut attempt = Attempt {
                prober: self,
                // A delivery that was sent by a failed try may have been accepted.
                first_round: first_round && tries.is_empty(),
                exchanges: Vec::new(),
                slowest: None,
                degraded: None,
            };
            let held = probe.attempt(&mut attempt).await.and_then(|()| attempt.in_time(probe));
            let Attempt { exchanges, slowest, degraded, .. } = attempt;
            let slowest = slowest.map(|(exchange, _)| exchange);
            let failure = held.as_ref().err().map(|failure| failure.why.clone());
            let before = tries.first().and_then(|first| first.failure.clone());
            tries.push(Try { failure: failure.clone(), exchanges });
            let asked = tries.len();
            let ending = match (failure, before, degraded) {
                (Some(_), _, _) if asked <= self.plan.retries as usize => continue,
                (Some(why), None, _) => Ending::Failed(why),
                (Some(why), Some(_), _) => Ending::Failed(format!("{why} (asked {asked} times)")),
                (None, Some(first), _) => {
                    Ending::Degraded(format!("passed when asked {asked} times; first: {first}"))
                }
                (None, None, Some(why)) => Ending::Degraded(why),
                (None, None, None) => Ending::Passed,
            };
            return Outcome { probe, ending, tries, slowest };
        }
    }
}

impl Attempt<'_> {
    /// An exchange that is held against the limits whole.
    async fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let answer = self.untimed(ask).await?;
        self.timed(Phases::total);
        Ok(answer)
    }

    /// An exchange of which the time to its first byte is; the rest may take as long as an answer
    /// of a model takes.
    async fn streamed(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let mut wire = self.prober.wire.clone();
        wire.timeout = wire.timeout.max(STREAM);
        let answer = wire.send(&ask, &mut self.exchanges).await;
        let answer = answer.map_err(|missing| Failure::unanswered(&missing))?;
        self.timed(|phases| phases.connect + phases.first_byte);
        Ok(answer)
    }

    /// An exchange that only has to end within the plan's timeout.
    async fn untimed(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let answer = self.prober.wire.send(&ask, &mut self.exchanges).await;
        answer.map_err(|missing| Failure::unanswered(&missing))
    }

    fn timed(&mut self, of: impl Fn(Phases) -> f64) {
        let Some(last) = self.exchanges.last() else { return };
        let took = of(last.phases_ms);
        if self.slowest.as_ref().is_none_or(|(_, slowest)| took > *slowest) {
            self.slowest = Some((last.clone(), took));
        }
    }

    fn degraded(&mut self, why: &str) {
        self.degraded.get_or_insert_with(|| why.to_owned());
    }

    fn is_first(&self) -> bool {
        self.first_round
    }

    fn in_time(&mut self, probe: Probe) -> Result<(), Failure> {
        let Limits { degraded, failed } = probe.limits();
        let took = self.slowest.as_ref().map_or(0.0, |(_, took)| *took);
        if took > failed.as_secs_f64() * 1000.0 {
            let limit = failed.as_millis();
            return Err(Failure::of(
                &format!("an answer within {limit} ms"),
                &format!("{took} ms"),
            ));
        }
        if took > degraded.as_secs_f64() * 1000.0 {
            self.degraded(&format!("slow: {took} ms, {} ms is good", degraded.as_millis()));
        }
        Ok(())
    }
}

/// How long a streamed answer may take whole, at least.
const STREAM: Duration = Duration::from_secs(60);

impl Failure {
    fn of(expected: &str, got: &str) -> Self {
        Self { why: format!("expected {expected}, got {got}") }
    }

    fn unanswered(missing: &NoAnswer) -> Self {
        Self { why: missing.why.clone() }
    }
}

fn name_of_its_own() -> String {
    let mut bytes = [0_u8; 8];
    // Without randomness the time will do: the name has to be new, not secret.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = (crate::load::clock::wall().as_nanos() as u64).to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
