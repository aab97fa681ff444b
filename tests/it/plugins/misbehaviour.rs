//! What a library may do wrong: the broker and all other requests go on.

use serde_json::json;

use super::{listed, text, with_library};
use crate::support::{Broker, Client, Options, Transport, code, eventually, fixture_library, on_both};

async fn load(admin: &mut Client, trouble: &str) -> serde_json::Value {
    let data = json!({"path": text(&fixture_library()), "config": {"trouble": trouble}});
    admin.request("core/plugin/load", data).await
}

#[tokio::test]
async fn a_panic_in_a_handler_is_one_failed_request() {
    on_both(async |transport| {
        let broker = with_library().await;
        let mut ann = broker.login(transport, "ann").await;
        let beside = ann.start("fixture/core/sleep", json!({"ms": 200})).await;
        for command in ["fixture/core/panic", "fixture/core/panic_late"] {
            let (code, text) = ann.err(command, json!({})).await;
            assert_eq!(code, code::INTERNAL_ERROR_REF);
            let reference = text.strip_prefix("Internal error: ").unwrap().to_string();
            broker.logged(&reference).await;
            let log = broker.log();
            let line = log.lines().find(|line| line.contains(&reference)).unwrap();
            for fact in ["fixture", command, "the fixture was asked to panic"] {
                assert!(line.contains(fact), "{fact} is not in {line}");
            }
        }
        assert_eq!(ann.response(beside).await["data"], json!({"slept": 200}));
        ann.ok("fixture/core/echo", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_a_background_task() {
    let broker = with_library().await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    ann.ok("fixture/trouble/panic_background", json!({})).await;
    broker.logged("the fixture was asked to panic in the background").await;
    ann.ok("fixture/core/echo", json!({})).await;
    ann.ok("fixture/core/sleep", json!({"ms": 1})).await;
}

#[tokio::test]
async fn a_panic_in_register() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut admin = broker.admin(transport).await;
        for _ in 0..2 {
            let answer = load(&mut admin, "register").await;
            assert_eq!(answer["data"]["code"], code::INTERNAL_ERROR_REF, "{answer}");
            assert_eq!(listed(&mut admin, "fixture").await, None);
        }
        broker.logged("the fixture was asked to panic in register").await;
        let answer = load(&mut admin, "refuse").await;
        assert_eq!(answer["data"]["code"], code::PLUGIN_UNAVAILABLE, "{answer}");
        assert!(answer["data"]["error"].as_str().unwrap().contains("not today"), "{answer}");
        assert_eq!(load(&mut admin, "none").await["result"], "ok");
        admin.ok("fixture/core/echo", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_destroy() {
    let broker = Broker::start(Options::default()).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    for _ in 0..3 {
        assert_eq!(load(&mut admin, "destroy").await["result"], "ok");
        admin.ok("fixture/core/echo", json!({})).await;
        admin.ok("core/plugin/unload", json!({"name": "fixture"})).await;
    }
    let said = || broker.log().matches("the fixture was asked to panic in destroy").count();
    eventually("three panics in the log", || said() >= 3).await;
    admin.ok("core/user/list", json!({})).await;
    assert_eq!(load(&mut admin, "none").await["result"], "ok");
    admin.ok("fixture/core/echo", json!({})).await;
}

#[tokio::test]
async fn the_broker_ends_well_with_a_library_that_panics_in_destroy() {
    let mut broker = Broker::start(Options::default()).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    assert_eq!(load(&mut admin, "destroy").await["result"], "ok");
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));
}

#[tokio::test]
async fn five_panics_in_a_minute_are_enough() {
    on_both(async |transport| {
        let broker = with_library().await;
        let (mut admin, mut ann) = (broker.admin(transport).await, broker.login(transport, "ann").await);
        ann.ok("core/event/subscribe", json!({"class": "core", "subclass": "plugin"})).await;
        for _ in 0..5 {
            assert_eq!(ann.err("fixture/core/panic", json!({})).await.0, code::INTERNAL_ERROR_REF);
        }
        let event = ann.event().await;
        assert_eq!((&event["type"], &event["obj_id"]), (&json!("failed"), &json!("fixture")));
        assert!(event["body"]["error"].as_str().unwrap().contains("5 panics"), "{event}");
        for command in ["fixture/core/echo", "fixture/core/panic"] {
            let (code, text) = ann.err(command, json!({})).await;
            assert_eq!((code, text.as_str()), (code::PLUGIN_UNAVAILABLE, "Plugin unavailable: fixture"));
        }
        assert_eq!(listed(&mut admin, "fixture").await.unwrap()["state"], "quarantined");
        // An authenticator that is not asked any more lets nobody past it, administrators apart.
        let mut bob = broker.connect(transport).await;
        let refused = bob.err("core/user/login", json!({"user": "bob"})).await;
        assert_eq!(refused.0, code::PLUGIN_UNAVAILABLE);
        broker.admin(transport).await.ok("core/user/list", json!({})).await;
        admin.ok("core/plugin/reload", json!({"name": "fixture"})).await;
        ann.ok("fixture/core/echo", json!({})).await;
        bob.ok("core/user/login", json!({"user": "bob"})).await;
        assert_eq!(listed(&mut admin, "fixture").await.unwrap()["state"], "running");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_cancelled() {
    let options = Options::default().plugins(&[text(&fixture_library()), "auth-open"]);
    let broker = Broker::start(options.set("timeouts.handler=200ms")).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    assert_eq!(ann.err("fixture/core/sleep", json!({"ms": 60_000})).await.0, code::TIMEOUT);
    ann.ok("fixture/core/echo", json!({})).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    admin.ok("core/plugin/unload", json!({"name": "fixture"})).await;
    broker.logged("a plugin was stopped").await;
}
