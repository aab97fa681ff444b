//! Connections that are lost, and what comes after.

use std::time::Duration;

use jackfield_client::{
    Client, ConnectionState, DisconnectReason, Error, Reconnect, States, Subscription, Timeouts,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Kind, Peer, Server, on_both};

on_both!(
    login_and_subscriptions_are_renewed,
    requests_under_way_fail_and_waiting_ones_are_sent,
    a_request_without_a_connection_is_not_sent,
    a_refused_login_gives_up,
    a_session_id_still_in_use_is_tried_again,
    a_refused_renewal_is_told,
    attempts_are_limited,
    without_reconnect_the_client_ends,
    a_broker_gone_silent_is_lost,
    what_is_no_protocol_ends_the_connection,
);

async fn state(states: &mut States) -> ConnectionState {
    timeout(Duration::from_secs(20), states.next())
        .await
        .expect("no change of state")
        .expect("no more states")
}

async fn connected(states: &mut States) -> ConnectionState {
    loop {
        let state = state(states).await;
        if matches!(state, ConnectionState::Connected { .. }) {
            return state;
        }
    }
}

async fn subscribe(client: &Client, peer: &mut Peer, subscription: Subscription) {
    let script = async {
        let request = peer.recv().await;
        peer.answer(&request, json!({})).await;
    };
    let (outcome, ()) = tokio::join!(client.subscribe(subscription), script);
    outcome.unwrap();
}

/// Answers the renewal of so many subscriptions, and hands back their data.
async fn renewals(peer: &mut Peer, count: usize) -> Vec<Value> {
    let mut renewed = Vec::new();
    for _ in 0..count {
        let request = peer.recv().await;
        assert_eq!(request["cmd"], "subscribe");
        peer.answer(&request, json!({})).await;
        renewed.push(request["data"].clone());
    }
    renewed
}

async fn login_and_subscriptions_are_renewed(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let mut states = client.states();
    subscribe(&client, &mut peer, Subscription::to("a").body(json!({"old": 1}))).await;
    subscribe(&client, &mut peer, Subscription::to("b")).await;
    subscribe(&client, &mut peer, Subscription::to("c")).await;
    subscribe(&client, &mut peer, Subscription::to("a").body(json!({"new": 1}))).await;
    let script = async {
        let request = peer.recv().await;
        peer.answer(&request, json!({})).await;
    };
    tokio::join!(async { client.unsubscribe(Subscription::to("b")).await.unwrap() }, script);
    drop(peer);
    let (mut peer, login) = server.accept_login("s2").await;
    assert_eq!(login["data"]["password"], "hunter2");
    let renewed = renewals(&mut peer, 2).await;
    assert_eq!(renewed, [json!({"class": "a", "body": {"new": 1}}), json!({"class": "c"})]);
    assert!(matches!(state(&mut states).await, ConnectionState::Disconnected { .. }));
    assert!(matches!(state(&mut states).await, ConnectionState::Reconnecting { attempt: 1, .. }));
    let ConnectionState::Connected { session_id, refused } = state(&mut states).await else {
        panic!("not connected");
    };
    assert_eq!(session_id.unwrap().as_str(), "s2");
    assert!(refused.is_empty());
    assert_eq!(client.session_id().unwrap().as_str(), "s2");
    assert_eq!(client.stats().connections, 2);
}

async fn requests_under_way_fail_and_waiting_ones_are_sent(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let lose = async {
        peer.recv().await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "one", ()), lose);
    assert!(matches!(answer, Err(Error::Disconnected(_))), "{answer:?}");
    let script = async {
        // The client has a request to send before there is a connection.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (mut peer, _) = server.accept_login("s2").await;
        let request = peer.recv().await;
        assert_eq!(request["cmd"], "two");
        peer.answer(&request, json!({"n": 2})).await;
        peer
    };
    let (answer, _peer) = tokio::join!(client.request("x", "y", "two", ()), script);
    assert_eq!(answer.unwrap().get(), r#"{"n":2}"#);
}

async fn a_request_without_a_connection_is_not_sent(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, peer) = server.connect(server.options().send_queue(1)).await;
    let mut states = client.states();
    drop(server);
    drop(peer);
    state(&mut states).await;
    let brief = client
        .with_timeouts(Timeouts { answer: Duration::from_millis(200), acked: Duration::from_millis(200) });
    let (one, two) = tokio::join!(brief.request("x", "y", "z", ()), brief.request("x", "y", "z", ()));
    assert!(matches!(one, Err(Error::NotSent)), "{one:?}");
    assert!(matches!(two, Err(Error::NotSent)), "{two:?}");
    assert!(client.session_id().is_none());
}

async fn a_refused_login_gives_up(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, peer) = server.connect(server.options()).await;
    let mut events = client.events().unwrap();
    let mut states = client.states();
    drop(peer);
    let mut peer = server.accept().await;
    let login = peer.recv().await;
    // Made while there is no connection; it must not wait in vain.
    let request = client.request("x", "y", "z", ());
    let script = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peer.answer_error(&login, 100_030, "Unauthorized").await;
    };
    let (answer, ()) = tokio::join!(request, script);
    assert!(matches!(answer, Err(Error::Closed(DisconnectReason::LoginRefused(_)))), "{answer:?}");
    let last = loop {
        let state = state(&mut states).await;
        if state.is_final() {
            break state;
        }
    };
    assert!(matches!(last, ConnectionState::GaveUp { reason: DisconnectReason::LoginRefused(_) }));
    assert!(states.next().await.is_none());
    assert!(events.next().await.is_none());
    assert!(matches!(client.request("x", "y", "z", ()).await, Err(Error::Closed(_))));
    client.close().await;
}

