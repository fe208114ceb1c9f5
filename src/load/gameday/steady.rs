//! Whether a server is in its steady state: the synthetic probes, before and after.

use std::time::Duration;

use super::server::Target;
use crate::load::probes::{Ending, Plan, Prober, Secrets};

/// How long one exchange of a probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a probe that failed is asked again.
const RETRIES: u32 = 1;

/// What each probe says that does not pass; those that the secrets at hand do not allow are left
/// out.
pub async fn failing(target: &Target) -> Vec<String> {
    let plan = Plan {
        base: target.base.clone(),
        only: Vec::new(),
        retries: RETRIES,
        timeout: PATIENCE,
        secrets: Secrets {
            ops_token: target.ops.clone(),
            whatsapp_app_secret: target.webhook.clone(),
            whatsapp_verify_token: None,
            chat_token: None,
        },
        origin: None,
        thread: None,
    };
    let prober = match Prober::new(plan) {
        Ok(prober) => prober,
        Err(error) => return vec![format!("no client can be made: {error}")],
    };
    let outcomes = match prober.round(0).await {
        Ok(outcomes) => outcomes,
        Err(nobody) => return vec![nobody.to_string()],
    };
    let failed = outcomes.into_iter().filter_map(|outcome| match outcome.ending {
        Ending::Failed(why) => Some(format!("{}: {why}", outcome.probe.id())),
        Ending::Passed | Ending::Degraded(_) | Ending::Skipped(_) => None,
    });
    failed.collect()
}
