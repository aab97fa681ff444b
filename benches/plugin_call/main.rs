//! What a call costs, by how its plugin is connected to the broker: time, and allocations of either side.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]
#![expect(clippy::print_stdout, reason = "the table")]

mod counting;
mod libraries;
mod session;
mod ways;

use std::{cell::RefCell, sync::Arc};

use criterion::{BenchmarkId, Criterion};
use jackfield::plugin::Loaded;
use jackfield_benches::{Bare, World};
use jackfield_plugin_api::{Answer, Command, CommandKey, Context, RawJson};
use tokio::runtime::Runtime;
use ways::Repeat;

#[global_allocator]
static ALLOCATOR: counting::Counting<mimalloc::MiMalloc> = counting::Counting(mimalloc::MiMalloc);

/// How many calls are looked at for their allocations.
const COUNTED: u64 = 1_000;

/// What all times are compared with.
const DIRECT: &str = "direct trait object";

const LIBRARY: &str = "library, ready at once";

/// One way to a handler.
struct Way {
    title: &'static str,
    repeat: Repeat,
    /// The time of one call in every sample, in nanoseconds, for each data.
    samples: [RefCell<Vec<f64>>; 2],
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Arc::new(Runtime::new().unwrap());
    let world = Arc::new(World::new());
    let library = {
        // A library asks back by way of the runtime that it is loaded in.
        let _inside = runtime.enter();
        libraries::load(libraries::in_rust(), world.host())
    };
    let (_broker, host) = runtime.block_on(session::start());
    let c = libraries::load(libraries::in_c(), world.host());
    let call = Arc::new(Bare { session: world.log_in("ann") });
    let cx = Context::new(Arc::clone(&call) as _, world.host());
    let echo = Command::define("built-in", "core", "ready")
        .raw_handler(|_cx, request| async { Ok(Answer::Reply(request.data)) });
    let ready = command(&library, "ready");
    world.register([echo.clone(), ready.clone()]);
    let ways = [
        Way::new(DIRECT, ways::in_place(&echo, &cx)),
        Way::new(LIBRARY, ways::in_place(&ready, &cx)),
        Way::new("C plugin", ways::in_place(&command(&c, "ready"), &cx)),
        Way::new("library, pends once", ways::awaited(&runtime, &command(&library, "pending"), &cx)),
        Way::new("registry, built-in", ways::routed(&world, &call, echo.key.clone())),
        Way::new("registry, library", ways::routed(&world, &call, ready.key.clone())),
        Way::new("registry, session plugin", {
            ways::of_session(&runtime, host, CommandKey::new("session", "core", "ready"))
        }),
        Way::new("floor: loopback alone", ways::loopback(&runtime)),
    ];
    time(&mut criterion, &ways);
    let counter = Counter::new(command(&library, "allocations"), cx);
    report(&ways, &counter);
    hold(&ways, &counter);
}

/// What must be so on any machine: without data, whose copies come on top, a library's call takes less than two allocations
/// more (README.md).
fn hold(ways: &[Way], counter: &Counter) {
    let [direct, library] = [DIRECT, LIBRARY].map(|title| {
        let way = ways.iter().find(|way| way.title == title).unwrap();
        counter.count(way, &RawJson::empty()).iter().sum::<f64>()
    });
    assert!(library < direct + 2.0, "a call of a library makes {library} allocations, a direct one {direct}");
}

fn command(plugin: &Loaded, cmd: &str) -> Command {
    plugin.registered.commands.iter().find(|command| &*command.key.cmd == cmd).unwrap().clone()
}

/// No data, and data of 200 bytes.
fn data() -> [RawJson; 2] {
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(189));
    [RawJson::empty(), RawJson::from_text(text).unwrap()]
}

impl Way {
    fn new(title: &'static str, repeat: Repeat) -> Self {
        Self { title, repeat, samples: Default::default() }
    }

    /// The time of a call, where it was measured.
    fn time(&self, data: usize) -> Option<f64> {
        let mut samples = self.samples.get(data)?.borrow().clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }
}

fn time(criterion: &mut Criterion, ways: &[Way]) {
    let mut group = criterion.benchmark_group("plugin_call");
    for way in ways {
        for (data, samples) in data().iter().zip(&way.samples) {
            group.bench_function(BenchmarkId::new(way.title, format!("{} bytes", data.len())), |bencher| {
                bencher.iter_custom(|times| {
                    let took = (way.repeat)(data, times);
                    samples.borrow_mut().push(took.as_secs_f64() * 1e9 / times as f64);
                    took
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// Asks the library how many allocations it made.
struct Counter {
    command: Command,
    cx: Context,
}

impl Counter {
    fn new(command: Command, cx: Context) -> Self {
        Self { command, cx }
    }

    fn counted(&self) -> u64 {
        use futures_util::FutureExt;
        use jackfield_plugin_api::Request;
        let request = Request { command: Arc::new(self.command.key.clone()), data: RawJson::empty() };
        let answer = Arc::clone(&self.command.handler).call(self.cx.clone(), request).now_or_never();
        match answer {
            Some(Ok(Answer::Reply(count))) => count.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Allocations of a call: in this process, the library apart, and in the library.
    fn count(&self, way: &Way, data: &RawJson) -> [f64; 2] {
        let library = self.counted();
        let here = counting::counted();
        (way.repeat)(data, COUNTED);
        [counting::counted() - here, self.counted() - library].map(|count| count as f64 / COUNTED as f64)
    }
}

/// Prints the table.
fn report(ways: &[Way], counter: &Counter) {
    counting::begin();
    counter.counted();
    println!("| call | data | time | × direct | allocations: broker | library |");
    println!("|---|---|---|---|---|---|");
    for (number, data) in data().iter().enumerate() {
        let direct = ways.first().and_then(|way| way.time(number));
        for way in ways {
            let [here, library] = counter.count(way, data);
            let time = way.time(number);
            let text = time.map_or_else(|| "–".to_owned(), readable);
            let ratio = time
                .zip(direct)
                .map_or_else(|| "–".to_owned(), |(time, direct)| format!("{:.1}", time / direct));
            let (title, bytes) = (way.title, data.len());
            println!("| {title} | {bytes} bytes | {text} | {ratio} | {here:.1} | {library:.1} |");
        }
    }
}

fn readable(nanoseconds: f64) -> String {
    if nanoseconds < 1_000.0 {
        format!("{nanoseconds:.0} ns")
    } else {
        format!("{:.1} µs", nanoseconds / 1_000.0)
    }
}
