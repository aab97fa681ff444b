//! protocol.md §4, `core user login`.

mod authenticators;
mod failures;
mod secrets;

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, code, error_of, on_all, on_both, within};

#[tokio::test]
async fn a_login_makes_a_session() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.connect(transport).await;
        let answer = ann.login_with(json!({"user": "ann@example.com"})).await;
        assert_eq!(answer, json!({"session_id": ann.session_id()}));
        let too = broker.login(transport, "ann@example.com").await;
        assert_ne!(ann.session_id(), too.session_id());
        for id in [ann.session_id(), too.session_id()] {
            assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id} is no UUID");
        }
    })
    .await;
}

/// The session is live before its client has read the answer.
#[tokio::test]
async fn a_session_is_live_at_once() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut bob = broker.login(transport, "bob").await;
        let mut ann = broker.connect(transport).await;
        let login = ann.start("core/user/login", json!({"user": "ann", "session_id": "ann-1"})).await;
        bob.until_ok("core/user/list", json!({}), |users| users["ann"] == json!(["ann-1"])).await;
        bob.ok("core/session/send_event", json!({"session_id": "ann-1", "type": "hello"})).await;
        assert_eq!(ann.event().await["type"], "hello");
        assert_eq!(ann.response(login).await["data"], json!({"session_id": "ann-1"}));
    })
    .await;
}

#[tokio::test]
async fn the_user_must_be_given_where_nothing_else_tells() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        let missing = (code::MISSING_FIELD, "Missing field: user".into());
        assert_eq!(client.err("core/user/login", json!({})).await, missing);
        assert_eq!(client.err("core/user/login", json!({"user": null, "password": "p"})).await, missing);
        client.login("ann").await;
    })
    .await;
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_named_and_the_connection_stays() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        for (field, value) in [
            ("user", json!(5)),
            ("password", json!(5)),
            ("pass", json!({})),
            ("session_id", json!(5)),
            ("meta", json!("x")),
            ("meta", json!([])),
            ("events", json!(true)),
            ("identify", json!("yes")),
        ] {
            let mut data = json!({"user": "ann"});
            data[field] = value;
            let (code, text) = client.err("core/user/login", data.clone()).await;
            assert_eq!(code, code::SYNTAX_ERROR, "{data}: {text}");
            assert!(text.contains(field), "{data}: {text}");
        }
        let error = client.err("core/user/login", json!({"user": "ann", "events": "later"})).await;
        assert_eq!(error, (code::INVALID_VALUE, "Invalid value: events".into()));
        client.login("ann").await;
    })
    .await;
}

#[tokio::test]
async fn a_session_id_of_ones_own() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for id in ["a".to_string(), "x".repeat(128), "!\"#/\\~{}*".into()] {
            let mut client = broker.connect(transport).await;
            let answer = client.login_with(json!({"user": "ann", "session_id": id})).await;
            assert_eq!(answer, json!({"session_id": id}));
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_id_that_is_none_ends_the_connection() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for id in ["", "x y", " x", "x\n", "x\t", "\u{7f}", "\0", "é", "😀", &"x".repeat(129)] {
            let mut client = broker.connect(transport).await;
            let tid = client.start("core/user/login", json!({"user": "ann", "session_id": id})).await;
            let error = error_of(&client.response(tid).await);
            assert_eq!(error, (code::INVALID_SESSION_ID, "Invalid session id".into()), "{id:?}");
            client.expect_closed_as(4003, "invalid_session_id").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_id_that_is_live_ends_the_new_connection() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut first = broker.connect(transport).await;
        first.login_with(json!({"user": "ann", "session_id": "mine"})).await;
        for user in ["ann", "bob"] {
            let mut second = broker.connect(transport).await;
            let tid = second.start("core/user/login", json!({"user": user, "session_id": "mine"})).await;
            let error = error_of(&second.response(tid).await);
            assert_eq!(error, (code::DUPLICATED_SESSION_ID, "Duplicated session id".into()));
            second.expect_closed_as(4003, "duplicated_session_id").await;
        }
        assert_eq!(first.ok("core/user/list", json!({})).await, json!({"ann": ["mine"]}));
        let mut watcher = broker.login(transport, "watcher").await;
        drop(first);
        watcher.until_ok("core/user/list", json!({}), |users| users.get("ann").is_none()).await;
        let mut again = broker.connect(transport).await;
        again.login_with(json!({"user": "bob", "session_id": "mine"})).await;
    })
    .await;
}

