//! Every metric, in one list.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// A reason that a counter tells apart.
pub trait Reason: Copy + 'static {
    /// The label's name.
    const LABEL: &'static str;
    /// Every reason, in the order of their indices.
    const ALL: &'static [Self];
    /// The label's value.
    fn name(self) -> &'static str;
    /// The place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident ($label:literal) { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl Reason for $name {
            const LABEL: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// Why an event did not reach a session.
    DropReason ("reason") {
        /// The session's connection ended before it was written.
        Disconnected = "disconnected",
        /// The session was closed as a slow consumer before it was written.
        SlowConsumer = "slow_consumer",
        /// A plugin's filter dropped it.
        Filtered = "filtered",
    }
}

reasons! {
    /// How a request ended.
    Outcome ("result") {
        /// Answered `ok`.
        Ok = "ok",
        /// Answered with an error.
        Error = "error",
        /// Its connection had ended.
        Unanswerable = "unanswerable",
    }
}

reasons! {
    /// What a client sent that cannot be used.
    BadInput ("kind") {
        /// No JSON, no object, no UTF-8, or too long.
        Message = "message",
        /// An object that is no request, response or ack.
        Envelope = "envelope",
        /// A response or an ack that nobody waits for.
        UnknownTid = "unknown_tid",
    }
}

reasons! {
    /// Why a TLS handshake came to nothing.
    TlsFailure ("reason") {
        /// A client without TLS on a TLS listener.
        PlainText = "plain_text",
        /// A TLS client on a listener without TLS.
        PlainPort = "plain_port",
        /// It took too long.
        Timeout = "timeout",
        /// The client showed no certificate where one is required, or one that is not good.
        ClientCertificate = "client_certificate",
        /// The client did not want to go on, for example because it does not trust the broker's certificate.
        RefusedByClient = "refused_by_client",
        /// Nothing to agree upon, or no TLS after all.
        Protocol = "protocol",
        /// The client went away.
        Disconnected = "disconnected",
    }
}

/// A counter for each reason.
pub struct ByReason<R> {
    counters: Vec<Counter>,
    reason: std::marker::PhantomData<R>,
}

impl<R: Reason> ByReason<R> {
    /// Adds `n` for `reason`.
    pub fn add(&self, reason: R, n: u64) {
        if let Some(counter) = self.counters.get(reason.index()) {
            counter.increment(n);
        }
    }
}

static METADATA: Metadata<'static> = Metadata::new("jackfield", Level::INFO, None);

/// What is counted here, and where it is put when somebody asks. The recorder's own counters note besides when they
/// change, which takes as long again.
struct Tally {
    count: Arc<AtomicU64>,
    shown: Counter,
}

/// The recorder, and what is to be put into it.
struct Recorded {
    recorder: PrometheusRecorder,
    tallies: Vec<Tally>,
}

impl Recorded {
    fn counter(&mut self, key: &Key) -> Counter {
        let count = Arc::default();
        let shown = self.recorder.register_counter(key, &METADATA);
        self.tallies.push(Tally { count: Arc::clone(&count), shown });
        Counter::from_arc(count)
    }
}

trait Registered {
    fn register(recorded: &mut Recorded, name: &'static str, help: &'static str) -> Self;
}

impl Registered for Counter {
    fn register(recorded: &mut Recorded, name: &'static str, help: &'static str) -> Self {
        recorded.recorder.describe_counter(KeyName::from(name), None, SharedString::const_str(help));
        recorded.counter(&Key::from_static_name(name))
    }
}

impl Registered for Gauge {
    fn register(recorded: &mut Recorded, name: &'static str, help: &'static str) -> Self {
        recorded.recorder.describe_gauge(KeyName::from(name), None::<Unit>, SharedString::const_str(help));
        recorded.recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    }
}

impl<R: Reason> Registered for ByReason<R> {
    fn register(recorded: &mut Recorded, name: &'static str, help: &'static str) -> Self {
        recorded.recorder.describe_counter(KeyName::from(name), None, SharedString::const_str(help));
        let key = |reason: &R| Key::from_parts(name, vec![Label::new(R::LABEL, reason.name())]);
        let counters = R::ALL.iter().map(|reason| recorded.counter(&key(reason))).collect();
        Self { counters, reason: std::marker::PhantomData }
    }
}

