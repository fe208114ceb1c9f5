//! A stream of 1000 chunks from the provider's bytes to ours, in process and without a network:
//! events told apart, chunks read, the turn decided, parts written.
//!
//! Floors: the bytes looked at once; every chunk parsed as any JSON and written again.

mod support;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use sendcat::chat::turn::{Input, Opening, Turn};
use sendcat::upstream::openrouter;
use sendcat::upstream::sse::data_events;
use serde_json::Value;

const CHUNKS: usize = 1000;

/// What one read of a socket brings in a burst.
const READ_BYTES: usize = 8 * 1024;

fn provider_stream() -> Bytes {
    let mut text = String::new();
    for number in 0..CHUNKS {
        write!(
            text,
            concat!(
                "data: {{\"id\":\"gen-1780000000-abcdefghijklmnop\",\"provider\":\"Some\",",
                "\"model\":\"some/model-4o-mini\",\"object\":\"chat.completion.chunk\",",
                "\"created\":1780000000,\"choices\":[{{\"index\":0,\"delta\":{{\"role\":",
                "\"assistant\",\"content\":\" word {}\"}},\"finish_reason\":null,",
                "\"native_finish_reason\":null,\"logprobs\":null}}]}}\n\n"
            ),
            number
        )
        .expect("a string grows");
    }
    text.into()
}

fn reads(all: &Bytes) -> Vec<Result<Bytes, Infallible>> {
    (0..all.len())
        .step_by(READ_BYTES)
        .map(|from| Ok(all.slice(from..all.len().min(from + READ_BYTES))))
        .collect()
}

fn turn() -> Turn {
    Turn::new(Opening {
        message_id: "msg_1".to_owned(),
        messages: Vec::new(),
        tools: Vec::new(),
        max_steps: 1,
    })
}

fn whole(all: &Bytes) -> usize {
    let mut events = data_events(stream::iter(reads(all)));
    let (mut turn, mut parts, mut out) = (turn(), Vec::new(), Vec::new());
    let mut next = || events.next().now_or_never().expect("the bytes are all there");
    while let Some(data) = next() {
        let data = data.expect("the stream is whole");
        for delta in openrouter::read(&data).expect("these are chunks") {
            let _ = turn.feed(Input::Provider(delta), &mut parts);
        }
        for part in parts.drain(..) {
            part.write_sse(&mut out);
        }
    }
    out.len()
}

fn any_json(all: &Bytes) -> usize {
    let text = std::str::from_utf8(all).expect("it was a string");
    let mut out = Vec::new();
    for data in text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
        let value: Value = serde_json::from_str(data).expect("these are chunks");
        serde_json::to_writer(&mut out, &value).expect("a vector grows");
    }
    out.len()
}

fn events_alone(all: &Bytes) -> usize {
    let events = data_events(stream::iter(reads(all)));
    events.count().now_or_never().expect("the bytes are all there")
}

fn streams(bench: &mut Criterion) {
    let all = provider_stream();
    let mut group = bench.benchmark_group("sse/1000 chunks");
    group.throughput(Throughput::Elements(CHUNKS as u64)).sample_size(30);
    group.bench_function("floor: bytes counted", |each| {
        each.iter(|| black_box(&all).iter().filter(|byte| **byte == b'\n').count());
    });
    group.bench_function("floor: any JSON, parsed and written", |each| {
        each.iter(|| any_json(black_box(&all)));
    });
    group.bench_function("events told apart", |each| each.iter(|| events_alone(black_box(&all))));
    group.bench_function("whole", |each| each.iter(|| whole(black_box(&all))));
    group.finish();
}

criterion_group!(benches, streams);
criterion_main!(benches);
