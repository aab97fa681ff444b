use jackfield_plugin_api::{Command, Context, Result, Topic};
use schemars::JsonSchema;
use serde::Deserialize;

use super::permit;
use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "event", "unsubscribe")
        .about("Ends a subscription of the session. One that is not there is no error.")
        .ordered()
        .handler(unsubscribe)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The subscription's class.
    class: String,
    /// Its subclass.
    #[serde(default = "any")]
    subclass: String,
    /// Its type.
    #[serde(rename = "type", default = "any")]
    kind: String,
    /// Its object.
    #[serde(default = "any")]
    obj_id: String,
    /// Its service.
    service: Option<String>,
}

/// Asks for no permission on the topic: a session that lost it must still be able to let go.
async fn unsubscribe(cx: Context, args: Args) -> Result<()> {
    let topic = Topic::new(args.class, args.subclass, args.kind, args.obj_id);
    let service = permit::service(&cx, args.service.as_deref()).await?;
    cx.host().unsubscribe(&cx.identity()?.session_id, &topic, &service)
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{ErrorCode, SessionId, testing::SESSION};

    use crate::tests::harness;

    #[tokio::test]
    async fn only_the_same_fields_are_ended() {
        let harness = harness();
        let held = || harness.host().subscriptions(&SessionId::new(SESSION).unwrap()).unwrap().len();
        harness.call("core", "event", "subscribe", r#"{"class":"media","type":"start"}"#).await.unwrap();
        harness.call("core", "event", "unsubscribe", r#"{"class":"media"}"#).await.unwrap();
        assert_eq!(held(), 1);
        harness.call("core", "event", "unsubscribe", r#"{"class":"media","type":"start"}"#).await.unwrap();
        assert_eq!(held(), 0);
    }

    #[tokio::test]
    async fn another_service_needs_permission() {
        let data = r#"{"class":"media","service":"other"}"#;
        let error = harness().call("core", "event", "unsubscribe", data).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
    }
}
