//! JSON that the broker only passes on keeps its text.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::support::{Broker, Client, Options, Transport, on_both, raw_field};

/// What a parser into ordinary values would change: numbers, escapes, the order of keys.
const TEXT: &str = r#"{"z": 12345678901234567890123456789, "a":1.10, "e":1e400, "m":-0,"t":1E+2, "f":0.1e-7,
    "s":"\u00e9\/\"\\\b\f\n\r\t \ud83d\ude00 é 😀 \u0000 \u2028  ", "":{"y":[ ],"x":{ }, "b":[1 ,"two  words" , null]}}"#;

/// The same JSON without the white space between its tokens.
fn compact(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |character: &char| {
        let keep = in_string || !character.is_ascii_whitespace();
        match character {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = *character == '\\' && !escaped;
        keep
    };
    text.chars().filter(keep).collect()
}

/// The sample on one line, as TCP needs it.
fn one_line() -> String {
    TEXT.replace('\n', " ")
}

/// Sends a request whose data is this text.
async fn send(client: &mut Client, command: &str, data: &str, tid: u64) {
    let [class, subclass, cmd] = command.split('/').collect::<Vec<_>>()[..] else { panic!("{command}") };
    let message =
        format!(r#"{{"class":"{class}","subclass":"{subclass}","cmd":"{cmd}","tid":{tid},"data":{data}}}"#);
    client.send_text(&message).await;
}

async fn echo(client: &mut Client, data: &str, tid: u64) -> String {
    send(client, "fixture/core/echo", data, tid).await;
    raw_field(&client.response_text(tid).await, "data")
}

#[tokio::test]
async fn through_a_raw_handler() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        assert_eq!(compact(&echo(&mut client, &one_line(), 1000).await), compact(TEXT));
        for (data, tid) in ["[1.0,2]", "\"\\u0041\"", "1e3", "-0.0", "false", "[]", "\"\""].iter().zip(2000..)
        {
            assert_eq!(echo(&mut client, data, tid).await, *data);
        }
    })
    .await;
}

#[tokio::test]
async fn through_an_event_body() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        bob.ok("core/event/subscribe", json!({"class": "media"})).await;
        for body in [&one_line(), "[1.0, 1e400]", "\"\\u0041\"", "12345678901234567890123"] {
            let data = format!(r#"{{"class":"media","body":{body}}}"#);
            send(&mut ann, "core/event/send_event", &data, 1000).await;
            ann.response(1000).await;
            let data = raw_field(&bob.next_event_text().await, "data");
            assert_eq!(compact(&raw_field(&data, "body")), compact(body));
        }
    })
    .await;
}

#[tokio::test]
async fn values_of_merged_bodies_keep_theirs() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let data = format!(r#"{{"class":"media","body":{{"mine":{},"both":1}}}}"#, one_line());
        send(&mut bob, "core/event/subscribe", &data, 1000).await;
        bob.response(1000).await;
        let data = format!(r#"{{"class":"media","body":{{"theirs":{},"both":2.00}}}}"#, one_line());
        send(&mut ann, "core/event/send_event", &data, 1000).await;
        let data = raw_field(&bob.next_event_text().await, "data");
        let body = raw_field(&data, "body");
        assert_eq!(compact(&raw_field(&body, "mine")), compact(TEXT));
        assert_eq!(compact(&raw_field(&body, "theirs")), compact(TEXT));
        assert_eq!(raw_field(&body, "both"), "2.00");
    })
    .await;
}

#[tokio::test]
async fn through_session_cmd_there_and_back() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let data = format!(
            r#"{{"session_id":"{}","class":"screen","cmd":"show","data":{}}}"#,
            bob.session_id(),
            one_line()
        );
        send(&mut ann, "core/session/cmd", &data, 1000).await;
        let request = bob.next_request_text().await;
        assert_eq!(compact(&raw_field(&request, "data")), compact(TEXT));
        let tid = raw_field(&request, "tid");
        bob.send_text(&format!(r#"{{"result":"ok","data":{},"tid":{tid}}}"#, one_line())).await;
        let answer = ann.response_text(1000).await;
        assert_eq!(compact(&raw_field(&answer, "data")), compact(TEXT));
    })
    .await;
}

