//! protocol.md §4: users, sessions, and what one session can ask of another.

mod cmd;
mod log;

use serde_json::{Value, json};

use crate::support::{Broker, Options, Transport, code, on_both, pause};

#[tokio::test]
async fn users_are_listed_with_their_sessions() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        assert_eq!(ann.ok("core/user/list", json!({})).await, json!({"ann": [ann.session_id()]}));
        let too = broker.login(transport, "ann").await;
        let bob = broker.login(transport, "bob@example.com").await;
        let _nobody = broker.connect(transport).await;
        let mut users = ann.ok("core/user/list", json!({})).await;
        let mut of_ann: Vec<String> = serde_json::from_value(users["ann"].take()).unwrap();
        of_ann.sort();
        let mut expected = [ann.session_id().to_string(), too.session_id().to_string()];
        expected.sort();
        assert_eq!(of_ann, expected);
        assert_eq!(users, json!({"ann": null, "bob@example.com": [bob.session_id()]}));
    })
    .await;
}

#[tokio::test]
async fn both_transports_see_each_other() {
    let broker = Broker::start(Options::default()).await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    let mut bob = broker.login(Transport::Tcp, "bob").await;
    let expected = json!({"ann": [ann.session_id()], "bob": [bob.session_id()]});
    assert_eq!(ann.ok("core/user/list", json!({})).await, expected);
    assert_eq!(bob.ok("core/user/list", json!({})).await, expected);
    let sessions = bob.ok("core/user/get", json!({"user": "ann"})).await;
    let remote = format!("ws:{}", ann.local_address());
    assert_eq!(sessions, json!({ann.session_id(): {"type": "api_server", "remote": remote}}));
    bob.ok("core/user/send_event", json!({"user": "ann", "type": "hello"})).await;
    assert_eq!(ann.event().await["type"], "hello");
    ann.ok("core/session/stop", json!({"session_id": bob.session_id()})).await;
    bob.expect_closed_as(4000, "session_stop").await;
}

#[tokio::test]
async fn a_users_sessions_with_what_they_logged_in_with() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut plain = broker.login(transport, "ann").await;
        let mut rich = broker.connect(transport).await;
        rich.login_with(json!({"user": "ann", "password": "p", "session_id": "rich", "color": "blue",
            "meta": {"n": 1}}))
            .await;
        broker.login(transport, "bob").await;
        let remote = |client: &crate::support::Client| format!("{transport}:{}", client.local_address());
        let mut sessions = plain.ok("core/user/get", json!({"user": "ann"})).await;
        let plain_meta = sessions[plain.session_id()].as_object_mut().unwrap().remove("meta");
        assert!(plain_meta.is_none_or(|meta| meta == json!({})));
        let rich_entry =
            json!({"type": "api_server", "remote": remote(&rich), "color": "blue", "meta": {"n": 1}});
        let plain_entry = json!({"type": "api_server", "remote": remote(&plain)});
        assert_eq!(sessions, json!({plain.session_id(): plain_entry, "rich": rich_entry}));
        let error = plain.err("core/user/get", json!({"user": "nobody"})).await;
        assert_eq!(error, (code::USER_NOT_FOUND, "User not found".into()));
    })
    .await;
}

#[tokio::test]
async fn an_event_to_a_user_reaches_every_session_of_it() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bobs = [broker.login(transport, "bob").await, broker.login(transport, "bob").await];
        let mut eve = broker.login(transport, "eve").await;
        let data = json!({"user": "bob", "type": "news", "body": {"n": [1, {"x": null}]}});
        assert_eq!(ann.ok("core/user/send_event", data).await, json!({}));
        for bob in &mut bobs {
            let event = bob.next_event().await;
            let expected = json!({"class": "core", "subclass": "user_event", "type": "news", "obj_id": "bob",
                "body": {"n": [1, {"x": null}]}});
            assert_eq!(event["data"], expected);
            assert!(!event["tid"].is_null() && event.get("from").is_none(), "{event}");
        }
        for client in [&mut ann, &mut eve] {
            client.expect_no_event().await;
        }
    })
    .await;
}

#[tokio::test]
async fn its_type_and_body_may_be_left_out() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bare = json!({"class": "core", "subclass": "user_event", "obj_id": "ann"});
        for more in [json!({}), json!({"type": "*", "body": {}}), json!({"type": null, "body": null})] {
            let mut data = json!({"user": "ann"});
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ann.ok("core/user/send_event", data).await;
            assert_eq!(ann.event().await, bare, "{more}");
        }
        bare["body"] = json!([1, "two"]);
        ann.ok("core/user/send_event", json!({"user": "ann", "body": [1, "two"]})).await;
        assert_eq!(ann.event().await, bare);
    })
    .await;
}

#[tokio::test]
async fn an_event_to_one_session() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bobs = [broker.login(transport, "bob").await, broker.login(transport, "bob").await];
        let id = bobs[0].session_id().to_string();
        let data = json!({"session_id": id, "type": "news", "body": {"n": 1}});
        assert_eq!(ann.ok("core/session/send_event", data).await, json!({}));
        let expected =
            json!({"class": "core", "subclass": "session_event", "type": "news", "obj_id": id, "body": {"n": 1}});
        assert_eq!(bobs[0].event().await, expected);
        bobs[1].expect_no_event().await;
        ann.ok("core/session/send_event", json!({"session_id": id})).await;
        assert_eq!(bobs[0].event().await, json!({"class": "core", "subclass": "session_event", "obj_id": id}));
    })
    .await;
}

