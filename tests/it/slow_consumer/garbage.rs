//! Garbage, half messages, and connections that come to nothing.

use serde_json::json;

use crate::support::{Broker, Client, Options, Transport, on_both};

/// The start of a message that never goes on.
fn half_a_message(transport: Transport) -> &'static [u8] {
    match transport {
        // A masked text frame of 300 bytes, cut off in its header.
        Transport::Ws | Transport::Wss => &[0x81, 0xfe, 0x01],
        Transport::Tcp | Transport::Tls => b"{\"class\":\"co",
    }
}

/// Bytes that are no message, and mostly no protocol.
fn garbage() -> Vec<Vec<u8>> {
    vec![
        b"\x00\x01\x02\x03\n\n\n".to_vec(),
        b"\xff\xfe\xfd\n".to_vec(),
        b"hello\n".to_vec(),
        b"{}{}{}{}\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"POST /admin HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        // WebSocket: without a mask, an opcode that is none, a length of many exabytes, a close of one byte.
        vec![0x81, 0x02, b'{', b'}'],
        vec![0x83, 0x80, 0, 0, 0, 0],
        vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        vec![0x88, 0x81, 0, 0, 0, 0, 1],
        vec![b'['; 100_000],
        vec![b'\n'; 100_000],
        (0..=255).cycle().take(50_000).collect(),
    ]
}

/// Events from one session to another, all of them and in order.
async fn exchange(ann: &mut Client, bob: &mut Client, count: usize) {
    for n in 0..count {
        ann.ok("core/user/send_event", json!({"user": "bob", "body": {"n": n}})).await;
        assert_eq!(bob.event().await["body"], json!({"n": n}));
    }
}

#[tokio::test]
async fn garbage_harms_nobody() {
    on_both(async |transport| {
        let mut broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let mut mad = Vec::new();
        for bytes in garbage() {
            // Past the WebSocket handshake, and in its place.
            let mut after = broker.connect(transport).await;
            after.try_send_raw(&bytes).await;
            let mut before = Client::connect(&broker.url(transport).replace("ws://", "tcp://")).await;
            before.try_send_raw(&bytes).await;
            exchange(&mut ann, &mut bob, 3).await;
            mad.push((after, before));
        }
        exchange(&mut ann, &mut bob, 20).await;
        drop(mad);
        exchange(&mut ann, &mut bob, 20).await;
        assert!(broker.is_running());
    })
    .await;
}

#[tokio::test]
async fn garbage_after_login_harms_nobody() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        for bytes in garbage() {
            let mut mad = broker.login(transport, "mad").await;
            mad.try_send_raw(&bytes).await;
            exchange(&mut ann, &mut bob, 3).await;
        }
        ann.until_ok("core/user/list", json!({}), |users| users.get("mad").is_none()).await;
        exchange(&mut ann, &mut bob, 3).await;
    })
    .await;
}

#[tokio::test]
async fn half_a_message_and_silence_before_login() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.login=600ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let mut silent = broker.connect(transport).await;
        silent.send_raw(half_a_message(transport)).await;
        exchange(&mut ann, &mut bob, 20).await;
        silent.expect_closed_as(4002, "timeout").await;
        exchange(&mut ann, &mut bob, 20).await;
    })
    .await;
}

#[tokio::test]
async fn half_a_message_and_silence_after_login() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.ping=300ms").set("timeouts.answer=1s");
        let broker = Broker::start(options).await;
        let mut silent = broker.login(transport, "silent").await;
        silent.set_autorespond(false);
        silent.send_raw(half_a_message(transport)).await;
        let messages = silent.drain_closed_as(4002, "timeout").await;
        assert!(messages.iter().all(|message| message["cmd"] == "ping"), "{messages:?}");
        assert!(!messages.is_empty(), "closed without a ping");
    })
    .await;
}

/// A WebSocket handshake that is begun and not finished.
#[tokio::test]
async fn half_a_handshake_and_silence() {
    let broker = Broker::start(Options::default().set("timeouts.login=600ms")).await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    let mut silent = Client::connect(&broker.url(Transport::Ws).replace("ws://", "tcp://")).await;
    silent.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Up").await;
    ann.ok("core/core/ping", json!({})).await;
    silent.expect_close().await;
    ann.ok("core/core/ping", json!({})).await;
}

#[tokio::test]
async fn connections_that_come_and_go() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        for n in 0..60 {
            match n % 3 {
                0 => drop(broker.connect(transport).await),
                1 => drop(broker.login(transport, "brief").await),
                _ => drop(Client::connect(&broker.url(transport).replace("ws://", "tcp://")).await),
            }
            exchange(&mut ann, &mut bob, 1).await;
        }
        ann.until_ok("core/user/list", json!({}), |users| users.get("brief").is_none()).await;
        exchange(&mut ann, &mut bob, 10).await;
    })
    .await;
}
