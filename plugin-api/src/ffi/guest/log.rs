//! The plugin's log lines and panics go to the broker's log.

use std::{
    cell::Cell,
    fmt::{self, Write},
    panic::PanicHookInfo,
    sync::{
        Once, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::ffi::abi::{Host, Text};

/// Where this library's lines go, and under which name.
static TARGET: OnceLock<(&'static Host, String)> = OnceLock::new();

/// Has all that this library logs go to the broker. A subscriber that the plugin set itself is left alone.
pub(super) fn forward(host: &'static Host, plugin: &str) {
    static SET: Once = Once::new();
    SET.call_once(|| {
        if TARGET.set((host, plugin.to_owned())).is_ok() {
            // A plugin that has a log of its own keeps it.
            tracing::subscriber::set_global_default(Forward::default()).ok();
            // In tests the library's side and the broker's are one process, whose hook tells of failed tests.
            if cfg!(not(test)) {
                std::panic::set_hook(Box::new(log_panic));
            }
        }
    });
}

/// Writes a line to the broker's log.
pub(super) fn write(level: Level, target: &str, message: &str, fields: Option<&str>) {
    let Some((host, plugin)) = TARGET.get() else { return };
    // Where both sides are one process, the broker's line would come back here.
    let Some(_writing) = Writing::begin() else { return };
    // SAFETY: the host's functions may be called at any time, and the texts are there.
    unsafe {
        (host.log)(
            Text::of(plugin),
            number(level),
            Text::of(target),
            Text::of(message),
            fields.map_or(Text::ABSENT, Text::of),
        );
    }
}

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// A line that this thread is writing.
struct Writing;

impl Writing {
    fn begin() -> Option<Self> {
        (!WRITING.replace(true)).then_some(Self)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The library has a hook of its own, for its standard library is its own.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("?");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    write(Level::ERROR, "panic", &format!("panicked at {location}: {message}"), None);
}

/// Hands every event to the broker. Spans are numbered, but what is in them is not kept.
#[derive(Default)]
struct Forward {
    last_span: AtomicU64,
}

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The broker's level may change.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // SAFETY: the host's functions may be called at any time.
        TARGET.get().is_some_and(|(host, _)| number(*metadata.level()) <= unsafe { (host.log_level)() })
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.last_span.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let fields = (!line.fields.is_empty()).then(|| Value::Object(line.fields).to_string());
        write(*event.metadata().level(), event.metadata().target(), &line.message, fields.as_deref());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A string takes anything.
        write!(text, "{value:?}").ok();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
