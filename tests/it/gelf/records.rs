//! What a record looks like, over each transport.

use std::sync::Arc;

use serde_json::{Value, json};

use super::receiver::{ACCEPTED, Receiver};
use super::{numbered, start, until_metric};
use crate::support::{Client, code};

/// The request of the External API's own page, and what it becomes.
pub fn sample(client: &Client) -> (Value, Value) {
    let request = json!({"source": "source", "message": "short message", "full_message": "long message", "level": 3,
        "meta": {"field1": "value1", "field2": 2}});
    let record = json!({"version": "1.1", "host": "source", "short_message": "short message",
        "full_message": "long message", "level": 3, "_user": "ann", "_session_id": client.session_id(),
        "_field1": "value1", "_field2": 2});
    (request, record)
}

/// Takes the timestamp out of a record, which must be that of now, with milliseconds.
pub fn without_timestamp(mut record: Value) -> Value {
    let timestamp = record.as_object_mut().unwrap().remove("timestamp").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let seconds = timestamp.as_f64().unwrap();
    assert!((now - 30.0..=now).contains(&seconds), "{timestamp} is not now, {now}");
    let decimals = timestamp.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
    assert!((1..=3).contains(&decimals), "{timestamp}");
    record
}

async fn arrives_as_the_sample(receiver: Receiver, table: &str) -> Receiver {
    let (_broker, mut ann) = start(table).await;
    let (request, record) = sample(&ann);
    assert_eq!(ann.ok("core/session/log", request).await, json!({}));
    let arrived = receiver.until(1).await;
    assert_eq!(without_timestamp(arrived[0].clone()), record);
    receiver
}

#[tokio::test]
async fn udp_compressed_or_not_and_in_chunks() {
    for (more, magic) in [
        ("", 0x78),
        ("compression = \"gzip\"", 0x1f),
        ("compression = \"none\"", b'{'),
        ("compression = \"none\"\nchunk_bytes = 100", 0x1e),
        ("chunk_bytes = 100", 0x1e),
    ] {
        let receiver = Receiver::udp().await;
        let table = format!("server = \"{}\"\n{more}", receiver.url("udp"));
        let receiver = arrives_as_the_sample(receiver, &table).await;
        let raw = receiver.raw();
        assert!(raw.iter().all(|datagram| datagram[0] == magic && datagram.len() <= 1420), "{more}");
        assert_eq!(raw.len() > 1, magic == 0x1e);
    }
}

#[tokio::test]
async fn tcp_is_never_compressed() {
    let receiver = Receiver::tcp().await;
    let table = format!("servers = [\"{}\"]\ncompression = \"gzip\"", receiver.url("tcp"));
    let receiver = arrives_as_the_sample(receiver, &table).await;
    assert_eq!(receiver.raw()[0][0], b'{');
}

#[tokio::test]
async fn http_compressed_where_it_is_asked_for() {
    for (more, magic) in [("", b'{'), ("compression = \"zlib\"", 0x78), ("compression = \"gzip\"", 0x1f)] {
        let receiver = Receiver::http(Arc::new(|_| ACCEPTED)).await;
        let table = format!("server = \"{}\"\n{more}", receiver.url("http"));
        let receiver = arrives_as_the_sample(receiver, &table).await;
        assert_eq!(receiver.raw()[0][0], magic, "{more}");
    }
}

#[tokio::test]
async fn values_that_gelf_does_not_know_are_their_text() {
    let receiver = Receiver::tcp().await;
    let (_broker, mut ann) = start(&format!("server = \"{}\"", receiver.url("tcp"))).await;
    let meta = r#"{"yes":true,"nothing":null,"list":[1,"a"],"object":{"k":1.50},"big":1e400,"exact":1.50,"long":12345678901234567890123}"#;
    let data = format!(r#"{{"source":"s","message":"zero \u0000","meta":{meta}}}"#);
    ann.send_text(&format!(r#"{{"class":"core","subclass":"session","cmd":"log","tid":"x","data":{data}}}"#))
        .await;
    assert_eq!(ann.response("x").await["result"], "ok");
    let record = receiver.until(1).await.remove(0);
    let expected = [
        ("_yes", "true"),
        ("_nothing", "null"),
        ("_list", "[1,\"a\"]"),
        ("_object", "{\"k\":1.50}"),
        ("_big", "1e400"),
        ("_long", "12345678901234567890123"),
        ("short_message", "zero \0"),
    ];
    for (key, text) in expected {
        assert_eq!(record[key], text, "{record}");
    }
    assert_eq!(record["level"], 1);
    assert!(record.get("full_message").is_none());
    let text = String::from_utf8(receiver.raw().remove(0)).unwrap();
    assert!(text.contains("\"_exact\":1.50"), "{text}");
}

#[tokio::test]
async fn a_key_that_gelf_forbids_is_named_and_nothing_is_sent() {
    let receiver = Receiver::tcp().await;
    let (_broker, mut ann) = start(&format!("server = \"{}\"", receiver.url("tcp"))).await;
    for key in ["id", "two words", ""] {
        let error =
            ann.err("core/session/log", json!({"source": "s", "message": "m", "meta": {key: 1}})).await;
        assert_eq!(error, (code::INVALID_VALUE, format!("Invalid value: meta.{key}")));
    }
    ann.ok("core/session/log", numbered(7)).await;
    assert_eq!(receiver.until(1).await[0]["_n"], 7);
    assert_eq!(receiver.count(), 1);
}

/// Text that hardly compresses.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn a_record_that_is_too_long_for_udp_is_cut_or_dropped_and_counted() {
    let receiver = Receiver::udp().await;
    let (broker, mut ann) = start(&format!("server = \"{}\"", receiver.url("udp"))).await;
    let full = noise(500_000);
    ann.ok("core/session/log", json!({"source": "s", "message": "cut", "full_message": full})).await;
    let record = receiver.until(1).await.remove(0);
    let kept = record["full_message"].as_str().unwrap();
    assert!(full.starts_with(kept) && kept.len() > 100_000, "{} bytes are kept", kept.len());
    assert!(receiver.raw().iter().all(|datagram| datagram.len() <= 1420));
    let message = noise(400_000);
    ann.ok("core/session/log", json!({"source": "s", "message": message, "full_message": full})).await;
    let metrics = until_metric(&broker, "dropped_total", |dropped| dropped > 0.5).await;
    assert!(metrics.labelled("jackfield_plugin_gelf_dropped_total", "reason", "too_large") > 0.5);
    ann.ok("core/session/log", numbered(8)).await;
    assert_eq!(receiver.until(2).await[1]["_n"], 8);
}
