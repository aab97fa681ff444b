//! How a client ends.

use std::time::Duration;

use jackfield_client::{Client, ConnectionState, DisconnectReason, Error};
use serde_json::json;

use crate::support::{Kind, Server, on_both};

on_both!(
    close_tells_the_broker_and_fails_what_is_open,
    the_last_handle_closes,
    a_cancelled_connect_leaves_nothing_behind,
    close_ends_the_wait_for_a_reconnect,
);

async fn close_tells_the_broker_and_fails_what_is_open(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let mut states = client.states();
    let mut events = client.events().unwrap();
    let open = {
        let client = client.clone();
        tokio::spawn(async move { client.request("x", "y", "z", ()).await })
    };
    peer.recv().await;
    let data = json!({"class": "media"});
    peer.request("core", "event", data, json!(1)).await;
    peer.recv().await;
    let broker = tokio::spawn(async move { peer.try_recv().await });
    client.close().await;
    assert!(broker.await.unwrap().is_none());
    let outcome = open.await.unwrap();
    assert!(matches!(outcome, Err(Error::Disconnected(DisconnectReason::ClosedByClient))), "{outcome:?}");
    assert!(matches!(client.request("x", "y", "z", ()).await, Err(Error::Closed(_))));
    assert!(matches!(states.next().await, Some(ConnectionState::Closed)));
    assert!(states.next().await.is_none());
    // What was answered is still there to be read.
    assert_eq!(events.next().await.unwrap().class, "media");
    assert!(events.next().await.is_none());
    assert!(matches!(client.state(), ConnectionState::Closed));
}

async fn the_last_handle_closes(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let other = client.clone();
    drop(client);
    assert!(peer.is_quiet(Duration::from_millis(50)).await);
    drop(other);
    assert!(peer.try_recv().await.is_none());
}

async fn a_cancelled_connect_leaves_nothing_behind(kind: Kind) {
    let server = Server::start(kind).await;
    let connecting = tokio::spawn(Client::connect(server.options()));
    let mut peer = server.accept().await;
    peer.recv().await;
    connecting.abort();
    assert!(peer.try_recv().await.is_none());
}

async fn close_ends_the_wait_for_a_reconnect(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, peer) = server.connect(server.options()).await;
    let mut states = client.states();
    drop(server);
    drop(peer);
    states.next().await;
    tokio::time::timeout(Duration::from_secs(5), client.close()).await.unwrap();
    assert!(matches!(client.state(), ConnectionState::Closed));
}
