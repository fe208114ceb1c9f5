//! The smallest supervised machine, to copy from: a tally that survives its own panics.
//!
//! A new concern is this file in two: the machine in `state/src`, its `impl Machine` with a handle
//! around `Handle<M>` in `actors/src`; then a row in `tree.rs`, and one in `failure.rs` that says
//! which way it fails. Run by `cargo run -p sendcat-actors --example one_actor`.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::alone::Alone;
use sendcat_actors::clock::SystemClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::machine::{Class, Machine};
use sendcat_state::machine::{Apply, Decision};
use sendcat_state::store::Store;
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

/// What was counted. A value with rules: it reads no clock, logs nothing, waits for nobody.
///
/// Durability: snapshotted.
///
/// # Invariants
/// - the total never passes what the rules allow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tally {
    total: u64,
}

/// What a verb makes of the tally: a value, so that it can be kept, replayed and compared.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Added(u64);

/// What a caller is told. A refusal is an answer, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// It was added, and this is the total.
    Total(u64),
    /// It would have been too much.
    Full,
}

impl Tally {
    /// Decides, and writes nothing: if this panics, nothing is lost.
    fn add(&self, most: u64, number: u64) -> Decision<Counted, Added> {
        assert!(number != 13, "thirteen makes it panic");
        match self.total + number {
            total if total <= most => Decision::new(Counted::Total(total), Added(number)),
            _ => Decision::unchanged(Counted::Full),
        }
    }
}

impl Apply<Added> for Tally {
    /// The only way it changes.
    fn apply(&mut self, change: &Added) {
        self.total += change.0;
    }
}

impl Machine for Tally {
    type Command = u64;
    type Answer = Counted;
    type Change = Added;
    type Rules = u64;
    type View = u64;

    const KIND: &'static str = "tally";
    const CLASS: Class = Class::Snapshotted;
    const ASK_DEADLINE: Duration = Duration::from_secs(1);

    fn fresh() -> Self {
        Self::default()
    }

    fn decide(&self, _: Timestamp, most: &u64, number: u64) -> Decision<Counted, Added> {
        self.add(*most, number)
    }

    fn view(&self, _: Timestamp) -> u64 {
        self.total
    }
}

#[expect(clippy::print_stdout, reason = "this is what the example has to say")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let disk = MemoryDisk::default();
    let store = move || Ok(Box::new(MemoryStore::open(&disk)) as Box<dyn Store>);
    actix_rt::System::new().block_on(async move {
        let clock = Arc::new(SystemClock::start());
        let (tally, root) = Alone::<Tally>::start(100, clock, Box::new(store))?;
        actix_rt::spawn(root.run());
        for number in [1, 2, 13, 3, 200] {
            let answer = loop {
                match tally.actor.ask(number).await {
                    // Surely not executed, so it may be asked again freely.
                    Err(AskError::Restarting { .. }) => tokio::task::yield_now().await,
                    answer => break answer,
                }
            };
            println!("add {number}: {answer:?}");
        }
        println!("incarnation {}", tally.actor.vitals().incarnation());
        Ok(())
    })
}
