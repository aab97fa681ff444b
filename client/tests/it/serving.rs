//! Requests that the broker sends.

use std::time::Duration;

use jackfield_client::{
    AnswerError, Client, ConnectionState, DisconnectReason, Error, Registration, Reply, ServerRequest,
};
use serde_json::{Value, json};

use crate::support::{Kind, Peer, Server, on_both};

on_both!(
    pings_are_answered,
    without_a_handler_nothing_is_implemented,
    a_handler_answers,
    a_slow_handler_sends_an_ack_first,
    a_panic_is_an_internal_error,
    handlers_run_beside_each_other_up_to_the_limit,
    what_is_served_is_registered_on_every_connection,
    a_refused_registration_fails_the_connection,
);

async fn pings_are_answered(kind: Kind) {
    let server = Server::start(kind).await;
    let (_client, mut peer) = server.connect(server.options()).await;
    for tid in [json!(7), json!("seven"), json!(1.5)] {
        peer.request("core", "ping", json!({"time": 60}), tid.clone()).await;
        assert_eq!(peer.recv().await, json!({"result": "ok", "tid": tid}));
    }
}

async fn without_a_handler_nothing_is_implemented(kind: Kind) {
    let server = Server::start(kind).await;
    let (_client, mut peer) = server.connect(server.options()).await;
    peer.request("media", "stop", json!({}), json!(1)).await;
    let data = json!({"code": 100_006, "error": "Not implemented"});
    assert_eq!(peer.recv().await, json!({"result": "error", "data": data, "tid": 1}));
}

async fn serve(request: ServerRequest) -> Result<Reply, AnswerError> {
    match request.cmd.as_str() {
        "echo" => Ok(Reply::data(&request.data)),
        "whole" => {
            let from = request.from.map(|from| from.user);
            Ok(Reply::data(&json!([request.class, request.subclass, request.cmd, from])))
        }
        "typed" => {
            let number: u64 = request.data_as()?;
            Ok(Reply::data(&(number + 1)))
        }
        "nothing" => Ok(Reply::ok()),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(1300)).await;
            Ok(Reply::data(&"done"))
        }
        "panic" => panic!("as asked"),
        _ => Err(AnswerError::new(200_001, "what?").with_details(json!({"cmd": request.cmd}))),
    }
}

async fn a_handler_answers(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options().on_request(serve)).await;
    let mut ask = async |cmd: &str, data: Value| {
        peer.request("media", cmd, data, json!(cmd)).await;
        let answer = peer.recv().await;
        assert_eq!(answer["tid"], cmd);
        answer
    };
    assert_eq!(ask("echo", json!({"a": [1]})).await["data"], json!({"a": [1]}));
    assert_eq!(ask("whole", json!({})).await["data"], json!(["media", "core", "whole", null]));
    assert_eq!(ask("typed", json!(41)).await["data"], json!(42));
    assert_eq!(ask("typed", json!("x")).await["data"]["code"], 100_044);
    assert_eq!(ask("nothing", json!({})).await, json!({"result": "ok", "tid": "nothing"}));
    let data = json!({"code": 200_001, "error": "what?", "details": {"cmd": "else"}});
    assert_eq!(ask("else", json!({})).await, json!({"result": "error", "data": data, "tid": "else"}));
    assert_eq!(client.stats().requests_received, 6);
    let from = json!({"user": "bob", "session_id": "s2"});
    peer.send(json!({"class": "a", "subclass": "b", "cmd": "whole", "tid": 1, "from": from})).await;
    assert_eq!(peer.recv().await["data"], json!(["a", "b", "whole", "bob"]));
}

async fn a_slow_handler_sends_an_ack_first(kind: Kind) {
    let server = Server::start(kind).await;
    let (_client, mut peer) = server.connect(server.options().on_request(serve)).await;
    peer.request("media", "slow", json!({}), json!("t")).await;
    assert_eq!(peer.recv().await, json!({"ack": "t"}));
    assert_eq!(peer.recv().await, json!({"result": "ok", "data": "done", "tid": "t"}));
}

async fn a_panic_is_an_internal_error(kind: Kind) {
    let server = Server::start(kind).await;
    let (_client, mut peer) = server.connect(server.options().on_request(serve)).await;
    peer.request("media", "panic", json!({}), json!(1)).await;
    assert_eq!(peer.recv().await["data"]["code"], 100_002);
    peer.request("media", "nothing", json!({}), json!(2)).await;
    assert_eq!(peer.recv().await["result"], "ok");
}

async fn handlers_run_beside_each_other_up_to_the_limit(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options().max_handlers(2).on_request(serve)).await;
    for tid in 1..=3 {
        peer.request("media", "slow", json!({}), json!(tid)).await;
    }
    let refused = peer.recv().await;
    assert_eq!((&refused["tid"], &refused["data"]["code"]), (&json!(3), &json!(100_085)));
    let mut rest = Vec::new();
    for _ in 0..4 {
        rest.push(peer.recv().await);
    }
    assert_eq!(rest.iter().filter(|message| message["ack"].is_number()).count(), 2);
    assert_eq!(rest.iter().filter(|message| message["result"] == "ok").count(), 2);
    assert_eq!(client.stats().requests_refused, 1);
}

async fn what_is_served_is_registered_on_every_connection(kind: Kind) {
    let server = Server::start(kind).await;
    let whole = Registration::of("a").subclass("b").cmd("c").description("d").data_schema(json!({})).retry();
    let options = server
        .options()
        .max_handlers(7)
        .register(whole)
        .register(Registration::of("e").inflight(3))
        .on_request(serve);
    let (client, peer) = tokio::join!(Client::connect(options), accept_registrations(&server, "s1"));
    let mut client_states = client.as_ref().unwrap().states();
    drop(peer);
    let _peer = accept_registrations(&server, "s2").await;
    while !matches!(client_states.next().await, Some(ConnectionState::Connected { .. })) {}
    drop(client.unwrap());
}

async fn accept_registrations(server: &Server, session: &str) -> Peer {
    let (mut peer, _) = server.accept_login(session).await;
    let first = peer.recv().await;
    assert_eq!((&first["subclass"], &first["cmd"]), (&json!("registry"), &json!("register")));
    let data = json!({"class": "a", "subclass": "b", "cmd": "c", "description": "d", "data_schema": {},
        "retry": true, "inflight": 7});
    assert_eq!(first["data"], data);
    let second = peer.recv().await;
    assert_eq!(second["data"], json!({"class": "e", "inflight": 3}));
    // What is registered may be asked for before the rest is.
    peer.request("e", "nothing", json!({}), json!(1)).await;
    assert_eq!(peer.recv().await, json!({"result": "ok", "tid": 1}));
    peer.answer(&first, json!({})).await;
    peer.answer(&second, json!({})).await;
    peer
}

async fn a_refused_registration_fails_the_connection(kind: Kind) {
    let server = Server::start(kind).await;
    let options = server.options().register(Registration::of("a")).on_request(serve);
    let script = async {
        let (mut peer, _) = server.accept_login("s1").await;
        let request = peer.recv().await;
        peer.answer_error(&request, 100_030, "Unauthorized").await;
        while peer.try_recv().await.is_some() {}
    };
    let (client, ()) = tokio::join!(Client::connect(options), script);
    let Err(Error::Connect { reason: DisconnectReason::SetupFailed(text), .. }) = client else {
        panic!("{client:?}");
    };
    assert!(text.contains("Unauthorized"), "{text}");
}
