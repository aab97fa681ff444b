use jackfield_plugin_api::{Command, Context, NoArguments, RawJson, Result, ServiceScope, Subscription};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "event", "get_subscriptions")
        .about("Lists the session's own subscriptions.")
        .handler(get_subscriptions)
}

#[derive(Serialize, JsonSchema)]
struct Held {
    /// The events' class.
    class: String,
    /// Their subclass; `*` for any.
    subclass: String,
    /// Their type; `*` for any.
    #[serde(rename = "type")]
    kind: String,
    /// The object they are about; `*` for any.
    obj_id: String,
    /// Merged below the body of each event.
    #[serde(skip_serializing_if = "RawJson::is_empty")]
    body: RawJson,
    /// Another service of the same broker; `*` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

async fn get_subscriptions(cx: Context, _: NoArguments) -> Result<Vec<Held>> {
    let held = cx.host().subscriptions(&cx.identity()?.session_id)?;
    Ok(held.into_iter().map(Held::from).collect())
}

impl From<Subscription> for Held {
    fn from(subscription: Subscription) -> Self {
        let [class, subclass, kind, obj_id] = subscription.topic.fields().map(str::to_owned);
        let service = match subscription.service {
            ServiceScope::Own => None,
            ServiceScope::Named(name) => Some(name.to_string()),
            ServiceScope::All => Some("*".to_owned()),
        };
        Self { class, subclass, kind, obj_id, body: subscription.body, service }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::testing::{SESSION, administrator, session};

    use crate::tests::harness;

    #[tokio::test]
    async fn body_and_service_stand_where_set() {
        let harness = harness();
        let administrator = administrator(&session("tester", SESSION).unwrap());
        for data in [r#"{"class":"a","obj_id":"1"}"#, r#"{"class":"b","body":{"n":1.0},"service":"*"}"#] {
            harness.call_as(&administrator, "core", "event", "subscribe", data).await.unwrap();
        }
        let held = harness.call("core", "event", "get_subscriptions", "{}").await.unwrap();
        let expected = concat!(
            r#"[{"class":"a","subclass":"*","type":"*","obj_id":"1"},"#,
            r#"{"class":"b","subclass":"*","type":"*","obj_id":"*","body":{"n":1.0},"service":"*"}]"#,
        );
        assert_eq!(held.as_str(), expected);
    }
}