#[tokio::test]
async fn newlines_from_a_websocket_never_reach_a_tcp_line() {
    let broker = Broker::start(Options::default()).await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    let mut bob = broker.login(Transport::Tcp, "bob").await;
    bob.ok("core/event/subscribe", json!({"class": "media"})).await;
    let body = format!("\r\n[\n\r{TEXT}\r\n,\n1\r]\n");
    send(&mut ann, "core/event/send_event", &format!("{{\n\"class\":\n\"media\",\n\"body\":{body}}}"), 1000)
        .await;
    ann.response(1000).await;
    let line = bob.next_event_text().await;
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    assert_eq!(compact(&raw_field(&raw_field(&line, "data"), "body")), compact(&body));

    let data =
        format!(r#"{{"session_id":"{}","class":"screen","cmd":"show","data":{body}}}"#, bob.session_id());
    send(&mut ann, "core/session/cmd", &data, 1001).await;
    let line = bob.next_request_text().await;
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    assert_eq!(compact(&raw_field(&line, "data")), compact(&body));

    let data = format!(r#"{{"session_id":"{}","class":"screen","cmd":"show"}}"#, ann.session_id());
    send(&mut bob, "core/session/cmd", &data, 1002).await;
    let tid = raw_field(&ann.next_request_text().await, "tid");
    ann.send_text(&format!("{{\"result\":\"ok\",\n\"data\":{body},\n\"tid\":{tid}}}")).await;
    let line = bob.response_text(1002).await;
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    assert_eq!(compact(&raw_field(&line, "data")), compact(&body));
}

#[tokio::test]
async fn nor_does_one_in_data_that_defaults_were_filled_into() {
    let broker = Broker::start(Options::default()).await;
    let mut ann = broker.connect(Transport::Ws).await;
    let forged = r#"{"result":"ok","tid":1}"#;
    send(&mut ann, "core/user/login", &format!("{{\"user\":\"ann\",\"device\":[\n{forged}\r\n]}}"), 999)
        .await;
    ann.response(999).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    send(&mut admin, "core/user/get", r#"{"user":"ann"}"#, 1000).await;
    let line = admin.response_text(1000).await;
    assert!(line.contains(forged) && !line.contains(['\n', '\r']), "{line:?}");

    let mut worker = broker.admin(Transport::Tcp).await;
    let schema = json!({"type": "object", "properties": {"size": {"default": 1}}});
    worker.ok("core/registry/register", json!({"class": "work", "data_schema": schema})).await;
    send(&mut ann, "work/core/do", &format!("{{\"x\":[\n{forged}\n]}}"), 1001).await;
    let line = worker.next_request_text().await;
    assert_eq!(compact(&raw_field(&line, "data")), compact(&format!(r#"{{"size":1,"x":[{forged}]}}"#)));
    assert!(!line.contains(['\n', '\r']), "{line:?}");
}

#[tokio::test]
async fn fields_may_come_in_any_order_with_any_others_between() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut admin = broker.admin(transport).await;
        let get = r#""data":{"user":"admin"},"cmd":"get","subclass":"user","class":"core""#;
        let before = [r#""result":0"#, r#""ack":1,"result":"ok""#, r#""tid":1,"x":{}"#];
        for (before, tid) in before.iter().zip(1000..) {
            admin.send_text(&format!("{{{before},{get},\"tid\":{tid}}}")).await;
            assert_eq!(admin.response(tid).await["result"], "ok", "{before}");
        }
    })
    .await;
}

/// JSON as someone might type it, on one line.
fn any_json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let string = "\"([ !#-\\[\\]-~é😀\u{7f}]|\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}){0,12}\"";
    let leaf = prop_oneof![number, string, "true|false|null"].boxed();
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let pair = (string, inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(" , "))),
            proptest::collection::vec(pair, 0..6).prop_map(|pairs| format!("{{ {} }}", pairs.join(","))),
        ]
    })
}

#[tokio::test]
async fn any_json_comes_back_as_it_went() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        let mut runner = TestRunner::default();
        for tid in 1000..1300 {
            // In an object, since `null` and `{}` as data are the same as none.
            let data = format!("{{\"it\":{}}}", any_json().new_tree(&mut runner).unwrap().current());
            assert_eq!(compact(&echo(&mut client, &data, tid).await), compact(&data));
        }
    })
    .await;
}
