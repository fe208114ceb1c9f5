//! The configuration in force, which a reload replaces.
//!
//! A reload reads everything again and is refused whole if anything is wrong. It puts in force what
//! may change while the process runs (INTERFACE.md §1: rate, circuit, bulkhead, cache, job and
//! operators' knobs); what else has changed waits for the next start, and is named.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use sendcat_state::job::JobKind;
use sendcat_state::key::ToolKind;

use super::fault::Fault;
use super::knobs::{self, Reload, tool_stem};
use super::{Config, Settled, Source};

/// Reads the sources of the configuration again.
pub type Reread = Box<dyn Fn() -> Result<Source, Vec<Fault>> + Send + Sync>;

/// The configuration in force. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    current: ArcSwap<Config>,
    /// Tool calls that may run at once in all, when the process began: as many workers there are.
    workers: usize,
    reread: Reread,
    /// Held while a reload reads and decides: the last to read must be the last to decide.
    reloading: Mutex<()>,
}

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Knobs whose new value is in force.
    pub changed: Vec<String>,
    /// Knobs whose new value waits for the next start.
    pub at_next_start: Vec<String>,
}

impl Live {
    /// Begins with this configuration; `reread` finds what a reload is to read.
    pub fn new(config: Config, reread: Reread) -> Self {
        let workers = running_tools(&config);
        let (current, reloading) = (ArcSwap::from_pointee(config), Mutex::new(()));
        Self { inner: Arc::new(Inner { current, workers, reread, reloading }) }
    }

    /// The values in force now.
    pub fn now(&self) -> Arc<Config> {
        self.inner.current.load_full()
    }

    /// Reads everything again and puts in force what may change now.
    ///
    /// # Errors
    /// Every [`Fault`] there is; then nothing has changed.
    pub fn reload(&self) -> Result<Reloaded, Vec<Fault>> {
        let _alone = self.inner.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.now();
        let fresh = Config::settle(&(self.inner.reread)()?)?;
        let (settled, reloaded) = merge(&before.settled, fresh);
        let config = Config::of(settled);
        if running_tools(&config) > self.inner.workers {
            return Err(vec![self.too_many_running()]);
        }
        self.inner.current.store(Arc::new(config));
        Ok(reloaded)
    }

    fn too_many_running(&self) -> Fault {
        let names =
            ToolKind::ALL.iter().map(|tool| format!("TOOL_JOB_RUNMAX_{}", tool_stem(*tool)));
        let names = names.collect::<Vec<_>>().join(" + ");
        let most = self.inner.workers;
        Fault::bare(&names, &format!("expected at most {most} together until the next start"))
    }
}

/// Tool calls that may run at once, all tools together.
fn running_tools(config: &Config) -> usize {
    let rules = config.queue_rules();
    let tools = ToolKind::ALL.iter().map(|tool| rules.partition(JobKind::Tool(*tool)).running_max);
    tools.sum()
}

/// What is in force with what of `fresh` may be put in force.
fn merge(before: &Settled, fresh: Settled) -> (Settled, Reloaded) {
    let mut settled = before.clone();
    let mut reloaded = Reloaded::default();
    for (name, settlement) in fresh.0 {
        let live = knobs::find(&name).is_some_and(|knob| knob.reload == Reload::Live);
        let same = before.0.get(&name).is_some_and(|old| old.value == settlement.value);
        if !same {
            let names = if live { &mut reloaded.changed } else { &mut reloaded.at_next_start };
            names.push(name.clone());
        }
        if live {
            settled.0.insert(name, settlement);
        }
    }
    (settled, reloaded)
}

impl fmt::Debug for Live {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Live").field(&self.now()).finish()
    }
}
