//! protocol.md §2, "What a bad message gets": each row, with what it leaves of the connection.

mod data;
mod limits;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Broker, Client, Options, Transport, code, error_of, on_all, raw_field};

/// Asserts the error with `tid: null` and the end of the connection that broken JSON gets.
async fn expect_end_by_syntax_error(client: &mut Client) {
    let answer = client.recv().await;
    let (code, text) = error_of(&answer);
    assert_eq!(code, code::SYNTAX_ERROR, "{answer}");
    assert!(text.starts_with("Syntax error: "), "{text}");
    assert!(answer.as_object().unwrap().contains_key("tid") && answer["tid"].is_null(), "{answer}");
    client.expect_closed_as(1007, "syntax_error").await;
}

#[tokio::test]
async fn what_is_no_json_object_ends_the_connection() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        for text in [
            "hello",
            "{",
            "}",
            "[]",
            "[{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1}]",
            "\"text\"",
            "12",
            "null",
            "{} {}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1} x",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1}{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":2}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1,}",
            "{\"class\":\"core\",\"cmd\":\"pi\tng\",\"tid\":1}",
            "{class:\"core\",\"cmd\":\"ping\",\"tid\":1}",
            "{'class':'core'}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1,\"data\":NaN}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1,\"data\":[1,]}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1,\"data\":{\"a\":01}}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1,\"more\":tru}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":01}",
            "{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":\"\\x\"}",
        ] {
            let mut client = broker.connect(transport).await;
            client.send_text(text).await;
            expect_end_by_syntax_error(&mut client).await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_ends_a_session_too() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        client.send_text("hello").await;
        expect_end_by_syntax_error(&mut client).await;
        let mut other = broker.login(transport, "bob").await;
        other.until_ok("core/user/list", json!({}), |users| users.get("ann").is_none()).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_pipelined_before_it_is_answered() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let list = client.start("core/user/list", json!({})).await;
        client.send_text("hello").await;
        assert_eq!(client.response(list).await["result"], "ok");
        expect_end_by_syntax_error(&mut client).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_not_utf8_ends_the_connection() {
    let broker = Broker::start(Options::default()).await;
    let bytes = b"{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1,\"more\":\"\xff\xfe\"}";
    let mut line = broker.connect(Transport::Tcp).await;
    line.send_raw(&[bytes, b"\n".as_slice()].concat()).await;
    expect_end_by_syntax_error(&mut line).await;
    let mut binary = broker.connect(Transport::Ws).await;
    binary.send_ws(Message::binary(bytes.to_vec())).await;
    expect_end_by_syntax_error(&mut binary).await;
    let mut text = broker.connect(Transport::Ws).await;
    text.send_ws(Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true))).await;
    expect_end_by_syntax_error(&mut text).await;
}

#[tokio::test]
async fn an_empty_websocket_message_ends_the_connection() {
    let broker = Broker::start(Options::default()).await;
    for message in [Message::text(""), Message::binary(Vec::new())] {
        let mut client = broker.connect(Transport::Ws).await;
        client.send_ws(message).await;
        expect_end_by_syntax_error(&mut client).await;
    }
}

/// Sends `message` and asserts the error, that its text has `words`, its `tid` as text, and that the connection
/// stays.
async fn expect_error(client: &mut Client, message: &str, code: i64, words: &str, tid: &str) {
    client.send_text(message).await;
    let answer = client.recv_text().await;
    let (found, text) = error_of(&serde_json::from_str(&answer).unwrap());
    assert_eq!(found, code, "{message} got {answer}");
    assert!(text.contains(words), "{message} got {answer}");
    assert_eq!(raw_field(&answer, "tid"), tid, "{message} got {answer}");
    assert_eq!(client.ok("core/core/ping", json!({})).await, json!({}));
}