async fn a_session_id_still_in_use_is_tried_again(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, peer) = server.connect(server.options()).await;
    let mut states = client.states();
    drop(peer);
    let mut peer = server.accept().await;
    let login = peer.recv().await;
    peer.answer_error(&login, 100_034, "Duplicated session id").await;
    peer.close(4003, "duplicated_session_id").await;
    let (_peer, _) = server.accept_login("s1").await;
    connected(&mut states).await;
}

async fn a_refused_renewal_is_told(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let mut states = client.states();
    subscribe(&client, &mut peer, Subscription::to("a")).await;
    drop(peer);
    let (mut peer, _) = server.accept_login("s1").await;
    let request = peer.recv().await;
    peer.answer_error(&request, 100_030, "Unauthorized").await;
    let ConnectionState::Connected { refused, .. } = connected(&mut states).await else { unreachable!() };
    assert_eq!(refused[0].subscription, Subscription::to("a"));
    assert_eq!(refused[0].error.code, 100_030);
    drop(peer);
    // It is forgotten: nothing is renewed the next time.
    let (mut peer, _) = server.accept_login("s1").await;
    connected(&mut states).await;
    assert!(peer.is_quiet(Duration::from_millis(100)).await);
}

async fn attempts_are_limited(kind: Kind) {
    let server = Server::start(kind).await;
    let initial = Duration::from_millis(10);
    let policy = Reconnect::Backoff { initial, max: initial, max_attempts: Some(2) };
    let (client, peer) = server.connect(server.options().reconnect(policy)).await;
    let mut states = client.states();
    drop(server);
    drop(peer);
    let mut attempts = 0;
    loop {
        match state(&mut states).await {
            ConnectionState::Reconnecting { attempt, .. } => {
                attempts += 1;
                assert_eq!(attempt, attempts);
            }
            ConnectionState::GaveUp { .. } => break,
            ConnectionState::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(attempts, 2);
}

async fn without_reconnect_the_client_ends(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, peer) = server.connect(server.options().reconnect(Reconnect::Never)).await;
    let mut states = client.states();
    peer.close(1001, "shutting_down").await;
    assert!(matches!(state(&mut states).await, ConnectionState::Disconnected { .. }));
    let ConnectionState::GaveUp { reason } = state(&mut states).await else { panic!("not given up") };
    match (kind, reason) {
        (Kind::Ws, DisconnectReason::ClosedByPeer { code: Some(1001), reason }) => {
            assert_eq!(reason, "shutting_down");
        }
        (Kind::Tcp, DisconnectReason::ClosedByPeer { code: None, .. }) => {}
        (_, other) => panic!("{other:?}"),
    }
}

async fn a_broker_gone_silent_is_lost(kind: Kind) {
    let server = Server::start(kind).await;
    let brief = Timeouts { answer: Duration::from_millis(150), acked: Duration::from_millis(150) };
    let options = server.options().timeouts(brief).keepalive(Duration::from_millis(150));
    let (client, mut peer) = server.connect(options).await;
    let mut states = client.states();
    for _ in 0..2 {
        let ping = peer.recv().await;
        assert_eq!(ping["cmd"], "ping");
        peer.answer(&ping, json!({})).await;
    }
    assert_eq!(peer.recv().await["cmd"], "ping");
    let ConnectionState::Disconnected { reason } = state(&mut states).await else { panic!("still there") };
    assert!(matches!(reason, DisconnectReason::Silent), "{reason:?}");
    server.accept_login("s2").await;
    assert_eq!(client.stats().messages_ignored, 0);
}

async fn what_is_no_protocol_ends_the_connection(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let mut states = client.states();
    peer.send_text("this is not JSON").await;
    assert!(peer.try_recv().await.is_none());
    drop(peer);
    let ConnectionState::Disconnected { reason } = state(&mut states).await else { panic!("still there") };
    assert!(matches!(reason, DisconnectReason::Protocol(_)), "{reason:?}");
    server.accept_login("s2").await;
}

/// Over TCP there is no close code: the error line says why.
#[tokio::test]
async fn the_error_line_is_the_reason() {
    let server = Server::start(Kind::Tcp).await;
    let (client, mut peer) = server.connect(server.options().reconnect(Reconnect::Never)).await;
    let mut states = client.states();
    peer.answer_error(&json!({}), 100_082, "Slow consumer").await;
    drop(peer);
    let ConnectionState::Disconnected { reason } = state(&mut states).await else { panic!("still there") };
    assert!(reason.to_string().contains("Slow consumer"), "{reason}");
}

#[tokio::test]
async fn a_stopped_session_stays_stopped() {
    let server = Server::start(Kind::Ws).await;
    let (client, peer) = server.connect(server.options()).await;
    let mut states = client.states();
    peer.close(4000, "session_stop").await;
    assert!(matches!(state(&mut states).await, ConnectionState::Disconnected { .. }));
    let ConnectionState::GaveUp { reason } = state(&mut states).await else { panic!("not given up") };
    assert!(reason.to_string().contains("session_stop"), "{reason}");
}