#[tokio::test]
async fn of_many_who_want_one_session_id_one_gets_it() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut rivals = Vec::new();
        for _ in 0..20 {
            let mut client = broker.connect(transport).await;
            let tid = client.start("core/user/login", json!({"user": "ann", "session_id": "one"})).await;
            rivals.push((client, tid));
        }
        let mut winners = 0;
        for (client, tid) in &mut rivals {
            let answer = client.response(*tid).await;
            if answer["result"] == "ok" {
                winners += 1;
            } else {
                assert_eq!(error_of(&answer).0, code::DUPLICATED_SESSION_ID);
            }
        }
        assert_eq!(winners, 1);
    })
    .await;
}

#[tokio::test]
async fn a_second_login_is_refused_and_the_session_stays() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        client.login_with(json!({"user": "ann", "session_id": "mine"})).await;
        for data in [json!({"user": "ann"}), json!({"user": "bob", "session_id": "other"})] {
            let error = client.err("core/user/login", data).await;
            assert_eq!(error, (code::ALREADY_AUTHENTICATED, "Already authenticated".into()));
        }
        assert_eq!(client.ok("core/user/list", json!({})).await, json!({"ann": ["mine"]}));
    })
    .await;
}

#[tokio::test]
async fn push_sessions_get_events_that_need_no_answer() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=300ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.connect(transport).await;
        bob.login_with(json!({"user": "bob", "events": "push"})).await;
        ann.ok("core/user/send_event", json!({"user": "bob", "type": "hello", "body": {"n": 1}})).await;
        let event = bob.next_event().await;
        assert!(event.get("tid").is_none(), "{event}");
        assert_eq!(event["data"]["body"], json!({"n": 1}));
        bob.expect_silence(800).await;
        bob.ok("core/core/ping", json!({})).await;
        let mut default = broker.connect(transport).await;
        default.login_with(json!({"user": "eve", "events": "ack"})).await;
        ann.ok("core/user/send_event", json!({"user": "eve"})).await;
        assert!(default.next_event().await.get("tid").is_some());
    })
    .await;
}

/// A push session answers commands all the same.
#[tokio::test]
async fn push_is_for_events_alone() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.connect(transport).await;
        bob.login_with(json!({"user": "bob", "events": "push"})).await;
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        let tid = ann.start("core/session/cmd", data).await;
        let request = bob.next_request().await;
        assert!(!request["tid"].is_null(), "{request}");
        bob.answer(&request, json!({"shown": 1})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"shown": 1}));
    })
    .await;
}

#[tokio::test]
async fn who_asks_for_it_is_told_where_things_come_from() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.connect(transport).await;
        bob.login_with(json!({"user": "bob", "identify": true})).await;
        let mut eve = broker.login(transport, "eve").await;
        let from = json!({"user": "ann", "session_id": ann.session_id()});
        for client in [&mut bob, &mut eve] {
            client.ok("core/event/subscribe", json!({"class": "media"})).await;
        }
        ann.ok("core/event/send_event", json!({"class": "media", "body": {"from": "nobody"}})).await;
        let event = bob.next_event().await;
        assert_eq!((&event["from"], &event["data"]["body"]), (&from, &json!({"from": "nobody"})), "{event}");
        assert!(eve.next_event().await.get("from").is_none());
        for command in ["core/user/send_event", "core/session/send_event"] {
            let data = json!({"user": "bob", "session_id": bob.session_id()});
            ann.ok(command, data).await;
            assert_eq!(bob.next_event().await["from"], from, "{command}");
        }
        let mut requests = Vec::new();
        for client in [&mut bob, &mut eve] {
            let data = json!({"session_id": client.session_id(), "class": "screen", "cmd": "show"});
            ann.start("core/session/cmd", data).await;
            requests.push(client.next_request().await);
        }
        assert_eq!((&requests[0]["from"], requests[1].get("from")), (&from, None));
    })
    .await;
}

