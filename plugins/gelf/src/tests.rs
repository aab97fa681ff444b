//! The plugin as a whole, without a broker.

use std::time::{Duration, Instant};

use jackfield_plugin_api::{BrokerRecord, ErrorCode, RawObject, Severity, testing::Harness};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UdpSocket},
};

use super::*;
use crate::record::tests::record;

async fn datagram(socket: &UdpSocket) -> Value {
    let mut buffer = [0; 9000];
    let length =
        tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    serde_json::from_slice(&buffer[..length]).unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(5), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_record_goes_to_every_server() {
    let (one, two) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let url = |socket: &UdpSocket| format!("udp://{}", socket.local_addr().unwrap());
    let config =
        json!({ "servers": [url(&one), url(&two)], "compression": "none", "broker_log": true, "host": "h" });
    let harness = Harness::with_config(Gelf, &config).unwrap();
    let services = harness.start_services();
    harness.log(&record(r#"{"k":1}"#)).unwrap();
    harness.broker_log(&BrokerRecord {
        time: std::time::SystemTime::now(),
        level: Severity::WARNING,
        target: "jackfield::test".into(),
        message: "own".into(),
        fields: RawObject::default(),
    });
    for socket in [&one, &two] {
        let first = datagram(socket).await;
        assert_eq!((&first["short_message"], &first["_k"]), (&json!("up"), &json!(1)));
        let second = datagram(socket).await;
        assert_eq!(
            (&second["short_message"], &second["host"], &second["level"]),
            (&json!("own"), &json!("h"), &json!(4))
        );
    }
    services.stop().await.unwrap();
    let sent = format!("gelf_sent_total{{service=\"test\",server=\"{}\"}}", url(&one));
    assert_eq!(harness.counter(&sent), Some(2));
    assert!(harness.log(&record("{}")).unwrap_err().is(ErrorCode::PluginUnavailable), "it is stopped");
}

/// Accepted means that every server gets it.
#[tokio::test]
async fn a_full_queue_refuses_for_all_or_drops_the_oldest() {
    for (overflow, accepted, reason) in [("refuse", false, "refused"), ("drop_oldest", true, "oldest")] {
        let config = json!({ "servers": ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"], "queue_bytes": 1024, "overflow": overflow });
        let harness = Harness::with_config(Gelf, &config).unwrap();
        for _ in 0..5 {
            harness.log(&record("{}")).unwrap();
        }
        let last = harness.log(&record("{}"));
        assert_eq!(last.is_ok(), accepted);
        if let Err(error) = last {
            assert_eq!(error.text(), "Plugin unavailable: gelf");
        }
        for port in [1, 2] {
            let name = |reason: &str| {
                format!(
                    "gelf_dropped_total{{service=\"test\",server=\"tcp://127.0.0.1:{port}\",reason=\"{reason}\"}}"
                )
            };
            assert_eq!(harness.counter(&name(reason)), Some(1));
        }
        let bytes = harness.gauge("gelf_queue_bytes{service=\"test\",server=\"tcp://127.0.0.1:1\"}").unwrap();
        assert!(bytes > 500.0 && bytes <= 1024.0, "{bytes}");
    }
}

#[test]
fn own_lines_that_cannot_be_written_are_counted_for_every_server() {
    let urls = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"];
    let harness = Harness::with_config(Gelf, &json!({ "servers": urls })).unwrap();
    let settings = serde_json::from_value::<Config>(json!({ "servers": urls })).unwrap().settings().unwrap();
    let outlet = |server: &server::Server| Arc::new(Outlet::new(server.clone(), &settings, harness.host()));
    let sink = OwnSink { outlets: settings.servers.iter().map(outlet).collect(), host: "h".into() };
    sink.queue(Err(ErrorCode::InternalError.into()));
    for url in urls {
        let lost = format!("gelf_dropped_total{{service=\"test\",server=\"{url}\",reason=\"unwritable\"}}");
        assert_eq!(harness.counter(&lost), Some(1));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_in_time_is_counted() {
    let harness = Harness::with_config(Gelf, &json!({ "server": "tcp://127.0.0.1:1" })).unwrap();
    tokio::time::pause();
    let services = harness.start_services();
    harness.log(&record("{}")).unwrap();
    services.stop().await.unwrap();
    let lost = "gelf_dropped_total{service=\"test\",server=\"tcp://127.0.0.1:1\",reason=\"stopped\"}";
    assert_eq!(harness.counter(lost), Some(1));
}

#[tokio::test]
async fn what_is_in_the_spool_is_sent_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = json!({ "server": format!("tcp://{address}"), "spool": directory.path() });
    let first = Harness::with_config(Gelf, &config).unwrap();
    let services = first.start_services();
    first.log(&record(r#"{"n":1}"#)).unwrap();
    let gauge = format!("gelf_spool_bytes{{service=\"test\",server=\"tcp://{address}\"}}");
    until("the spool", || first.gauge(&gauge).is_some_and(|bytes| bytes > 0.0)).await;
    services.stop().await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let second = Harness::with_config(Gelf, &config).unwrap();
    let services = second.start_services();
    second.log(&record(r#"{"n":2}"#)).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let reading = async {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let sent = format!("gelf_sent_total{{service=\"test\",server=\"tcp://{address}\"}}");
    let stopping = async {
        until("both to be sent", || second.counter(&sent) == Some(2)).await;
        services.stop().await.unwrap();
    };
    let (text, ()) = tokio::join!(reading, stopping);
    let numbers: Vec<Value> = text
        .split_terminator('\0')
        .map(|record| serde_json::from_str::<Value>(record).unwrap()["_n"].take())
        .collect();
    assert_eq!(numbers, [json!(1), json!(2)]);
}

/// What cannot be read must not keep out what is to be written: both would wait for each other.
#[tokio::test]
async fn a_spool_full_of_what_cannot_be_read_has_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let spool = directory.path().join(spool::directory_name("test", &server::Server::parse(&url).unwrap()));
    std::fs::create_dir(&spool).unwrap();
    std::fs::write(spool.join("000000000001.log"), vec![0xff; 70_000]).unwrap();
    let config = json!({ "server": url, "spool": directory.path(), "spool_bytes": 65_536 });
    let harness = Harness::with_config(Gelf, &config).unwrap();
    harness.log(&record("{}")).unwrap();
    let services = harness.start_services();
    let sent = format!("gelf_sent_total{{service=\"test\",server=\"{url}\"}}");
    until("the record", || harness.counter(&sent) == Some(1)).await;
    services.stop().await.unwrap();
}

/// A key whose lines were joined is no PEM, and the parser's error quotes it.
#[test]
fn a_key_that_cannot_be_read_is_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("certificate.pem"), "").unwrap();
    for key in
        ["-----BEGIN PRIVATE KEY----- hush -----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY hush", "hush"]
    {
        std::fs::write(file("key.pem"), key).unwrap();
        let table =
            json!({ "server": "tls://a", "certificate": file("certificate.pem"), "key": file("key.pem") });
        let text = Harness::with_config(Gelf, &table).unwrap_err().text().to_owned();
        let as_numbers = format!("{:?}", b"hush").replace(['[', ']'], "");
        assert!(text.contains("key.pem") && !text.contains("hush") && !text.contains(&as_numbers), "{text}");
    }
}

#[test]
fn wrong_tables_are_configuration_errors() {
    let error = |table: Value| Harness::with_config(Gelf, &table).unwrap_err().text().to_owned();
    let server = |more: Value| {
        let mut table = json!({ "server": "tls://a" });
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        error(table)
    };
    assert!(error(json!({})).starts_with("Missing field: server"));
    for wrong in [
        json!({ "chunk_bytes": 12 }),
        json!({ "queue_bytes": 0 }),
        json!({ "compression": "lz4" }),
        json!({ "overflow": "block" }),
        json!({ "resend": -1 }),
        json!({ "unknown": 1 }),
        json!({ "http_connections": 0 }),
        json!({ "broker_log": "yes" }),
    ] {
        let key = wrong.as_object().unwrap().keys().next().unwrap().clone();
        assert!(server(wrong).contains(&key), "{key}");
    }
    let missing = server(json!({ "ca": "/no/such/file.pem" }));
    assert!(missing.contains("/no/such/file.pem"), "{missing}");
    let secret = error(json!({ "server": "tcp://user:secret@a" }));
    assert!(!secret.contains("secret"), "{secret}");
}
