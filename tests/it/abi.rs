//! Plugins that were built for earlier versions of the C ABI work: see `tests/abi/README.md`.

use serde_json::{Value, json};

use crate::support::{Broker, Client, Metrics, Options, Transport, c_library, code, eventually};

struct Old {
    broker: Broker,
    _directory: tempfile::TempDir,
}

/// A broker with the plugin of a version, built from that version's header.
async fn with(version: &str, set: &[&str]) -> Old {
    let directory = tempfile::tempdir().unwrap();
    let source = format!("tests/abi/{version}/plugin.c");
    let library = c_library(directory.path(), &source, &format!("tests/abi/{version}"));
    let options = Options::default().plugins(&[library.to_str().unwrap(), "auth-open"]);
    let options = options.config("[admin]\nlisten = \"http://127.0.0.1:0\"");
    let broker = Broker::start(set.iter().fold(options, |options, setting| options.set(setting))).await;
    Old { broker, _directory: directory }
}

async fn seen(client: &mut Client) -> Value {
    client.ok("abi/core/seen", json!({})).await
}

#[tokio::test]
async fn version_1_0_serves() {
    let old = with("v1.0", &["timeouts.handler=200ms"]).await;
    let mut ann = old.broker.login(Transport::Ws, "ann").await;
    assert_eq!(ann.ok("abi/core/now", json!({})).await, json!({"now": true}));
    assert_eq!(ann.ok("abi/core/soon", json!({})).await, json!({"now": true}));
    let later = ann.ok("abi/core/later", json!({"n": 1.5})).await;
    assert_eq!(later, json!({"data": {"n": 1.5}, "user": "ann", "class": "abi"}));
    let failed = ann.request("abi/core/fail", json!({})).await;
    assert_eq!((&failed["data"]["code"], &failed["data"]["error"]), (&json!(200_003), &json!("Sorry")));
    assert_eq!(ann.err("abi/core/break", json!({})).await.0, code::INTERNAL_ERROR_REF);
    old.broker.logged("something broke").await;
    assert_eq!(ann.err("abi/core/whatever", json!({})).await.0, code::UNKNOWN_COMMAND);
    assert_eq!(ann.ok("core/core/ping", json!({})).await, json!({}));
    assert_eq!(ann.err("abi/core/never", json!({})).await.0, code::TIMEOUT);
    assert_eq!(seen(&mut ann).await["cancelled"], 1);
    ann.ok("abi/core/bye", json!({})).await;
    ann.expect_closed_as(4000, "session_stop").await;
}

#[tokio::test]
async fn version_1_0_is_asked_about_logins_actions_and_events() {
    let old = with("v1.0", &[]).await;
    let mut ann = old.broker.login(Transport::Tcp, "ann").await;
    let mut badge = old.broker.connect(Transport::Ws).await;
    let answer = badge.ok("core/user/login", json!({"badge": "good"})).await;
    assert_eq!(answer["hello"], 1);
    let get = ann.ok("core/user/get", json!({"user": "badge"})).await.to_string();
    assert!(get.contains(r#""by":"abi""#) && !get.contains("good"), "{get}");
    let mut eve = old.broker.connect(Transport::Tcp).await;
    assert_eq!(eve.err("core/user/login", json!({"badge": "bad"})).await.0, 200_004);
    assert_eq!(ann.err("core/event/subscribe", json!({"class": "forbidden"})).await.0, 200_005);
    badge.ok("core/event/subscribe", json!({"class": "forbidden"})).await;

    ann.ok("core/event/subscribe", json!({"class": "abi"})).await;
    badge.ok("core/event/subscribe", json!({"class": "abi"})).await;
    for kind in ["dropped", "marked"] {
        ann.ok("core/event/send_event", json!({"class": "abi", "type": kind, "body": {"n": 1}})).await;
    }
    assert_eq!(ann.event().await["body"], json!({"marked": true}));
    assert_eq!(badge.event().await["body"], json!({"n": 1}));
}

#[tokio::test]
async fn version_1_0_is_told_and_may_ask() {
    let old = with("v1.0", &[]).await;
    let mut ann = old.broker.login(Transport::Ws, "ann").await;
    let session = seen(&mut ann).await["session"].clone();
    assert_eq!((&session["user"], &session["session_id"]), (&json!("ann"), &json!(ann.session_id())));
    ann.ok("core/session/log", json!({"source": "it", "message": "hello", "level": 4})).await;
    assert_eq!(seen(&mut ann).await["record"]["message"], "hello");
    let full = json!({"source": "it", "message": "full"});
    assert_eq!(ann.err("core/session/log", full).await.0, code::PLUGIN_UNAVAILABLE);

    ann.ok("core/event/subscribe", json!({"class": "abi"})).await;
    let asked = ann.ok("abi/core/ask", json!({})).await;
    assert_eq!((&asked["caller"]["user"], &asked["caller"]["who"]), (&json!("ann"), &json!("session")));
    assert_eq!(asked["users"], json!({"ann": [ann.session_id()]}));
    assert_eq!((&asked["service"]["service"], &asked["published"]["receivers"]), (&json!("main"), &json!(1)));
    assert_eq!(
        (&asked["refused"], &asked["unknown"], &asked["nobody"]),
        (&json!(1), &json!(1), &Value::Null)
    );
    assert_eq!(ann.event().await, json!({"class": "abi", "type": "told", "body": {"n": 1.5}}));
    old.broker.logged("asked").await;
    let metrics = Metrics::of(&old.broker).await;
    assert_eq!(metrics.total("jackfield_plugin_abi_served"), 3.0);
}

#[tokio::test]
async fn version_1_0_is_stopped_and_destroyed() {
    let old = with("v1.0", &[]).await;
    let mut admin = old.broker.admin(Transport::Ws).await;
    admin.ok("core/plugin/reload", json!({"name": "abi-1-0"})).await;
    old.broker.logged("destroyed").await;
    assert_eq!(admin.ok("abi/core/now", json!({})).await, json!({"now": true}));
    let lines = seen(&mut admin).await["lines"].as_u64().unwrap();
    assert!(lines > 0, "the reload is in the log");
    let (error, text) =
        admin.err("core/plugin/reload", json!({"name": "abi-1-0", "config": {"refuse": true}})).await;
    assert!(error == code::PLUGIN_UNAVAILABLE && text.contains("I was told to"), "{text}");
    admin.ok("core/plugin/unload", json!({"name": "abi-1-0"})).await;
    assert_eq!(admin.err("abi/core/now", json!({})).await.0, code::UNKNOWN_COMMAND);
    eventually("the second end", || old.broker.log().matches("destroyed").count() >= 2).await;
}