macro_rules! metrics {
    ($($field:ident: $kind:ty = $name:literal, $help:literal;)+) => {
        /// The broker's metrics: handles that are registered once.
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)+
            recorded: Recorded,
        }

        impl Metrics {
            /// Registers every metric.
            pub fn new() -> Self {
                let recorder = PrometheusBuilder::new().build_recorder();
                let mut recorded = Recorded { recorder, tallies: Vec::new() };
                Self {
                    $($field: <$kind as Registered>::register(&mut recorded, $name, $help),)+
                    recorded,
                }
            }
        }
    };
}

metrics! {
    connections: Gauge = "jackfield_connections", "Open connections, logged in or not.";
    connections_accepted: Counter = "jackfield_connections_accepted_total", "Connections accepted.";
    connections_refused: Counter = "jackfield_connections_refused_total", "Connections refused at limits.connections.";
    tls_failures: ByReason<TlsFailure> = "jackfield_tls_handshake_failures_total", "TLS handshakes that came to nothing, by reason.";
    sessions: Gauge = "jackfield_sessions", "Live sessions.";
    logins: Counter = "jackfield_logins_total", "Logins accepted.";
    logins_rejected: Counter = "jackfield_logins_rejected_total", "Logins rejected.";
    requests: ByReason<Outcome> = "jackfield_requests_total", "Requests of clients, by their result.";
    requests_pending: Gauge = "jackfield_requests_pending", "Requests that wait for their handlers, or for the sessions that are to answer them.";
    session_requests: Counter = "jackfield_session_requests_total", "Requests of the broker to sessions, events and pings apart.";
    worker_requests: Counter = "jackfield_worker_requests_total", "Requests handed to sessions that serve commands, retries included.";
    worker_retries: Counter = "jackfield_worker_retries_total", "Requests to be handed to another session, for the one they were handed to has gone.";
    worker_logins: Counter = "jackfield_worker_logins_total", "Logins that sessions were asked about.";
    worker_registrations: Gauge = "jackfield_worker_registrations", "What sessions have registered: commands, and judging logins.";
    bad_input: ByReason<BadInput> = "jackfield_bad_input_total", "Messages of clients that cannot be used, by kind.";
    events_published: Counter = "jackfield_events_published_total", "Events fired.";
    events_delivered: Counter = "jackfield_events_delivered_total", "Events queued for a session, one for each receiver.";
    events_dropped: ByReason<DropReason> = "jackfield_events_dropped_total", "Events that did not reach a session, by reason.";
    subscriptions: Gauge = "jackfield_subscriptions", "Subscriptions, the automatic ones included.";
    slow_consumers: Counter = "jackfield_slow_consumers_total", "Sessions closed because they did not read.";
    silent_closed: Counter = "jackfield_silent_closed_total", "Sessions closed because they did not answer.";
    bytes_received: Counter = "jackfield_received_bytes_total", "Bytes received from clients, transport framing included.";
    bytes_sent: Counter = "jackfield_sent_bytes_total", "Bytes sent to clients, transport framing included.";
    log_lines_dropped: Gauge = "jackfield_log_lines_dropped", "Lines of the log that stderr did not take in time.";
    handler_panics: Counter = "jackfield_handler_panics_total", "Panics caught in handlers.";
}

impl Metrics {
    /// All metrics in Prometheus text form, gauges as they were last set.
    pub fn render(&self) -> String {
        for Tally { count, shown } in &self.recorded.tallies {
            shown.absolute(count.load(Ordering::Relaxed));
        }
        self.recorded.recorder.handle().render()
    }

    /// A plugin's own counter.
    pub fn plugin_counter(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Counter {
        let name = format!("jackfield_plugin_{name}");
        self.recorded.recorder.describe_counter(KeyName::from(name.clone()), None, help.to_owned().into());
        self.recorded.recorder.register_counter(&series(name, labels), &METADATA)
    }

    /// A plugin's own gauge.
    pub fn plugin_gauge(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Gauge {
        let name = format!("jackfield_plugin_{name}");
        self.recorded.recorder.describe_gauge(KeyName::from(name.clone()), None, help.to_owned().into());
        self.recorded.recorder.register_gauge(&series(name, labels), &METADATA)
    }
}

fn series(name: String, labels: &[(&'static str, &str)]) -> Key {
    let label = |&(name, value): &(&'static str, &str)| Label::new(name, value.to_owned());
    Key::from_parts(name, labels.iter().map(label).collect::<Vec<_>>())
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
