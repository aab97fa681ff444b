//! Whoever is slow, silent or mad costs nobody else anything.

mod backlog;
mod garbage;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{Broker, Client, Options, Transport, on_all, pause, within};

/// How many events are sent: enough that what only the stalled client gets overflows every kernel buffer.
const EVENTS: usize = 160;

/// A hundred sessions, one of which does not read.
struct Audience {
    broker: Broker,
    stalled: Client,
    others: Vec<Client>,
    watcher: Client,
}

async fn gather(transport: Transport, options: Options) -> Audience {
    let broker = Broker::start(options.set("timeouts.answer=60s")).await;
    let mut stalled = Client::connect_narrow(&broker.url(transport)).await;
    stalled.login("stalled").await;
    stalled.ok("core/event/subscribe", json!({"class": "all"})).await;
    stalled.ok("core/event/subscribe", json!({"class": "bulk"})).await;
    let mut others = Vec::new();
    for n in 0..99 {
        let mut client = broker.login(transport, &format!("user-{n}")).await;
        client.ok("core/event/subscribe", json!({"class": "all"})).await;
        others.push(client);
    }
    let mut watcher = broker.admin(transport).await;
    watcher.ok("core/event/subscribe", json!({"class": "core", "subclass": "session", "type": "stop"})).await;
    Audience { broker, stalled, others, watcher }
}

/// Sends the events, waiting for each to be accepted: the stalled client must not hold up the sender.
async fn perform(broker: &Broker, transport: Transport) -> Client {
    let mut sender = broker.login(transport, "sender").await;
    let bulk = "x".repeat(64 * 1024);
    for n in 0..EVENTS {
        sender.ok("core/event/send_event", json!({"class": "all", "body": {"n": n}})).await;
        sender.ok("core/event/send_event", json!({"class": "bulk", "body": {"bulk": bulk}})).await;
    }
    sender
}

async fn expect_every_event(client: &mut Client) {
    for n in 0..EVENTS {
        assert_eq!(client.event().await, json!({"class": "all", "body": {"n": n}}));
    }
    client.expect_no_event().await;
}

async fn only_the_stalled_one_is_closed(transport: Transport, options: Options) {
    let Audience { broker, mut stalled, mut others, mut watcher } = gather(transport, options).await;
    // It stays, so that the watcher is not told of its end.
    let _sender = perform(&broker, transport).await;
    let stop = watcher.event().await;
    assert_eq!(stop["obj_id"], stalled.session_id());
    assert_eq!(stop["body"]["reason"], "slow_consumer", "{stop}");
    for client in &mut others {
        expect_every_event(client).await;
    }
    watcher.expect_no_event().await;
    if transport.is_websocket() {
        // A close frame comes only where the socket still had room for it.
        let (_, close) = stalled.drain().await;
        assert!(close.is_none() || close == Some((4001, "slow_consumer".into())), "{close:?}");
    }
}

#[tokio::test]
async fn too_many_bytes_queued() {
    on_all(async |transport| {
        let options =
            Options::default().with_tls().set("limits.outbound_bytes=262144").set("timeouts.write=120s");
        only_the_stalled_one_is_closed(transport, options).await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing() {
    on_all(async |transport| {
        let options =
            Options::default().with_tls().set("limits.outbound_bytes=268435456").set("timeouts.write=700ms");
        only_the_stalled_one_is_closed(transport, options).await;
    })
    .await;
}

/// A session that has nothing to read is not slow.
#[tokio::test]
async fn nothing_to_write_is_no_slowness() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls().set("timeouts.write=200ms")).await;
        let mut client = broker.login(transport, "ann").await;
        pause(800).await;
        client.ok("core/core/ping", json!({})).await;
        client.expect_silence(600).await;
    })
    .await;
}

/// Requests whose answers nobody reads: the broker stops reading, rather than queueing without end or closing.
#[tokio::test]
async fn who_does_not_read_answers_is_not_read_from() {
    const REQUESTS: usize = 3000;
    let options = Options::fixture().set("limits.outbound_bytes=200000").set("timeouts.write=120s");
    let broker = Broker::start(options).await;
    let mut other = broker.login(Transport::Tcp, "bob").await;
    let address = broker.url(Transport::Tcp);
    let stream = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).await.unwrap();
    let (read, mut write) = stream.into_split();
    let writer = tokio::spawn(async move {
        let login = json!({"class": "core", "subclass": "user", "cmd": "login", "data": {"user": "ann"}, "tid": "login"});
        write.write_all(format!("{login}\n").as_bytes()).await.unwrap();
        let data = "x".repeat(10_000);
        for tid in 0..REQUESTS {
            let request = json!({"class": "fixture", "cmd": "echo", "data": data, "tid": tid});
            write.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        }
        write
    });
    pause(1000).await;
    assert!(!writer.is_finished(), "30 MB were read from a client that reads nothing");
    let users = other.ok("core/user/list", json!({})).await;
    assert!(users.get("ann").is_some(), "{users}");
    let mut lines = BufReader::new(read).lines();
    let login = within("the login's answer", lines.next_line()).await.unwrap().unwrap();
    assert!(login.contains("session_id"), "{login}");
    for tid in 0..REQUESTS {
        let line = within("an answer", lines.next_line()).await.unwrap().unwrap();
        assert!(line.starts_with("{\"result\":\"ok\""), "{}", &line[..100]);
        assert!(line.contains(&format!("\"tid\":{tid}")), "answers in place keep their order");
    }
    within("the writer", writer).await.unwrap();
}
