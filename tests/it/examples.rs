//! The examples do what their first lines say.

use serde_json::json;

use crate::support::{Broker, Options, code, on_both};

#[tokio::test]
async fn hello_plugin_greets_and_counts() {
    on_both(async |transport| {
        let broker = Broker::start(Options::example("hello_plugin").plugins(&["auth-open", "hello"])).await;
        let mut ann = broker.login(transport, "ann").await;
        let greeting = ann.ok("hello/core/greet", json!({"name": "Ann"})).await;
        assert!(greeting["greeting"].as_str().is_some_and(|text| text.contains("Ann")), "{greeting}");
        assert_eq!(ann.ok("hello/core/count", json!({})).await, json!({"count": 1}));
        assert_eq!(ann.err("hello/core/greet", json!({})).await.0, code::MISSING_FIELD);
    })
    .await;
}

#[tokio::test]
async fn auth_plugin_knows_badges() {
    on_both(async |transport| {
        let options = Options::example("auth_plugin")
            .plugins(&["auth-badge"])
            .set(r#"service.main.plugin.auth-badge.badges={b17={user="ann"}}"#);
        let broker = Broker::start(options).await;
        let mut ann = broker.connect(transport).await;
        ann.login_with(json!({"badge": "b17"})).await;
        let users = ann.ok("core/user/list", json!({})).await;
        assert_eq!(users, json!({"ann": [ann.session_id()]}));
        let mut other = broker.connect(transport).await;
        other.request("core/user/login", json!({"user": "eve", "badge": "b18"})).await;
        assert_eq!(other.err("core/user/list", json!({})).await.0, code::NOT_AUTHENTICATED);
    })
    .await;
}

#[tokio::test]
async fn filter_plugin_masks_keys() {
    on_both(async |transport| {
        let options = Options::example("filter_plugin")
            .plugins(&["auth-open", "mask"])
            .set(r#"service.main.plugin.mask.keys=["card"]"#);
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.ok("core/event/subscribe", json!({"class": "shop"})).await;
        let mut bob = broker.login(transport, "bob").await;
        let event = json!({"class": "shop", "body": {"card": "4111", "paid": 1.5}});
        bob.ok("core/event/send_event", event).await;
        let body = json!({"card": "***", "paid": 1.5});
        assert_eq!(ann.event().await, json!({"class": "shop", "body": body}));
    })
    .await;
}
