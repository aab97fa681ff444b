use jackfield_plugin_api::{Command, Context, Event, RawJson, Result, Topic};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "session", "send_event")
        .about("Sends an event to a session.")
        .ordered()
        .handler(send_event)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// To which session.
    session_id: String,
    /// The event's type.
    #[serde(rename = "type", default = "any")]
    kind: String,
    /// What the event says.
    #[serde(default)]
    body: RawJson,
}

async fn send_event(cx: Context, args: Args) -> Result<()> {
    let topic = Topic {
        // Taken literally: a session whose id is `*` is one session.
        obj_id: Some(args.session_id.into()),
        ..Topic::new("core", "session_event", args.kind, "*")
    };
    cx.publish(Event::new(topic, args.body)).map(drop)
}

#[cfg(test)]
mod tests {
    use crate::tests::harness;

    #[tokio::test]
    async fn the_event_is_the_sessions() {
        let harness = harness();
        let data = r#"{"session_id":"s1","type":"note","body":{"n":1.0}}"#;
        assert_eq!(harness.call("core", "session", "send_event", data).await.unwrap().as_str(), "{}");
        let published = &harness.published()[0];
        assert_eq!(published.event.topic.fields(), ["core", "session_event", "note", "s1"]);
        assert_eq!(published.event.body.as_str(), r#"{"n":1.0}"#);
        assert_eq!(published.from.as_ref().unwrap().identity().unwrap().user.as_str(), "tester");
    }
}