#[tokio::test]
async fn an_event_to_nobody_is_accepted() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        assert_eq!(ann.ok("core/user/send_event", json!({"user": "nobody"})).await, json!({}));
        assert_eq!(ann.ok("core/session/send_event", json!({"session_id": "none"})).await, json!({}));
    })
    .await;
}

#[tokio::test]
async fn a_session_stops_itself_after_its_answer() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for own in [true, false] {
            let mut ann = broker.login(transport, "ann").await;
            let data = if own { json!({"session_id": ann.session_id()}) } else { json!({}) };
            let tid = ann.start("core/session/stop", data).await;
            assert_eq!(ann.response(tid).await["data"], json!({"user": "ann"}));
            ann.expect_closed_as(4000, "session_stop").await;
        }
        let mut bob = broker.login(transport, "bob").await;
        bob.until_ok("core/user/list", json!({}), |users| users.get("ann").is_none()).await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_session_gets_what_was_queued_for_it() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        for n in 0..200 {
            let body = json!({"n": n, "more": "x".repeat(1000)});
            ann.start("core/user/send_event", json!({"user": "bob", "body": body})).await;
        }
        let stopped = ann.ok("core/session/stop", json!({"session_id": bob.session_id()})).await;
        assert_eq!(stopped, json!({"user": "bob"}));
        let messages = bob.drain_closed_as(4000, "session_stop").await;
        let numbers: Vec<_> = messages.iter().map(|m| m["data"]["body"]["n"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        let users = ann.ok("core/user/list", json!({})).await;
        assert_eq!(users, json!({"ann": [ann.session_id()]}));
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_not_there_cannot_be_stopped() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let error = ann.err("core/session/stop", json!({"session_id": "none"})).await;
        assert_eq!(error, (code::SESSION_NOT_FOUND, "Session not found".into()));
        ann.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn starts_and_stops_are_told() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut watcher = broker.login(transport, "watcher").await;
        watcher.ok("core/event/subscribe", json!({"class": "core", "subclass": "session"})).await;
        let mut ann = broker.connect(transport).await;
        ann.login_with(json!({"user": "ann", "session_id": "ann-1"})).await;
        let remote = format!("{transport}:{}", ann.local_address());
        let start = watcher.event().await;
        assert_eq!(
            start,
            json!({"class": "core", "subclass": "session", "type": "start", "obj_id": "ann-1",
            "body": {"user": "ann", "remote": remote}})
        );
        watcher.ok("core/session/stop", json!({"session_id": "ann-1"})).await;
        let stop = watcher.event().await;
        assert_eq!(
            stop,
            json!({"class": "core", "subclass": "session", "type": "stop", "obj_id": "ann-1",
            "body": {"user": "ann", "remote": remote, "reason": "session_stop"}})
        );
        let bob = broker.login(transport, "bob").await;
        assert_eq!(watcher.event().await["type"], "start");
        drop(bob);
        let stop = watcher.event().await;
        assert_eq!((&stop["type"], &stop["body"]["user"]), (&json!("stop"), &json!("bob")));
        assert!(stop["body"]["reason"].is_string(), "{stop}");
    })
    .await;
}

#[tokio::test]
async fn unknown_data_fields_are_told_and_harm_nothing() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let data = json!({"user": "ann", "colour": 1, "size": {"w": 2}});
        let sessions = ann.ok("core/user/get", data).await;
        assert!(sessions.get(ann.session_id()).is_some());
        let mut event = ann.event().await;
        let mut fields: Vec<String> = serde_json::from_value(event["body"]["fields"].take()).unwrap();
        fields.sort();
        assert_eq!(fields, ["colour", "size"]);
        let body = json!({"class": "core", "subclass": "user", "cmd": "get", "fields": Value::Null});
        assert_eq!(
            event,
            json!({"class": "core", "subclass": "session_event", "type": "unrecognized_fields",
            "obj_id": ann.session_id(), "body": body})
        );
        ann.expect_no_event().await;
    })
    .await;
}

/// What a session asked for while it lived does not reach the next one with its id.
#[tokio::test]
async fn a_late_request_does_not_touch_the_next_session_of_that_id() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut first = broker.connect(transport).await;
        first.login_with(json!({"user": "first", "session_id": "X"})).await;
        for _ in 0..12 {
            first.start("core/event/send_event", json!({"class": "slow"})).await;
        }
        first.start("core/event/subscribe", json!({"class": "late"})).await;
        first.ok("core/core/ping", json!({})).await;
        drop(first);
        let mut second = broker.connect(transport).await;
        let login = json!({"user": "second", "session_id": "X"});
        let (mut tries, mut answer) = (0, second.request("core/user/login", login.clone()).await);
        while answer["result"] == "error" && tries < 50 {
            tries += 1;
            second = broker.connect(transport).await;
            answer = second.request("core/user/login", login.clone()).await;
        }
        assert_eq!(answer["result"], "ok", "{answer}");
        pause(1000).await;
        let own = second.ok("core/event/get_subscriptions", json!({})).await;
        assert_eq!(own.as_array().unwrap().len(), 2, "{own}");
    })
    .await;
}

#[tokio::test]
async fn secrets_in_lists_are_not_kept_either() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.connect(transport).await;
        let list = json!([{"token": "hidden", "name": 1}, [{"password": "hidden"}]]);
        ann.login_with(json!({"user": "ann", "meta": {"list": list}, "more": list})).await;
        let shown = ann.ok("core/user/get", json!({"user": "ann"})).await;
        assert!(!shown.to_string().contains("hidden"), "{shown}");
        assert_eq!(shown[ann.session_id()]["meta"], json!({"list": [{"name": 1}, [{}]]}));
    })
    .await;
}
