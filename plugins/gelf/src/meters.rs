//! What is counted, for each server.

use jackfield_plugin_api::{Counter, Gauge, Host};

use crate::server::Server;

/// Why a record did not reach its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There was no room for it; its logger was told.
    Refused,
    /// It made room for a newer one.
    Oldest,
    /// It is too long, even with its `full_message` cut.
    TooLarge,
    /// The server answered that it does not want it.
    Rejected,
    /// The plugin was stopped before it could be sent.
    Stopped,
    /// It could not be read from the spool again.
    Corrupt,
    /// It could not be written as GELF.
    Unwritable,
}

impl Reason {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Refused, "refused"),
        (Self::Oldest, "oldest"),
        (Self::TooLarge, "too_large"),
        (Self::Rejected, "rejected"),
        (Self::Stopped, "stopped"),
        (Self::Corrupt, "corrupt"),
        (Self::Unwritable, "unwritable"),
    ];
}

/// The metrics of one server.
pub(crate) struct Meters {
    pub(crate) sent: Counter,
    pub(crate) reconnects: Counter,
    pub(crate) queue_bytes: Gauge,
    pub(crate) spool_bytes: Gauge,
    dropped: Vec<(Reason, Counter)>,
}

impl Meters {
    pub(crate) fn new(host: &dyn Host, server: &Server) -> Self {
        let server = server.to_string();
        let labels = [("service", host.service()), ("server", server.as_str())];
        let dropped = |(reason, name): (Reason, &'static str)| {
            let [service, server] = labels;
            let labels = [service, server, ("reason", name)];
            (
                reason,
                host.counter_with(
                    "gelf_dropped_total",
                    "Log records that were not sent, by reason.",
                    &labels,
                ),
            )
        };
        Self {
            sent: host.counter_with("gelf_sent_total", "Log records sent.", &labels),
            reconnects: host.counter_with(
                "gelf_reconnects_total",
                "Attempts to reach a log server again.",
                &labels,
            ),
            queue_bytes: host.gauge_with(
                "gelf_queue_bytes",
                "Log records that wait in memory, in bytes.",
                &labels,
            ),
            spool_bytes: host.gauge_with("gelf_spool_bytes", "The size of the spool, in bytes.", &labels),
            dropped: Reason::ALL.into_iter().map(dropped).collect(),
        }
    }

    /// Counts `n` records that were dropped.
    pub(crate) fn dropped(&self, reason: Reason, n: usize) {
        if let Some((_, counter)) = self.dropped.iter().find(|(counted, _)| *counted == reason) {
            counter.add(n as u64);
        }
    }
}
