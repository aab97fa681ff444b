//! Who may serve what, and how much of it.

use serde_json::{Value, json};

use super::{RULE, options, worker};
use crate::support::{Broker, Options, Transport, code, on_both};

const UNAUTHORIZED: (i64, &str) = (code::UNAUTHORIZED, "Unauthorized");

#[tokio::test]
async fn no_default_policy_lets_a_session_register() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut ann = broker.login(transport, "ann").await;
        for (command, data) in [
            ("core/registry/register", json!({"class": "work"})),
            ("core/registry/register_authenticator", json!({})),
        ] {
            let (code, text) = ann.err(command, data).await;
            assert_eq!((code, text.as_str()), UNAUTHORIZED, "{command}");
        }
        worker(&broker, transport, "worker", json!({"class": "work"})).await;
        let mut admin = broker.admin(transport).await;
        admin.ok("core/registry/register", json!({"class": "work"})).await;
        admin.ok("core/registry/register_authenticator", json!({})).await;
        let broker = Broker::start(Options::default().config("default_policy = \"deny\"")).await;
        let mut ann = broker.login(transport, "ann").await;
        assert_eq!(ann.err("core/registry/register", json!({"class": "work"})).await.0, code::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn a_rule_names_what_may_be_registered() {
    on_both(async |transport| {
        let rule =
            "[[service.main.rule]]\nuser = \"ann\"\nallow = [\"register:work/*/saw\", \"register:play/**\"]";
        let broker = Broker::start(Options::default().config(rule)).await;
        let mut ann = broker.login(transport, "ann").await;
        for (data, allowed) in [
            (json!({"class": "work", "subclass": "wood", "cmd": "saw"}), true),
            (json!({"class": "work", "subclass": "wood", "cmd": "cut"}), false),
            (json!({"class": "work", "subclass": "wood"}), false),
            (json!({"class": "work"}), false),
            (json!({"class": "play"}), true),
            (json!({"class": "playing"}), false),
        ] {
            let answer = ann.request("core/registry/register", data.clone()).await;
            assert_eq!(answer["result"] == "ok", allowed, "{data}: {answer}");
        }
        let judging = ann.err("core/registry/register_authenticator", json!({})).await;
        assert_eq!(judging.0, code::UNAUTHORIZED, "judging logins is a permission of its own");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_for_sessions_is_refused_even_to_administrators() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut admin = broker.admin(transport).await;
        for data in [
            json!({"class": "core"}),
            json!({"class": "core", "subclass": "mine", "cmd": "x"}),
            json!({"class": "*"}),
            json!({"class": "core", "subclass": "event", "cmd": "send"}),
            json!({"class": "fixture", "subclass": "core", "cmd": "echo"}),
            json!({"class": "fixture-wild"}),
        ] {
            let (code, text) = admin.err("core/registry/register", data.clone()).await;
            assert_eq!((code, text.as_str()), UNAUTHORIZED, "{data}");
        }
        // Beside what a plugin provides there is room.
        admin
            .ok("core/registry/register", json!({"class": "fixture", "subclass": "core", "cmd": "mine"}))
            .await;
        admin.ok("core/registry/register", json!({"class": "fixture"})).await;
        admin.ok("fixture/core/echo", json!({})).await;
    })
    .await;
}

/// Types before missing fields, permission before what the data means.
#[tokio::test]
async fn bad_registrations_are_named() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut worker = broker.login(transport, "worker").await;
        let nested = "[".repeat(200) + &"]".repeat(200);
        let nested = format!(r#"{{"class":"work","data_schema":{{"enum":{nested}}}}}"#);
        for (data, error) in [
            (json!({}), (code::MISSING_FIELD, "Missing field: class")),
            (json!({"class": 5}), (code::SYNTAX_ERROR, "Syntax error: class")),
            (json!({"class": ""}), (code::INVALID_VALUE, "Invalid value: class")),
            (json!({"class": "x".repeat(257)}), (code::INVALID_VALUE, "Invalid value: class")),
            (json!({"class": "a", "cmd": "b"}), (code::INVALID_VALUE, "Invalid value: subclass")),
            (json!({"class": "a", "retry": "yes"}), (code::SYNTAX_ERROR, "Syntax error: retry")),
            (json!({"class": "a", "inflight": 0}), (code::INVALID_VALUE, "Invalid value: inflight")),
            (json!({"class": "a", "data_schema": true}), (code::SYNTAX_ERROR, "Syntax error: data_schema")),
            (
                json!({"class": "a", "data_schema": {"type": 5}}),
                (code::INVALID_VALUE, "Invalid value: data_schema"),
            ),
            (
                json!({"class": "a", "data_schema": {"$ref": "#"}}),
                (code::INVALID_VALUE, "Invalid value: data_schema"),
            ),
            (
                json!({"class": "a", "data_schema": {"title": "x".repeat(17_000)}}),
                (code::INVALID_VALUE, "Invalid value: data_schema"),
            ),
            (
                json!({"class": "a", "description": "x".repeat(1025)}),
                (code::INVALID_VALUE, "Invalid value: description"),
            ),
        ] {
            let (code, text) = worker.err("core/registry/register", data.clone()).await;
            assert!((code, text.starts_with(error.1)) == (error.0, true), "{code} {text} for {data:.100}");
        }
        worker
            .send_text(&format!(
                r#"{{"class":"core","subclass":"registry","cmd":"register","data":{nested},"tid":"deep"}}"#
            ))
            .await;
        assert_eq!(worker.response("deep").await["data"]["code"], json!(code::INVALID_VALUE));
        for (data, error) in [
            (json!({"deadline": "5s"}), (code::SYNTAX_ERROR, "Syntax error: deadline")),
            (json!({"deadline": 0}), (code::INVALID_VALUE, "Invalid value: deadline")),
            (json!({"deadline": 61}), (code::INVALID_VALUE, "Invalid value: deadline")),
        ] {
            let found = worker.err("core/registry/register_authenticator", data).await;
            assert_eq!(found, (error.0, error.1.into()));
        }
        let mut ann = broker.login(transport, "ann").await;
        let bad: Value = json!({"class": "a", "data_schema": {"type": 5}});
        assert_eq!(ann.err("core/registry/register", bad).await.0, code::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn registrations_per_session() {
    on_both(async |transport| {
        let broker = Broker::start(options().set("limits.registrations_per_session=3")).await;
        let mut worker = worker(&broker, transport, "worker", json!({"class": "a"})).await;
        worker.ok("core/registry/register", json!({"class": "b"})).await;
        worker.ok("core/registry/register_authenticator", json!({})).await;
        let full = (code::LIMIT_EXCEEDED, "Limit exceeded: registrations_per_session".to_string());
        assert_eq!(worker.err("core/registry/register", json!({"class": "c"})).await, full);
        worker.ok("core/registry/register", json!({"class": "a", "retry": true})).await;
        worker.ok("core/registry/register_authenticator", json!({"deadline": 1})).await;
        worker.ok("core/registry/unregister_authenticator", json!({})).await;
        worker.ok("core/registry/register", json!({"class": "c"})).await;
        assert_eq!(worker.err("core/registry/register_authenticator", json!({})).await, full);
        worker.ok("core/registry/unregister", json!({"class": "a"})).await;
        worker.ok("core/registry/register_authenticator", json!({})).await;
    })
    .await;
}

/// A schema that would cost without end must not.
#[tokio::test]
async fn patterns_are_matched_in_linear_time() {
    let broker = Broker::start(Options::default().config(RULE)).await;
    let schema = json!({"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a|aa)+$"}}});
    let registration = json!({"class": "work", "data_schema": schema});
    let _worker = worker(&broker, Transport::Tcp, "worker", registration).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    let evil = "a".repeat(100_000) + "!";
    assert_eq!(ann.err("work/core/do", json!({"x": evil})).await.0, code::INVALID_VALUE);
}
