//! Login, requests and their answers.

use std::time::{Duration, Instant};

use jackfield_client::{Client, ConnectOptions, DisconnectReason, Error, EventMode, Login, Timeouts};
use serde_json::{Value, json, value::RawValue};

use crate::support::{Kind, Server, on_both};

on_both!(
    login_sends_what_was_given,
    a_refused_login_is_an_error,
    requests_get_their_answers_in_any_order,
    error_answers_keep_code_text_and_details,
    raw_data_passes_unchanged,
    an_ack_extends_the_wait,
    silence_is_a_timeout,
    a_dropped_request_is_forgotten,
    without_a_login_a_ping_works,
    many_requests_at_once,
    what_fits_nothing_is_counted,
);

async fn login_sends_what_was_given(kind: Kind) {
    let server = Server::start(kind).await;
    let login = Login::user("ann")
        .password("hunter2")
        .session_id("mine")
        .meta("lang", "en")
        .events(EventMode::Push)
        .identify()
        .field("token", "t");
    let options = server.options().login(login);
    let (client, (_peer, login)) = tokio::join!(Client::connect(options), server.accept_login("mine"));
    let client = client.unwrap();
    let expected = json!({
        "user": "ann", "password": "hunter2", "session_id": "mine", "meta": {"lang": "en"},
        "events": "push", "identify": true, "token": "t",
    });
    assert_eq!(login["data"], expected);
    assert_eq!(client.session_id().unwrap().as_str(), "mine");
    assert_eq!(client.url(), server.url());
    assert!(!format!("{client:?}").contains("hunter2"));
}

async fn a_refused_login_is_an_error(kind: Kind) {
    let server = Server::start(kind).await;
    let refuse = async {
        let mut peer = server.accept().await;
        let login = peer.recv().await;
        peer.answer_error(&login, 100_030, "Unauthorized").await;
        assert!(peer.try_recv().await.is_none());
    };
    let (client, ()) = tokio::join!(Client::connect(server.options()), refuse);
    let error = client.unwrap_err();
    assert!(matches!(error, Error::LoginRefused(_)), "{error:?}");
    assert_eq!(error.code(), Some(100_030));
}

async fn requests_get_their_answers_in_any_order(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let script = async {
        let first = peer.recv().await;
        let second = peer.recv().await;
        assert_ne!(first["tid"], second["tid"]);
        peer.answer(&second, second["data"].clone()).await;
        peer.answer(&first, first["data"].clone()).await;
    };
    let (one, two, ()) = tokio::join!(
        client.request_as::<Value>("x", "y", "z", json!({"n": 1})),
        client.request_as::<Value>("x", "y", "z", json!({"n": 2})),
        script
    );
    assert_eq!((one.unwrap(), two.unwrap()), (json!({"n": 1}), json!({"n": 2})));
}