/// A client cannot write `from` itself.
#[tokio::test]
async fn from_is_stamped_by_the_broker() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.connect(transport).await;
        bob.login_with(json!({"user": "bob", "identify": true})).await;
        let forged = json!({"user": "eve", "session_id": "eve-1"});
        ann.send(
            &json!({"class": "core", "subclass": "user", "cmd": "send_event", "from": forged, "tid": 77,
            "data": {"user": "bob", "from": forged}}),
        )
        .await;
        ann.response(77).await;
        let event = bob.next_event().await;
        assert_eq!(event["from"], json!({"user": "ann", "session_id": ann.session_id()}));
        assert!(event["data"].get("from").is_none(), "{event}");
    })
    .await;
}

#[tokio::test]
async fn events_of_the_broker_itself_come_from_nobody() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.connect(transport).await;
        ann.login_with(json!({"user": "ann", "identify": true})).await;
        ann.ok("core/user/list", json!({"nonsense": 1})).await;
        let event = ann.next_event().await;
        assert_eq!(event["data"]["type"], "unrecognized_fields");
        assert!(event.get("from").is_none(), "{event}");
    })
    .await;
}

/// Its own entry in `user get`.
async fn metadata(client: &mut Client, user: &str) -> Value {
    let id = client.session_id().to_string();
    client.ok("core/user/get", json!({"user": user})).await[id].take()
}

#[tokio::test]
async fn metadata_is_kept_with_the_session() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        let meta = json!({"type": "mine", "deep": {"list": [1, 2.5, null, "x"]}});
        client
            .login_with(json!({"user": "ann", "password": "hidden", "meta": meta, "events": "push",
                "browser": "lynx", "version": {"major": 3}, "type": "forged", "remote": "forged:1.2.3.4:5"}))
            .await;
        let entry = metadata(&mut client, "ann").await;
        assert_eq!(entry["type"], "api_server");
        assert_eq!(entry["remote"], json!(format!("{transport}:{}", client.local_address())));
        assert_eq!(entry["meta"], meta);
        assert_eq!((&entry["browser"], &entry["version"]), (&json!("lynx"), &json!({"major": 3})));
    })
    .await;
}

#[tokio::test]
async fn connections_per_user() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("limits.connections_per_user=2")).await;
        let first = broker.login(transport, "ann").await;
        let _second = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let mut third = broker.connect(transport).await;
        let error = third.err("core/user/login", json!({"user": "ann"})).await;
        assert_eq!(error, (code::LIMIT_EXCEEDED, "Limit exceeded: connections_per_user".into()));
        drop(first);
        let one = |users: &Value| users["ann"].as_array().is_some_and(|sessions| sessions.len() == 1);
        bob.until_ok("core/user/list", json!({}), one).await;
        broker.login(transport, "ann").await;
    })
    .await;
}

#[tokio::test]
async fn connections() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls().set("limits.connections=2")).await;
        let first = broker.login(transport, "ann").await;
        let mut second = broker.connect(transport).await;
        second.ok("core/core/ping", json!({})).await;
        let mut third = broker.connect(transport).await;
        let (_, close) = third.drain().await;
        if transport.is_websocket() {
            assert_eq!(close, Some((1013, "limit_exceeded".into())));
        }
        second.login("bob").await;
        drop(first);
        within("room for another connection", async {
            loop {
                let mut next = broker.connect(transport).await;
                next.try_send_text(r#"{"class":"core","cmd":"ping","tid":1}"#).await;
                if next.recv_or_end().await.is_some_and(|answer| answer.contains("ok")) {
                    return;
                }
            }
        })
        .await;
    })
    .await;
}
