//! Plugins that break: only the request that met them does.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Broker, Options, code, error_of, on_both};

/// The reference in an answer `Internal error: REF`.
fn reference((code, text): (i64, String)) -> String {
    assert_eq!(code, code::INTERNAL_ERROR_REF, "{text}");
    let rest = text.strip_prefix("Internal error: ").unwrap_or_else(|| panic!("{text}"));
    let reference = rest.split(' ').next().unwrap();
    assert!(reference.len() >= 4, "{text} has no reference to look for");
    reference.into()
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let under_way = ann.start("fixture/core/sleep", json!({"ms": 300})).await;
        let elsewhere = bob.start("fixture/core/sleep", json!({"ms": 300})).await;
        for command in ["fixture/core/panic", "fixture/core/panic_late"] {
            let reference = reference(ann.err(command, json!({})).await);
            broker.logged(&reference).await;
            let log = broker.log();
            let line = log.lines().find(|line| line.contains(&reference)).unwrap();
            let cmd = command.rsplit('/').next().unwrap();
            assert!(line.contains("fixture") && line.contains(cmd), "plugin and command: {line}");
        }
        for (client, tid) in [(&mut ann, under_way), (&mut bob, elsewhere)] {
            assert_eq!(client.response(tid).await["data"], json!({"slept": 300}));
            assert_eq!(client.ok("fixture/core/echo", json!({"n": 1})).await, json!({"n": 1}));
        }
    })
    .await;
}

#[tokio::test]
async fn each_panic_has_a_reference_of_its_own() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut tids = Vec::new();
        for n in 0..20 {
            let cmd = if n % 2 == 0 { "panic" } else { "panic_late" };
            tids.push(ann.start(&format!("fixture/core/{cmd}"), json!({})).await);
        }
        let mut references = BTreeSet::new();
        for tid in tids {
            references.insert(reference(error_of(&ann.response(tid).await)));
        }
        assert_eq!(references.len(), 20);
        ann.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_plugins_error_goes_out_unchanged() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for (code, text) in [(200_000, "First"), (200_123, "Kaputt: ü \" \\"), (4_000_000, "")] {
            let tid = ann.start("fixture/core/fail", json!({"code": code, "text": text})).await;
            let data = json!({"code": code, "error": text, "details": {"hint": "x"}});
            assert_eq!(ann.response(tid).await, json!({"result": "error", "data": data, "tid": tid}));
        }
    })
    .await;
}

/// A panic in the middle of a session's requests takes none of the others with it, and none twice.
#[tokio::test]
async fn what_is_pipelined_around_a_panic_is_answered() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let commands = ["echo", "panic", "echo", "panic_late", "sleep", "panic", "echo"];
        let mut tids = Vec::new();
        for cmd in commands {
            let data = if cmd.starts_with("panic") { json!({}) } else { json!({"ms": 20}) };
            tids.push(ann.start(&format!("fixture/core/{cmd}"), data).await);
        }
        for (cmd, tid) in commands.iter().zip(tids) {
            let expected = if cmd.starts_with("panic") { "error" } else { "ok" };
            assert_eq!(ann.response(tid).await["result"], expected, "{cmd}");
        }
        ann.expect_silence(50).await;
    })
    .await;
}
