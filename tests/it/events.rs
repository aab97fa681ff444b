//! protocol.md §5: events.

mod bodies;
mod delivery;
mod filters;
mod matching;
mod model;
mod order;
mod random;

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, Transport, code, on_both};

/// Sends an event, and waits until it is queued for everyone who gets it.
async fn publish(client: &mut Client, event: Value) {
    assert_eq!(client.ok("core/event/send_event", event).await, json!({}));
}

async fn subscribe(client: &mut Client, subscription: Value) {
    assert_eq!(client.ok("core/event/subscribe", subscription).await, json!({}));
}

/// The session's subscriptions, the two automatic ones apart.
async fn own_subscriptions(client: &mut Client) -> Vec<Value> {
    let all = client.ok("core/event/get_subscriptions", json!({})).await;
    all.as_array().expect("a list").iter().filter(|each| each["class"] != "core").cloned().collect()
}

/// A broker, and a session of ann's.
async fn with_ann(transport: Transport) -> (Broker, Client) {
    let broker = Broker::start(Options::default()).await;
    let ann = broker.login(transport, "ann").await;
    (broker, ann)
}

#[tokio::test]
async fn every_session_begins_with_two_subscriptions() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        let mut too = broker.login(transport, "ann").await;
        for client in [&mut ann, &mut too] {
            let found = client.ok("core/event/get_subscriptions", json!({})).await;
            let of_user = json!({"class": "core", "subclass": "user_event", "type": "*", "obj_id": "ann"});
            let of_session = json!({"class": "core", "subclass": "session_event", "type": "*",
                "obj_id": client.session_id()});
            let found = found.as_array().expect("a list");
            assert!(found.len() == 2 && found.contains(&of_user) && found.contains(&of_session), "{found:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_subscribed_is_listed() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        subscribe(&mut ann, json!({"class": "media"})).await;
        subscribe(&mut ann, json!({"class": "media", "subclass": "session", "type": "*", "obj_id": null})).await;
        subscribe(
            &mut ann,
            json!({"class": "media", "subclass": "session", "type": "hangup", "obj_id": "a/b", "body": {"k": [1]}}),
        )
        .await;
        let found = own_subscriptions(&mut ann).await;
        let expected = [
            json!({"class": "media", "subclass": "*", "type": "*", "obj_id": "*"}),
            json!({"class": "media", "subclass": "session", "type": "*", "obj_id": "*"}),
            json!({"class": "media", "subclass": "session", "type": "hangup", "obj_id": "a/b", "body": {"k": [1]}}),
        ];
        assert!(found.len() == 3 && expected.iter().all(|each| found.contains(each)), "{found:?}");
        let mut too = broker.login(transport, "ann").await;
        assert_eq!(own_subscriptions(&mut too).await, [] as [Value; 0], "each session has its own");
    })
    .await;
}

#[tokio::test]
async fn answers_are_plain_ok() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        for command in ["subscribe", "send_event", "send", "unsubscribe"] {
            let tid = ann.start(&format!("core/event/{command}"), json!({"class": "media"})).await;
            assert_eq!(ann.response(tid).await, json!({"result": "ok", "tid": tid}));
        }
    })
    .await;
}

/// `"*"`, `null` and nothing are the same subscription.
#[tokio::test]
async fn the_same_fields_are_one_subscription() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        subscribe(&mut ann, json!({"class": "media"})).await;
        subscribe(&mut ann, json!({"class": "media", "subclass": "*", "type": null})).await;
        subscribe(&mut ann, json!({"class": "media", "obj_id": "*", "body": {"n": 1}})).await;
        let listed = json!({"class": "media", "subclass": "*", "type": "*", "obj_id": "*", "body": {"n": 1}});
        assert_eq!(own_subscriptions(&mut ann).await, [listed]);
        publish(&mut ann, json!({"class": "media"})).await;
        assert_eq!(ann.event().await, json!({"class": "media", "body": {"n": 1}}));

        subscribe(&mut ann, json!({"class": "media", "body": {"m": 2}})).await;
        publish(&mut ann, json!({"class": "media"})).await;
        assert_eq!(ann.event().await, json!({"class": "media", "body": {"m": 2}}), "replaced, not merged");

        subscribe(&mut ann, json!({"class": "media"})).await;
        let listed = json!({"class": "media", "subclass": "*", "type": "*", "obj_id": "*"});
        assert_eq!(own_subscriptions(&mut ann).await, [listed]);
        publish(&mut ann, json!({"class": "media"})).await;
        assert_eq!(ann.event().await, json!({"class": "media"}));
    })
    .await;
}

