//! Records as GELF 1.1 messages: JSON text (protocol §4).

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gelf_logger::{GelfLevel, GelfRecord, Map, Value};
use jackfield_plugin_api::{BrokerRecord, Error, ErrorCode, LogRecord, RawJson, RawObject, Result, Severity};

/// Graylog throws a message away whose `short_message` or `host` is blank.
const BLANK: &str = "-";

/// `gelf_logger` writes these fields in any case; they are none of ours.
const UNWANTED: [&str; 4] = ["_levelname", "_facility", "_line", "_file"];

/// The message for a record of `core session log`.
///
/// # Errors
/// `invalid_value` naming the key of `meta` that can be no field; `internal_error` for what cannot be written.
pub(crate) fn encode(record: &LogRecord) -> Result<Bytes> {
    let mut message = Message::new(&record.source, &record.message, record.level, record.time);
    if let Some(full) = &record.full_message {
        message.set("full_message", full);
    }
    for (key, value) in record.meta.iter() {
        if !is_field_name(key) {
            return Err(Error::invalid_value(format_args!("meta.{key}")));
        }
        message.add(key, value);
    }
    message.set("_user", record.user.as_str());
    message.set("_session_id", record.session_id.as_str());
    message.encode()
}

/// The message for a line of the broker's own log, from `host`.
///
/// # Errors
/// `internal_error` for what cannot be written.
pub(crate) fn encode_own(record: &BrokerRecord, host: &str) -> Result<Bytes> {
    let mut message = Message::new(host, &record.message, record.level, record.time);
    for (key, value) in record.fields.iter() {
        message.add(&own_field_name(key), value);
    }
    message.set("_target", &*record.target);
    message.encode()
}

/// Whether `_NAME` may be a field (protocol §4; the core's plugin asks this before, but any plugin may log).
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(fits_a_name) && !matches!(name, "id" | "user" | "session_id")
}

fn fits_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Names of fields in the broker's own log are its own; what GELF does not let them be is changed.
fn own_field_name(name: &str) -> String {
    if name == "id" {
        return "field_id".to_owned();
    }
    name.bytes().map(|byte| if fits_a_name(byte) { char::from(byte) } else { '_' }).collect()
}

/// Java counts some control characters as white space.
fn never_blank(text: &str) -> &str {
    let is_blank = text.chars().all(|c| c.is_whitespace() || c.is_control());
    if is_blank { BLANK } else { text }
}

struct Message<'a> {
    host: &'a str,
    short_message: &'a str,
    level: Severity,
    time: SystemTime,
    fields: Map<String, Value>,
    /// Numbers that must keep their text: `gelf_logger` holds them as 64 bits. A name stands here or in `fields`.
    numbers: BTreeMap<String, &'a str>,
}

impl<'a> Message<'a> {
    fn new(host: &'a str, message: &'a str, level: Severity, time: SystemTime) -> Self {
        let (host, short_message) = (never_blank(host), never_blank(message));
        Self { host, short_message, level, time, fields: Map::new(), numbers: BTreeMap::new() }
    }

    fn add(&mut self, key: &str, value: &'a RawJson) {
        let (key, text) = (format!("_{key}"), value.as_str());
        match text.as_bytes().first() {
            Some(b'"') => {
                // It is a JSON string, so this reads it.
                let text = value.parse().unwrap_or_else(|_| text.to_owned());
                self.set(key, text);
            }
            Some(b'-' | b'0'..=b'9') if is_number_for_graylog(text) => {
                self.fields.remove(&key);
                self.numbers.insert(key, text);
            }
            // Graylog drops booleans, and takes no numbers that do not fit 64 bits.
            _ => self.set(key, text),
        }
    }

    fn set(&mut self, name: impl Into<String>, text: impl Into<String>) {
        let name = name.into();
        self.numbers.remove(&name);
        self.fields.insert(name, Value::String(text.into()));
    }

    fn encode(mut self) -> Result<Bytes> {
        self.fields.insert("host".to_owned(), self.host.into());
        let record = GelfRecord {
            version: "1.1",
            // Every record has its own, and this one would have to live for ever: the field of that name above wins.
            host: "",
            short_message: self.short_message.to_owned(),
            timestamp: Some(seconds(self.time)),
            level: Some(GelfLevel::from(u32::from(self.level.number())) as u32),
            level_name: None,
            facility: None,
            line: None,
            file: None,
            additional_fields: self.fields,
        };
        write(&record, &self.numbers)
            .map_err(|source| Error::new(ErrorCode::InternalError).with_source(source))
    }
}

