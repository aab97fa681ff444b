//! The examples do what their first lines say.

use std::fs;

use serde_json::json;

use crate::support::{Broker, Options, Transport, c_library, code, example_library, jackfield, on_both};

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

#[tokio::test]
async fn the_library_units_converts() {
    let library = example_library("units");
    on_both(async |transport| {
        let options = Options::default().plugins(&[library.to_str().unwrap(), "auth-open"]);
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        let length = json!({"value": 1609.344, "from": "m", "to": "mile"});
        assert_eq!(ann.ok("units/core/convert", length).await, json!({"value": 1.0}));
        let negative = json!({"value": -1, "from": "m", "to": "km"});
        assert_eq!(ann.err("units/core/convert", negative).await.0, 200_001);
        let unknown = json!({"value": 1, "from": "m", "to": "inch"});
        assert_eq!(ann.err("units/core/convert", unknown).await.0, code::INVALID_VALUE);
        assert_eq!(ann.ok("units/core/measure", json!({"milliseconds": 20})).await, json!({"value": 1.0}));
    })
    .await;
}

#[tokio::test]
async fn the_library_api_keys_follows_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.txt");
    let sum = sha256("k-5f0c");
    fs::write(&file, format!("# keys\n{sum} ann\n")).unwrap();
    let library = example_library("api_keys");
    let setting = format!("service.main.plugin.api-keys.file={:?}", file.to_str().unwrap());
    let options = Options::default().plugins(&[library.to_str().unwrap()]).set(&setting);
    let broker = Broker::start(options).await;
    let mut ann = broker.connect(Transport::Ws).await;
    ann.login_with(json!({"api_key": "k-5f0c"})).await;
    let users = ann.ok("core/user/list", json!({})).await;
    assert_eq!(users, json!({"ann": [ann.session_id()]}));
    let get = ann.ok("core/user/get", json!({"user": "ann"})).await;
    assert!(!get.to_string().contains("k-5f0c"), "{get}");
    let mut eve = broker.connect(Transport::Tcp).await;
    let (error, _) = eve.err("core/user/login", json!({"api_key": "k-other"})).await;
    assert_eq!(error, code::UNAUTHORIZED);
    fs::write(&file, format!("{} bob\n", sha256("k-other"))).unwrap();
    loop {
        let mut bob = broker.connect(Transport::Tcp).await;
        if bob.request("core/user/login", json!({"api_key": "k-other"})).await["result"] == "ok" {
            break;
        }
    }
    fs::write(&file, "no sum\n").unwrap();
    broker.logged("the keys stay as they were").await;
    let mut bob = broker.connect(Transport::Ws).await;
    bob.login_with(json!({"api_key": "k-other"})).await;
    assert!(!broker.log().contains("k-other"));
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_plugin_in_c_converts_and_filters() {
    let directory = tempfile::tempdir().unwrap();
    let library = c_library(directory.path(), "examples/plugin_in_c/temperature.c", "plugin-api/include");
    let checked = jackfield(directory.path(), &["plugin", "check", library.to_str().unwrap()]).await.exits(0);
    assert!(checked.stdout.contains("temperature/core/convert"), "{}", checked.stdout);
    on_both(async |transport| {
        let options = Options::default().plugins(&[library.to_str().unwrap(), "auth-open"]);
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        let convert = "temperature/core/convert";
        assert_eq!(ann.ok(convert, json!({"celsius": 21.5})).await, json!({"fahrenheit": 70.7}));
        assert_eq!(ann.err(convert, json!({"celsius": -300})).await.0, code::INVALID_VALUE);
        assert_eq!(ann.err(convert, json!({})).await.0, code::MISSING_FIELD);
        ann.ok("core/event/subscribe", json!({"class": "temperature"})).await;
        let mut bob = broker.login(transport, "bob").await;
        for event in [
            json!({"class": "temperature", "type": "raw", "body": {"celsius": 1}}),
            json!({"class": "temperature", "type": "raw", "obj_id": "roof", "body": {"celsius": 2}}),
            json!({"class": "temperature", "type": "reading", "obj_id": "roof", "body": {"celsius": 3}}),
        ] {
            bob.ok("core/event/send_event", event).await;
        }
        for celsius in [2, 3] {
            let reading = json!({
                "class": "temperature", "type": "reading", "obj_id": "roof", "body": {"celsius": celsius},
            });
            assert_eq!(ann.event().await, reading);
        }
    })
    .await;
}
