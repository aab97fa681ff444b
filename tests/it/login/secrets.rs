//! Passwords, tokens and secrets never appear in a log, an event, a metric or `user get`.

use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, Broker, Client, Options, Transport, on_both};

/// The fields whose values are secret, `pin` because the fixture's authenticator says so.
const SECRET: [&str; 9] = [
    "password",
    "pass",
    "token",
    "access_token",
    "refresh_token",
    "api_key",
    "secret",
    "authorization",
    "pin",
];

/// A value that nothing but this test would write.
const VALUE: &str = "hush-d3ad-b33f";

/// Logs in as `ann` with every secret there is, as fields and within `meta`.
async fn login(broker: &Broker, transport: Transport, user: &str) -> Client {
    let mut data = json!({"user": user, "meta": {"kept": "yes"}, "also": "kept"});
    for field in SECRET.into_iter().filter(|&field| field != "pass") {
        data[field] = json!(VALUE);
        data["meta"][field] = json!(VALUE);
    }
    data["meta"]["pass"] = json!(VALUE);
    let mut client = broker.connect(transport).await;
    client.login_with(data).await;
    let mut alias = broker.connect(transport).await;
    alias.login_with(json!({"user": user, "pass": VALUE})).await;
    client
}

#[tokio::test]
async fn they_are_not_kept_with_the_session() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = login(&broker, transport, "ann").await;
        let sessions = ann.ok("core/user/get", json!({"user": "ann"})).await;
        assert!(!sessions.to_string().contains(VALUE), "{sessions}");
        let entry = &sessions[ann.session_id()];
        assert_eq!((&entry["also"], &entry["meta"]), (&json!("kept"), &json!({"kept": "yes"})));
        for field in SECRET {
            assert_eq!(entry.get(field), None, "{entry}");
        }
    })
    .await;
}

#[tokio::test]
async fn they_are_in_no_event() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut admin = broker.admin(transport).await;
        admin.ok("core/event/subscribe", json!({"class": "*"})).await;
        let ann = login(&broker, transport, "ann").await;
        let id = ann.session_id().to_string();
        drop(ann);
        loop {
            let event = admin.next_event().await;
            assert!(!event.to_string().contains(VALUE), "{event}");
            if event["data"]["type"] == "stop" && event["data"]["obj_id"] == json!(id) {
                break;
            }
        }
    })
    .await;
}

/// Everything a client can send that has a secret in it, right and wrong.
async fn use_secrets(broker: &Broker, transport: Transport) {
    drop(login(broker, transport, "ann").await);
    drop(broker.admin(transport).await);
    let mut client = broker.connect(transport).await;
    for data in [
        json!({"user": "admin", "password": VALUE}),
        json!({"user": 5, "password": VALUE}),
        json!({"password": VALUE}),
        json!({"user": "ann", "password": [VALUE]}),
        json!({"user": "ann", "token": "bad", "secret": VALUE}),
    ] {
        client.err("core/user/login", data).await;
    }
    client.login("bob").await;
    let again: Value = json!({"user": "bob", "password": VALUE});
    client.err("core/user/login", again).await;
    client.set_autorespond(false);
    client
        .send_text(&format!(
            r#"{{"class":"core","subclass":"user","cmd":"login","data":{{"password":"{VALUE}"}}"#
        ))
        .await;
    client.drain().await;
}

#[tokio::test]
async fn they_are_in_no_log() {
    on_both(async |transport| {
        for format in ["text", "json"] {
            let options = Options::fixture().env("RUST_LOG", "trace").args(&["--log-format", format]);
            let mut broker = Broker::start(options).await;
            use_secrets(&broker, transport).await;
            broker.terminate();
            assert_eq!(broker.exit_code().await, Some(0));
            let log = broker.log();
            assert!(log.contains("TRACE"), "trace is not on");
            for secret in [VALUE, ADMIN_PASSWORD] {
                let line = log.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{secret} in the log");
            }
            assert_eq!(broker.stdout(), "");
        }
    })
    .await;
}
