//! Plugins come and go beneath what sessions have registered.

use serde_json::{Value, json};

use super::{RULE, worker};
use crate::support::{Broker, Client, Options, code, on_both, with_admin};

const ECHO: &str = "fixture/core/echo";

fn configuration(plugins: &str) -> String {
    with_admin(&format!("plugins = [{plugins}]\n{RULE}"))
}

async fn provider(client: &mut Client, wanted: &str) -> Value {
    let data = json!({"class": "fixture", "cmd": "echo"});
    client.until_ok("core/registry/describe", data, |info| info["plugin"] == wanted).await
}

#[tokio::test]
async fn a_plugin_takes_over_and_gives_back() {
    on_both(async |transport| {
        let options = Options::fixture().plugins(&[]).whole_config(&configuration("\"auth-open\""));
        let broker = Broker::start(options).await;
        let registration = json!({"class": "fixture", "subclass": "core", "cmd": "echo"});
        let mut worker = worker(&broker, transport, "worker", registration.clone()).await;
        worker.ok("core/registry/register", json!({"class": "other"})).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.start(ECHO, json!({"n": 1})).await;
        assert_eq!(worker.next_request().await["data"], json!({"n": 1}));

        broker.rewrite_config(&configuration("\"fixture\", \"auth-open\""));
        broker.hangup();
        provider(&mut ann, "fixture").await;
        ann.ok(ECHO, json!({"n": 2})).await;
        assert_eq!(worker.err("core/registry/register", registration).await.0, code::UNAUTHORIZED);
        ann.start("other/core/do", json!({"n": 3})).await;
        assert_eq!(worker.next_request().await["data"], json!({"n": 3}), "the plugin's was its own");

        broker.rewrite_config(&configuration("\"auth-open\""));
        broker.hangup();
        provider(&mut ann, &format!("session:{}", worker.session_id())).await;
        ann.start(ECHO, json!({"n": 4})).await;
        assert_eq!(worker.next_request().await["data"], json!({"n": 4}));
        ann.ok("core/session/stop", json!({"session_id": worker.session_id()})).await;
        assert_eq!(ann.err(ECHO, json!({})).await.0, code::UNKNOWN_COMMAND);
    })
    .await;
}
