use jackfield_plugin_api::{Answer, Command, RawJson};

use serde_json::json;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "core", "ping")
        .about("Answers, which shows that the broker is there. Needs no login.")
        .data_schema(json!({ "type": "object", "additionalProperties": true }))
        .reply_schema(json!({ "type": "object" }))
        .unrestricted()
        .raw_handler(|_cx, _request| async { Ok(Answer::Reply(RawJson::empty())) })
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::testing::anonymous;

    use crate::tests::harness;

    #[tokio::test]
    async fn anybody_may_ping() {
        let harness = harness();
        for data in ["{}", r#"{"time":60}"#, r#"{"time":0.5}"#] {
            let answer = harness.call_as(&anonymous(), "core", "core", "ping", data).await.unwrap();
            assert_eq!(answer.as_str(), "{}");
            harness.call("core", "core", "ping", data).await.unwrap();
        }
    }
}
