//! Which handler a request reaches: exact entries before wildcards, plugins in their order.

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, code, on_both};

#[tokio::test]
async fn the_exact_entry_wins_over_wildcards() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for (subclass, cmd, entry) in [
            ("sub", "exact", "exact"),
            ("sub", "other", "subclass"),
            ("sub", "*", "subclass"),
            ("other", "exact", "class"),
            ("other", "other", "class"),
            ("core", "sub", "class"),
            ("", "", "class"),
        ] {
            let answer = ann.ok(&format!("fixture-wild/{subclass}/{cmd}"), json!({"any": "thing"})).await;
            let expected = json!({"entry": entry, "class": "fixture-wild", "subclass": subclass, "cmd": cmd});
            assert_eq!(answer, expected);
        }
        ann.send(&json!({"class": "fixture-wild", "cmd": "exact", "tid": "t"})).await;
        let expected = json!({"entry": "class", "class": "fixture-wild", "subclass": "core", "cmd": "exact"});
        assert_eq!(ann.response("t").await["data"], expected);
    })
    .await;
}

#[tokio::test]
async fn wildcards_are_listed_as_such() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let entries = ann.ok("core/registry/list", json!({"class": "fixture-wild"})).await;
        let mut found: Vec<(&str, &str)> = entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["subclass"].as_str().unwrap(), entry["cmd"].as_str().unwrap()))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [("*", "*"), ("sub", "*"), ("sub", "exact")]);
    })
    .await;
}

/// A wildcard is its class's alone.
#[tokio::test]
async fn a_wildcard_takes_no_other_class() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for command in ["fixture-wil/sub/exact", "fixture-wildd/a/b", "*/sub/exact"] {
            assert_eq!(ann.err(command, json!({})).await.0, code::UNKNOWN_COMMAND);
        }
    })
    .await;
}

async fn chain(client: &mut Client, data: Value) -> Value {
    client.ok("fixture/core/chain", data).await
}

#[tokio::test]
async fn a_handler_may_leave_a_request_to_the_next() {
    on_both(async |transport| {
        let options = Options::fixture().plugins(&["fixture", "fixture-second", "auth-open"]);
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        assert_eq!(chain(&mut ann, json!({})).await, json!({"by": "fixture"}));
        assert_eq!(chain(&mut ann, json!({"pass": false})).await, json!({"by": "fixture"}));
        let changed = json!({"by": "fixture-second", "data": {"pass": true, "seen": "fixture"}});
        assert_eq!(chain(&mut ann, json!({"pass": true})).await, changed);
        let listed = ann.ok("core/registry/describe", json!({"class": "fixture", "cmd": "chain"})).await;
        assert_eq!(listed["plugin"], "fixture", "the first that is asked");
    })
    .await;
}

#[tokio::test]
async fn the_order_is_that_of_the_plugin_list() {
    on_both(async |transport| {
        let options = Options::fixture().plugins(&["fixture-second", "fixture", "auth-open"]);
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        for data in [json!({"pass": true}), json!({"pass": false})] {
            assert_eq!(chain(&mut ann, data.clone()).await, json!({"by": "fixture-second", "data": data}));
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_nobody_takes_is_answered() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let error = ann.err("fixture/core/chain", json!({"pass": true})).await;
        assert_eq!(error, (code::NOT_IMPLEMENTED, "Not implemented".into()));
    })
    .await;
}
