//! Events and plugins: the fixture's event filter, what it hears, and what it fires itself.

use serde_json::{Value, json};

use super::{publish, subscribe};
use crate::support::{Broker, Client, Options, Transport, on_both};

/// A fixture broker with a sender, and a receiver that is subscribed to all that the filter looks at.
async fn with_receiver(transport: Transport, user: &str) -> (Broker, Client, Client) {
    let broker = Broker::start(Options::fixture()).await;
    let sender = broker.login(transport, "sender").await;
    let mut receiver = broker.login(transport, user).await;
    for class in ["fixture-drop", "fixture-change", "other"] {
        subscribe(&mut receiver, json!({"class": class})).await;
    }
    (broker, sender, receiver)
}

async fn received(client: &mut Client) -> u64 {
    client.ok("fixture/core/received", json!({})).await["count"].as_u64().expect("a count")
}

#[tokio::test]
async fn a_filter_may_drop_an_event() {
    on_both(async |transport| {
        let (_broker, mut sender, mut receiver) = with_receiver(transport, "ann").await;
        publish(&mut sender, json!({"class": "fixture-drop", "body": {"n": 1}})).await;
        publish(&mut sender, json!({"class": "other", "body": {"n": 2}})).await;
        assert_eq!(receiver.events_so_far().await, [json!({"class": "other", "body": {"n": 2}})]);
    })
    .await;
}

#[tokio::test]
async fn a_filter_may_change_an_event() {
    on_both(async |transport| {
        let (_broker, mut sender, mut receiver) = with_receiver(transport, "ann").await;
        publish(&mut sender, json!({"class": "fixture-change", "type": "t", "body": {"n": 1}})).await;
        let changed = json!({"class": "fixture-change", "type": "t", "body": {"changed": true}});
        assert_eq!(receiver.event().await, changed);

        subscribe(&mut receiver, json!({"class": "fixture-change", "body": {"mine": 1, "changed": false}}))
            .await;
        publish(&mut sender, json!({"class": "fixture-change", "type": "t"})).await;
        let body = json!({"mine": 1, "changed": true});
        assert_eq!(receiver.event().await["body"], body, "subscriptions see the event as it was changed");
    })
    .await;
}

#[tokio::test]
async fn a_filter_may_keep_an_event_from_one_session() {
    on_both(async |transport| {
        let (broker, mut sender, mut deaf) = with_receiver(transport, "deaf").await;
        let mut other = broker.login(transport, "ann").await;
        subscribe(&mut other, json!({"class": "fixture-change"})).await;
        publish(&mut sender, json!({"class": "fixture-change"})).await;
        publish(&mut sender, json!({"class": "other"})).await;
        assert_eq!(deaf.events_so_far().await, [json!({"class": "other"})]);
        let changed = json!({"class": "fixture-change", "body": {"changed": true}});
        assert_eq!(other.events_so_far().await, [changed]);
    })
    .await;
}

#[tokio::test]
async fn an_event_as_a_request_is_heard_by_plugins_alone() {
    on_both(async |transport| {
        let (_broker, mut sender, mut receiver) = with_receiver(transport, "ann").await;
        let before = received(&mut sender).await;
        for data in [
            json!({"class": "other", "body": {"n": 1}}),
            json!({"class": "other", "subclass": "*", "type": "t"}),
            json!({"class": "core", "subclass": "session_event", "obj_id": receiver.session_id()}),
        ] {
            let tid = sender.start("core/core/event", data).await;
            assert_eq!(sender.response(tid).await, json!({"result": "ok", "tid": tid}));
        }
        receiver.expect_no_event().await;
        assert_eq!(received(&mut sender).await, before + 3);
    })
    .await;
}

#[tokio::test]
async fn what_is_fired_is_not_received() {
    on_both(async |transport| {
        let (_broker, mut sender, mut receiver) = with_receiver(transport, "ann").await;
        let before = received(&mut sender).await;
        publish(&mut sender, json!({"class": "other"})).await;
        receiver.event().await;
        assert_eq!(received(&mut sender).await, before);
    })
    .await;
}

#[tokio::test]
async fn a_plugin_fires_events_like_others() {
    on_both(async |transport| {
        let (_broker, mut sender, mut receiver) = with_receiver(transport, "ann").await;
        for event in [
            json!({"class": "other", "subclass": "s", "type": "t", "obj_id": "o", "body": {"n": 1}}),
            json!({"class": "other"}),
        ] {
            sender.ok("fixture/core/fire", event.clone()).await;
            assert_eq!(receiver.event().await, event);
        }
        sender.ok("fixture/core/fire", json!({"class": "fixture-drop"})).await;
        sender.ok("fixture/core/fire", json!({"class": "fixture-change", "body": {"n": 1}})).await;
        assert_eq!(receiver.event().await["body"], json!({"changed": true}));
        receiver.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn a_plugin_cannot_speak_as_the_broker() {
    on_both(async |transport| {
        let (_broker, mut sender, mut receiver) = with_receiver(transport, "ann").await;
        subscribe(&mut receiver, json!({"class": "core"})).await;
        for class in ["core", "*"] {
            let event: Value =
                json!({"class": class, "subclass": "session_event", "obj_id": receiver.session_id()});
            sender.err("fixture/core/fire", event).await;
        }
        receiver.expect_no_event().await;
    })
    .await;
}
