//! The last containment layer: a thread that ends the process if its supervisor stands still.
//!
//! The supervisor runs on the main thread. If that hangs, no actor is started again and no signal
//! is heard, and only whoever started the process can help: so it ends with 70 (SUPERVISION.md
//! §6.2). The thread counts its own looks and reads no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use sendcat_actors::supervisor::Beat;

use super::EXIT_GAVE_UP;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at a pulse that has not moved before the process ends.
const STILL: u32 = 10;

/// Watches until it is dropped.
pub(super) struct Backstop {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backstop {
    /// Behind that pulse.
    pub(super) fn behind(beat: Arc<Beat>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("backstop".into());
        let thread = thread.spawn(move || watch(&beat, &told));
        if let Err(error) = &thread {
            tracing::error!(%error, "nothing watches the supervisor: no thread is to be had");
        }
        Self { done, thread: thread.ok() }
    }

    fn thread(&self) -> Option<&Thread> {
        self.thread.as_ref().map(JoinHandle::thread)
    }
}

impl Drop for Backstop {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread() {
            thread.unpark();
        }
    }
}

fn watch(beat: &Beat, done: &AtomicBool) {
    let (mut count, mut still) = (beat.count(), 0);
    while !done.load(Ordering::Acquire) {
        std::thread::park_timeout(LOOK);
        let now = beat.count();
        still = if now == count { still + 1 } else { 0 };
        count = now;
        if still >= STILL && !done.load(Ordering::Acquire) {
            tracing::error!("the supervisor stands still: the process ends");
            std::process::exit(EXIT_GAVE_UP.into());
        }
    }
}
