//! The body of an event merged with that of a subscription, by the number of fields of each; half of the names are
//! the same.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use jackfield::event::Body;
use jackfield_plugin_api::RawJson;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("merge");
    for fields in [2, 10, 100] {
        let (event, subscription) = (object(0, fields), object(fields / 2, fields));
        let subscribed = Body::new(&subscription);
        let size = event.len() + subscription.len();
        let mut copy = String::with_capacity(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("merge", fields), |bencher| {
            bencher.iter(|| black_box(&subscribed).merge(black_box(&event)));
        });
        group.bench_function(BenchmarkId::new("floor: copy", fields), |bencher| {
            bencher.iter(|| {
                copy.clear();
                copy.push_str(black_box(event.as_str()));
                copy.push_str(black_box(subscription.as_str()));
                black_box(copy.len())
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn object(first: usize, fields: usize) -> RawJson {
    let fields: Vec<String> =
        (first..first + fields).map(|place| format!(r#""field{place}":"value {place}""#)).collect();
    RawJson::from_text(format!("{{{}}}", fields.join(","))).unwrap()
}
