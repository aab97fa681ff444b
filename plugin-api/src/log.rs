//! The records of `core session log`, and where they go.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use crate::{
    error::Result,
    json::RawObject,
    session::{SessionId, UserId},
};

/// A syslog severity: 0 (emergency) to 7 (debug).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

impl Severity {
    /// 3: something went wrong.
    pub const ERROR: Self = Self(3);
    /// 4: something may go wrong.
    pub const WARNING: Self = Self(4);
    /// 6: all is well.
    pub const INFORMATIONAL: Self = Self(6);
    /// 7: for whoever looks for a mistake.
    pub const DEBUG: Self = Self(7);

    /// The severity `level`, or `None` above 7.
    pub const fn new(level: u8) -> Option<Self> {
        if level <= 7 { Some(Self(level)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// One record.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// What the record is from, in the client's words.
    pub source: String,
    /// The message.
    pub message: String,
    /// How bad it is.
    pub level: Severity,
    /// A longer form of the message.
    pub full_message: Option<String>,
    /// Further fields; their keys fit `[A-Za-z0-9_.-]+` and are none of `id`, `user`, `session_id`.
    pub meta: RawObject,
    /// Who logged it.
    pub user: UserId,
    /// From which session.
    pub session_id: SessionId,
    /// In which service.
    pub service: Arc<str>,
    /// When the broker took it.
    pub time: SystemTime,
}

/// One line of the broker's own log.
#[derive(Clone, Debug)]
pub struct BrokerRecord {
    /// When it was written.
    pub time: SystemTime,
    /// How bad it is.
    pub level: Severity,
    /// Which part of the broker wrote it, as `RUST_LOG` names it.
    pub target: Cow<'static, str>,
    /// The message.
    pub message: String,
    /// The facts that belong to it.
    pub fields: RawObject,
}

/// Takes the broker's own log, as far as `RUST_LOG` lets it through. The records of `core session log` are not part of
/// it: those go to [`LogSink`].
///
/// Called in place by whatever part of the broker logs, so it must return at once. What is logged meanwhile on the same
/// thread does not come here again.
pub trait BrokerLogSink: Send + Sync + 'static {
    /// Takes one record.
    fn record(&self, record: &BrokerRecord);
}

/// Takes log records.
///
/// Called in place by whoever logs, so it must return at once: queue the record, never wait for a server.
pub trait LogSink: Send + Sync + 'static {
    /// Takes one record; `Ok` once it is queued.
    ///
    /// # Errors
    /// What the logging client is to be told when the record was refused, such as `plugin_unavailable`.
    fn log(&self, record: &LogRecord) -> Result<()>;
}
