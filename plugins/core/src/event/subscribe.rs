use jackfield_plugin_api::{Action, Command, Context, RawJson, Result, Subscription, Topic};
use schemars::JsonSchema;
use serde::Deserialize;

use super::permit;
use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "event", "subscribe")
        .about("Subscribes the session to events. The same fields again replace the body.")
        .ordered()
        .handler(subscribe)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The events' class; `*` for any, where that is allowed.
    class: String,
    /// Their subclass; `*` for any.
    #[serde(default = "any")]
    subclass: String,
    /// Their type; `*` for any.
    #[serde(rename = "type", default = "any")]
    kind: String,
    /// The object they are about; `*` for any.
    #[serde(default = "any")]
    obj_id: String,
    /// Merged below the body of each event.
    #[serde(default)]
    body: RawJson,
    /// Another service of the same broker; `*` for all.
    service: Option<String>,
}

async fn subscribe(cx: Context, args: Args) -> Result<()> {
    let topic = Topic::new(args.class, args.subclass, args.kind, args.obj_id);
    let service = permit::service(&cx, args.service.as_deref()).await?;
    cx.authorize(Action::Subscribe(topic.clone())).await?;
    let subscription = Subscription { topic, service, body: args.body };
    cx.host().subscribe(&cx.identity()?.session_id, subscription)
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{
        ErrorCode, ServiceScope, SessionId,
        testing::{SESSION, administrator, session},
    };

    use crate::tests::harness;

    #[tokio::test]
    async fn the_same_again_replaces_the_body() {
        let harness = harness();
        for body in ["{}", r#"{"n":1.0}"#] {
            let data = format!(r#"{{"class":"media","type":"start","body":{body}}}"#);
            assert_eq!(harness.call("core", "event", "subscribe", &data).await.unwrap().as_str(), "{}");
        }
        let held = harness.host().subscriptions(&SessionId::new(SESSION).unwrap()).unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].topic.fields(), ["media", "*", "start", "*"]);
        assert_eq!(held[0].body.as_str(), r#"{"n":1.0}"#);
        assert_eq!(held[0].service, ServiceScope::Own);
    }

    #[tokio::test]
    async fn another_service_and_any_class_need_permission() {
        let harness = harness();
        for data in
            [r#"{"class":"*"}"#, r#"{"class":"a","service":"none"}"#, r#"{"class":"a","service":"*"}"#]
        {
            let error = harness.call("core", "event", "subscribe", data).await.unwrap_err();
            assert!(error.is(ErrorCode::Unauthorized), "{data}");
        }
        harness.call("core", "event", "subscribe", r#"{"class":"a","service":"test"}"#).await.unwrap();
    }

    #[tokio::test]
    async fn a_service_is_looked_for_after_permission() {
        let harness = harness();
        let administrator = administrator(&session("tester", SESSION).unwrap());
        let data = r#"{"class":"a","service":"none"}"#;
        let error = harness.call_as(&administrator, "core", "event", "subscribe", data).await.unwrap_err();
        assert!(error.is(ErrorCode::ServiceNotFound));
        harness.add_service("none");
        harness.call_as(&administrator, "core", "event", "subscribe", data).await.unwrap();
    }
}
