//! The browser example, driven without a browser: its page in jsdom, over a true WebSocket.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::support::sources::repository;
use crate::support::{Broker, Options, Output, Transport, run};

/// Whether the test may not skip itself.
fn required() -> bool {
    std::env::var_os("BROWSER_TEST").is_some_and(|value| value == "required")
}

/// Whether there is a node and what the page needs in it.
async fn can_run() -> bool {
    let node =
        Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let installed = repository("tests/browser/node_modules/jsdom").exists();
    let can = node.is_ok_and(|status| status.success()) && installed;
    assert!(can || !required(), "node, or `npm ci` in tests/browser, is missing");
    can
}

async fn page(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new("node");
    command.arg(repository("tests/browser/page.mjs")).arg(url).args(["--timeout", "9"]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    run(command, "").await
}

#[allow(clippy::print_stderr, reason = "says why nothing was tested")]
async fn broker() -> Option<Broker> {
    if !can_run().await {
        eprintln!("skipped: no node, or no `npm ci` in tests/browser");
        return None;
    }
    Some(Broker::start(Options::default()).await)
}

#[tokio::test]
async fn the_page_logs_in_subscribes_sends_and_shows() {
    let Some(broker) = broker().await else { return };
    let mut bob = broker.login(Transport::Tcp, "bob").await;
    bob.ok("core/event/subscribe", json!({"class": "chat"})).await;
    let url = broker.url(Transport::Ws);
    let args = ["--user", "ann", "--subscribe", "chat/room", "--users"];
    let sent = ["--send", "chat/room/note/1", "--body", "{\"text\":\"hello <b>\"}", "--expect", "hello <b>"];
    let seen = page(&url, &[&args[..], &sent].concat()).await.exits(0).stdout;
    assert!(seen.contains("\nready\n"), "{seen}");
    assert!(seen.contains("event chat/room/note/1 {\"text\":\"hello <b>\"}"), "{seen}");
    assert!(seen.contains(&format!("user bob {}", bob.session_id())), "{seen}");
    let expected = json!({"class": "chat", "subclass": "room", "type": "note", "obj_id": "1",
        "body": {"text": "hello <b>"}});
    assert_eq!(bob.event().await, expected);
}

#[tokio::test]
async fn the_page_says_when_it_is_refused() {
    let Some(broker) = broker().await else { return };
    let output = page(&broker.url(Transport::Ws), &["--user", "admin", "--password", "wrong"]).await.exits(1);
    assert!(output.stderr.contains("refused"), "{}", output.stderr);
}
