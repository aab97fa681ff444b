//! Events: answered or pushed, and what a slow application does to them.

use std::time::Duration;

use jackfield_client::{Client, Subscription};
use serde_json::{Value, json};

use crate::support::{Kind, Peer, Server, on_both};

on_both!(
    events_are_answered_and_arrive_in_order,
    pushed_events_are_not_answered,
    a_slow_application_leaves_events_unanswered,
    reading_stops_when_twice_the_queue_is_full,
    events_that_nobody_wants_are_answered_and_counted,
    an_event_that_is_none_is_refused,
    subscribing_and_unsubscribing,
);

async fn event(peer: &mut Peer, obj_id: u64, tid: Value) {
    let data =
        json!({"class": "media", "type": "created", "obj_id": obj_id.to_string(), "body": {"n": obj_id}});
    peer.request("core", "event", data, tid).await;
}

/// An event's number, from its body.
async fn number(events: &mut jackfield_client::Events) -> u64 {
    events.next().await.unwrap().body_as::<Value>().unwrap()["n"].as_u64().unwrap()
}

async fn events_are_answered_and_arrive_in_order(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    for n in 1..=3 {
        event(&mut peer, n, json!(n)).await;
    }
    let from = json!({"user": "bob", "session_id": "s2"});
    let data = json!({"class": "media", "subclass": "s", "service": "other"});
    peer.send(json!({"class": "core", "cmd": "event", "data": data, "tid": "t4", "from": from})).await;
    for tid in [json!(1), json!(2), json!(3), json!("t4")] {
        assert_eq!(peer.recv().await, json!({"result": "ok", "tid": tid}));
    }
    let mut events = client.events().unwrap();
    assert!(client.events().is_none());
    for n in 1..=3 {
        assert_eq!(number(&mut events).await, n);
    }
    let last = events.next().await.unwrap();
    assert_eq!((last.subclass.as_deref(), last.service.as_deref()), (Some("s"), Some("other")));
    assert_eq!((last.event_type, last.obj_id, last.body.get()), (None, None, "{}"));
    assert_eq!(last.from.unwrap().user, "bob");
    assert_eq!(client.stats().events_received, 4);
}

async fn pushed_events_are_not_answered(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let mut events = client.events().unwrap();
    for n in 1..=100 {
        let data = json!({"class": "media", "body": {"n": n}});
        peer.send(json!({"class": "core", "cmd": "event", "data": data})).await;
    }
    for n in 1..=100 {
        assert_eq!(number(&mut events).await, n);
    }
    assert!(peer.is_quiet(Duration::from_millis(100)).await);
}

async fn a_slow_application_leaves_events_unanswered(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options().event_queue(2)).await;
    let mut events = client.events().unwrap();
    for n in 1..=3 {
        event(&mut peer, n, json!(n)).await;
    }
    for tid in [1, 2] {
        assert_eq!(peer.recv().await["tid"], tid);
    }
    assert!(peer.is_quiet(Duration::from_millis(200)).await);
    // Answers and requests still get through.
    let script = async {
        let request = peer.recv().await;
        peer.answer(&request, json!({})).await;
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "z", ()), script);
    assert!(answer.is_ok());
    // Each event that is taken makes room for one to be answered.
    assert_eq!(number(&mut events).await, 1);
    assert_eq!(peer.recv().await["tid"], 3);
    assert_eq!((number(&mut events).await, number(&mut events).await), (2, 3));
    assert_eq!(client.stats().events_discarded, 0);
}

async fn reading_stops_when_twice_the_queue_is_full(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options().event_queue(2)).await;
    let mut events = client.events().unwrap();
    for n in 1..=20 {
        event(&mut peer, n, json!(n)).await;
    }
    peer.request("core", "ping", json!({}), json!("behind")).await;
    for tid in [1, 2] {
        assert_eq!(peer.recv().await["tid"], tid);
    }
    assert!(peer.is_quiet(Duration::from_millis(200)).await);
    assert_eq!(client.stats().events_received, 4);
    for n in 1..=20 {
        assert_eq!(number(&mut events).await, n);
    }
    let mut answered = Vec::new();
    for _ in 3..=21 {
        answered.push(peer.recv().await["tid"].clone());
    }
    // An event that is held back may be overtaken by what is no event.
    assert!(answered.contains(&json!("behind")));
    answered.retain(Value::is_number);
    assert_eq!(answered, (3..=20).map(Value::from).collect::<Vec<_>>());
}

async fn events_that_nobody_wants_are_answered_and_counted(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options().event_queue(2)).await;
    for n in 1..=10 {
        event(&mut peer, n, json!(n)).await;
        assert_eq!(peer.recv().await["tid"], n);
    }
    assert_eq!(client.stats().events_discarded, 8);
    let mut events = client.events().unwrap();
    assert_eq!((number(&mut events).await, number(&mut events).await), (1, 2));
    event(&mut peer, 11, json!(11)).await;
    assert_eq!(peer.recv().await["tid"], 11);
    drop(events);
    assert_eq!(client.stats().events_discarded, 9);
}

async fn an_event_that_is_none_is_refused(kind: Kind) {
    let server = Server::start(kind).await;
    let (_client, mut peer) = server.connect(server.options()).await;
    peer.request("core", "event", json!({"body": {}}), json!(1)).await;
    let answer = peer.recv().await;
    assert_eq!((&answer["result"], &answer["data"]["code"]), (&json!("error"), &json!(100_044)));
}

async fn subscribing_and_unsubscribing(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let subscription = Subscription::to("media")
        .subclass("s")
        .event_type("t")
        .obj_id("o")
        .service("x")
        .body(json!({"a": 1}));
    let fields = json!({"class": "media", "subclass": "s", "type": "t", "obj_id": "o", "service": "x"});
    let script = async {
        let request = peer.recv().await;
        assert_eq!(request["cmd"], "subscribe");
        let mut expected = fields.clone();
        expected["body"] = json!({"a": 1});
        assert_eq!(request["data"], expected);
        peer.answer(&request, json!({})).await;
        let request = peer.recv().await;
        assert_eq!((&request["cmd"], &request["data"]), (&json!("unsubscribe"), &fields));
        peer.answer(&request, json!({})).await;
        let request = peer.recv().await;
        peer.answer_error(&request, 100_030, "Unauthorized").await;
    };
    let calls = async {
        client.subscribe(subscription.clone()).await.unwrap();
        client.unsubscribe(subscription.clone()).await.unwrap();
        assert_eq!(client.subscribe(subscription.clone()).await.unwrap_err().code(), Some(100_030));
    };
    tokio::join!(script, calls);
}

/// An event may overtake the answer to the login.
#[tokio::test]
async fn an_event_before_the_logins_answer_is_kept() {
    let server = Server::start(Kind::Ws).await;
    let script = async {
        let mut peer = server.accept().await;
        let login = peer.recv().await;
        event(&mut peer, 1, json!(1)).await;
        assert_eq!(peer.recv().await["tid"], 1);
        peer.answer(&login, json!({"session_id": "s1"})).await;
        peer
    };
    let (client, _peer) = tokio::join!(Client::connect(server.options()), script);
    assert_eq!(number(&mut client.unwrap().events().unwrap()).await, 1);
}
