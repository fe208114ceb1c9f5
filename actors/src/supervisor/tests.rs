//! What no test in virtual time can show, where a successor is there at once.

use std::sync::mpsc;

use actix_rt::System;
use sendcat_state::bulkhead::{Bulkhead, BulkheadRules};
use sendcat_state::store::Store;
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};

use super::*;
use crate::clock::SystemClock;
use crate::handle::Around;

/// An actor that is not started yet, in a subtree of its own that bears so many failures.
fn actor(max: usize) -> Handle<Bulkhead> {
    let clock: SharedClock = Arc::new(SystemClock::start());
    let disk = MemoryDisk::default();
    let store = Box::new(move || Ok(Box::new(MemoryStore::open(&disk)) as Box<dyn Store>));
    let (journal, mut writer) = Journal::new(store, clock.clone(), &[]);
    writer.open().expect("a store in memory opens");
    let (reports, _) = Reports::channel();
    let around = Around { clock, journal, reports, snapshot_every: Duration::from_secs(1) };
    let subtree = Subtree::new("alone", max, Duration::from_secs(30), Escalation::Rests);
    let rules =
        BulkheadRules { capacity: 1, lease_ttl: Duration::from_secs(30), wait: Duration::ZERO };
    Handle::new(format!("bears-{max}"), &subtree, &around, rules, Bulkhead::default())
}

/// Keeps a thread from doing anything until what is returned is dropped.
fn hold(arbiter: &Arbiter) -> mpsc::Sender<()> {
    let (free, held) = mpsc::channel::<()>();
    let (say, said) = mpsc::channel();
    assert!(arbiter.spawn_fn(move || {
        let _ = say.send(());
        let _ = held.recv();
    }));
    said.recv().expect("the thread lives");
    free
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience).await.expect(what);
}

#[test]
fn what_is_told_before_a_successor_is_there_waits_for_it_and_not_for_the_one_that_hangs() {
    System::new().block_on(async {
        let (first, second) = (Arbiter::new(), Arbiter::new());
        let handle = actor(5);
        let actor = handle.supervised();
        let running = || actor.vitals().status() == Status::Running;
        let idle = || actor.sight().is_some_and(|sight| !sight.has_work);
        assert!(Arc::clone(&actor).start(Place::on(first.handle())));
        until("it runs", running).await;
        let hung = hold(&first);
        let busy = hold(&second);
        actor.vitals().abandon();
        assert!(Arc::clone(&actor).start(Place::on(second.handle())));
        actor.tick();
        handle.tell(crate::bulkhead::Command::GiveBack(sendcat_state::key::LeaseId(7)));
        drop(busy);
        until("its successor runs", running).await;
        actor.tick();
        until("it has heard everything", idle).await;
        assert_eq!(actor.vitals().view(handle.cell().around.clock.now()).handled, 1);
        drop(hung);
        first.stop();
        second.stop();
    });
}

#[test]
fn whoever_lives_beside_one_that_is_given_up_for_its_hangs_is_served_elsewhere() {
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (hung, beside) = (actor(0), actor(5));
        let actors = [hung.supervised(), beside.supervised()];
        let place = Place::on(arbiter.handle());
        assert!(actors.iter().all(|actor| Arc::clone(actor).start(place.clone())));
        let status = |actor: &Handle<Bulkhead>| actor.vitals().status();
        until("both run", || [&hung, &beside].iter().all(|it| status(it) == Status::Running)).await;
        let held = hold(&arbiter);
        let around = &hung.cell().around;
        let shards = crate::tree::ShardPlacement::Dedicated;
        let topology = crate::tree::Topology::Threads { shards };
        let (_, reports) = Reports::channel();
        let (clock, journal) = (around.clock.clone(), around.journal.clone());
        let mut root = Supervisor::new(&actors, reports, clock, topology, journal);
        assert_eq!(root.on_hang(around.clock.now(), &actors[0]), Verdict::Restart);
        assert_eq!(status(&hung), Status::Down);
        until("its neighbour runs elsewhere", || status(&beside) == Status::Running).await;
        assert_eq!(beside.vitals().incarnation(), 2);
        drop(held);
        arbiter.stop();
    });
}
