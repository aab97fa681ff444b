//! Requests that the broker sends.

use std::time::Duration;

use jackfield_client::{AnswerError, Reply, ServerRequest};
use serde_json::{Value, json};

use crate::support::{Kind, Server, on_both};

on_both!(
    pings_are_answered,
    without_a_handler_nothing_is_implemented,
    a_handler_answers,
    a_slow_handler_sends_an_ack_first,
    a_panic_is_an_internal_error,
    handlers_run_beside_each_other_up_to_the_limit,
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
