//! What a plugin may ask of the broker, through the fixture's commands.

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, Transport, code, on_both, pause};

async fn with_ann(transport: Transport) -> (Broker, Client) {
    let broker = Broker::start(Options::fixture()).await;
    let ann = broker.login(transport, "ann").await;
    (broker, ann)
}

#[tokio::test]
async fn a_handler_knows_its_caller() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        let mut admin = broker.admin(transport).await;
        for (client, user, administrator) in [(&mut ann, "ann", false), (&mut admin, "admin", true)] {
            let remote = format!("{transport}:{}", client.local_address());
            let expected = json!({"user": user, "session_id": client.session_id(), "administrator": administrator,
                "remote": remote, "service": "main"});
            assert_eq!(client.ok("fixture/core/whoami", json!({})).await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_plugin_asks_a_session() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        let mut bob = broker.login(transport, "bob").await;
        let data =
            json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show", "data": {"n": [1]}});
        let tid = ann.start("fixture/core/ask", data).await;
        let request = bob.next_request().await;
        assert_eq!((&request["class"], &request["cmd"]), (&json!("screen"), &json!("show")));
        assert_eq!(request["data"], json!({"n": [1]}));
        bob.answer(&request, json!({"lines": 3})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"answer": {"lines": 3}}));

        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show", "data": {}});
        let tid = ann.start("fixture/core/ask", data).await;
        let request = bob.next_request().await;
        bob.answer_error(&request, json!({"code": 200_001, "error": "My own"})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"code": 200_001, "error": "My own"}));

        let data = json!({"session_id": "nobody", "class": "screen", "cmd": "show", "data": {}});
        assert_eq!(ann.err("fixture/core/ask", data).await.0, code::SESSION_NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_plugin_calls_commands() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let call = |class: &str, subclass: &str, cmd: &str, data: Value| {
            json!({"class": class, "subclass": subclass, "cmd": cmd, "data": data})
        };
        let users = ann.ok("fixture/core/call", call("core", "user", "list", json!({}))).await;
        assert_eq!(users, json!({"answer": {"ann": [ann.session_id()]}}));
        let echo = ann.ok("fixture/core/call", call("fixture", "core", "echo", json!({"n": 1}))).await;
        assert_eq!(echo, json!({"answer": {"n": 1}}));
        let error = ann.err("fixture/core/call", call("core", "user", "nothing", json!({}))).await;
        assert_eq!(error.0, code::UNKNOWN_COMMAND);
        let error = ann.err("fixture/core/call", call("core", "user", "get", json!({}))).await;
        assert_eq!(error, (code::MISSING_FIELD, "Missing field: user".into()));
    })
    .await;
}

#[tokio::test]
async fn a_plugin_opens_a_session_without_a_socket() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let data = json!({"user": "ghost", "class": "core", "subclass": "user", "cmd": "list", "data": {}});
        let users = ann.ok("fixture/core/virtual", data).await;
        assert_eq!(users["answer"]["ghost"].as_array().map(Vec::len), Some(1), "{users}");
        assert_eq!(users["answer"]["ann"], json!([ann.session_id()]));
        ann.until_ok("core/user/list", json!({}), |users| users.get("ghost").is_none()).await;
    })
    .await;
}

/// A virtual session is a session: the fixture's observer is told, and so is whoever subscribed.
#[tokio::test]
async fn a_session_without_a_socket_starts_and_stops_like_others() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        ann.ok("core/event/subscribe", json!({"class": "core", "subclass": "session"})).await;
        let data =
            json!({"user": "ghost", "class": "fixture", "subclass": "core", "cmd": "whoami", "data": {}});
        let me = ann.ok("fixture/core/virtual", data).await["answer"].take();
        assert_eq!((&me["user"], &me["administrator"]), (&json!("ghost"), &json!(false)));
        for kind in ["start", "stop"] {
            let event = ann.event().await;
            assert_eq!((&event["type"], &event["obj_id"]), (&json!(kind), &me["session_id"]));
            assert_eq!(event["body"]["user"], "ghost");
        }
    })
    .await;
}

#[tokio::test]
async fn an_observer_is_told_of_sessions_in_order() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        let mut expected = vec![("start", ann.session_id().to_string(), "ann")];
        for user in ["bob", "carol", "bob"] {
            let mut client = broker.login(transport, user).await;
            let id = client.session_id().to_string();
            expected.push(("start", id.clone(), user));
            client.ok("core/session/stop", json!({})).await;
            client.drain().await;
            expected.push(("stop", id, user));
        }
        let all = |answer: &Value| answer["changes"].as_array().unwrap().len() == expected.len();
        let changes = ann.until_ok("fixture/core/observed", json!({}), all).await["changes"].take();
        let mut last = None;
        for (change, (kind, id, user)) in changes.as_array().unwrap().iter().zip(&expected) {
            let number = change["number"].as_u64().expect("a number");
            assert!(last.is_none_or(|last| last < number), "{changes}");
            last = Some(number);
            assert_eq!(*change, json!({"number": number, "kind": kind, "session_id": id, "user": user}));
        }
    })
    .await;
}

#[tokio::test]
async fn a_plugin_keeps_small_state() {
    on_both(async |transport| {
        let (broker, mut ann) = with_ann(transport).await;
        let mut bob = broker.login(transport, "bob").await;
        let missing = ann.ok("fixture/core/store_get", json!({"key": "k"})).await;
        assert!(missing["value"].is_null(), "{missing}");
        for value in ["first", "second", "ü \" \\ \n"] {
            ann.ok("fixture/core/store_put", json!({"key": "k", "value": value})).await;
            assert_eq!(bob.ok("fixture/core/store_get", json!({"key": "k"})).await, json!({"value": value}));
        }
        assert!(bob.ok("fixture/core/store_get", json!({"key": "K"})).await["value"].is_null());
    })
    .await;
}

#[tokio::test]
async fn a_sink_gets_what_sessions_log() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        ann.ok("core/session/log", json!({"source": "ui", "message": "Something", "level": 3})).await;
        let records = ann.ok("fixture/core/logged", json!({})).await["records"].take();
        let records = records.as_array().expect("records");
        assert_eq!(records.len(), 1, "{records:?}");
        let record = records[0].to_string();
        assert!(record.contains("\"ui\"") && record.contains("\"Something\""), "{record}");
    })
    .await;
}

/// Its task runs from the start to the broker's end.
#[tokio::test]
async fn a_plugins_service_runs() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let running = |state: &Value| state["running"] == true;
        ann.until_ok("fixture/core/service_state", json!({}), running).await;
        pause(50).await;
        assert_eq!(ann.ok("fixture/core/service_state", json!({})).await, json!({"running": true}));
    })
    .await;
}

#[tokio::test]
async fn a_plugin_reads_its_own_table() {
    on_both(async |transport| {
        for (config, greeting) in
            [("", "hi"), ("[service.main.plugin.fixture]\ngreeting = \"hello\"", "hello")]
        {
            let broker = Broker::start(Options::fixture().config(config)).await;
            let mut ann = broker.login(transport, "ann").await;
            assert_eq!(ann.ok("fixture/core/configured", json!({})).await, json!({"greeting": greeting}));
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_does_not_fit_the_plugin_is_refused() {
    for (table, named) in [("greeting = 5", "greeting"), ("greting = \"hello\"", "greting")] {
        let config = format!("[service.main.plugin.fixture]\n{table}");
        let mut broker = Broker::spawn(&Options::fixture().config(&config));
        let code = broker.exit_code().await;
        assert_eq!(code, Some(2), "{}", broker.log());
        assert!(broker.log().contains(named), "{}", broker.log());
    }
}
