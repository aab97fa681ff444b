use jackfield_plugin_api::{Command, Context, Event, RawJson, Result, Topic};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "user", "send_event")
        .about("Sends an event to every session of a user.")
        .ordered()
        .handler(send_event)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// To whom.
    user: String,
    /// The event's type.
    #[serde(rename = "type", default = "any")]
    kind: String,
    /// What the event says.
    #[serde(default)]
    body: RawJson,
}

async fn send_event(cx: Context, args: Args) -> Result<()> {
    let topic = Topic {
        // Taken literally: a user named `*` is one user.
        obj_id: Some(args.user.into()),
        ..Topic::new("core", "user_event", args.kind, "*")
    };
    cx.publish(Event::new(topic, args.body)).map(drop)
}

#[cfg(test)]
mod tests {
    use crate::tests::harness;

    #[tokio::test]
    async fn the_event_is_the_users() {
        let harness = harness();
        let data = r#"{"user":"ann","type":"note","body":{"n":1.0}}"#;
        assert_eq!(harness.call("core", "user", "send_event", data).await.unwrap().as_str(), "{}");
        let published = &harness.published()[0];
        assert_eq!(published.event.topic.fields(), ["core", "user_event", "note", "ann"]);
        assert_eq!(published.event.body.as_str(), r#"{"n":1.0}"#);
        assert_eq!(published.from.as_ref().unwrap().identity().unwrap().user.as_str(), "tester");
    }

    #[tokio::test]
    async fn type_and_body_may_be_absent() {
        let harness = harness();
        harness.call("core", "user", "send_event", r#"{"user":"*"}"#).await.unwrap();
        let event = &harness.published()[0].event;
        assert_eq!((event.topic.kind.as_deref(), event.topic.obj_id.as_deref()), (None, Some("*")));
        assert!(event.body.is_empty());
    }
}
