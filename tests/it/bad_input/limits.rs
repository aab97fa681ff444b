//! More than the limits allow.

use serde_json::json;

use crate::support::{Broker, Options, code, error_of, on_both};

#[tokio::test]
async fn requests_in_flight() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.inflight=2")).await;
        let mut client = broker.login(transport, "ann").await;
        let first = client.start("fixture/core/sleep", json!({"ms": 900})).await;
        let second = client.start("fixture/core/sleep", json!({"ms": 900})).await;
        let third = client.start("fixture/core/sleep", json!({"ms": 900})).await;
        let error = error_of(&client.response(third).await);
        assert_eq!(error, (code::TOO_MANY_REQUESTS, "Too many requests in flight".into()));
        assert_eq!(client.ok("core/core/ping", json!({})).await, json!({}));
        for tid in [first, second] {
            assert_eq!(client.response(tid).await["data"]["slept"], 900);
        }
        assert_eq!(client.ok("fixture/core/sleep", json!({"ms": 1})).await["slept"], 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_answered_in_place_is_never_in_flight() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.inflight=1")).await;
        let mut client = broker.login(transport, "ann").await;
        let mut tids = Vec::new();
        for _ in 0..100 {
            tids.push(client.start("fixture/core/echo", json!({"a": 1})).await);
        }
        for tid in tids {
            assert_eq!(client.response(tid).await["data"], json!({"a": 1}));
        }
    })
    .await;
}

/// The broker's own requests must be answerable by a client that has used up what it may ask.
#[tokio::test]
async fn answers_get_through_all_the_same() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.inflight=1")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let busy = bob.start("fixture/core/sleep", json!({"ms": 900})).await;
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        let shown = ann.start("core/session/cmd", data).await;
        let request = bob.next_request().await;
        bob.answer(&request, json!({"shown": true})).await;
        assert_eq!(ann.response(shown).await["data"], json!({"shown": true}));
        assert_eq!(bob.response(busy).await["result"], "ok");
    })
    .await;
}

#[tokio::test]
async fn another_connection_has_its_own_room() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.inflight=1")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut too = broker.login(transport, "ann").await;
        let first = ann.start("fixture/core/sleep", json!({"ms": 200})).await;
        assert_eq!(too.ok("fixture/core/sleep", json!({"ms": 10})).await["slept"], 10);
        assert_eq!(ann.response(first).await["result"], "ok");
    })
    .await;
}

#[tokio::test]
async fn requests_per_second() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.requests_per_second=10")).await;
        let mut client = broker.login(transport, "ann").await;
        let mut other = broker.login(transport, "bob").await;
        let mut tids = Vec::new();
        for _ in 0..60 {
            tids.push(client.start("core/user/list", json!({})).await);
            client.start("core/core/ping", json!({})).await;
        }
        other.ok("core/user/list", json!({})).await;
        let mut refused = 0;
        for tid in tids {
            let answer = client.response(tid).await;
            if answer["result"] == "error" {
                assert_eq!(error_of(&answer), (code::RATE_LIMITED, "Rate limited".into()));
                refused += 1;
            }
        }
        // Ten at once, and ten more for each second that a slow machine took.
        assert!((1..=51).contains(&refused), "{refused} of 60 refused");
        for _ in 0..60 {
            assert_eq!(client.recv().await["result"], "ok", "pings do not count");
        }
    })
    .await;
}

#[tokio::test]
async fn subscriptions_per_session() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("limits.subscriptions_per_session=10")).await;
        let mut client = broker.login(transport, "ann").await;
        let mut accepted = 0;
        let refused = loop {
            let answer =
                client.request("core/event/subscribe", json!({"class": format!("c{accepted}")})).await;
            if answer["result"] == "error" {
                break error_of(&answer);
            }
            accepted += 1;
            assert!(accepted <= 10, "no limit");
        };
        assert_eq!(refused, (code::LIMIT_EXCEEDED, "Limit exceeded: subscriptions_per_session".into()));
        assert!(accepted >= 8, "only {accepted} accepted, besides the two automatic ones");
        client.ok("core/event/subscribe", json!({"class": "c0", "body": {"again": true}})).await;
        client.ok("core/event/unsubscribe", json!({"class": "c0"})).await;
        client.ok("core/event/subscribe", json!({"class": "more"})).await;
    })
    .await;
}
