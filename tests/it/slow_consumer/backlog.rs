//! What happens around answers that wait because their client does not read them yet.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Broker, Client, Options, Transport, connect_halves, kilobytes, on_both, pause};

const MEBIBYTE: usize = 1 << 20;

/// Has `target` answer requests of `caller`'s with so much text each; the caller's tids.
async fn owe(caller: &mut Client, target: &mut Client, count: usize, text: &str) -> Vec<u64> {
    let cmd = json!({"session_id": target.session_id(), "class": "app", "cmd": "get"});
    let mut tids = Vec::new();
    for _ in 0..count {
        tids.push(caller.start("core/session/cmd", cmd.clone()).await);
        let request = target.next_request().await;
        target.answer(&request, json!(text)).await;
    }
    // So that all of it has reached the caller's queue.
    target.ok("core/core/ping", json!({})).await;
    tids
}

#[tokio::test]
async fn an_answer_that_waits_is_not_broken_by_others() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = Client::connect_narrow(&broker.url(transport)).await;
        ann.login("ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let text = "x".repeat(MEBIBYTE - 1000);
        let tids = owe(&mut ann, &mut bob, 3, &text).await;
        let mut pings = Vec::new();
        for _ in 0..20 {
            pings.push(ann.start("core/core/ping", json!({})).await);
        }
        for tid in tids {
            assert_eq!(ann.response(tid).await["data"].as_str().map(str::len), Some(text.len()));
        }
        for tid in pings {
            assert_eq!(ann.response(tid).await, json!({"result": "ok", "tid": tid}));
        }
    })
    .await;
}

#[tokio::test]
async fn bad_messages_of_a_client_that_does_not_read_are_not_answered_for_ever() {
    let options = Options::default().set("limits.outbound_bytes=65536").set("timeouts.login=60s");
    let broker = Broker::start(options).await;
    let mut mad = Client::connect_narrow(&broker.url(Transport::Tcp)).await;
    let before = kilobytes(&broker, "VmRSS");
    let chunk = b"{}\n".repeat(100_000);
    let mut sent = 0;
    while timeout(Duration::from_secs(2), mad.send_raw(&chunk)).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 100 * MEBIBYTE, "the broker reads on and on");
    }
    let more = kilobytes(&broker, "VmRSS").saturating_sub(before);
    assert!(more < 32 << 10, "{more} KiB for a client that does not read");
    broker.login(Transport::Tcp, "ann").await.ok("core/core/ping", json!({})).await;
}

#[tokio::test]
async fn pings_of_a_client_that_does_not_read_take_no_memory() {
    let options = Options::default().set("limits.outbound_bytes=65536").set("timeouts.login=60s");
    let broker = Broker::start(options).await;
    let mut mad = Client::connect_narrow(&broker.url(Transport::Ws)).await;
    let before = kilobytes(&broker, "VmRSS");
    // A masked ping of 100 bytes.
    let ping = [&[0x89, 0x80 | 100, 0, 0, 0, 0], [b'x'; 100].as_slice()].concat();
    let chunk = ping.repeat(10_000);
    for _ in 0..60 {
        if timeout(Duration::from_secs(2), mad.send_raw(&chunk)).await.is_err() {
            break;
        }
    }
    let more = kilobytes(&broker, "VmRSS").saturating_sub(before);
    assert!(more < 32 << 10, "{more} KiB for a client that does not read");
}

/// The messages up to the answer to `tid`.
async fn until_answered(client: &mut Client, tid: u64) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let message = client.recv().await;
        let is_last = message["tid"] == json!(tid) && message.get("result").is_some();
        messages.push(message);
        if is_last {
            return messages;
        }
    }
}

#[tokio::test]
async fn a_caller_that_has_ended_its_sending_half_is_told_that_its_answer_takes_longer() {
    let broker = Broker::start(Options::default()).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    let mut bob = broker.login(Transport::Tcp, "bob").await;
    let cmd = json!({"session_id": bob.session_id(), "class": "app", "cmd": "get"});
    let tid = ann.start("core/session/cmd", cmd).await;
    let request = bob.next_request().await;
    ann.finish_sending().await;
    pause(1500).await;
    bob.answer(&request, json!(7)).await;
    let expected = [json!({"ack": tid}), json!({"result": "ok", "data": 7, "tid": tid})];
    assert_eq!(until_answered(&mut ann, tid).await, expected);
}

#[tokio::test]
async fn a_busy_caller_is_told_in_time_that_its_answer_takes_longer() {
    let broker = Broker::start(Options::default()).await;
    let url = broker.url(Transport::Tcp);
    let (mut sender, mut receiver) = connect_halves(&url, None).await;
    let mut bob = broker.login(Transport::Tcp, "bob").await;
    sender
        .send(
            &json!({"class": "core", "subclass": "user", "cmd": "login", "data": {"user": "ann"}, "tid": 1}),
        )
        .await;
    assert_eq!(receiver.next().await.unwrap()["result"], "ok");
    let data = json!({"session_id": bob.session_id(), "class": "app", "cmd": "get"});
    sender
        .send(&json!({"class": "core", "subclass": "session", "cmd": "cmd", "data": data, "tid": "slow"}))
        .await;
    let request = bob.next_request().await;
    let busy = tokio::spawn(async move {
        let ping = json!({"class": "core", "cmd": "ping", "tid": 2});
        loop {
            for _ in 0..500 {
                if sender.feed(&ping).await.is_err() {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let answering = tokio::spawn(async move {
        pause(2500).await;
        bob.answer(&request, json!(7)).await;
        bob
    });
    let mut acked = false;
    loop {
        let message = receiver.next().await.unwrap();
        acked |= message["ack"] == "slow";
        if message["tid"] == "slow" {
            break;
        }
    }
    assert!(acked, "no ack before the answer");
    busy.abort();
    answering.await.unwrap();
}
