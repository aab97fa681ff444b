//! What body an event arrives with.

use serde_json::{Value, json};

use super::{model, publish, subscribe};
use crate::support::{Broker, Options, on_both, raw_field};

/// An event's body, a subscription's, and what is delivered; `Null` where there is none.
fn table() -> Vec<(Value, Value, Value)> {
    vec![
        (json!(null), json!(null), json!(null)),
        (json!({}), json!({}), json!(null)),
        (json!(null), json!({"s": 1}), json!({"s": 1})),
        (json!({}), json!({"s": 1}), json!({"s": 1})),
        (json!({"e": 1}), json!(null), json!({"e": 1})),
        (json!({"e": 1}), json!({}), json!({"e": 1})),
        (json!({"e": 1}), json!({"s": 2}), json!({"e": 1, "s": 2})),
        (json!({"k": 1}), json!({"k": 2, "s": 3}), json!({"k": 1, "s": 3})),
        (json!({"k": {"e": 1}}), json!({"k": {"s": 2}}), json!({"k": {"e": 1}})),
        (json!({"k": null}), json!({"k": 2}), json!({"k": null})),
        (json!({"k": {}}), json!({"k": 2}), json!({"k": {}})),
        (json!("text"), json!({"s": 1}), json!("text")),
        (json!(5), json!({"s": 1}), json!(5)),
        (json!(0), json!({"s": 1}), json!(0)),
        (json!(false), json!({"s": 1}), json!(false)),
        (json!(""), json!({"s": 1}), json!("")),
        (json!([]), json!({"s": 1}), json!([])),
        (json!([1]), json!([2]), json!([1])),
        (json!({"e": 1}), json!("text"), json!({"e": 1})),
        (json!(null), json!("text"), json!("text")),
        (json!({}), json!([2]), json!([2])),
        (json!(null), json!(0), json!(0)),
    ]
}

#[tokio::test]
async fn bodies_are_merged_at_the_top() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        for (event, own, expected) in table() {
            subscribe(&mut ann, json!({"class": "c", "body": own})).await;
            publish(&mut ann, json!({"class": "c", "body": event})).await;
            let mut data = json!({"class": "c"});
            if !expected.is_null() {
                data["body"] = expected;
            }
            assert_eq!(ann.event().await, data, "{event} over {own}");
        }
        subscribe(&mut ann, json!({"class": "c", "body": null})).await;
        publish(&mut ann, json!({"class": "c"})).await;
        assert_eq!(ann.event().await, json!({"class": "c"}));
    })
    .await;
}

#[test]
fn the_model_says_the_same() {
    for (event, own, expected) in table() {
        let merged = model::merge(&event, &own);
        assert!(merged == expected || expected.is_null() && model::is_empty(&merged), "{event} over {own}");
    }
}

/// Sessions with different bodies each get their own; those without get the event's.
#[tokio::test]
async fn each_session_gets_its_own_body() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut sender = broker.login(transport, "sender").await;
        let mut receivers = Vec::new();
        for own in [json!({}), json!({"own": 1}), json!({"own": 2}), json!({"own": 1}), json!({"k": "lost"})]
        {
            let mut client = broker.login(transport, "ann").await;
            subscribe(&mut client, json!({"class": "c", "body": own})).await;
            receivers.push((own, client));
        }
        publish(&mut sender, json!({"class": "c", "body": {"k": "kept"}})).await;
        for (own, client) in &mut receivers {
            let body = model::merge(&json!({"k": "kept"}), own);
            assert_eq!(client.events_so_far().await, [json!({"class": "c", "body": body})]);
        }
    })
    .await;
}

/// What a subscription brings keeps its text, too.
#[tokio::test]
async fn numbers_keep_every_digit() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let body = r#"{"z":12345678901234567890123456789,"a":0.10000000000000000000001,"e":1E400,"m":-0.0}"#;
        for (own, event) in [(body, "null"), ("{}", body), (body, "{}")] {
            let subscription = format!(
                r#"{{"class":"core","subclass":"event","cmd":"subscribe","data":{{"class":"c","body":{own}}},"tid":901}}"#
            );
            ann.send_text(&subscription).await;
            ann.response(901).await;
            let publication = format!(
                r#"{{"class":"core","subclass":"event","cmd":"send_event","data":{{"class":"c","body":{event}}},"tid":902}}"#
            );
            ann.send_text(&publication).await;
            ann.response(902).await;
            let data = raw_field(&ann.next_event_text().await, "data");
            assert_eq!(raw_field(&data, "body"), body);
        }
        ann.send_text(r#"{"class":"core","subclass":"event","cmd":"get_subscriptions","tid":903}"#).await;
        let listed = ann.response_text(903).await;
        assert!(listed.contains(body), "{listed}");
    })
    .await;
}
