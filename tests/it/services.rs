//! protocol.md §7: several services in one broker.

mod crossing;

use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, Broker, Client, Options, Transport, code, on_both};

/// The configuration of a second service, whose name is `side`.
fn side(plugins: &[&str], admin_password: &str) -> String {
    format!(
        "[service.side]\nlisten = [\"ws://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\nplugins = {plugins:?}\n\
         admin_user = \"admin\"\nadmin_password = \"{admin_password}\"\n"
    )
}

/// A broker with two services.
async fn two_services() -> Broker {
    Broker::start(Options::default().config(&side(&["auth-open"], ADMIN_PASSWORD))).await
}

async fn subscribe(client: &mut Client, subscription: Value) {
    client.ok("core/event/subscribe", subscription).await;
}

async fn publish(client: &mut Client, event: Value) {
    client.ok("core/event/send_event", event).await;
}

#[tokio::test]
async fn each_has_its_own_listeners() {
    let broker = two_services().await;
    let (main, side) = (broker.main(), broker.service("side"));
    assert_eq!((main.urls().len(), side.urls().len()), (2, 2));
    assert!(main.urls().iter().all(|url| !side.urls().contains(url)), "{:?} {:?}", main.urls(), side.urls());
}

#[tokio::test]
async fn each_has_its_own_users_and_sessions() {
    on_both(async |transport| {
        let broker = two_services().await;
        let login = json!({"user": "ann", "session_id": "one-id"});
        let (mut here, mut there) =
            (broker.connect(transport).await, broker.service("side").connect(transport).await);
        here.login_with(login.clone()).await;
        there.login_with(login).await;
        let mut bob = broker.service("side").login(transport, "bob").await;

        assert_eq!(here.ok("core/user/list", json!({})).await, json!({"ann": ["one-id"]}));
        let users = there.ok("core/user/list", json!({})).await;
        assert_eq!(users, json!({"ann": ["one-id"], "bob": [bob.session_id()]}));

        assert_eq!(here.err("core/user/get", json!({"user": "bob"})).await.0, code::USER_NOT_FOUND);
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        assert_eq!(here.err("core/session/cmd", data).await.0, code::SESSION_NOT_FOUND);
        let data = json!({"session_id": bob.session_id()});
        assert_eq!(here.err("core/session/stop", data).await.0, code::SESSION_NOT_FOUND);

        here.ok("core/session/stop", json!({"session_id": "one-id"})).await;
        here.drain().await;
        there.ok("core/core/ping", json!({})).await;
        bob.expect_silence(20).await;
    })
    .await;
}

#[tokio::test]
async fn each_has_its_own_events() {
    on_both(async |transport| {
        let broker = two_services().await;
        let mut here = broker.login(transport, "ann").await;
        let mut there = broker.service("side").login(transport, "ann").await;
        for client in [&mut here, &mut there] {
            subscribe(client, json!({"class": "c"})).await;
            subscribe(client, json!({"class": "core"})).await;
        }
        publish(&mut here, json!({"class": "c", "body": {"n": 1}})).await;
        here.ok("core/user/send_event", json!({"user": "ann", "type": "note"})).await;
        here.ok("core/session/send_event", json!({"session_id": there.session_id(), "type": "lost"})).await;
        drop(broker.login(transport, "bob").await);
        assert_eq!(here.event().await, json!({"class": "c", "body": {"n": 1}}));
        there.expect_no_event().await;
        publish(&mut there, json!({"class": "c", "body": {"n": 2}})).await;
        assert_eq!(there.event().await, json!({"class": "c", "body": {"n": 2}}));
        let heard = here.events_so_far().await;
        assert!(heard.iter().all(|event| event["class"] == "core"), "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn each_has_its_own_plugins() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().config(&side(&["auth-open"], ADMIN_PASSWORD))).await;
        let mut here = broker.login(transport, "ann").await;
        let mut there = broker.service("side").login(transport, "ann").await;
        assert_eq!(here.ok("fixture/core/whoami", json!({})).await["service"], "main");
        let error = there.err("fixture/core/whoami", json!({})).await;
        assert_eq!(error, (code::UNKNOWN_COMMAND, "Unknown command 'fixture/core/whoami'".into()));
        let listed = there.ok("core/plugin/list", json!({})).await;
        assert!(!listed.to_string().contains("fixture"), "{listed}");
    })
    .await;
}

/// One plugin in two services is two: each has its own service and its own state.
#[tokio::test]
async fn a_plugin_of_both_is_one_in_each() {
    on_both(async |transport| {
        let options = Options::fixture().config(&side(&["fixture", "auth-open"], ADMIN_PASSWORD));
        let broker = Broker::start(options).await;
        let mut here = broker.login(transport, "ann").await;
        let mut there = broker.service("side").login(transport, "bob").await;
        assert_eq!(there.ok("fixture/core/whoami", json!({})).await["service"], "side");
        here.ok("fixture/core/store_put", json!({"key": "k", "value": "main's"})).await;
        assert!(there.ok("fixture/core/store_get", json!({"key": "k"})).await["value"].is_null());
        let changes =
            there.until_ok("fixture/core/observed", json!({}), |all| !all["changes"][0].is_null()).await;
        assert_eq!(changes["changes"].as_array().map(Vec::len), Some(1), "{changes}");
        assert_eq!(changes["changes"][0]["user"], "bob");
        subscribe(&mut here, json!({"class": "c"})).await;
        subscribe(&mut there, json!({"class": "c"})).await;
        there.ok("fixture/core/fire", json!({"class": "c"})).await;
        assert_eq!(there.event().await, json!({"class": "c"}));
        here.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn each_has_its_own_administrator_and_rules() {
    on_both(async |transport| {
        let mut config = side(&["auth-open"], "side-secret");
        config.push_str("default_policy = \"deny\"\n");
        let broker = Broker::start(Options::default().config(&config)).await;
        let there = broker.service("side");
        let mut client = there.connect(transport).await;
        let refused =
            client.err("core/user/login", json!({"user": "admin", "password": ADMIN_PASSWORD})).await;
        assert_eq!(refused.0, code::UNAUTHORIZED);
        client.login_with(json!({"user": "admin", "password": "side-secret"})).await;
        client.ok("core/user/list", json!({})).await;

        assert_eq!(
            there.login(transport, "ann").await.err("core/user/list", json!({})).await.0,
            code::UNAUTHORIZED
        );
        broker.login(transport, "ann").await.ok("core/user/list", json!({})).await;
    })
    .await;
}

/// All of them end when the broker does.
#[tokio::test]
async fn all_are_told_that_the_broker_stops() {
    let mut broker = two_services().await;
    let mut clients = Vec::new();
    for transport in Transport::BOTH {
        clients.push(broker.login(transport, "ann").await);
        clients.push(broker.service("side").login(transport, "ann").await);
    }
    broker.terminate();
    for client in &mut clients {
        let messages = client.drain_closed_as(1001, "shutting_down").await;
        assert_eq!(messages[0]["data"]["type"], "stopping", "{messages:?}");
    }
    assert_eq!(broker.exit_code().await, Some(0));
}
