//! What a comparison asks of each server before its first request that counts.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::probes::{Prober, Rounds};
use super::scenarios::{Chat, NoSession};
use super::traffic::Traffic;
use crate::config::Secret;
use crate::slo::policy::Owners;
use crate::slo::report::Check;
use crate::slo::verdict::CheckVerdict;

/// Why a comparison is not made: an arm that is broken beforehand.
#[derive(Debug, Default)]
pub struct Unfit {
    /// A sentence for each arm that nobody reaches, and for each probe that failed.
    pub reasons: Vec<String>,
    /// The probes' rows of both arms: `control.probe.…` and `candidate.probe.…`.
    pub checks: Vec<Check>,
}

impl Unfit {
    /// For one reason that is no probe's.
    pub fn because(why: String) -> Self {
        Self { reasons: vec![why], checks: Vec::new() }
    }
}

/// Asks control and candidate the same probes at once, so that both begin the comparison alike
/// (OPERATIONS.md §5.4, step 1).
///
/// # Errors
/// [`Unfit`]: one of them fails a probe. A slow or a repeated pass is none of a failure.
pub async fn fit(probers: &[Prober; 2], owners: &Owners) -> Result<(), Unfit> {
    let [control, candidate] = probers;
    let asked = tokio::join!(control.round(0), candidate.round(0));
    let mut unfit = Unfit::default();
    for (name, prober, round) in [("control", control, asked.0), ("candidate", candidate, asked.1)]
    {
        let rows = match round {
            Ok(outcomes) => {
                let mut rounds = Rounds::default();
                rounds.add(outcomes);
                rounds.found(owners).checks
            }
            Err(nobody) => {
                unfit.reasons.push(format!("the {name} {nobody}"));
                prober.unasked(&nobody, owners)
            }
        };
        for row in rows {
            let id = format!("{name}.{}", row.id);
            if row.verdict == CheckVerdict::Fail {
                unfit.reasons.push(format!("the {name} fails {}: {}", row.id, row.why));
            }
            unfit.checks.push(Check { id, ..row });
        }
    }
    if unfit.reasons.is_empty() { Ok(()) } else { Err(unfit) }
}

/// So many chats with a server: as a user in a thread, or as anonymous sessions.
///
/// # Errors
/// A sentence that says why there is nobody to chat as.
pub async fn chats(
    address: &str,
    user: Option<(Secret, Option<String>)>,
    chats: u64,
    (seed, timeout): (u64, Duration),
) -> Result<Arc<dyn Traffic>, String> {
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    let chat: Result<Chat, NoSession> = match user {
        Some((token, thread)) => Chat::as_user(&token, thread, seed),
        None => Chat::anonymous(&url, chats, seed, timeout).await,
    };
    chat.map(Chat::shared).map_err(|error| error.to_string())
}