async fn error_answers_keep_code_text_and_details(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let whole = r#"{"result":"error","data":{"code":200007,"error":"busy","details":{"a":1}},"tid":TID}"#;
    let script = async {
        for _ in 0..2 {
            let request = peer.recv().await;
            peer.send_text(&whole.replace("TID", &request["tid"].to_string())).await;
        }
    };
    let calls = async {
        let Err(Error::Answer(error)) = client.request("x", "y", "z", ()).await else { panic!("no error") };
        assert_eq!((error.code, error.text.as_str()), (200_007, "busy"));
        assert!(error.details.unwrap().get().contains(r#""details":{"a":1}"#));
        let message = client.request_message("x", "y", "z", ()).await.unwrap();
        assert!(message.get().starts_with(r#"{"result":"error","data":{"code":200007"#), "{message}");
    };
    tokio::join!(script, calls);
}

async fn raw_data_passes_unchanged(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let data =
        RawValue::from_string("{\n \"n\" : 1.2300,\n \"big\":12345678901234567890123}".into()).unwrap();
    let script = async {
        let request = peer.recv().await;
        assert_eq!(request["data"]["n"], json!(1.23));
        let tid = &request["tid"];
        peer.send_text(&format!(r#"{{"tid":{tid},"data":{{"b":1.00,"a":"\u00e9"}},"result":"ok"}}"#)).await;
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "z", &data), script);
    assert_eq!(answer.unwrap().get(), r#"{"b":1.00,"a":"\u00e9"}"#);
}

async fn an_ack_extends_the_wait(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let client = client
        .with_timeouts(Timeouts { answer: Duration::from_millis(300), acked: Duration::from_millis(600) });
    let script = async {
        let request = peer.recv().await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            peer.send(json!({"ack": request["tid"]})).await;
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        peer.answer(&request, json!({"late": true})).await;
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "z", ()), script);
    assert_eq!(answer.unwrap().get(), r#"{"late":true}"#);
}

async fn silence_is_a_timeout(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let brief = Timeouts { answer: Duration::from_millis(100), acked: Duration::from_millis(200) };
    let client = client.with_timeouts(brief);
    let started = Instant::now();
    assert!(matches!(client.request("x", "y", "z", ()).await, Err(Error::Timeout)));
    assert!(started.elapsed() >= Duration::from_millis(100));
    let unanswered = peer.recv().await;
    let script = async {
        let request = peer.recv().await;
        peer.send(json!({"ack": request["tid"]})).await;
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "z", ()), script);
    assert!(matches!(answer, Err(Error::Timeout)));
    // The late answer meets nobody, and harms nobody.
    peer.answer(&unanswered, json!({})).await;
    let script = async {
        let request = peer.recv().await;
        peer.answer(&request, json!({})).await;
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "z", ()), script);
    assert!(answer.is_ok());
    assert_eq!(client.stats().messages_ignored, 1);
}

async fn a_dropped_request_is_forgotten(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let dropped = tokio::time::timeout(Duration::from_millis(100), client.request("x", "y", "z", ())).await;
    assert!(dropped.is_err());
    let request = peer.recv().await;
    peer.answer(&request, json!({})).await;
    let script = async {
        let request = peer.recv().await;
        peer.answer(&request, json!({})).await;
    };
    let (answer, ()) = tokio::join!(client.request("x", "y", "z", ()), script);
    assert!(answer.is_ok());
    assert_eq!(client.stats().messages_ignored, 1);
}

async fn without_a_login_a_ping_works(kind: Kind) {
    let server = Server::start(kind).await;
    let options = server.anonymous_options();
    let (client, mut peer) = tokio::join!(Client::connect(options), server.accept());
    let client = client.unwrap();
    assert!(client.session_id().is_none() && client.login_answer().is_none());
    let script = async {
        let request = peer.recv().await;
        assert_eq!(request, json!({"class": "core", "subclass": "core", "cmd": "ping", "tid": 1}));
        peer.answer(&request, json!({})).await;
    };
    let (answer, ()) = tokio::join!(client.request("core", "core", "ping", ()), script);
    assert_eq!(answer.unwrap().get(), "{}");
}

async fn many_requests_at_once(kind: Kind) {
    const COUNT: u64 = 5_000;
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    let echo = tokio::spawn(async move {
        for _ in 0..COUNT {
            let request = peer.recv().await;
            peer.answer(&request, request["data"].clone()).await;
        }
    });
    let calls = (0..COUNT).map(|n| {
        let client = &client;
        async move { assert_eq!(client.request_as::<u64>("x", "y", "z", &n).await.unwrap(), n) }
    });
    futures_util::future::join_all(calls).await;
    echo.await.unwrap();
}

async fn what_fits_nothing_is_counted(kind: Kind) {
    let server = Server::start(kind).await;
    let (client, mut peer) = server.connect(server.options()).await;
    for message in [json!({}), json!({"ack": "x"}), json!({"ack": 999}), json!({"result": "ok", "tid": 999})]
    {
        peer.send(message).await;
    }
    peer.request("core", "ping", json!({"time": 60}), json!("last")).await;
    assert_eq!(peer.recv().await, json!({"result": "ok", "tid": "last"}));
    assert_eq!(client.stats().messages_ignored, 4);
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    let server = Server::start(Kind::Tcp).await;
    let options = server.options();
    drop(server);
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("tcp://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_taken_for_one_with_it() {
    let server = Server::start(Kind::Tcp).await;
    let url = server.url().replace("tcp://", "tls://");
    let options = ConnectOptions::new(&url).unwrap();
    let answering = async {
        let mut peer = server.accept().await;
        peer.send_text("no TLS here").await;
        peer
    };
    let (connected, _peer) = tokio::join!(Client::connect(options), answering);
    let error = connected.unwrap_err();
    assert!(matches!(error, Error::Connect { reason: DisconnectReason::Tls(_), .. }), "{error:?}");
}
