//! protocol.md §1: what one message is on each transport, and what of its text survives.

mod text;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Broker, Client, Options, Transport, code, error_of, on_all};

const PING: &str = r#"{"class":"core","cmd":"ping","tid":1}"#;
const PONG: &str = r#"{"result":"ok","tid":1}"#;

#[tokio::test]
async fn an_answer_is_one_message_and_leaves_empty_data_out() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.connect(transport).await;
        client.send_text(PING).await;
        assert_eq!(client.recv_text().await, PONG);
    })
    .await;
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_the_order_is_free() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.connect(transport).await;
        client
            .send_text(r#"{"more":{"a":[1]},"tid":1,"cmd":"ping","":null,"subclass":"core","class":"core"}"#)
            .await;
        assert_eq!(client.recv_text().await, PONG);
    })
    .await;
}

#[tokio::test]
async fn null_stands_for_absence() {
    on_all(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        client.send_text(r#"{"class":"core","subclass":null,"cmd":"ping","data":null,"tid":1}"#).await;
        assert_eq!(client.recv_text().await, PONG);
        let typed =
            client.ok("fixture/core/typed", json!({"name": "n", "count": null, "nested": null})).await;
        assert_eq!(typed["count"], 3);
        let mut other = broker.connect(transport).await;
        let answer =
            other.login_with(json!({"user": "bob", "session_id": null, "meta": null, "events": null})).await;
        assert_ne!(answer["session_id"], json!(null));
    })
    .await;
}

#[tokio::test]
async fn of_a_repeated_key_the_last_counts() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.connect(transport).await;
        client
            .send_text(r#"{"class":"nothing","tid":7,"class":"core","cmd":"nothing","cmd":"ping","tid":1}"#)
            .await;
        assert_eq!(client.recv_text().await, PONG);
        client.send_text(r#"{"class":"core","subclass":"user","cmd":"login","data":{"user":"ann","user":"bob"},"tid":2}"#).await;
        client.response(2).await;
        let users = client.ok("core/user/list", json!({})).await;
        assert_eq!(users.as_object().unwrap().keys().collect::<Vec<_>>(), ["bob"]);
    })
    .await;
}

#[tokio::test]
async fn requests_are_pipelined() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let mut tids = Vec::new();
        for _ in 0..300 {
            tids.push(client.start("core/user/list", json!({})).await);
        }
        for tid in tids.into_iter().rev() {
            assert_eq!(client.response(tid).await["result"], "ok");
        }
        client.expect_silence(50).await;
    })
    .await;
}

#[tokio::test]
async fn tcp_lines_end_either_way_and_empty_ones_are_ignored() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.connect(Transport::Tcp).await;
    client.send_raw(format!("\n\r\n{PING}\r\n\n\n{PING}\n").as_bytes()).await;
    assert_eq!(client.recv_text().await, PONG);
    assert_eq!(client.recv_text().await, PONG);
    client.expect_silence(50).await;
}

#[tokio::test]
async fn a_tcp_line_may_come_byte_by_byte() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.connect(Transport::Tcp).await;
    for byte in format!("{PING}\r\n{PING}\n").bytes() {
        client.send_raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.recv_text().await, PONG);
    assert_eq!(client.recv_text().await, PONG);
}

#[tokio::test]
async fn a_binary_websocket_message_is_taken_and_answered_as_text() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.connect(Transport::Ws).await;
    client.send_ws(Message::binary(PING.as_bytes().to_vec())).await;
    assert_eq!(client.recv_text().await, PONG);
}

#[tokio::test]
async fn a_websocket_message_may_hold_newlines() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.connect(Transport::Ws).await;
    client.send_text("\n{\r\n\t\"class\": \"core\",\n\"cmd\": \"ping\",\n\"tid\": 1 }\n").await;
    assert_eq!(client.recv_text().await, PONG);
}

#[tokio::test]
async fn a_websocket_message_may_come_in_fragments_with_a_ping_between() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.connect(Transport::Ws).await;
    let (first, rest) = PING.split_at(9);
    let (second, third) = rest.split_at(9);
    client.send_ws(fragment(first, Data::Text, false)).await;
    client.send_ws(fragment(second, Data::Continue, false)).await;
    let ping = Frame::ping("between");
    client.send_ws(Message::Frame(ping)).await;
    assert_eq!(client.next_pong().await, b"between");
    client.send_ws(fragment(third, Data::Continue, true)).await;
    assert_eq!(client.recv_text().await, PONG);
}

fn fragment(text: &str, kind: Data, is_final: bool) -> Message {
    Message::Frame(Frame::message(text.to_string(), OpCode::Data(kind), is_final))
}

#[tokio::test]
async fn a_websocket_ping_is_answered_with_its_payload() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.connect(Transport::Ws).await;
    client.send_ws(Message::Ping("are you there".into())).await;
    assert_eq!(client.next_pong().await, b"are you there");
}

#[tokio::test]
async fn a_client_that_closes_its_websocket_gets_a_close_back() {
    let broker = Broker::start(Options::default()).await;
    let mut client = broker.login(Transport::Ws, "ann").await;
    let mut other = broker.login(Transport::Ws, "bob").await;
    client.send_ws(Message::Close(None)).await;
    client.expect_close().await;
    other.until_ok("core/user/list", json!({}), |users| users.get("ann").is_none()).await;
}

