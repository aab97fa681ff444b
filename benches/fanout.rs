//! One event into many outbound queues, beside copying its bytes as many times.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use jackfield_benches::{World, event, queued};
use jackfield_plugin_api::Topic;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("fanout");
    for receivers in [1, 100, 10_000] {
        let world = World::new();
        let topic = Topic::new("chat", "room", "message", "lobby");
        let sessions: Vec<_> = (0..receivers).map(|user| world.log_in(&format!("user{user}"))).collect();
        sessions.iter().for_each(|session| world.subscribe(session, topic.clone()));
        let event = event(topic);
        group.throughput(Throughput::Elements(receivers));
        group.bench_function(BenchmarkId::new("publish", receivers), |bencher| {
            bencher.iter_custom(|times| world.publish(&event, times, &sessions));
        });
        world.sessions.events.publish(0, event, None).ok();
        let bytes = sessions.first().map(|session| queued(session)).unwrap_or_default();
        let mut copies = Vec::with_capacity(bytes.len() * sessions.len());
        group.bench_function(BenchmarkId::new("floor: copy", receivers), |bencher| {
            bencher.iter(|| {
                copies.clear();
                for _ in 0..receivers {
                    copies.extend_from_slice(black_box(&bytes));
                }
                black_box(copies.len())
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
