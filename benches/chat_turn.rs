//! A whole answer of 200 chunks, outside in over HTTP, with every guard on: a serving process, its
//! provider on loopback, a client.
//!
//! Floor: the client reads the provider's stream itself. Beside criterion's figures this prints
//! what an answer adds to the first token and to 1000 chunks, what the serving process computes for
//! chunks, and what it keeps in memory for a stream that is open.

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

/// Pairs for 1000 chunks: turns of one and turns of so many more, so that the beginning is no part
/// of the figure.
const LONG_PAIRS: usize = 40;
const LONG: &str = "chunks 1001";

/// Streams that are open at once, and what each says: one chunk, and a minute later another.
const OPEN: u64 = 1000;
const HELD: &str = "slow 2 60000";

/// Turns before memory is looked at: what is made once is made.
const WARM_TURNS: u64 = 64;

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
    system.block_on(thousand_chunks(&serving, &next));
    for callers in CALLERS {
        system.block_on(processor_time(&serving, &next, callers));
    }
    drop(serving);
    system.block_on(memory());
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

/// What 1000 chunks take in a burst, direct and through us in turn, each alone on the machine.
#[expect(clippy::print_stdout, reason = "criterion has no place for a difference of two figures")]
async fn thousand_chunks(serving: &Rc<Serving>, next: &impl Fn() -> u64) {
    let (mut direct, mut ours) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..LONG_PAIRS {
        for (which, text) in [SHORT, LONG].into_iter().enumerate() {
            direct[which].push(timed(whole(serving.direct(text))).await);
            ours[which].push(timed(whole(serving.chat(next(), text))).await);
        }
    }
    let chunks = |spans: [Vec<Duration>; 2]| {
        let [short, long] = spans.map(|mut spans| {
            spans.sort();
            spans[spans.len() / 2]
        });
        long.saturating_sub(short)
    };
    let (direct, ours) = (chunks(direct), chunks(ours));
    let (added, ratio) = (ours.saturating_sub(direct), ours.as_secs_f64() / direct.as_secs_f64());
    println!(
        "1000 chunks, p50: direct {direct:?}, through us {ours:?}, added {added:?}, \
         {ratio:.2} times direct"
    );
}

/// What a fresh process keeps for streams that are open, their connections included.
///
/// Floor: as many connections that wait for a request, and go before the streams come.
#[expect(clippy::print_stdout, reason = "criterion measures no memory")]
async fn memory() {
    let serving = Serving::start().await;
    for number in 0..WARM_TURNS {
        whole(serving.chat(number, BURST)).await;
    }
    let before = serving.resident();
    let mut waiting = Vec::new();
    for _ in 0..OPEN {
        waiting.push(serving.waiting());
    }
    let floor = serving.resident();
    let waits = waiting.len();
    drop(waiting);
    let mut open = Vec::new();
    let mut tries = WARM_TURNS..WARM_TURNS + 2 * OPEN;
    while open.len() < waits {
        let number = tries.next().expect("at most half of the streams are refused");
        let answer = serving.chat(number, HELD).send().await.expect("it answers");
        // On a busy machine a limiter that is late refuses some.
        if answer.status() != 200 {
            continue;
        }
        let mut stream = answer.bytes_stream();
        stream.next().await.expect("the first chunk comes").expect("the stream is whole");
        open.push(stream);
    }
    let (Some(before), Some(floor), Some(all)) = (before, floor, serving.resident()) else {
        println!("memory: not to be had here");
        return;
    };
    let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1024.0 / OPEN as f64;
    println!(
        "memory, {OPEN} open: {:.1} KiB a stream, {:.1} KiB a connection that waits, \
         {:.1} MiB before, {:.1} MiB with all",
        each(before, all),
        each(before, floor),
        before as f64 / 1_048_576.0,
        all as f64 / 1_048_576.0,
    );
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