#[tokio::test]
async fn a_websocket_listener_takes_any_path() {
    let broker = Broker::start(Options::default()).await;
    let url = broker.url(Transport::Ws);
    for path in ["", "/", "/any/path", "/any?query=1"] {
        let mut client = Client::connect(&format!("{}{path}", url.trim_end_matches('/'))).await;
        client.send_text(PING).await;
        assert_eq!(client.recv_text().await, PONG, "{path}");
    }
}

#[tokio::test]
async fn a_websocket_listener_with_a_path_takes_that_one() {
    let broker = Broker::start(Options::default().listen(&["ws://127.0.0.1:0/socket"])).await;
    let url = broker.url(Transport::Ws);
    let base = url.strip_suffix("/socket").expect("the listener's path in the ready file");
    let mut client = Client::connect(&url).await;
    client.send_text(PING).await;
    assert_eq!(client.recv_text().await, PONG);
    for path in ["/", "/other", "/socket/more"] {
        assert!(Client::try_connect(&format!("{base}{path}"), None).await.is_err(), "{path}");
    }
}

/// A ping of exactly so many bytes.
fn ping_of(bytes: usize) -> String {
    let start = r#"{"class":"core","cmd":"ping","tid":1,"more":""#;
    format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
}

#[tokio::test]
async fn a_message_may_be_as_long_as_the_limit() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls().set("limits.message_bytes=1000")).await;
        let mut client = broker.connect(transport).await;
        client.send_text(&ping_of(1000)).await;
        assert_eq!(client.recv_text().await, PONG);
        if !transport.is_websocket() {
            client.send_raw(format!("{}\r\n", ping_of(1000)).as_bytes()).await;
            assert_eq!(client.recv_text().await, PONG);
        }
        client.send_text(&ping_of(1001)).await;
        let answer = client.recv().await;
        assert_eq!(answer["tid"], json!(null));
        let (code, text) = error_of(&answer);
        assert_eq!(code, code::MESSAGE_TOO_LARGE);
        assert_eq!(text, "Message too large: 1001 bytes, the limit is 1000");
        client.expect_closed_as(1009, "message_too_large").await;
    })
    .await;
}

#[tokio::test]
async fn the_limit_is_one_mebibyte_at_first() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.connect(transport).await;
        client.send_text(&ping_of(1 << 20)).await;
        assert_eq!(client.recv_text().await, PONG);
        client.try_send_text(&ping_of((1 << 20) + 1)).await;
        assert_eq!(error_of(&client.recv().await).0, code::MESSAGE_TOO_LARGE);
        client.expect_closed_as(1009, "message_too_large").await;
    })
    .await;
}

#[tokio::test]
async fn a_message_far_over_the_limit_is_refused_before_it_ends() {
    let broker = Broker::start(Options::default().set("limits.message_bytes=1000")).await;
    let mut line = broker.connect(Transport::Tcp).await;
    line.send_raw("x".repeat(1500).as_bytes()).await;
    let mut fragments = broker.connect(Transport::Ws).await;
    fragments.send_ws(fragment(&"x".repeat(800), Data::Text, false)).await;
    fragments.send_ws(fragment(&"x".repeat(800), Data::Continue, false)).await;
    for client in [&mut line, &mut fragments] {
        let (code, text) = error_of(&client.recv().await);
        assert_eq!(code, code::MESSAGE_TOO_LARGE);
        assert!(text.ends_with("bytes, the limit is 1000"), "{text}");
        client.expect_closed_as(1009, "message_too_large").await;
    }
}

#[tokio::test]
async fn a_tcp_line_that_the_end_cuts_short_is_dropped() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.connect(transport).await;
        client.send_raw(format!("{PING}\n{PING}").as_bytes()).await;
        client.finish_sending().await;
        assert_eq!(client.recv_text().await, PONG);
        assert_eq!(client.expect_close().await, None);
    }
}

#[tokio::test]
async fn a_client_that_has_finished_sending_gets_the_answers_it_is_owed() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let mut other = broker.login(transport, "bob").await;
        let slow = client.start("fixture/core/sleep", json!({"ms": 700})).await;
        let quick = client.start("core/core/ping", json!({})).await;
        client.finish_sending().await;
        assert_eq!(client.response(quick).await["result"], "ok");
        other.until_ok("core/user/list", json!({}), |users| users.get("ann").is_none()).await;
        assert_eq!(client.response(slow).await["data"], json!({"slept": 700}));
        assert_eq!(client.expect_close().await, None);
    }
}

#[tokio::test]
async fn owed_answers_are_waited_for_as_long_as_the_answer_timer() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let broker = Broker::start(Options::fixture().with_tls().set("timeouts.answer=300ms")).await;
        let mut client = broker.login(transport, "ann").await;
        client.start("fixture/core/sleep", json!({"ms": 60_000})).await;
        client.finish_sending().await;
        assert_eq!(client.expect_close().await, None);
    }
}

#[tokio::test]
async fn a_session_ends_with_its_socket() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let client = broker.login(transport, "ann").await;
        let mut other = broker.login(transport, "bob").await;
        drop(client);
        other.until_ok("core/user/list", json!({}), |users| users.get("ann").is_none()).await;
        assert_eq!(other.err("core/user/get", json!({"user": "ann"})).await.0, code::USER_NOT_FOUND);
    })
    .await;
}
