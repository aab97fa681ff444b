//! From a request's `<class, subclass, cmd>` to its handler and back, by the number of commands that are registered.

use std::{collections::HashMap, hint::black_box, sync::Arc, task::Context as TaskContext};

use criterion::{BenchmarkId, Criterion};
use futures_util::task::noop_waker_ref;
use jackfield::{
    router::{Routed, Wanted},
    session::Turn,
};
use jackfield_benches::{Bare, World};
use jackfield_plugin_api::{Answer, Command, CommandKey, NoArguments, json::Data};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Far enough apart that the order foresees nothing.
const STRIDE: usize = 7919;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for count in [10, 1_000, 100_000] {
        let world = World::new();
        let mut keys: Vec<CommandKey> = (0..count).map(key).collect();
        world.register(keys.iter().map(noop));
        shuffle(&mut keys);
        look_up(&mut criterion, &world, &keys);
        route(&mut criterion, &world, &keys, "route, no-op handler");
        world.register(keys.iter().map(typed));
        route(&mut criterion, &world, &keys, "route, schema and types");
    }
    criterion.final_summary();
}

/// The table alone, beside the standard library's.
fn look_up(criterion: &mut Criterion, world: &World, keys: &[CommandKey]) {
    let mut group = criterion.benchmark_group("dispatch");
    let plain: HashMap<&CommandKey, usize> = keys.iter().zip(0..).collect();
    let mut turns = keys.iter().cycle();
    group.bench_function(BenchmarkId::new("floor: HashMap", keys.len()), |bencher| {
        bencher.iter(|| turns.next().and_then(|key| plain.get(key)).copied());
    });
    let registry = &world.router.registry;
    group.bench_function(BenchmarkId::new("registry", keys.len()), |bencher| {
        bencher.iter(|| turns.next().and_then(|key| registry.lookup(&key.class, &key.subclass, &key.cmd)));
    });
    group.finish();
}

/// The whole way: look-up, permission, schema, handler, answer.
fn route(criterion: &mut Criterion, world: &World, keys: &[CommandKey], title: &str) {
    let mut group = criterion.benchmark_group("dispatch");
    let call = Arc::new(Bare { session: world.log_in("ann") });
    let turn = Turn::default();
    let mut cx = TaskContext::from_waker(noop_waker_ref());
    let mut turns = keys.iter().cycle();
    group.bench_function(BenchmarkId::new(title, keys.len()), |bencher| {
        bencher.iter(|| {
            let CommandKey { class, subclass, cmd } = turns.next()?;
            let wanted = black_box(Wanted { class, subclass, cmd });
            match world.router.route(wanted, &Data::default(), &call, &turn, &mut cx) {
                Routed::Done(answered) => Some(answered),
                Routed::Running(_) | Routed::Relayed => None,
            }
        });
    });
    group.finish();
}

fn key(place: usize) -> CommandKey {
    CommandKey::new(&format!("plugin{}", place % 20), &format!("part{}", place % 7), &format!("cmd{place}"))
}

fn shuffle(keys: &mut [CommandKey]) {
    for place in 0..keys.len() {
        keys.swap(place, place.wrapping_mul(STRIDE) % keys.len());
    }
}

fn noop(key: &CommandKey) -> Command {
    Command::define(&key.class, &key.subclass, &key.cmd)
        .raw_handler(|_cx, request| async { Ok(Answer::Reply(request.data)) })
}

fn typed(key: &CommandKey) -> Command {
    Command::define(&key.class, &key.subclass, &key.cmd).handler(|_cx, _: NoArguments| async { Ok(()) })
}
