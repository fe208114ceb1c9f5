//! A whole answer of 200 chunks, outside in over HTTP, with every guard on: a serving process, its
//! provider on loopback, a client.
//!
//! Floor: the client reads the provider's stream itself. Beside criterion's figures this prints
//! what an answer adds to the first token, and what the serving process computes for 1000 chunks.

#[path = "support/serving.rs"]
mod serving;
mod support;

use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt as _;
use reqwest::RequestBuilder;
use serving::Serving;
use support::{now, timed, together};

const CHUNKS: u64 = 200;
const BURST: &str = "chunks 200";
const SHORT: &str = "chunks 1";
const PACED: &str = "slow 4 5";
const CALLERS: [u64; 2] = [1, 32];

/// Pairs of a direct call and one through us, for the first token.
const PAIRS: usize = 400;

/// Turns whose processor time is added up.
const COUNTED_TURNS: u64 = 640;

/// Reads a stream to its end.
async fn whole(request: RequestBuilder) {
    let answer = request.send().await.expect("it answers");
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("the stream is whole");
    assert!(text.ends_with("data: [DONE]\n\n"));
}

/// Reads until `token` has come, and says after how long; then to the end.
async fn first(request: RequestBuilder, token: &str) -> Duration {
    let begun = now();
    let answer = request.send().await.expect("it answers");
    let mut stream = answer.bytes_stream();
    let (mut text, mut came) = (Vec::new(), None);
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes.expect("the stream is whole"));
        let there = || String::from_utf8_lossy(&text).contains(token);
        if came.is_none() && there() {
            came = Some(begun.elapsed());
        }
    }
    came.expect("the token comes")
}

fn turns(bench: &mut Criterion) {
    let system = actix_rt::System::new();
    let serving = Rc::new(system.block_on(Serving::start()));
    let number = Rc::new(std::cell::Cell::new(0_u64));
    let next = move || {
        number.set(number.get() + 1);
        number.get()
    };
    let mut group = bench.benchmark_group("chat_turn/200 chunks");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    for callers in CALLERS {
        group.bench_function(BenchmarkId::new("floor: direct", callers), |each| {
            each.iter_custom(|times| {
                system.block_on(together(callers, times, |_| {
                    let serving = Rc::clone(&serving);
                    move |_| whole(serving.direct(BURST))
                }))
            });
        });
        group.bench_function(BenchmarkId::new("through us", callers), |each| {
            each.iter_custom(|times| {
                system.block_on(together(callers, times, |_| {
                    let (serving, next) = (Rc::clone(&serving), next.clone());
                    move |_| whole(serving.chat(next(), BURST))
                }))
            });
        });
    }
    group.finish();
    system.block_on(first_token(&serving, &next));
    for callers in CALLERS {
        system.block_on(processor_time(&serving, &next, callers));
    }
}

/// Direct and through us in turn, each alone on the machine.
#[expect(clippy::print_stdout, reason = "criterion has no place for a difference of two figures")]
async fn first_token(serving: &Rc<Serving>, next: &impl Fn() -> u64) {
    let (mut direct, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        direct.push(first(serving.direct(PACED), r#""content":"1 ""#).await);
        ours.push(first(serving.chat(next(), PACED), r#""delta":"1 ""#).await);
    }
    direct.sort();
    ours.sort();
    for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        let at = PAIRS * percent / 100;
        let (direct, ours) = (direct[at], ours[at]);
        let added = ours.saturating_sub(direct);
        println!("first token, {name}: direct {direct:?}, through us {ours:?}, added {added:?}");
    }
}

/// What the serving process computes for long turns and for turns of one chunk.
#[expect(clippy::print_stdout, reason = "criterion measures no processor time")]
async fn processor_time<N>(serving: &Rc<Serving>, next: &N, callers: u64)
where
    N: Fn() -> u64 + Clone + 'static,
{
    for (text, chunks) in [(BURST, CHUNKS), (SHORT, 1)] {
        let before = serving.cpu();
        let wall = timed(together(callers, COUNTED_TURNS, |_| {
            let (serving, next) = (Rc::clone(serving), next.clone());
            move |_| whole(serving.chat(next(), text))
        }))
        .await;
        let (Some(before), Some(after)) = (before, serving.cpu()) else {
            println!("processor time: not to be had here");
            return;
        };
        let turn = (after - before) / u32::try_from(COUNTED_TURNS).unwrap_or(u32::MAX);
        println!(
            "processor time, {callers} at once: {turn:?} a turn of {chunks}, \
             {:?} a chunk; {wall:?} in all",
            turn / u32::try_from(chunks).unwrap_or(u32::MAX)
        );
    }
}

criterion_group!(benches, turns);
criterion_main!(benches);
