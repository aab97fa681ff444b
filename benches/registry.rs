//! What it costs a session to register a command, by the number that are registered already.

use criterion::{BenchmarkId, Criterion};
use jackfield_benches::World;
use jackfield_plugin_api::CommandKey;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("registry");
    for count in [100, 1_000, 10_000] {
        let world = World::new();
        let host = world.host();
        let session = world.log_in("worker");
        // Half of them in one class, as where one worker serves very much.
        for number in 0..count {
            let class = if number % 2 == 0 { "one".to_owned() } else { format!("class-{}", number / 50) };
            let key = CommandKey::new(&class, "core", &format!("cmd-{number}"));
            world.serve(&session, &key, &host);
        }
        let other = world.log_in("other");
        for (title, key) in [
            ("register and unregister a command", CommandKey::new("one", "core", "new")),
            ("register and unregister a class", CommandKey::new("one", "*", "*")),
        ] {
            group.bench_function(BenchmarkId::new(title, count), |bencher| {
                bencher.iter(|| {
                    world.serve(&other, &key, &host);
                    world.sessions.workers.unregister(&other, &key);
                });
            });
        }
        group.bench_function(BenchmarkId::new("a worker of 100 commands leaves", count), |bencher| {
            bencher.iter_batched(
                || {
                    let leaving = world.log_in("leaving");
                    for number in 0..100 {
                        let key = CommandKey::new("leaving", "core", &format!("cmd-{number}"));
                        world.serve(&leaving, &key, &host);
                    }
                    leaving
                },
                |leaving| world.sessions.workers.leave(&leaving),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
