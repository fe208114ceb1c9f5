//! The rules of WhatsApp's rows: codes, links, hints, replies, statuses.

use std::time::Duration;

use sendcat_state::key::TimedId;
use sendcat_state::machine::{ReadError, RecordWrite};
use sendcat_state::store::Store as _;
use sendcat_state::store::memory::MemoryStore;
use sendcat_state::threads::{self, BeginTurn, ThreadLimits, Trigger};
use sendcat_state::timestamp::Timestamp;
use sendcat_state::whatsapp::{self, Reply, Sender};

const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn number(number: &str) -> Sender {
    Sender { number: Some(number.into()), user_id: None }
}

fn event(number: u64) -> TimedId {
    TimedId::new(at(1), number)
}
