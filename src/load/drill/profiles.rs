//! The profiles of the drill: which stages each scenario has (OPERATIONS.md §3).

use std::time::Duration;

use crate::load::plan::StagePlan;
use crate::load::scenarios::CHAT;

/// A shape of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The smallest that can prove 5xx ≤ 1 %.
    Quick,
    /// Three steps up.
    Standard,
    /// Three floods with quiet between.
    Burst,
    /// Steady for half an hour, to see what grows.
    Soak,
}

/// Quiet between the stages of `standard`.
const STANDARD_PAUSE: Duration = Duration::from_secs(2);
/// Quiet between the floods of `burst`.
const BURST_PAUSE: Duration = Duration::from_secs(5);
/// How long `soak` lasts.
const SOAK: Duration = Duration::from_secs(30 * 60);

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Quick, Self::Standard, Self::Burst, Self::Soak];

    /// The word on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Burst => "burst",
            Self::Soak => "soak",
        }
    }

    /// The profile of a word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Whether its scenarios run at once. Short and gentle ones do, as real traffic is mixed; where
    /// a scenario is driven hard, the others would be measured with it.
    pub fn is_mixed(self) -> bool {
        matches!(self, Self::Quick | Self::Soak)
    }

    /// The stages of a scenario.
    pub fn stages(self, scenario: &str) -> Vec<StagePlan> {
        let chat = scenario == CHAT;
        let pausing = |stages: Vec<StagePlan>, pause_after| {
            let last = stages.len() - 1;
            let paused = |(place, stage): (usize, StagePlan)| {
                if place < last { StagePlan { pause_after, ..stage } } else { stage }
            };
            stages.into_iter().enumerate().map(paused).collect()
        };
        match (self, chat) {
            (Self::Quick, false) => vec![StagePlan::of(300, 20.0)],
            (Self::Quick, true) => vec![StagePlan::of(60, 4.0)],
            (Self::Standard, false) => {
                let steps = [(120, 20.0), (300, 50.0), (400, 80.0)];
                let steps = steps.map(|(requests, rate)| StagePlan::of(requests, rate));
                pausing(steps.to_vec(), STANDARD_PAUSE)
            }
            (Self::Standard, true) => vec![StagePlan::of(120, 6.0)],
            (Self::Burst, false) => pausing(vec![StagePlan::of(2_000, 200.0); 3], BURST_PAUSE),
            (Self::Burst, true) => pausing(vec![StagePlan::of(120, 40.0); 3], BURST_PAUSE),
            (Self::Soak, false) => vec![StagePlan::lasting(20.0, SOAK)],
            (Self::Soak, true) => vec![StagePlan::lasting(2.0, SOAK)],
        }
    }

    /// The same with a rate of the caller's, or shortened or stretched so that the arrivals of all
    /// stages together last so long.
    pub fn shaped(
        self,
        scenario: &str,
        rate: Option<f64>,
        lasting: Option<Duration>,
    ) -> Vec<StagePlan> {
        let mut stages = self.stages(scenario);
        for stage in &mut stages {
            stage.rate = rate.unwrap_or(stage.rate);
        }
        let whole: f64 = stages.iter().map(|stage| stage.duration().as_secs_f64()).sum();
        if let Some(lasting) = lasting {
            let scale = lasting.as_secs_f64() / whole;
            for stage in &mut stages {
                stage.requests = ((stage.requests as f64 * scale).round() as u64).max(1);
            }
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenarios::WHATSAPP;

    fn sizes(profile: Profile, scenario: &str) -> Vec<(u64, f64, u64)> {
        let stages = profile.stages(scenario).into_iter();
        stages.map(|it| (it.requests, it.rate, it.pause_after.as_millis() as u64)).collect()
    }

    #[test]
    fn the_stages_are_those_of_the_table() {
        assert_eq!(sizes(Profile::Quick, WHATSAPP), [(300, 20.0, 0)]);
        assert_eq!(sizes(Profile::Quick, CHAT), [(60, 4.0, 0)]);
        let steps = [(120, 20.0, 2_000), (300, 50.0, 2_000), (400, 80.0, 0)];
        assert_eq!(sizes(Profile::Standard, WHATSAPP), steps);
        assert_eq!(sizes(Profile::Standard, CHAT), [(120, 6.0, 0)]);
        let floods = [(2_000, 200.0, 5_000), (2_000, 200.0, 5_000), (2_000, 200.0, 0)];
        assert_eq!(sizes(Profile::Burst, WHATSAPP), floods);
        assert_eq!(sizes(Profile::Burst, CHAT)[0], (120, 40.0, 5_000));
        assert_eq!(sizes(Profile::Soak, WHATSAPP), [(36_000, 20.0, 0)]);
        assert_eq!(sizes(Profile::Soak, CHAT), [(3_600, 2.0, 0)]);
    }

    #[test]
    fn a_duration_is_that_of_all_stages_and_a_rate_that_of_each() {
        let shaped = Profile::Quick.shaped(WHATSAPP, None, Some(Duration::from_secs(8)));
        assert_eq!(shaped, [StagePlan::of(160, 20.0)]);
        let shaped = Profile::Standard.shaped(WHATSAPP, None, Some(Duration::from_secs(34)));
        assert_eq!(shaped.iter().map(|it| it.requests).collect::<Vec<_>>(), [240, 600, 800]);
        let shaped = Profile::Soak.shaped(CHAT, Some(5.0), Some(Duration::from_secs(10)));
        assert_eq!(shaped, [StagePlan::of(50, 5.0)]);
    }
}
