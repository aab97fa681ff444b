use std::{panic::AssertUnwindSafe, panic::catch_unwind, sync::Arc};

use jackfield_plugin_api::{LogRecord, LogSink, Result};
use tracing::{debug, error, info, warn};

use crate::telemetry::panics;

/// Writes a session's record to the broker's own log. What a client wrote is quoted, so that it cannot look like
/// lines of the broker's.
pub(super) fn write(record: &LogRecord) {
    let LogRecord { source, message, level, full_message, meta, user, session_id, service, .. } = record;
    let (level, full, meta) = (level.number(), full_message.as_deref(), meta.to_json());
    let meta = (!meta.is_empty()).then(|| meta.as_str());
    macro_rules! session_log {
        ($severity:ident) => {
            $severity!(
                target: "jackfield::session_log",
                %service, user = ?user, session_id = ?session_id, source = ?source, severity = level, text = ?message,
                full_message = full.map(tracing::field::debug), meta = meta.map(tracing::field::debug),
                "session log"
            )
        };
    }
    match level {
        0..=3 => session_log!(error),
        4 => session_log!(warn),
        5 | 6 => session_log!(info),
        _ => session_log!(debug),
    }
}

/// Hands a record to every sink.
///
/// # Errors
/// That of the first sink that refused it; the others have it all the same.
pub(super) fn hand_out(sinks: &[Arc<dyn LogSink>], record: &LogRecord) -> Result<()> {
    let hand = |sink: &Arc<dyn LogSink>| {
        catch_unwind(AssertUnwindSafe(|| sink.log(record)))
            .unwrap_or_else(|panic| Err(panics::caught("a log sink panicked", &*panic)))
    };
    sinks.iter().map(hand).fold(Ok(()), Result::and)
}
