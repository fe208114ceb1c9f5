//! The clocks of one call of the model: which runs out next, and what that means.
//!
//! Only content winds them: comments and empty deltas show that the link lives, not that the model
//! gets on.

use std::time::Duration;

use sendcat_state::timestamp::Timestamp;

use super::{Driver, timed_out};
use crate::upstream::error::{Clock, UpstreamError};
use crate::upstream::openrouter::Delta;

/// What the clocks of one call go by.
pub(super) struct Reading {
    /// When the stream began, or last brought content.
    last_content: Timestamp,
    pub(super) has_content: bool,
    window_began: Timestamp,
    window_chars: usize,
}

impl Reading {
    pub(super) fn new(driver: &Driver) -> Self {
        let now = driver.engine.parts.clock.now();
        Self { last_content: now, has_content: false, window_began: now, window_chars: 0 }
    }

    pub(super) fn note(&mut self, driver: &Driver, delta: &Delta<'_>) {
        let chars = match delta {
            Delta::Text(text) | Delta::Reasoning(text) => text.chars().count(),
            Delta::ToolFragment { name, arguments, .. } => {
                name.as_ref().map_or(0, |name| name.len()) + arguments.chars().count()
            }
            Delta::Usage(_) | Delta::Finish(_) | Delta::Error { .. } | Delta::Done => 0,
        };
        if chars == 0 {
            return;
        }
        self.last_content = driver.engine.parts.clock.now();
        if !self.has_content {
            self.has_content = true;
            self.window_began = self.last_content;
        }
        self.window_chars += chars;
    }

    /// Which clock runs out next, and in how long.
    pub(super) fn next_to_run_out(&self, driver: &Driver) -> (Clock, Duration) {
        let rules = &driver.engine.parts.rules;
        let now = driver.engine.parts.clock.now();
        let content = if self.has_content {
            (Clock::Idle, now.until(self.last_content.after(rules.idle)))
        } else {
            (Clock::FirstContent, now.until(self.last_content.after(rules.first_content)))
        };
        let total = (Clock::Total, now.until(driver.ends));
        let window = now.until(self.window_began.after(rules.min_progress_window));
        let progress = self.has_content.then_some((Clock::Progress, window));
        let clocks = [Some(content), Some(total), progress];
        clocks.into_iter().flatten().min_by_key(|(_, left)| *left).unwrap_or(total)
    }

    /// The failure that a clock which ran out is; a window with enough progress is none.
    pub(super) fn run_out(&mut self, driver: &Driver, clock: Clock) -> Option<UpstreamError> {
        let rules = &driver.engine.parts.rules;
        let limit = match clock {
            Clock::FirstContent => rules.first_content,
            Clock::Idle => rules.idle,
            Clock::Total => rules.total,
            Clock::Connect => rules.connect,
            Clock::Headers => rules.headers,
            Clock::Progress => {
                let enough = usize::try_from(rules.min_progress_chars).unwrap_or(usize::MAX);
                if self.window_chars >= enough {
                    self.window_began = driver.engine.parts.clock.now();
                    self.window_chars = 0;
                    return None;
                }
                rules.min_progress_window
            }
        };
        Some(timed_out(clock, limit))
    }
}