fn write(record: &GelfRecord<'_>, numbers: &BTreeMap<String, &str>) -> Result<Bytes, serde_json::Error> {
    let mut fields = serde_json::to_value(record)?;
    if let Some(fields) = fields.as_object_mut() {
        for name in UNWANTED {
            if fields.get(name).is_some_and(Value::is_null) {
                fields.remove(name);
            }
        }
    }
    let mut text = serde_json::to_vec(&fields)?;
    if !numbers.is_empty() {
        text.pop();
        for (key, number) in numbers {
            // The key is made of letters, digits, `_`, `.` and `-`.
            text.extend_from_slice(format!(",\"{key}\":{number}").as_bytes());
        }
        text.push(b'}');
    }
    // Exactly as long as it is, for queues count lengths.
    Ok(text.into_boxed_slice().into())
}

/// Seconds with milliseconds: a JSON number such as `1763730806.123`.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits until the year 287396")]
fn seconds(time: SystemTime) -> f64 {
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    millis as f64 / 1000.0
}

/// Whether Graylog can index this number: a 64-bit integer, or a decimal that a double can hold.
fn is_number_for_graylog(text: &str) -> bool {
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return text.parse::<f64>().is_ok_and(f64::is_finite);
    }
    text.parse::<i64>().is_ok()
}

/// Shortens `full_message` to at most `bytes` bytes, or leaves it out where nothing remains of it. `None` where there is
/// nothing to shorten.
pub(crate) fn shortened(message: &[u8], bytes: usize) -> Option<Bytes> {
    let text = std::str::from_utf8(message).ok()?;
    let mut fields = RawObject::parse(&RawJson::from_text(text.to_owned()).ok()?).ok()?;
    let mut full: String = fields.get("full_message")?.parse().ok()?;
    if full.len() <= bytes {
        return None;
    }
    full.truncate(full.floor_char_boundary(bytes));
    if full.is_empty() {
        fields.remove("full_message");
    } else {
        fields.set("full_message", &full).ok()?;
    }
    Some(Bytes::copy_from_slice(fields.to_json().as_str().as_bytes()))
}

/// Leaves out half of `full_message`, or more. `None` where there is none.
pub(crate) fn halved(message: &[u8]) -> Option<Bytes> {
    shortened(message, full_message_bytes(message) / 2)
}

