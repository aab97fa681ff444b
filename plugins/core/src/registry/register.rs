use jackfield_plugin_api::{
    Action, Command, CommandKey, Context, Error, IfLost, RawObject, Registration, Result, SessionRef,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "registry", "register")
        .about("Has requests for a command sent to this session, whose answers are handed back.")
        .ordered()
        .handler(register)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The class of the commands that the session serves.
    #[schemars(length(min = 1, max = 256))]
    class: String,
    /// Their subclass; `*` for any.
    #[serde(default = "any")]
    #[schemars(length(min = 1, max = 256))]
    subclass: String,
    /// The command; `*` for any.
    #[serde(default = "any")]
    #[schemars(length(min = 1, max = 256))]
    cmd: String,
    /// What it does.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    description: String,
    /// What its data must look like: a JSON Schema without references, of at most 16 KiB and 64 patterns.
    data_schema: Option<RawObject>,
    /// Whether a request that this session leaves unanswered when it goes away is given to another.
    #[serde(default)]
    retry: bool,
    /// How many requests the session takes at once.
    #[serde(default = "inflight")]
    #[schemars(range(min = 1, max = 65536))]
    inflight: usize,
}

fn inflight() -> usize {
    Registration::INFLIGHT
}

async fn register(cx: Context, args: Args) -> Result<()> {
    let key = CommandKey::new(&args.class, &args.subclass, &args.cmd);
    cx.authorize(Action::Register(key.clone())).await?;
    let registration = Registration {
        key,
        description: args.description,
        data_schema: args.data_schema.map(|schema| read(&schema)).transpose()?,
        if_lost: if args.retry { IfLost::Retry } else { IfLost::Fail },
        inflight: args.inflight,
    };
    cx.host().register(SessionRef::of(cx.caller())?, registration)
}

fn read(schema: &RawObject) -> Result<Value> {
    let text = schema.to_json();
    if text.len() > Registration::LARGEST_SCHEMA {
        return Err(Error::invalid_value(format_args!(
            "data_schema: more than {} bytes",
            Registration::LARGEST_SCHEMA
        )));
    }
    text.parse().map_err(|error| Error::invalid_value(format_args!("data_schema: {error}")))
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{
        ErrorCode, RawJson,
        testing::{Harness, SESSION},
    };
    use serde_json::Value;

    use super::*;
    use crate::tests::{harness, powerful_session};

    async fn register(harness: &Harness, data: &str) -> Result<(), String> {
        let answer = harness.call_as(&powerful_session(), "core", "registry", "register", data).await;
        answer.map(drop).map_err(|error| error.text().to_owned())
    }

    #[tokio::test]
    async fn requests_reach_the_session_and_its_answer_comes_back() {
        let harness = harness();
        harness.on_request(|_, request| RawJson::from_value(&request.command.to_string()));
        register(&harness, r#"{"class":"weather","description":"Forecasts.","retry":true,"inflight":5}"#)
            .await
            .unwrap();
        let registered = &harness.registrations()[0];
        assert_eq!((registered.session_id.as_str(), registered.registration.inflight), (SESSION, 5));
        assert_eq!(registered.registration.if_lost, IfLost::Retry);
        let answer = harness.call("weather", "forecast", "get", "{}").await.unwrap();
        assert_eq!(answer.as_str(), r#""weather/forecast/get""#);
        let described = r#"{"class":"weather","subclass":"*","cmd":"*"}"#;
        let info: Value =
            harness.call("core", "registry", "describe", described).await.unwrap().parse().unwrap();
        assert_eq!(
            (&info["plugin"], &info["description"]),
            (&"session:test-session".into(), &"Forecasts.".into())
        );
    }

    #[tokio::test]
    async fn it_needs_a_permission_of_its_own() {
        let error = harness().call("core", "registry", "register", r#"{"class":"a"}"#).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
    }

    #[tokio::test]
    async fn what_cannot_be_registered_is_named() {
        let long = "x".repeat(17_000);
        for (data, text) in [
            (r#"{"class":"core"}"#.to_owned(), "Unauthorized"),
            (r#"{"class":"*"}"#.to_owned(), "Unauthorized"),
            (r#"{"class":"a","cmd":"b"}"#.to_owned(), "Invalid value: subclass"),
            (r#"{"class":""}"#.to_owned(), "Invalid value: class"),
            (r#"{"class":"a","inflight":0}"#.to_owned(), "Invalid value: inflight"),
            (r#"{"class":"a","data_schema":5}"#.to_owned(), "Syntax error: data_schema"),
            (format!(r#"{{"class":"a","data_schema":{{"title":"{long}"}}}}"#), "Invalid value: data_schema"),
            (r#"{"class":"a","data_schema":{"type":"objekt"}}"#.to_owned(), "Invalid value: data_schema"),
        ] {
            let error = register(&harness(), &data).await.unwrap_err();
            assert!(error.starts_with(text), "{error} for {data:.80}");
        }
    }
}
