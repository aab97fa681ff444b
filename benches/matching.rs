//! Publishing an event among many subscriptions of which few match, or none.

use std::{collections::HashMap, hint::black_box};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, measurement::WallTime};
use jackfield_benches::{World, event};
use jackfield_plugin_api::Topic;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SESSIONS: usize = 100;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("matching");
    for others in [10, 10_000, 1_000_000] {
        let world = World::new();
        let sessions: Vec<_> = (0..SESSIONS).map(|user| world.log_in(&format!("user{user}"))).collect();
        for (place, session) in (0..others).zip(sessions.iter().cycle()) {
            world.subscribe(session, other(place));
        }
        look_up(&mut group, others);
        for matching in [0, 1, 100] {
            let receivers = sessions.get(..matching).unwrap_or_default();
            let topic = Topic::new(format!("wanted{matching}"), "room", "message", "lobby");
            receivers.iter().for_each(|session| world.subscribe(session, topic.clone()));
            let event = event(topic);
            let title = BenchmarkId::new(format!("{others} subscriptions, matching"), matching);
            group.bench_function(title, |bencher| {
                bencher.iter_custom(|times| world.publish(&event, times, receivers));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// The floor: finding one of as many keys in the standard library's table. An event asks for at most sixteen.
fn look_up(group: &mut BenchmarkGroup<'_, WallTime>, others: usize) {
    let key = |place| other(place).fields().map(str::to_owned);
    let table: HashMap<[String; 4], usize> = (0..others).map(|place| (key(place), place)).collect();
    let wanted = key(others / 2);
    group.bench_function(BenchmarkId::new(format!("{others} subscriptions, floor: HashMap"), 1), |bencher| {
        bencher.iter(|| table.get(black_box(&wanted)).copied());
    });
}

/// Every combination of fields comes up, so that an event has to be looked up under each.
fn other(place: usize) -> Topic {
    let field = |bit: usize, name: &str| match place >> bit & 1 {
        0 => format!("{name}{place}"),
        _ => "*".to_owned(),
    };
    Topic::new(format!("class{place}"), field(0, "room"), field(1, "message"), field(2, "object"))
}
