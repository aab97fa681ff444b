//! Log records.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    json::RawObject,
    log::{BrokerRecord, LogRecord, Severity},
    session::{SessionId, UserId},
};

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

pub(super) fn time(seconds: f64) -> Result<SystemTime> {
    let since = Duration::try_from_secs_f64(seconds).ok();
    since.and_then(|since| UNIX_EPOCH.checked_add(since)).ok_or_else(|| Error::invalid_value("time"))
}

/// RECORD.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct RecordText {
    source: String,
    message: String,
    level: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_message: Option<String>,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    meta: RawObject,
    user: UserId,
    session_id: SessionId,
    service: Arc<str>,
    time: f64,
}

impl From<&LogRecord> for RecordText {
    fn from(record: &LogRecord) -> Self {
        let LogRecord { source, message, level, full_message, meta, user, session_id, service, time } =
            record.clone();
        let (level, time) = (level.number(), seconds(time));
        Self { source, message, level, full_message, meta, user, session_id, service, time }
    }
}

impl TryFrom<RecordText> for LogRecord {
    type Error = Error;

    fn try_from(text: RecordText) -> Result<Self> {
        let RecordText { source, message, level, full_message, meta, user, session_id, service, time: since } =
            text;
        let level = Severity::new(level).ok_or_else(|| Error::invalid_value("level"))?;
        let time = time(since)?;
        Ok(Self { source, message, level, full_message, meta, user, session_id, service, time })
    }
}

/// A line of the broker's log.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct LineText {
    time: f64,
    level: u8,
    target: String,
    message: String,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    fields: RawObject,
}

impl From<&BrokerRecord> for LineText {
    fn from(record: &BrokerRecord) -> Self {
        let BrokerRecord { time, level, target, message, fields } = record.clone();
        Self { time: seconds(time), level: level.number(), target: target.into_owned(), message, fields }
    }
}

impl TryFrom<LineText> for BrokerRecord {
    type Error = Error;

    fn try_from(text: LineText) -> Result<Self> {
        let level = Severity::new(text.level).ok_or_else(|| Error::invalid_value("level"))?;
        let LineText { time: since, target, message, fields, .. } = text;
        Ok(Self { time: time(since)?, level, target: target.into(), message, fields })
    }
}
