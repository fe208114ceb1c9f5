//! The rate limiter: the pure decision, one ask through a shard's actor, and what a panic costs.
//!
//! Floors: the keyed check of `governor`, which has no actor and no recovery; an ask of an actix
//! actor that does nothing; a panic caught and nothing else.

mod support;

use std::hint::black_box;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use sendcat_actors::clock::{Clock as _, SystemClock};
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::journal::StoreFactory;
use sendcat_actors::rate_limiter::Command;
use sendcat_actors::tree::{ShardPlacement, Topology};
use sendcat_state::key::{Bucket, ClientKey, SHARDS};
use sendcat_state::rate_shard::{DEFAULT_CAPACITY, RateShard};
use sendcat_state::rate_window::Limit;
use sendcat_state::store::Store;
use sendcat_state::store::memory::{MemoryDisk, MemoryStore};
use sendcat_state::timestamp::Timestamp;
use support::{now, together, tree};

const KEYS: usize = 100_000;
const CALLERS: [u64; 3] = [1, 64, 1024];

/// A limit that nobody reaches: what is measured is an admission.
const WIDE: Limit = Limit { calls: u64::MAX, per: Duration::from_secs(3600) };

fn keys() -> Vec<ClientKey> {
    (0..KEYS).map(|caller| ClientKey::session(Bucket::ChatStream, &caller.to_string())).collect()
}

fn decisions(bench: &mut Criterion) {
    let keys = keys();
    let mut at = 0;
    let mut next = move || {
        at = (at + 1) % KEYS;
        keys[at]
    };
    let mut group = bench.benchmark_group("rate_limit/decision");
    let per_second = Quota::per_second(NonZeroU32::new(1_000_000).expect("it is not 0"));
    let governor = RateLimiter::dashmap(per_second);
    group.bench_function("floor: governor, keyed", |each| {
        each.iter(|| governor.check_key(&next().hash).is_ok());
    });

    let mut shards: Vec<_> = (0..SHARDS).map(|_| RateShard::new(DEFAULT_CAPACITY)).collect();
    let fixed = Timestamp::from_millis(1);
    let mut admit = |now, key: ClientKey, limit| {
        let shard = &mut shards[key.shard()];
        shard.admit(now, key, limit).settle(shard)
    };
    for _ in 0..KEYS {
        let _ = admit(fixed, next(), WIDE);
    }
    group.bench_function("admitted", |each| each.iter(|| admit(fixed, next(), WIDE)));
    let clock = SystemClock::start();
    clock.not_before(fixed);
    group.bench_function("admitted, with the time read", |each| {
        each.iter(|| admit(clock.now(), next(), WIDE));
    });
    let narrow = Limit { calls: 1, ..WIDE };
    group.bench_function("refused", |each| each.iter(|| admit(fixed, next(), narrow)));
    group.finish();
}

/// An actor that does nothing.
struct Plain;

/// A question without content.
struct Ask;

impl Message for Ask {
    type Result = u64;
}

impl Actor for Plain {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(4096);
    }
}

impl Handler<Ask> for Plain {
    type Result = u64;

    fn handle(&mut self, _: Ask, _: &mut Context<Self>) -> u64 {
        black_box(1)
    }
}

fn memory() -> StoreFactory {
    let disk = MemoryDisk::default();
    Box::new(move || Ok(Box::new(MemoryStore::open(&disk)) as Box<dyn Store>))
}

fn asks(bench: &mut Criterion) {
    let keys: Rc<[ClientKey]> = keys().into();
    let places = [
        ("same arbiter", ShardPlacement::Workers(1)),
        ("other arbiter", ShardPlacement::Dedicated),
    ];
    for (place, shards) in places {
        let system = actix_rt::System::new();
        let tree = system.block_on(tree(Topology::Threads { shards }, memory()));
        let other = actix_rt::Arbiter::new();
        let plain = system.block_on(async {
            match shards {
                ShardPlacement::Workers(_) => Plain.start(),
                ShardPlacement::Dedicated => Plain::start_in_arbiter(&other.handle(), |_| Plain),
            }
        });
        let mut group = bench.benchmark_group(format!("rate_limit/ask, {place}"));
        group.throughput(Throughput::Elements(1)).sample_size(20);
        for callers in CALLERS {
            let floor = BenchmarkId::new("floor: bare actix", callers);
            group.bench_function(floor, |each| {
                each.iter_custom(|times| {
                    system.block_on(together(callers, times, |_| {
                        let plain = plain.clone();
                        move |_| {
                            let answer = plain.send(Ask);
                            async move { assert_eq!(answer.await, Ok(1)) }
                        }
                    }))
                });
            });
            group.bench_function(BenchmarkId::new("shard", callers), |each| {
                each.iter_custom(|times| {
                    system.block_on(together(callers, times, |_| {
                        let (limiter, keys) = (tree.limiter.clone(), Rc::clone(&keys));
                        move |turn| {
                            let key = keys[turn as usize % KEYS];
                            let limiter = limiter.clone();
                            async move {
                                let answer = limiter.admit(key, WIDE).await;
                                // A machine with other work may leave a thread waiting so long.
                                let late = answer == Err(AskError::Timeout);
                                assert!(answer.is_ok() || late, "{answer:?}");
                            }
                        }
                    }))
                });
            });
        }
        group.finish();
        system.block_on(tree.drain(Duration::from_secs(5))).expect("it drains");
        other.stop();
    }
}

fn panics(bench: &mut Criterion) {
    // As in a serving process, less what that says of every panic.
    sendcat_actors::observe::note_panics(str::to_owned, |_, _| {});
    let mut group = bench.benchmark_group("rate_limit/panic while deciding");
    group.sample_size(20);
    group.bench_function("floor: caught and dropped", |each| {
        each.iter(|| catch_unwind(AssertUnwindSafe(|| panic!("injected: decide panic"))).is_err());
    });
    let system = actix_rt::System::new();
    let shards = ShardPlacement::Workers(1);
    let tree = system.block_on(tree(Topology::Threads { shards }, memory()));
    // A command that is about nobody: of one that is, the third panic would be the last.
    let shard = &tree.limiter.shards()[0];
    let nothing = || Command::GiveBack(Vec::new());
    let ask = |times: u64, wanted: bool| {
        let begun = now();
        system.block_on(async move {
            for _ in 0..times {
                let answer = shard.ask(nothing()).await;
                assert_eq!(matches!(answer, Err(AskError::Crashed)), wanted);
            }
        });
        begun.elapsed()
    };
    group.bench_function("floor: an ask that is answered", |each| {
        each.iter_custom(|times| ask(times, false));
    });
    let fault = Fault { kind: FaultKind::PanicDecide, after: 0, times: u64::MAX };
    assert!(tree.arm("rate_limiter-0", fault), "benches are built with faults");
    group.bench_function("an ask that panics", |each| {
        each.iter_custom(|times| ask(times, true));
    });
    group.finish();
    system.block_on(tree.drain(Duration::from_secs(5))).expect("it drains");
    let _ = std::panic::take_hook();
}

criterion_group!(benches, decisions, asks, panics);
criterion_main!(benches);
