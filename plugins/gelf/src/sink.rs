//! Where records come in. Nothing here waits.

use std::sync::Arc;

use bytes::Bytes;
use jackfield_plugin_api::{BrokerLogSink, BrokerRecord, Error, ErrorCode, LogRecord, LogSink, Result};

use crate::{
    meters::Reason,
    outlet::{Outlet, push_to_all},
    record::{encode, encode_own},
};

/// Takes the records of `core session log`.
pub(crate) struct SessionSink {
    pub(crate) outlets: Arc<[Arc<Outlet>]>,
}

impl LogSink for SessionSink {
    fn log(&self, record: &LogRecord) -> Result<()> {
        let message = encode(record)?;
        push_to_all(&self.outlets, &message).map_err(|_| Error::about(ErrorCode::PluginUnavailable, "gelf"))
    }
}

/// Takes the broker's own log.
pub(crate) struct OwnSink {
    pub(crate) outlets: Arc<[Arc<Outlet>]>,
    pub(crate) host: String,
}

impl BrokerLogSink for OwnSink {
    fn record(&self, record: &BrokerRecord) {
        self.queue(encode_own(record, &self.host));
    }
}

impl OwnSink {
    /// Counts what is lost: there is nobody to tell, and to log it would be the next record.
    pub(crate) fn queue(&self, message: Result<Bytes>) {
        match message {
            // What is refused is counted there.
            Ok(message) => drop(push_to_all(&self.outlets, &message)),
            Err(_) => self.outlets.iter().for_each(|outlet| outlet.meters().dropped(Reason::Unwritable, 1)),
        }
    }
}
