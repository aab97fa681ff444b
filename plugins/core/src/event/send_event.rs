use jackfield_plugin_api::{Action, Command, Context, Error, ErrorCode, Event, RawJson, Result, Topic};
use schemars::JsonSchema;
use serde::Deserialize;

use super::permit;
use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "event", "send_event")
        .alias("send")
        .about("Fires an event. Every session with a matching subscription receives it.")
        .ordered()
        .handler(send_event)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The event's class. `core` is for administrators.
    class: String,
    /// Its subclass; `*` for none.
    #[serde(default = "any")]
    subclass: String,
    /// Its type; `*` for none.
    #[serde(rename = "type", default = "any")]
    kind: String,
    /// The object it is about; `*` for none.
    #[serde(default = "any")]
    obj_id: String,
    /// What it says.
    #[serde(default)]
    body: RawJson,
    /// Another service of the same broker; `*` for all.
    service: Option<String>,
}

async fn send_event(cx: Context, args: Args) -> Result<()> {
    match args.class.as_str() {
        "*" => return Err(Error::invalid_value("class")),
        // protocol.md §5: class `core` is the broker's own.
        "core" if !cx.caller().is_trusted() => return Err(ErrorCode::Unauthorized.into()),
        _ => {}
    }
    let topic = Topic::new(args.class, args.subclass, args.kind, args.obj_id);
    let service = permit::service(&cx, args.service.as_deref()).await?;
    cx.authorize(Action::Publish(topic.clone())).await?;
    cx.publish(Event { topic, service, body: args.body }).map(drop)
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{
        ServiceScope,
        testing::{SESSION, administrator, session},
    };

    use super::*;
    use crate::tests::harness;

    #[tokio::test]
    async fn the_event_is_fired_under_both_names() {
        let harness = harness();
        for cmd in ["send_event", "send"] {
            let data = r#"{"class":"media","subclass":"*","type":"start","body":{"n":1e999}}"#;
            assert_eq!(harness.call("core", "event", cmd, data).await.unwrap().as_str(), "{}");
        }
        let published = harness.published();
        assert_eq!(published.len(), 2);
        assert_eq!(published[1].event.topic.fields(), ["media", "*", "start", "*"]);
        assert_eq!(published[1].event.body.as_str(), r#"{"n":1e999}"#);
        assert_eq!(published[1].from.as_ref().unwrap().identity().unwrap().session_id.as_str(), SESSION);
    }

    #[tokio::test]
    async fn what_may_not_be_sent() {
        for (data, text) in [
            ("{}", "Missing field: class"),
            (r#"{"class":"*"}"#, "Invalid value: class"),
            (r#"{"class":"core","subclass":"user_event"}"#, "Unauthorized"),
            (r#"{"class":"media","service":"none"}"#, "Unauthorized"),
            (r#"{"class":"media","type":1}"#, "Syntax error: type"),
        ] {
            let harness = harness();
            let error = harness.call("core", "event", "send_event", data).await.unwrap_err();
            assert_eq!(error.text(), text, "{data}");
            assert!(harness.published().is_empty());
        }
    }

    #[tokio::test]
    async fn administrators_may_more() {
        let harness = harness();
        let administrator = administrator(&session("tester", SESSION).unwrap());
        let data = r#"{"class":"core","subclass":"note","service":"*"}"#;
        harness.call_as(&administrator, "core", "event", "send_event", data).await.unwrap();
        assert_eq!(harness.published()[0].event.service, ServiceScope::All);
        let data = r#"{"class":"media","service":"none"}"#;
        let error = harness.call_as(&administrator, "core", "event", "send_event", data).await.unwrap_err();
        assert!(error.is(ErrorCode::ServiceNotFound));
    }
}
