use std::{sync::Arc, time::SystemTime};

use jackfield_plugin_api::{Command, Context, Error, LogRecord, RawObject, Result, Severity};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "session", "log")
        .about("Writes a record to the broker's log and to every log sink.")
        .handler(log)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// What the record is from.
    source: String,
    /// The message.
    message: String,
    /// The syslog severity: 0 is an emergency, 7 is debugging.
    #[serde(default = "alert")]
    #[schemars(range(min = 0, max = 7))]
    level: u8,
    /// A longer form of the message.
    full_message: Option<String>,
    /// Further fields. Their names are made of letters, digits, `_`, `.` and `-`, and are none of `id`, `user` and
    /// `session_id`.
    #[serde(default)]
    meta: RawObject,
}

fn alert() -> u8 {
    1
}

async fn log(cx: Context, args: Args) -> Result<()> {
    if let Some((name, _)) = args.meta.iter().find(|(name, _)| !is_field_name(name)) {
        return Err(Error::invalid_value(format_args!("meta.{name}")));
    }
    let caller = cx.identity()?;
    cx.host().log(LogRecord {
        source: args.source,
        message: args.message,
        level: Severity::new(args.level).ok_or_else(|| Error::invalid_value("level"))?,
        full_message: args.full_message,
        meta: args.meta,
        user: caller.user.clone(),
        session_id: caller.session_id.clone(),
        service: Arc::clone(&cx.caller().service),
        time: SystemTime::now(),
    })
}

/// Whether `name` can be a field of a GELF message that is not taken (protocol §4).
fn is_field_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !name.is_empty() && name.bytes().all(fits) && !matches!(name, "id" | "user" | "session_id")
}

#[cfg(test)]
mod tests {
    use crate::tests::harness;

    #[tokio::test]
    async fn the_record_tells_who_logged_it() {
        let harness = harness();
        let data =
            r#"{"source":"app","message":"up","full_message":"up and running","meta":{"n_1.a-b":1.50}}"#;
        assert_eq!(harness.call("core", "session", "log", data).await.unwrap().as_str(), "{}");
        let record = &harness.logs()[0];
        assert_eq!((record.source.as_str(), record.message.as_str()), ("app", "up"));
        assert_eq!(record.level.number(), 1);
        assert_eq!(record.full_message.as_deref(), Some("up and running"));
        assert_eq!(record.meta.to_json().as_str(), r#"{"n_1.a-b":1.50}"#);
        assert_eq!((record.user.as_str(), record.session_id.as_str()), ("tester", "test-session"));
        assert_eq!(&*record.service, "test");
    }

    #[tokio::test]
    async fn bad_records_are_refused() {
        for (more, text) in [
            (r#""level":8"#, "Invalid value: level"),
            (r#""level":-1"#, "Invalid value: level"),
            (r#""level":"1""#, "Syntax error: level"),
            (r#""meta":{"id":1}"#, "Invalid value: meta.id"),
            (r#""meta":{"user":1}"#, "Invalid value: meta.user"),
            (r#""meta":{"session_id":1}"#, "Invalid value: meta.session_id"),
            (r#""meta":{"a b":1}"#, "Invalid value: meta.a b"),
            (r#""meta":{"":1}"#, "Invalid value: meta."),
            (r#""meta":1"#, "Syntax error: meta"),
        ] {
            let harness = harness();
            let data = format!(r#"{{"source":"app","message":"up",{more}}}"#);
            let error = harness.call("core", "session", "log", &data).await.unwrap_err();
            assert_eq!(error.text(), text, "{more}");
            assert!(harness.logs().is_empty());
        }
    }
}
