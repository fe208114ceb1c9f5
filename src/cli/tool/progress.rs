//! How far a tool is: a bar on a terminal, elsewhere a line each five seconds, never on standard
//! output.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sendcat_actors::clock::{Clock as _, SystemClock};
use sendcat_state::timestamp::Timestamp;

use super::common::Common;

/// How often a line is written where no bar can be.
const EVERY: Duration = Duration::from_secs(5);

/// Redraws a second at most (OPERATIONS.md §3).
const REDRAWS: u8 = 10;

/// Says how far a tool is. It ends when it is dropped, and leaves no bar behind.
pub(in crate::cli) struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    clock: SystemClock,
    last: Mutex<Option<Timestamp>>,
}

impl Progress {
    pub(super) fn start(common: &Common) -> Self {
        let said = !common.is_silent();
        let bar = (said && common.draws()).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
            let bar = ProgressBar::with_draw_target(None, target);
            bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("it is one"));
            bar
        });
        let lines = said && bar.is_none();
        Self { bar, lines, clock: SystemClock::start(), last: Mutex::default() }
    }

    /// The newest state, one line; call it as often as it changes.
    #[expect(clippy::print_stderr, reason = "a log of a CI must show that it goes on")]
    pub(in crate::cli) fn line(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        } else if self.lines && self.is_due() {
            eprintln!("{text}");
        }
    }

    fn is_due(&self) -> bool {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|last| now >= last.after(EVERY));
        if due {
            *last = Some(now);
        }
        due
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
