//! SIGTERM and SIGINT: what is under way is finished, then everything is closed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Broker, Client, Options, Transport, code, on_all};

#[tokio::test]
async fn requests_under_way_finish_and_new_ones_are_refused() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::fixture().with_tls()).await;
        let mut ann = broker.login(transport, "ann").await;
        let slow = ann.start("fixture/core/sleep", json!({"ms": 900})).await;
        ann.ok("core/core/ping", json!({})).await;
        broker.terminate();
        let stopping = ann.event().await;
        let expected =
            json!({"class": "core", "subclass": "session_event", "type": "stopping", "obj_id": ann.session_id()});
        assert_eq!(stopping, expected);
        for command in ["core/user/list", "fixture/core/echo"] {
            let error = ann.err(command, json!({})).await;
            assert_eq!(error, (code::SHUTTING_DOWN, "Shutting down".into()), "{command}");
        }
        for url in broker.main().urls() {
            assert!(Client::try_connect(url, None).await.is_err(), "{url} still accepts");
        }
        assert_eq!(ann.response(slow).await["data"], json!({"slept": 900}));
        ann.expect_closed_as(1001, "shutting_down").await;
        assert_eq!(broker.exit_code().await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_command_to_another_session_finishes_too() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::default().with_tls()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        let tid = ann.start("core/session/cmd", data).await;
        let request = bob.next_request().await;
        broker.terminate();
        for client in [&mut ann, &mut bob] {
            assert_eq!(client.event().await["type"], "stopping");
        }
        bob.answer(&request, json!({"shown": true})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"shown": true}));
        assert_eq!(broker.exit_code().await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn queues_are_written_out() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::default().with_tls()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = Client::connect_narrow(&broker.url(transport)).await;
        bob.login("bob").await;
        for n in 0..200 {
            let body = json!({"n": n, "more": "x".repeat(4000)});
            ann.ok("core/user/send_event", json!({"user": "bob", "body": body})).await;
        }
        broker.terminate();
        ann.event().await;
        let mut messages = bob.drain_closed_as(1001, "shutting_down").await;
        assert_eq!(messages.pop().unwrap()["data"]["type"], "stopping");
        let numbers: Vec<_> = messages.iter().map(|m| m["data"]["body"]["n"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        assert_eq!(broker.exit_code().await, Some(0));
    })
    .await;
}

/// Neither a session that answers nothing, nor a connection that never logged in, is waited for.
#[tokio::test]
async fn nobody_idle_is_waited_for() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::default().with_tls().set("timeouts.drain=120s")).await;
        let mut deaf = broker.login(transport, "deaf").await;
        deaf.set_autorespond(false);
        let mut push = broker.connect(transport).await;
        push.login_with(json!({"user": "push", "events": "push"})).await;
        let mut nobody = broker.connect(transport).await;
        nobody.ok("core/core/ping", json!({})).await;
        broker.terminate();
        assert_eq!(broker.exit_code().await, Some(0));
        assert_eq!(deaf.event().await["type"], "stopping");
        deaf.expect_closed_as(1001, "shutting_down").await;
        let stopping = push.next_event().await;
        assert!(stopping.get("tid").is_none(), "{stopping}");
        push.expect_closed_as(1001, "shutting_down").await;
        nobody.expect_closed_as(1001, "shutting_down").await;
    })
    .await;
}

#[tokio::test]
async fn what_does_not_finish_is_waited_for_so_long() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::fixture().with_tls().set("timeouts.drain=600ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.start("fixture/core/sleep", json!({"ms": 120_000})).await;
        ann.ok("core/core/ping", json!({})).await;
        let start = Instant::now();
        broker.terminate();
        assert_eq!(broker.exit_code().await, Some(0));
        assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_it_up() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::default().with_tls().set("timeouts.drain=1s")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut stalled = Client::connect_narrow(&broker.url(transport)).await;
        stalled.login("stalled").await;
        let body = "x".repeat(60_000);
        for _ in 0..100 {
            ann.ok("core/user/send_event", json!({"user": "stalled", "body": body})).await;
        }
        broker.terminate();
        assert_eq!(broker.exit_code().await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::fixture().with_tls().set("timeouts.drain=120s")).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.start("fixture/core/sleep", json!({"ms": 120_000})).await;
        ann.ok("core/core/ping", json!({})).await;
        broker.terminate();
        assert_eq!(ann.event().await["type"], "stopping");
        ann.expect_silence(200).await;
        assert!(broker.is_running());
        broker.interrupt();
        broker.exit_code().await;
    })
    .await;
}

#[tokio::test]
async fn an_interrupt_is_the_same_as_a_termination() {
    on_all(async |transport| {
        let mut broker = Broker::start(Options::default().with_tls()).await;
        let mut ann = broker.login(transport, "ann").await;
        broker.interrupt();
        assert_eq!(ann.event().await["type"], "stopping");
        ann.expect_closed_as(1001, "shutting_down").await;
        assert_eq!(broker.exit_code().await, Some(0));
    })
    .await;
}

/// A client that has not even finished its handshake holds up nothing.
#[tokio::test]
async fn an_unfinished_handshake_is_not_waited_for() {
    let mut broker = Broker::start(Options::default().set("timeouts.drain=120s")).await;
    let address = broker.url(Transport::Ws);
    let address = address.strip_prefix("ws://").unwrap().to_string();
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    broker.connect(Transport::Tcp).await.ok("core/core/ping", json!({})).await;
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));
    drop(silent);
}
