//! A webhook's event accepted: its key claimed, and event, body and claim put on disk in one commit
//! that it shares with whatever else is in flight.
//!
//! Floor: the same records appended to a file in the same directory, and one fdatasync of all that
//! are in flight.

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sendcat::inbox::{Inbox, NewEvent};
use sendcat_actors::journal::StoreFactory;
use sendcat_actors::tree::{ShardPlacement, Topology};
use sendcat_state::idempotency::ClaimRow;
use sendcat_state::job::write_body;
use sendcat_state::key::{IdempotencyKey, InboxSource, TimedId};
use sendcat_state::store::Store;
use sendcat_state::store::sled::SledStore;
use sendcat_state::timestamp::Timestamp;
use support::{together, tree};

const IN_FLIGHT: [u64; 4] = [1, 8, 64, 512];

/// A body of usual length: a WhatsApp message is 600 to 1000 bytes.
const BODY_BYTES: usize = 700;

fn key(number: u64) -> IdempotencyKey {
    IdempotencyKey::whatsapp_message(&format!("wamid.HBgLMTU1NTU1NTU1NTUVAgARGBI{number:020}"))
}

fn body() -> Vec<u8> {
    format!("{{\"text\":\"{}\"}}", "x".repeat(BODY_BYTES - 11)).into_bytes()
}

/// What one accepted event puts on disk, in one piece: the claim, the body, and the queue's change,
/// which says no more than the event's identifier, kind and key.
fn records(number: u64) -> Vec<u8> {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let id = TimedId::new(now, number);
    let writes = [ClaimRow::write(&key(number), now, now), write_body(id, &body())];
    let rows = writes.into_iter().flat_map(|row| [row.key, row.value.unwrap_or_default()]);
    let mut all = rows.collect::<Vec<_>>().concat();
    all.extend_from_slice(format!("{id} whatsapp {} {now:?}", key(number)).as_bytes());
    all
}

/// Appends and syncs as many records as are in flight, again and again.
fn floor(directory: &Path, in_flight: u64, times: u64) -> Duration {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(directory.join("floor"))
        .expect("the directory can be written");
    let groups = times.div_ceil(in_flight);
    let begun = support::now();
    for group in 0..groups {
        for number in 0..in_flight {
            file.write_all(&records(group * in_flight + number)).expect("the disk has room");
        }
        file.sync_data().expect("the disk syncs");
    }
    begun.elapsed().mul_f64(times as f64 / (groups * in_flight) as f64)
}

fn store(directory: &Path) -> StoreFactory {
    let directory = directory.join("state");
    Box::new(move || SledStore::open(&directory).map(|store| Box::new(store) as Box<dyn Store>))
}

fn accepts(bench: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = bench.benchmark_group("claim/accepted event");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for in_flight in IN_FLIGHT {
        let directory = tempfile::tempdir().expect("there is a directory for files that pass");
        group.bench_function(BenchmarkId::new("floor: append and fdatasync", in_flight), |each| {
            each.iter_custom(|times| floor(directory.path(), in_flight, times));
        });
        let shards = ShardPlacement::Dedicated;
        let tree = system.block_on(tree(Topology::Threads { shards }, store(directory.path())));
        let inbox = Inbox::new(tree.claims.clone(), tree.jobs.clone(), tree.clock.clone());
        let fresh = Rc::new(std::cell::Cell::new(0));
        group.bench_function(BenchmarkId::new("accepted", in_flight), |each| {
            each.iter_custom(|times| {
                system.block_on(together(in_flight, times, |_| {
                    let (inbox, fresh) = (inbox.clone(), Rc::clone(&fresh));
                    move |_| {
                        let (inbox, number) = (inbox.clone(), fresh.get());
                        fresh.set(number + 1);
                        async move {
                            let (source, key) = (InboxSource::Whatsapp, key(number));
                            let event = NewEvent { source, key, body: body() };
                            let accepted = inbox.accept(vec![event]).await;
                            assert_eq!(accepted.map(|it| it.fresh), Ok(1));
                        }
                    }
                }))
            });
        });
        system.block_on(tree.drain(Duration::from_secs(10))).expect("it drains");
    }
    group.finish();
}

criterion_group!(benches, accepts);
criterion_main!(benches);
