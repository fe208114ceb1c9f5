//! What a canary sends to whom, from its flags and policies, and whether both arms are fit for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Arguments, Profile};
use crate::cli::drill::Caller;
use crate::load::arms;
use crate::load::canary::{Asked, Comparison};
use crate::load::scenarios::{self, CHAT, GMAIL, WHATSAPP, Webhook};
use crate::load::traffic::{Target, Traffic};
use crate::slo::canary::{Look, planned};
use crate::slo::policy::{CanaryPolicy, SloBaseline};

/// Both servers: control, then candidate.
pub(super) struct Arms {
    pub(super) urls: [String; 2],
    targets: [Target; 2],
    /// Without user, password and path.
    pub(super) shown: [String; 2],
}

impl Arms {
    pub(super) fn of(addresses: [&String; 2]) -> Result<Self, String> {
        let read = |address: &String| {
            let target = Target::parse(address).map_err(|error| error.to_string())?;
            let shown = target.origin();
            Ok::<_, String>((address.clone(), target, shown))
        };
        let (control, candidate) = (read(addresses[0])?, read(addresses[1])?);
        Ok(Self {
            urls: [control.0, candidate.0],
            targets: [control.1, candidate.1],
            shown: [control.2, candidate.2],
        })
    }
}

/// Flags and policies, checked together.
pub(super) struct Prepared {
    pub(super) policy: CanaryPolicy,
    pub(super) slo: SloBaseline,
    looks: Vec<Look>,
    /// Name and requests a second of each arm.
    scenarios: Vec<(String, f64)>,
}

impl Prepared {
    /// # Errors
    /// A scenario that is not there, or of which nothing is promised.
    pub(super) fn of(
        arguments: &Arguments,
        policy: CanaryPolicy,
        slo: SloBaseline,
    ) -> Result<Self, String> {
        let named = if arguments.scenarios.is_empty() {
            vec![GMAIL.to_owned(), WHATSAPP.to_owned()]
        } else {
            arguments.scenarios.clone()
        };
        let (webhooks, chats) = match arguments.profile {
            Profile::Quick => (200.0, 20.0),
            Profile::Standard => (80.0, 6.0),
            Profile::Burst => (500.0, 40.0),
            Profile::Soak => (20.0, 2.0),
        };
        let mut scenarios: Vec<(String, f64)> = Vec::new();
        for name in named {
            if !scenarios::ALL.contains(&name.as_str()) || !slo.scenarios.contains_key(&name) {
                let known = scenarios::ALL.join(", ");
                return Err(format!("{name:?} is no scenario with objectives; there are {known}"));
            }
            if scenarios.iter().any(|(before, _)| *before == name) {
                return Err(format!("{name} is named twice"));
            }
            let rate = if name == CHAT { chats } else { webhooks };
            scenarios.push((name, arguments.rate.unwrap_or(rate)));
        }
        let samples = arguments.samples.unwrap_or(policy.samples_per_arm);
        let looks = match arguments.max_looks {
            1 => vec![Look::only(samples, &policy)],
            _ => Look::two(samples, &policy).into(),
        };
        Ok(Self { policy, slo, looks, scenarios })
    }

    /// The plan and what its size can show, for `--dry-run`.
    pub(super) fn told(&self, arms: &Arms) -> String {
        let [control, candidate] = &arms.shown;
        let mut text = format!("control {control}, candidate {candidate}\n");
        for look in &self.looks {
            let Look { samples, min_blocks, alpha } = look;
            let blocks = samples / self.policy.block_requests;
            text += &format!(
                "look at {samples} per arm and scenario: {blocks} blocks, {min_blocks} are \
                 needed; an identical pair fails with a chance of at most {alpha}\n"
            );
            for (name, _) in &self.scenarios {
                let shown = planned(name, &self.policy, *look, self.scenarios.len());
                text += &format!("  {}\n", shown.caught);
                if let Some(why) = shown.undecided {
                    text += &format!("  INCONCLUSIVE at best: {why}\n");
                }
            }
        }
        text += "  more noise than none takes more requests for the same effect\n";
        let last = self.looks.last().map_or(0, |look| look.samples);
        for (name, rate) in &self.scenarios {
            let took = Duration::from_secs_f64((last as f64 / rate).ceil());
            let took = humantime::format_duration(took);
            text += &format!("{name}: {rate} a second and arm, at most {took}\n");
        }
        text
    }

    /// What is compared, of arms that have shown that they are fit for it.
    ///
    /// # Errors
    /// One gives nobody to chat as: a sentence that says why.
    pub(super) async fn comparison(
        &self,
        arms: &Arms,
        caller: &Caller,
        (seed, timeout): (u64, Duration),
    ) -> Result<Comparison, String> {
        let mut asked = Vec::new();
        let samples = self.looks.last().map_or(0, |look| look.samples);
        for (name, rate) in &self.scenarios {
            let slo = self.slo.scenarios.get(name).cloned().ok_or("nothing is promised of it")?;
            let mut traffic = Vec::new();
            for url in &arms.urls {
                traffic.push(match name.as_str() {
                    GMAIL => Arc::new(Webhook::gmail()) as Arc<dyn Traffic>,
                    WHATSAPP => Arc::new(Webhook::whatsapp()),
                    _ => {
                        let user = caller.token().map(|token| (token, caller.thread()));
                        let chats = samples + self.policy.block_requests;
                        arms::chats(url, user, chats, (seed, timeout)).await?
                    }
                });
            }
            let traffic = traffic.try_into().map_err(|_count| "two arms".to_owned())?;
            asked.push(Asked { name: name.clone(), traffic, rate: *rate, slo });
        }
        Ok(Comparison {
            targets: arms.targets.clone(),
            scenarios: asked,
            looks: self.looks.clone(),
            policy: self.policy.clone(),
            seed,
            timeout,
        })
    }
}