#[tokio::test]
async fn unsubscribing_takes_that_subscription_away() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        subscribe(&mut ann, json!({"class": "media", "subclass": "session", "body": {"n": 1}})).await;
        for other in [
            json!({"class": "media"}),
            json!({"class": "media", "subclass": "session", "type": "hangup"}),
            json!({"class": "media", "subclass": "sessio"}),
            json!({"class": "other", "subclass": "session"}),
        ] {
            assert_eq!(ann.ok("core/event/unsubscribe", other).await, json!({}));
        }
        publish(&mut ann, json!({"class": "media", "subclass": "session"})).await;
        assert_eq!(ann.event().await["body"], json!({"n": 1}));

        ann.ok("core/event/unsubscribe", json!({"class": "media", "subclass": "session", "obj_id": "*"}))
            .await;
        assert_eq!(own_subscriptions(&mut ann).await, [] as [Value; 0]);
        publish(&mut ann, json!({"class": "media", "subclass": "session"})).await;
        ann.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn the_automatic_ones_are_subscriptions_like_others() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let of_user = json!({"class": "core", "subclass": "user_event", "obj_id": "ann"});
        ann.ok("core/event/unsubscribe", of_user.clone()).await;
        let left = ann.ok("core/event/get_subscriptions", json!({})).await;
        assert_eq!(left[0]["subclass"], "session_event", "{left}");
        ann.ok("core/user/send_event", json!({"user": "ann", "type": "lost"})).await;
        ann.expect_no_event().await;
        subscribe(&mut ann, of_user).await;
        ann.ok("core/user/send_event", json!({"user": "ann", "type": "back"})).await;
        assert_eq!(ann.event().await["type"], "back");
    })
    .await;
}

#[tokio::test]
async fn the_automatic_ones_have_their_place_among_others() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let received = async |ann: &mut Client, kind: &str| {
            ann.ok("core/user/send_event", json!({"user": "ann", "type": kind})).await;
            let event = ann.event().await;
            ann.expect_no_event().await;
            event["body"].clone()
        };
        subscribe(&mut ann, json!({"class": "core", "subclass": "user_event", "body": {"from": "wide"}}))
            .await;
        let narrow = json!({"class": "core", "subclass": "user_event", "type": "a", "obj_id": "ann"});
        subscribe(&mut ann, with_body(&narrow, "narrow")).await;
        assert_eq!(received(&mut ann, "a").await, json!({"from": "narrow"}));
        assert_eq!(received(&mut ann, "b").await, Value::Null, "the automatic one is more specific");

        let of_user = json!({"class": "core", "subclass": "user_event", "obj_id": "ann"});
        subscribe(&mut ann, with_body(&of_user, "own")).await;
        assert_eq!(received(&mut ann, "b").await, json!({"from": "own"}));
        let listed = ann.ok("core/event/get_subscriptions", json!({})).await;
        assert_eq!(listed[0]["body"], json!({"from": "own"}), "in its old place: {listed}");
        assert_eq!((&listed[1]["subclass"], &listed[4]), (&json!("session_event"), &Value::Null));

        ann.ok("core/event/unsubscribe", of_user).await;
        assert_eq!(received(&mut ann, "b").await, json!({"from": "wide"}));
    })
    .await;
}

fn with_body(subscription: &Value, from: &str) -> Value {
    let mut subscription = subscription.clone();
    subscription["body"] = json!({ "from": from });
    subscription
}

#[tokio::test]
async fn subscriptions_end_with_the_session() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        let login = json!({"user": "bob", "session_id": "always-the-same"});
        let mut bob = broker.connect(transport).await;
        bob.login_with(login.clone()).await;
        subscribe(&mut bob, json!({"class": "media"})).await;
        bob.ok("core/session/stop", json!({})).await;
        bob.drain().await;

        let mut again = broker.connect(transport).await;
        again.login_with(login).await;
        assert_eq!(own_subscriptions(&mut again).await, [] as [Value; 0]);
        publish(&mut ann, json!({"class": "media"})).await;
        again.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn only_administrators_subscribe_to_every_class() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        for data in [json!({"class": "*"}), json!({"class": "*", "obj_id": "x"})] {
            let refused = ann.err("core/event/subscribe", data).await;
            assert_eq!(refused, (code::UNAUTHORIZED, "Unauthorized".into()));
        }
        let mut admin = broker.admin(transport).await;
        subscribe(&mut admin, json!({"class": "*"})).await;
        publish(&mut ann, json!({"class": "media", "type": "hangup"})).await;
        assert_eq!(admin.event().await, json!({"class": "media", "type": "hangup"}));
        ann.ok("core/user/send_event", json!({"user": "ann"})).await;
        assert_eq!(admin.event().await["subclass"], "user_event");
        admin.ok("core/event/unsubscribe", json!({"class": "*"})).await;
        publish(&mut ann, json!({"class": "media"})).await;
        admin.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn an_event_needs_a_class() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        for command in ["core/event/send_event", "core/event/send"] {
            let wrong = ann.err(command, json!({"class": "*"})).await;
            assert_eq!(wrong, (code::INVALID_VALUE, "Invalid value: class".into()));
            for data in [json!({"type": "x"}), json!({})] {
                assert_eq!(
                    ann.err(command, data).await,
                    (code::MISSING_FIELD, "Missing field: class".into())
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn send_is_send_event() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        subscribe(&mut ann, json!({"class": "media"})).await;
        let event = json!({"class": "media", "subclass": "session", "type": "hangup", "obj_id": "1", "body": {"a": 1}});
        ann.ok("core/event/send", event.clone()).await;
        assert_eq!(ann.event().await, event);
    })
    .await;
}
