//! Faults that end by themselves: each has a lease, and the server takes it back when it runs out,
//! whoever asked for it may be dead (OPERATIONS.md §6).
//!
//! What strikes counts itself under the lease's witness, so that a tool can see that its fault has
//! bitten, and that it bites no more. A thread of its own watches the time: the fault may be one
//! that holds up the threads that serve.

mod catalog;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use sendcat_actors::chance;
use sendcat_actors::faults::Witness;
use sendcat_actors::tree::Tree;
use sendcat_state::timestamp::Timestamp;

use crate::contract::body::BodyError;
use crate::contract::ops::FaultLease;
use crate::contract::rfc3339;
pub use catalog::{Act, Order};

/// Leases in force at once.
const MOST_IN_FORCE: usize = 32;

/// Leases that are over and still shown.
const MOST_ENDED: usize = 64;

/// How long the thread sleeps where nothing is leased.
const IDLE: Duration = Duration::from_secs(3600);

/// Makes the providers' stand-ins fail.
pub trait StandIns: Send + Sync {
    /// Arms a fault of a stand-in, counted by `witness`; what calms it again.
    ///
    /// # Errors
    /// What was expected instead.
    fn arm(&self, act: &Act, witness: &Witness) -> Result<Box<dyn FnOnce() + Send>, String>;
}

/// The leases of one server.
pub struct Leases {
    tree: Tree,
    stand_ins: Option<Box<dyn StandIns>>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    in_force: Vec<Lease>,
    ended: VecDeque<FaultLease>,
    watch: Option<Thread>,
}

struct Lease {
    row: FaultLease,
    ends: Timestamp,
    keeps_leases: bool,
    witness: Arc<Witness>,
    calm: Option<Box<dyn FnOnce() + Send>>,
}

impl Leases {
    /// No lease; `stand_ins` where the providers are ours to break.
    pub fn new(tree: Tree, stand_ins: Option<Box<dyn StandIns>>) -> Arc<Self> {
        Arc::new(Self { tree, stand_ins, book: Mutex::default() })
    }

    /// Puts a fault in force for so long.
    ///
    /// # Errors
    /// [`BodyError::Shape`] if its target is not there, or too much is in force.
    pub fn grant(self: &Arc<Self>, order: Order, ttl: Duration) -> Result<FaultLease, BodyError> {
        let now = self.tree.clock.now();
        let mut book = self.book();
        if book.in_force.len() >= MOST_IN_FORCE {
            let most = format!("fewer than {MOST_IN_FORCE} leases in force");
            return Err(BodyError::shape("fault", most));
        }
        let witness = Arc::new(Witness::default());
        let calm = self.put_in_force(&order.act, &witness)?;
        let ends = now.after(ttl);
        let keeps_leases = order.act == Act::KeepLeases;
        let row = FaultLease {
            lease: chance::id(now).to_string(),
            fault: order.fault,
            target: order.target,
            params: order.params,
            ttl_s: ttl.as_secs(),
            armed_at: rfc3339(now.as_millis()),
            ends_at: rfc3339(ends.as_millis()),
            ..FaultLease::default()
        };
        let lease = Lease { row, ends, keeps_leases, witness, calm };
        let shown = lease.seen(now);
        book.in_force.push(lease);
        let watch = book.watch.get_or_insert_with(|| self.watch());
        watch.unpark();
        Ok(shown)
    }

    fn put_in_force(
        &self,
        act: &Act,
        witness: &Arc<Witness>,
    ) -> Result<Option<Box<dyn FnOnce() + Send>>, BodyError> {
        let no_actor = || BodyError::shape("target", "the name of an actor");
        match act {
            Act::Nothing | Act::KeepLeases => Ok(None),
            Act::Boards(boards) => {
                let mut all = boards
                    .iter()
                    .map(|(actor, fault)| self.tree.arm_under(witness, actor, fault.clone()));
                let armed = all.all(|armed| armed);
                // What was armed before one that is not there must not stay.
                if armed { Ok(None) } else { Err(no_actor()).inspect_err(|_| witness.end()) }
            }
            Act::Flood { actor, messages } => {
                let flooding = self.tree.flood(witness, actor, *messages);
                if flooding { Ok(None) } else { Err(no_actor()) }
            }
            Act::Provider { .. } => {
                let without = "another fault: this server has no stand-ins (serve --sandbox)";
                let stand_ins = self.stand_ins.as_ref();
                let stand_ins = stand_ins.ok_or_else(|| BodyError::shape("fault", without))?;
                let calm = stand_ins.arm(act, witness);
                calm.map(Some).map_err(|expected| BodyError::shape("target", expected))
            }
        }
    }

    /// Ends a lease before its time; `false` if there is none of that name in force.
    pub fn end(&self, lease: &str) -> bool {
        let now = self.tree.clock.now();
        let mut book = self.book();
        let found = book.in_force.iter().any(|each| each.row.lease == lease);
        if !book.keeps_leases() {
            book.end(now, "deleted", |each| each.row.lease == lease);
        }
        found
    }

    /// Ends every lease.
    pub fn end_all(&self) {
        let now = self.tree.clock.now();
        let mut book = self.book();
        if !book.keeps_leases() {
            book.end(now, "cleared", |_| true);
        }
    }

    /// Leases in force, and the newest that are over; each oldest first.
    pub fn seen(&self) -> (Vec<FaultLease>, Vec<FaultLease>) {
        let now = self.tree.clock.now();
        let mut book = self.book();
        book.expire(now);
        let in_force = book.in_force.iter().map(|lease| lease.seen(now)).collect();
        (in_force, book.ended.iter().cloned().collect())
    }

    /// Starts the thread that ends what runs out; it ends with the leases.
    fn watch(self: &Arc<Self>) -> Thread {
        let leases = Arc::downgrade(self);
        let watching = move || {
            while let Some(leases) = leases.upgrade() {
                let now = leases.tree.clock.now();
                let next = leases.book().expire(now);
                drop(leases);
                std::thread::park_timeout(next.map_or(IDLE, |next| now.until(next)));
            }
        };
        let thread = std::thread::Builder::new().name("faults".into()).spawn(watching);
        thread.expect("a process that has no thread left serves nobody").thread().clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Ends what has run out; when the next does.
    fn expire(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.end(now, "ttl", |lease| now >= lease.ends);
        self.in_force.iter().map(|lease| lease.ends).min()
    }

    fn end(&mut self, now: Timestamp, by: &str, which: impl Fn(&Lease) -> bool) {
        let (over, in_force) = self.in_force.drain(..).partition(|lease| which(lease));
        self.in_force = in_force;
        let over: Vec<Lease> = over;
        for mut lease in over {
            lease.witness.end();
            if let Some(calm) = lease.calm.take() {
                calm();
            }
            let FaultLease { lease: name, fault, target, .. } = &lease.row;
            let struck = lease.witness.struck();
            tracing::warn!(lease = %name, %fault, %target, by, struck, "a leased fault is over");
            if self.ended.len() == MOST_ENDED {
                self.ended.pop_front();
            }
            self.ended.push_back(FaultLease { ended_by: Some(by.to_owned()), ..lease.seen(now) });
        }
    }

    fn keeps_leases(&self) -> bool {
        self.in_force.iter().any(|lease| lease.keeps_leases)
    }
}

impl Lease {
    fn seen(&self, now: Timestamp) -> FaultLease {
        let left_ms = u64::try_from(now.until(self.ends).as_millis()).unwrap_or(u64::MAX);
        FaultLease { left_ms, witness: self.witness.struck(), ..self.row.clone() }
    }
}