#[tokio::test]
async fn an_object_that_is_no_message_is_a_syntax_error() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let start = "Syntax error: ";
        expect_error(&mut client, "{}", code::SYNTAX_ERROR, start, "null").await;
        expect_error(&mut client, r#"{"tid":7}"#, code::SYNTAX_ERROR, start, "7").await;
        expect_error(&mut client, r#"{"tid":"x","data":{}}"#, code::SYNTAX_ERROR, start, "\"x\"").await;
        expect_error(&mut client, r#"{"subclass":"core"}"#, code::SYNTAX_ERROR, start, "null").await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_field_of_the_message_is_named() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let (code, ping) = (code::MISSING_FIELD, r#""class":"core","cmd":"ping""#);
        expect_error(&mut client, &format!("{{{ping}}}"), code, "Missing field: tid", "null").await;
        expect_error(&mut client, r#"{"class":"core","tid":5}"#, code, "Missing field: cmd", "5").await;
        expect_error(&mut client, r#"{"cmd":"ping","tid":"5"}"#, code, "Missing field: class", "\"5\"").await;
        expect_error(&mut client, r#"{"result":"ok"}"#, code, "Missing field: tid", "null").await;
    })
    .await;
}

#[tokio::test]
async fn a_field_of_the_message_of_the_wrong_type_is_named() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let wrong = code::SYNTAX_ERROR;
        for value in ["1", "true", "{}", "[\"core\"]"] {
            let class = format!(r#"{{"class":{value},"cmd":"ping","tid":7}}"#);
            expect_error(&mut client, &class, wrong, "class", "7").await;
            let subclass = format!(r#"{{"class":"core","subclass":{value},"cmd":"ping","tid":"s"}}"#);
            expect_error(&mut client, &subclass, wrong, "subclass", "\"s\"").await;
            let cmd = format!(r#"{{"class":"core","cmd":{value},"tid":1.0}}"#);
            expect_error(&mut client, &cmd, wrong, "cmd", "1.0").await;
        }
        for value in ["null", "true", "{}", "[1]"] {
            let tid = format!(r#"{{"class":"core","cmd":"ping","tid":{value}}}"#);
            expect_error(&mut client, &tid, wrong, "tid", "null").await;
        }
    })
    .await;
}

/// Transaction ids whose text a parser into ordinary values would change.
const TIDS: [&str; 15] = [
    "1",
    "0",
    "-0",
    "1.0",
    "1.50",
    "1e3",
    "1E+3",
    "0.1e-7",
    "1e400",
    "12345678901234567890",
    "123456789012345678901234567890.5",
    r#""""#,
    r#""a\u0041""#,
    r#""\u00e9\/\\ é \" 😀""#,
    r#""null""#,
];

#[tokio::test]
async fn the_tid_comes_back_as_it_was_written() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        for request in [
            r#""class":"core","cmd":"ping""#,
            r#""class":"core","subclass":"user","cmd":"list""#,
            r#""class":"core","subclass":"user","cmd":"get","data":{"user":"nobody"}"#,
            r#""class":"core","subclass":"user","cmd":"get""#,
            r#""class":"no","cmd":"thing""#,
            r#""class":5,"cmd":"thing""#,
            r#""cmd":"thing""#,
            r#""data":5"#,
        ] {
            for tid in TIDS {
                client.send_text(&format!("{{\"tid\":{tid},{request}}}")).await;
                assert_eq!(raw_field(&client.recv_text().await, "tid"), tid, "{request}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn so_it_does_in_acks_and_late_answers() {
    on_all(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        let tids = ["1e3", r#""a\u0041""#, "12345678901234567890"];
        for tid in tids {
            let request = r#""class":"fixture","cmd":"sleep","data":{"ms":1500}"#;
            client.send_text(&format!("{{{request},\"tid\":{tid}}}")).await;
        }
        for field in ["ack", "tid"] {
            let mut seen = Vec::new();
            for _ in tids {
                seen.push(raw_field(&client.recv_text().await, field));
            }
            seen.sort();
            assert_eq!(seen, [r#""a\u0041""#, "12345678901234567890", "1e3"], "{field}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_tid_may_be_open_twice() {
    on_all(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        for ms in [200, 100, 300] {
            let data = json!({"ms": ms});
            client.send(&json!({"class": "fixture", "cmd": "sleep", "data": data, "tid": "same"})).await;
        }
        let mut slept = Vec::new();
        for _ in 0..3 {
            slept.push(client.response("same").await["data"]["slept"].as_i64().unwrap());
        }
        slept.sort_unstable();
        assert_eq!(slept, [100, 200, 300]);
    })
    .await;
}

#[tokio::test]
async fn answers_and_acks_that_nobody_waits_for_are_ignored() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        for message in [
            json!({"result": "ok", "tid": 999_999}),
            json!({"result": "error", "data": {"code": 1, "error": "no"}, "tid": "unknown"}),
            json!({"ack": 999_999}),
            json!({"ack": "unknown"}),
        ] {
            client.send(&message).await;
        }
        client.send_text(r#"{"class":"core","cmd":"ping","tid":1}"#).await;
        assert_eq!(client.recv_text().await, r#"{"result":"ok","tid":1}"#);
        client.expect_silence(50).await;
    })
    .await;
}

#[tokio::test]
async fn before_login_only_login_and_ping_are_served() {
    on_all(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut client = broker.connect(transport).await;
        for command in [
            "core/user/list",
            "core/event/subscribe",
            "core/session/stop",
            "core/core/event",
            "fixture/core/echo",
            "no/such/command",
        ] {
            let error = client.err(command, json!({})).await;
            assert_eq!(error, (code::NOT_AUTHENTICATED, "Not authenticated".into()), "{command}");
        }
        assert_eq!(client.ok("core/core/ping", json!({"time": 5})).await, json!({}));
        client.login("ann").await;
        client.ok("core/user/list", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn an_unknown_command_is_named() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        for command in ["no/such/command", "core/no/list", "core/user/no", "core/user/*", "core/*/list"] {
            let error = client.err(command, json!({})).await;
            assert_eq!(error, (code::UNKNOWN_COMMAND, format!("Unknown command '{command}'")));
        }
        client.send_text(r#"{"class":"no","cmd":"thing","tid":1}"#).await;
        let (_, text) = error_of(&client.recv().await);
        assert_eq!(text, "Unknown command 'no/core/thing'");
    })
    .await;
}

#[tokio::test]
async fn a_request_is_checked_in_order() {
    on_all(async |transport| {
        let rule = "[[service.main.rule]]\nuser = \"bob\"\nallow = [\"command:**\"]";
        let options = Options::default().config(&format!("default_policy = \"deny\"\n{rule}")).with_tls();
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let steps: [(&mut Client, &str, Value, i64); 5] = [
            (&mut broker.connect(transport).await, "no/such/command", json!(5), code::NOT_AUTHENTICATED),
            (&mut ann, "no/such/command", json!(5), code::UNKNOWN_COMMAND),
            (&mut broker.login(transport, "eve").await, "core/session/cmd", json!(5), code::UNAUTHORIZED),
            (&mut bob, "core/session/cmd", json!({"session_id": "none"}), code::MISSING_FIELD),
            (
                &mut broker.login(transport, "bob").await,
                "core/session/cmd",
                json!({"session_id": "none", "class": "a", "cmd": "b"}),
                code::SESSION_NOT_FOUND,
            ),
        ];
        for (client, command, data, code) in steps {
            assert_eq!(client.err(command, data).await.0, code, "{command}");
        }
    })
    .await;
}
