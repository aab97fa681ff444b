//! Taking a request apart and writing its answer, beside what cannot be saved: looking at every byte of JSON once,
//! and copying it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use jackfield::codec::{Framing, Message, parse, put_answer};
use jackfield_plugin_api::RawJson;
use serde::de::IgnoredAny;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    answers(&mut criterion);
    criterion.final_summary();
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/request");
    for size in [60, 200, 1024] {
        let text = request(size);
        let mut copy = Vec::with_capacity(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("parse", size), |bencher| {
            bencher.iter(|| drop(black_box(parse(black_box(&text)))));
        });
        group.bench_function(BenchmarkId::new("floor: ignore the JSON", size), |bencher| {
            bencher.iter(|| serde_json::from_str::<IgnoredAny>(black_box(&text)).unwrap());
        });
        group.bench_function(BenchmarkId::new("floor: copy", size), |bencher| {
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(text.as_bytes()));
                black_box(copy.len())
            });
        });
    }
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/answer");
    for size in [60, 200, 1024] {
        let text = request(size);
        let Ok(Message::Request(envelope)) = parse(&text) else { return };
        let data: RawJson = envelope.data.to_json();
        let mut out = Vec::with_capacity(2 * size);
        group.throughput(Throughput::Bytes(size as u64));
        for framing in [Framing::WebSocket, Framing::Line] {
            group.bench_function(BenchmarkId::new(format!("{framing:?}"), size), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    put_answer(&mut out, framing, black_box(&envelope.tid), black_box(&data));
                    black_box(out.len())
                });
            });
        }
    }
    group.finish();
}

/// A request of so many bytes.
fn request(size: usize) -> String {
    let (head, tail) = (r#"{"class":"demo","cmd":"echo","data":{"x":""#, r#""},"tid":1234}"#);
    let filling = "x".repeat(size.saturating_sub(head.len() + tail.len()));
    format!("{head}{filling}{tail}")
}