/// How long `full_message` is, in bytes; 0 where there is none.
pub(crate) fn full_message_bytes(message: &[u8]) -> usize {
    let read = || {
        let text = std::str::from_utf8(message).ok()?.to_owned();
        let full: String =
            RawObject::parse(&RawJson::from_text(text).ok()?).ok()?.get("full_message")?.parse().ok()?;
        Some(full.len())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use jackfield_plugin_api::{SessionId, UserId};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(crate) fn record(meta: &str) -> LogRecord {
        LogRecord {
            source: "app".into(),
            message: "up".into(),
            level: Severity::new(1).unwrap(),
            full_message: None,
            meta: RawObject::parse(&RawJson::from_text(meta.to_owned()).unwrap()).unwrap(),
            user: UserId::new("ann").unwrap(),
            session_id: SessionId::new("s-1").unwrap(),
            service: "main".into(),
            time: UNIX_EPOCH + Duration::from_millis(1_763_730_806_120),
        }
    }

    fn text(record: &LogRecord) -> String {
        String::from_utf8(encode(record).unwrap().to_vec()).unwrap()
    }

    fn value(record: &LogRecord) -> Value {
        serde_json::from_str(&text(record)).unwrap()
    }

    #[test]
    fn a_record_has_the_fields_of_the_protocol_and_no_other() {
        let plain = json!({"version": "1.1", "host": "app", "short_message": "up", "timestamp": 1_763_730_806.12, "level": 1,
            "_user": "ann", "_session_id": "s-1"});
        assert_eq!(value(&record("{}")), plain);
        let mut full = record(r#"{"a.b-c_D":"x","file":"f","line":7,"host":"h"}"#);
        full.full_message = Some("up and\nrunning\0".into());
        let more = json!({"full_message": "up and\nrunning\0", "_a.b-c_D": "x", "_file": "f", "_line": 7, "_host": "h"});
        let mut expected = plain;
        expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(value(&full), expected);
    }

    #[test]
    fn the_timestamp_is_a_number_with_milliseconds() {
        assert!(text(&record("{}")).contains(r#""timestamp":1763730806.12,"#), "{}", text(&record("{}")));
    }

    #[test]
    fn values_that_are_no_string_or_number_are_their_text() {
        let meta = r#"{"t":true,"f":false,"n":null,"a":[1, "x"],"o":{"k": 1.50}}"#;
        let sent = value(&record(meta));
        for (key, text) in
            [("_t", "true"), ("_f", "false"), ("_n", "null"), ("_a", r#"[1, "x"]"#), ("_o", r#"{"k": 1.50}"#)]
        {
            assert_eq!(sent[key], text);
        }
    }

    #[test]
    fn numbers_keep_their_text_as_far_as_graylog_takes_them() {
        for number in ["0", "-0", "7", "-7", "1.50", "1e3", "9223372036854775807", "0.1234567890123456789012"]
        {
            let text = text(&record(&format!(r#"{{"n":{number}}}"#)));
            assert!(text.contains(&format!(r#""_n":{number}}}"#)), "{text}");
        }
        for number in ["1e400", "-1e400", "9223372036854775808", "123456789012345678901234567890"] {
            assert_eq!(value(&record(&format!(r#"{{"n":{number}}}"#)))["_n"], number);
        }
    }

    #[test]
    fn forbidden_keys_are_named() {
        for key in ["id", "user", "session_id", "", "a b", "é", "a/b"] {
            let error = encode(&record(&json!({ key: 1 }).to_string())).unwrap_err();
            assert_eq!(error.text(), format!("Invalid value: meta.{key}"));
        }
        assert!(encode(&record(r#"{"_id":1,"ID":1}"#)).is_ok());
    }

    #[test]
    fn nothing_blank_is_thrown_away_by_graylog() {
        for text in ["", " \n", "\u{1f}\t", "\0"] {
            let mut blank = record("{}");
            (blank.message, blank.source) = (text.into(), text.into());
            let sent = value(&blank);
            assert_eq!((&sent["short_message"], &sent["host"]), (&json!("-"), &json!("-")), "{text:?}");
        }
    }

    #[test]
    fn the_brokers_own_records_tell_their_target() {
        let own = BrokerRecord {
            time: UNIX_EPOCH,
            level: Severity::WARNING,
            target: "jackfield::service".into(),
            message: "careful".into(),
            fields: RawObject::parse(&RawJson::from_text(r#"{"id":1,"a b":true,"n":2}"#).unwrap()).unwrap(),
        };
        let sent: Value = serde_json::from_slice(&encode_own(&own, "machine").unwrap()).unwrap();
        let expected = json!({"version": "1.1", "host": "machine", "short_message": "careful", "timestamp": 0.0, "level": 4,
            "_target": "jackfield::service", "_field_id": 1, "_a_b": "true", "_n": 2});
        assert_eq!(sent, expected);
    }

    /// A line of a plugin's may have facts of any names; two of them may be one field.
    #[test]
    fn a_field_stands_there_once() {
        let own = |fields: &str| {
            let fields = RawObject::parse(&RawJson::from_text(fields.to_owned()).unwrap()).unwrap();
            let (time, level, target) = (UNIX_EPOCH, Severity::WARNING, "t".into());
            let record = BrokerRecord { time, level, target, message: "m".into(), fields };
            String::from_utf8(encode_own(&record, "h").unwrap().to_vec()).unwrap()
        };
        for (fields, name, kept) in [
            (r#"{"a b":1,"a_b":2}"#, "_a_b", "2"),
            (r#"{"a b":"x","a_b":2}"#, "_a_b", "2"),
            (r#"{"a b":1,"a_b":"x"}"#, "_a_b", r#""x""#),
            (r#"{"target":1}"#, "_target", r#""t""#),
        ] {
            let text = own(fields);
            assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{text}");
            assert!(text.contains(&format!("\"{name}\":{kept}")), "{text}");
        }
    }

    #[test]
    fn shortening_keeps_everything_else() {
        let mut long = record(r#"{"n":1e2}"#);
        long.full_message = Some("äöü".into());
        let message = encode(&long).unwrap();
        assert_eq!(full_message_bytes(&message), 6);
        for (bytes, full) in [(5, Some("äö")), (3, Some("ä")), (1, None), (0, None)] {
            let short: Value = serde_json::from_slice(&shortened(&message, bytes).unwrap()).unwrap();
            assert_eq!(short.get("full_message").and_then(Value::as_str), full);
            assert_eq!(short["_n"], 1e2);
        }
        assert!(shortened(&message, 6).is_none());
        assert!(shortened(&encode(&record("{}")).unwrap(), 0).is_none());
        let halves = std::iter::successors(Some(message), |message| halved(message));
        assert_eq!(halves.map(|message| full_message_bytes(&message)).collect::<Vec<_>>(), [6, 2, 0]);
    }

    proptest! {
        #[test]
        fn whatever_is_logged_is_json_on_one_line_without_zeros(
            source in any::<String>(), message in any::<String>(), full in any::<Option<String>>(),
            meta in proptest::collection::btree_map("[A-Za-z0-9_.-]{5,9}", any::<String>(), 0..5),
        ) {
            let mut record = record(&json!(meta).to_string());
            (record.source, record.message, record.full_message) = (source, message, full);
            let bytes = encode(&record).unwrap();
            prop_assert!(!bytes.contains(&0) && !bytes.contains(&b'\n'));
            let sent: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(sent["host"].as_str().unwrap(), never_blank(&record.source));
            prop_assert_eq!(sent.get("full_message").and_then(Value::as_str), record.full_message.as_deref());
            for (key, value) in &meta {
                prop_assert_eq!(sent[format!("_{key}")].as_str().unwrap(), value);
            }
        }
    }
}
