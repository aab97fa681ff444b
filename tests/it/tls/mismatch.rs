//! Clients that speak something else than the listener, or nothing.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::tls::client;
use crate::support::{Broker, Client, Metrics, Options, Transport, eventually, within};

fn options() -> Options {
    Options::default().with_tls().args(&["--set", "admin.listen=http://127.0.0.1:0"])
}

async fn socket(broker: &Broker, transport: Transport) -> TcpStream {
    let url = broker.url(transport);
    TcpStream::connect(url.split("://").nth(1).unwrap().trim_end_matches('/')).await.unwrap()
}

/// Sends bytes, and waits for the end that they bring.
async fn expect_end(broker: &Broker, transport: Transport, bytes: &[u8]) {
    let mut socket = socket(broker, transport).await;
    socket.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    // A reset is an end too.
    drop(within("the end", socket.read_to_end(&mut rest)).await);
    assert!(rest.is_empty(), "{transport}: {rest:?}");
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_closed_at_once_and_logged() {
    let broker = Broker::start(options()).await;
    let started = Instant::now();
    for (transport, bytes) in [
        (Transport::Tls, &b"{"[..]),
        (Transport::Tls, b"{\"class\":\"core\",\"cmd\":\"ping\",\"tid\":1}\n"),
        (Transport::Wss, b"G"),
        (Transport::Wss, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        expect_end(&broker, transport, bytes).await;
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    let lines = || broker.log().matches("a client without TLS came to a TLS listener; closed").count();
    eventually("four lines in the log", || lines() == 4).await;
    assert!(broker.log().contains("WARN"));
    let metrics = Metrics::of(&broker).await;
    let counted = metrics.labelled("jackfield_tls_handshake_failures_total", "reason", "plain_text");
    assert_eq!(counted.to_string(), "4");
}

#[tokio::test]
async fn tls_on_a_plain_port_is_closed_at_once_and_logged() {
    let broker = Broker::start(options()).await;
    for transport in [Transport::Ws, Transport::Tcp] {
        let url = broker.url(transport);
        let url = url.replace("ws://", "wss://").replace("tcp://", "tls://");
        let started = Instant::now();
        assert!(Client::try_connect_as(&url, &client()).await.is_err());
        expect_end(&broker, transport, b"\x16\x03\x01").await;
        assert!(started.elapsed() < Duration::from_secs(5), "{transport}");
    }
    let lines = || broker.log().matches("a TLS client came to a listener without TLS; closed").count();
    eventually("four lines in the log", || lines() == 4).await;
    let metrics = Metrics::of(&broker).await;
    let counted = metrics.labelled("jackfield_tls_handshake_failures_total", "reason", "plain_port");
    assert_eq!(counted.to_string(), "4");
    // Nobody else minds.
    for transport in [Transport::Ws, Transport::Tcp, Transport::Wss, Transport::Tls] {
        broker.login(transport, "ann").await;
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let broker = Broker::start(options().set("timeouts.login=300ms")).await;
    for transport in [Transport::Wss, Transport::Tls] {
        for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
            expect_end(&broker, transport, begun).await;
        }
    }
    eventually("four lines in the log", || broker.log().matches("no TLS handshake in time").count() == 4)
        .await;
    let metrics = Metrics::of(&broker).await;
    let counted = metrics.labelled("jackfield_tls_handshake_failures_total", "reason", "timeout");
    assert_eq!(counted.to_string(), "4");
}

#[tokio::test]
async fn who_only_looks_whether_the_port_is_open_is_not_logged() {
    let broker = Broker::start(options()).await;
    for transport in [Transport::Wss, Transport::Tls] {
        drop(socket(&broker, transport).await);
        // Behind it, so that the log would have the other's line by then.
        expect_end(&broker, transport, b"plain").await;
    }
    let lines = || broker.log().matches("a client without TLS came to a TLS listener; closed").count();
    eventually("two lines in the log", || lines() == 2).await;
    assert!(!broker.log().contains("TLS handshake failed"), "{}", broker.log());
}

#[tokio::test]
async fn what_only_begins_as_tls_is_refused() {
    let broker = Broker::start(options()).await;
    for transport in [Transport::Wss, Transport::Tls] {
        let mut socket = socket(&broker, transport).await;
        socket.write_all(&[0x16; 2000]).await.unwrap();
        let mut rest = Vec::new();
        drop(within("the end", socket.read_to_end(&mut rest)).await);
    }
    eventually("two lines in the log", || broker.log().matches("TLS handshake failed").count() == 2).await;
    broker.login(Transport::Wss, "ann").await;
}

/// Who is over the limit needs a handshake to be told so; no more than a few hundred get one at a time.
#[tokio::test]
async fn a_flood_over_the_limit_of_connections_gets_no_handshakes() {
    for transport in [Transport::Wss, Transport::Tls, Transport::Ws] {
        let broker = Broker::start(options().set("limits.connections=1")).await;
        let _ann = broker.login(Transport::Tcp, "ann").await;
        let mut first = socket(&broker, transport).await;
        let mut flood = Vec::new();
        for _ in 0..300 {
            flood.push(socket(&broker, transport).await);
        }
        let mut last = flood.pop().unwrap();
        // The first is waited for, for two seconds; the last is closed as it comes.
        tokio::select! {
            biased;
            _ = first.read_u8() => panic!("{transport}: the last waits longer than the first"),
            ended = within("the end", last.read_u8()) => assert!(ended.is_err(), "{transport}"),
        }
    }
}
