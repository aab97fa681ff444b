//! The broker's own log on its way to plugins.

use std::{
    cell::Cell,
    fmt::{self, Debug, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{BrokerLogSink, BrokerRecord, RawJson, RawObject, Severity};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Not forwarded: `core session log` reaches the sinks by itself, and the others are what a sink sends with. A record
/// of those would make the next.
const NOT_FORWARDED: [&str; 6] =
    ["jackfield::session_log", "jackfield_gelf", "hyper", "hyper_util", "rustls", "tokio_rustls"];

type Sinks = Vec<(u64, Arc<dyn BrokerLogSink>)>;

/// The log is the process's, and so are its sinks; each belongs to an [`Outlet`].
static SINKS: LazyLock<ArcSwap<Sinks>> = LazyLock::new(ArcSwap::default);

static LAST_OUTLET: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is handing out a record: what is logged meanwhile is not handed out again.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// The sinks of one service. They get the log for as long as this is there.
#[derive(Debug)]
pub struct Outlet(u64);

impl Outlet {
    /// One without sinks.
    pub fn new() -> Self {
        Self(LAST_OUTLET.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Replaces the sinks.
    pub fn set(&self, sinks: &[Arc<dyn BrokerLogSink>]) {
        SINKS.rcu(|all| {
            let others = all.iter().filter(|(outlet, _)| *outlet != self.0).cloned();
            others.chain(sinks.iter().map(|sink| (self.0, Arc::clone(sink)))).collect::<Sinks>()
        });
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.set(&[]);
    }
}

/// Hands what is logged to the sinks.
pub(super) struct Forward;

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let sinks = SINKS.load();
        if sinks.is_empty() || !is_forwarded(event.metadata()) || BUSY.replace(true) {
            return;
        }
        let record = record(event);
        for (_, sink) in sinks.iter() {
            // Not logged: a sink that panics would do so at that line, too. The panic hook has it.
            catch_unwind(AssertUnwindSafe(|| sink.record(&record))).ok();
        }
        BUSY.set(false);
    }
}

fn is_forwarded(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    !NOT_FORWARDED
        .iter()
        .any(|root| target.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

fn record(event: &Event<'_>) -> BrokerRecord {
    let mut facts = Facts::default();
    event.record(&mut facts);
    BrokerRecord {
        time: SystemTime::now(),
        level: severity(*event.metadata().level()),
        target: event.metadata().target().into(),
        message: facts.message,
        fields: facts.fields,
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::ERROR,
        Level::WARN => Severity::WARNING,
        Level::INFO => Severity::INFORMATIONAL,
        _ => Severity::DEBUG,
    }
}

#[derive(Default)]
struct Facts {
    message: String,
    fields: RawObject,
}

impl Facts {
    fn take(&mut self, field: &Field, value: &impl serde::Serialize) {
        // What JSON cannot say is shown by `record_debug`.
        self.fields.insert(field.name(), RawJson::from_value(value).unwrap_or_else(|_| RawJson::null()));
    }
}

impl Visit for Facts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string cannot fail; a `Debug` that does has said what it could.
        write!(text, "{value:?}").ok();
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.take(field, &value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, &value);
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forward")
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tracing_subscriber::{EnvFilter, layer::SubscriberExt};

    use super::*;

    #[derive(Default)]
    struct Kept(Arc<Mutex<Vec<BrokerRecord>>>);

    impl BrokerLogSink for Kept {
        fn record(&self, record: &BrokerRecord) {
            self.0.lock().push(record.clone());
            tracing::error!("a sink that logs is not its own sink");
        }
    }

    #[test]
    fn what_is_logged_reaches_the_sinks_once() {
        let kept = Kept::default();
        let records = Arc::clone(&kept.0);
        let outlet = Outlet::new();
        outlet.set(&[Arc::new(kept)]);
        let subscriber = tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .with_env_filter(EnvFilter::new("info"))
            .finish();
        tracing::subscriber::with_default(subscriber.with(Forward), || {
            tracing::info!(target: "forward_test", n = 3, flag = true, text = %"x", debug = ?Some(1), "said");
            tracing::debug!(target: "forward_test", "filtered");
            tracing::error!(target: "jackfield::session_log", "by itself");
            tracing::error!(target: "hyper::proto", "of the sender");
            tracing::warn!(target: "hyperbole", "no part of hyper");
            drop(outlet);
            tracing::error!(target: "forward_test", "nobody hears it");
        });
        let records = records.lock();
        let said: Vec<_> = records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(said, ["said", "no part of hyper"]);
        assert_eq!((&*records[0].target, records[0].level.number()), ("forward_test", 6));
        assert_eq!(
            records[0].fields.to_json().as_str(),
            r#"{"n":3,"flag":true,"text":"x","debug":"Some(1)"}"#
        );
        assert_eq!(records[1].level.number(), 4);
    }
}
