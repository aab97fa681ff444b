//! Plugins' authorizers, which are asked before the rules: the fixture's.

use serde_json::json;

use super::{check, may};
use crate::support::{Broker, Client, Options, code, on_both};

#[tokio::test]
async fn it_may_deny_what_a_rule_allows() {
    on_both(async |transport| {
        let config =
            "[[service.main.rule]]\nuser = \"*\"\nallow = [\"command:**\", \"subscribe:**\", \"publish:**\"]";
        check(
            transport,
            config,
            &[
                ("ann", "subscribe:forbidden/*/*/*", false),
                ("ann", "subscribe:forbidden/a/b/c", false),
                ("ann", "publish:forbidden/a/b/c", true),
                ("ann", "subscribe:allowed/*/*/*", true),
                ("admin", "subscribe:forbidden/*/*/*", true),
            ],
        )
        .await;
        check(transport, "default_policy = \"allow\"", &[("ann", "subscribe:forbidden/*/*/*", false)]).await;
    })
    .await;
}

#[tokio::test]
async fn who_is_refused_is_not_subscribed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let refused = ann.err("core/event/subscribe", json!({"class": "forbidden"})).await;
        assert_eq!(refused, (code::UNAUTHORIZED, "Unauthorized".into()));
        ann.ok("core/event/send_event", json!({"class": "forbidden"})).await;
        ann.expect_no_event().await;
        let listed = ann.ok("core/event/get_subscriptions", json!({})).await;
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    })
    .await;
}

#[tokio::test]
async fn it_may_allow_what_no_rule_does() {
    on_both(async |transport| {
        let config =
            "default_policy = \"deny\"\n[[service.main.rule]]\nuser = \"*\"\nallow = [\"command:**\"]";
        check(
            transport,
            config,
            &[("ann", "publish:cached/*/*/*", true), ("ann", "publish:other/*/*/*", false)],
        )
        .await;
    })
    .await;
}

async fn asked(client: &mut Client) -> u64 {
    client.ok("fixture/core/asked", json!({})).await["count"].as_u64().expect("a count")
}

/// An answer that may be cached is, for the same caller and the same action.
#[tokio::test]
async fn its_answer_may_be_remembered() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let before = asked(&mut ann).await;
        for _ in 0..5 {
            assert!(may(&mut ann, "publish:cached/a/*/*").await);
        }
        assert_eq!(asked(&mut ann).await, before + 1, "the same caller, the same action");
        assert!(may(&mut ann, "publish:cached/b/*/*").await);
        assert_eq!(asked(&mut ann).await, before + 2, "another action");
        assert!(may(&mut bob, "publish:cached/a/*/*").await);
        assert_eq!(asked(&mut ann).await, before + 3, "another caller");
    })
    .await;
}

/// Waiting for an authorizer holds up nobody, the session's own other requests included.
#[tokio::test]
async fn it_may_take_its_time() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut slow = Vec::new();
        for _ in 0..20 {
            slow.push(ann.start("core/event/send_event", json!({"class": "slow"})).await);
        }
        let quick = ann.start("fixture/core/echo", json!({"n": 1})).await;
        assert_eq!(ann.response(quick).await["data"], json!({"n": 1}));
        for tid in slow {
            assert_eq!(ann.response(tid).await["result"], "ok");
        }
    })
    .await;
}
