//! Data that does not fit the command.

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, code, on_both};

/// Asserts the error that `data` gets; `text` is its whole text, or for a syntax error a part of it.
async fn expect(client: &mut Client, command: &str, data: Value, code: i64, text: &str) {
    let (found, error) = client.err(command, data.clone()).await;
    assert_eq!(found, code, "{command} {data}: {error}");
    if code == code::SYNTAX_ERROR {
        assert!(error.starts_with("Syntax error: ") && error.contains(text), "{command} {data}: {error}");
    } else {
        assert_eq!(error, text, "{command} {data}");
    }
}

#[tokio::test]
async fn of_core_commands() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.login(transport, "ann").await;
        let (missing, wrong) = (code::MISSING_FIELD, code::SYNTAX_ERROR);
        for (command, fields) in [
            ("core/user/get", vec!["user"]),
            ("core/user/send_event", vec!["user"]),
            ("core/session/send_event", vec!["session_id"]),
            ("core/session/cmd", vec!["session_id", "class", "cmd"]),
            ("core/session/log", vec!["source", "message"]),
            ("core/event/subscribe", vec!["class"]),
            ("core/event/unsubscribe", vec!["class"]),
            ("core/event/send_event", vec!["class"]),
            ("core/event/send", vec!["class"]),
            ("core/registry/describe", vec!["class", "cmd"]),
        ] {
            let full: Value = fields
                .iter()
                .map(|&field| (field.into(), json!("x")))
                .collect::<serde_json::Map<_, _>>()
                .into();
            for field in fields {
                let mut data = full.clone();
                data.as_object_mut().unwrap().remove(field);
                expect(&mut client, command, data.clone(), missing, &format!("Missing field: {field}")).await;
                for value in [json!(5), json!(true), json!({}), json!(["x"])] {
                    data[field] = value;
                    expect(&mut client, command, data.clone(), wrong, field).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn that_is_no_object() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        for data in [json!(5), json!("user"), json!(true), json!(["user"])] {
            expect(&mut client, "core/user/get", data.clone(), code::SYNTAX_ERROR, "").await;
            expect(&mut client, "core/user/list", data.clone(), code::SYNTAX_ERROR, "").await;
            expect(&mut client, "fixture/core/typed", data, code::SYNTAX_ERROR, "").await;
        }
    })
    .await;
}

#[tokio::test]
async fn of_optional_fields() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.login(transport, "ann").await;
        for field in ["type", "subclass", "obj_id", "service"] {
            for command in ["core/event/subscribe", "core/event/unsubscribe", "core/event/send_event"] {
                expect(&mut client, command, json!({"class": "media", field: 5}), code::SYNTAX_ERROR, field)
                    .await;
            }
        }
        let data = json!({"user": "ann", "type": ["x"]});
        expect(&mut client, "core/user/send_event", data, code::SYNTAX_ERROR, "type").await;
        let data = json!({"session_id": 5});
        expect(&mut client, "core/session/stop", data, code::SYNTAX_ERROR, "session_id").await;
    })
    .await;
}

#[tokio::test]
async fn of_a_typed_handler() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        for (data, code, text) in [
            (json!({}), code::MISSING_FIELD, "Missing field: name"),
            (json!({"name": null}), code::SYNTAX_ERROR, "Syntax error: name"),
            (json!({"name": 5}), code::SYNTAX_ERROR, "name"),
            (json!({"name": "n", "count": 0}), code::INVALID_VALUE, "Invalid value: count"),
            (json!({"name": "n", "count": 11}), code::INVALID_VALUE, "Invalid value: count"),
            (json!({"name": "n", "count": -1}), code::INVALID_VALUE, "Invalid value: count"),
            (json!({"name": "n", "count": "3"}), code::SYNTAX_ERROR, "count"),
            (json!({"name": "n", "kind": "c"}), code::INVALID_VALUE, "Invalid value: kind"),
            (json!({"name": "n", "kind": 1}), code::SYNTAX_ERROR, "kind"),
            (json!({"name": "n", "nested": {}}), code::MISSING_FIELD, "Missing field: nested.key"),
            (json!({"name": "n", "nested": {"key": 5}}), code::SYNTAX_ERROR, "nested.key"),
            (json!({"name": "n", "nested": 5}), code::SYNTAX_ERROR, "nested"),
        ] {
            expect(&mut client, "fixture/core/typed", data, code, text).await;
        }
    })
    .await;
}

#[tokio::test]
async fn types_are_checked_before_missing_fields() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        for (command, data, field) in [
            ("fixture/core/typed", json!({"count": "x"}), "count"),
            ("fixture/core/typed", json!({"nested": {"key": 5}}), "nested.key"),
            ("core/session/log", json!({"level": "high"}), "level"),
            ("core/session/log", json!({"message": 5}), "message"),
            ("core/session/cmd", json!({"cmd": 5}), "cmd"),
            ("core/event/subscribe", json!({"type": 5}), "type"),
        ] {
            expect(&mut client, command, data, code::SYNTAX_ERROR, field).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_fits_is_filled_with_defaults() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        let typed = client.ok("fixture/core/typed", json!({"name": "n"})).await;
        assert_eq!((&typed["name"], &typed["count"], &typed["kind"]), (&json!("n"), &json!(3), &json!("a")));
        for count in [1, 10] {
            let data = json!({"name": "n", "count": count, "kind": "b", "nested": {"key": "k"}});
            assert_eq!(client.ok("fixture/core/typed", data.clone()).await, data);
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_class_must_be_one() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.login(transport, "ann").await;
        let wrong = "Invalid value: class";
        expect(&mut client, "core/event/send_event", json!({"class": "*"}), code::INVALID_VALUE, wrong).await;
        expect(&mut client, "core/event/send", json!({"class": "*"}), code::INVALID_VALUE, wrong).await;
    })
    .await;
}

/// Nested as deep as a message may be: an answer of whatever kind, or an end, but no broken broker.
#[tokio::test]
async fn deep_nesting_harms_nobody() {
    on_both(async |transport| {
        let mut broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for deep in [200_000, 2_000] {
            let data = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
            for command in ["echo", "typed", "no"] {
                let mut client = broker.login(transport, "bob").await;
                client
                    .send_text(&format!(r#"{{"class":"fixture","cmd":"{command}","tid":99,"data":{data}}}"#))
                    .await;
                client.recv_or_end().await;
                ann.ok("core/core/ping", json!({})).await;
            }
        }
        assert!(broker.is_running());
    })
    .await;
}
