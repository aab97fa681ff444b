//! Who lets whom in, and in which order they are asked.

use serde_json::json;

use crate::support::{
    ADMIN_PASSWORD, Broker, Options, code, error_of, jackfield_with_input, on_both, with_admin,
};

const UNAUTHORIZED: (i64, &str) = (code::UNAUTHORIZED, "Unauthorized");

/// The hash of a password, as the command line makes it.
async fn hash(password: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = jackfield_with_input(directory.path(), &["hash-password"], &format!("{password}\n")).await;
    output.exits(0).stdout.trim().to_string()
}

async fn static_users() -> String {
    format!("[service.main.plugin.auth-static.users]\n\"ann@example.com\" = \"{}\"\n", hash("anns-own").await)
}

#[tokio::test]
async fn the_administrator_needs_the_password() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for data in [
            json!({"user": "admin", "password": "wrong"}),
            json!({"user": "admin"}),
            json!({"user": "admin", "password": ""}),
        ] {
            let mut client = broker.connect(transport).await;
            let (code, text) = client.err("core/user/login", data.clone()).await;
            assert_eq!((code, text.as_str()), UNAUTHORIZED, "{data}");
        }
        for field in ["password", "pass"] {
            let mut client = broker.connect(transport).await;
            client.login_with(json!({"user": "admin", field: ADMIN_PASSWORD})).await;
            client.ok("core/event/subscribe", json!({"class": "*"})).await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_an_authenticator_only_the_administrator_gets_in() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().plugins(&[])).await;
        let mut client = broker.connect(transport).await;
        let (code, text) = client.err("core/user/login", json!({"user": "ann", "password": "x"})).await;
        assert_eq!((code, text.as_str()), UNAUTHORIZED);
        client.login_with(json!({"user": "admin", "password": ADMIN_PASSWORD})).await;
    })
    .await;
}

#[tokio::test]
async fn auth_open_takes_any_user_whatever_the_password() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for data in [
            json!({"user": "ann"}),
            json!({"user": "ann", "password": "x"}),
            json!({"user": "bob", "pass": "y"}),
        ] {
            broker.connect(transport).await.login_with(data).await;
        }
        // The addresses are told behind the warnings.
        broker.logged("listening").await;
    })
    .await;
}

#[tokio::test]
async fn auth_static_knows_its_users() {
    on_both(async |transport| {
        let options = Options::default().plugins(&["auth-static"]).config(&static_users().await);
        let broker = Broker::start(options).await;
        for data in [
            json!({"user": "ann@example.com", "password": "wrong"}),
            json!({"user": "ann@example.com"}),
            json!({"user": "bob", "password": "anns-own"}),
            json!({"user": "bob"}),
        ] {
            let mut client = broker.connect(transport).await;
            let (code, text) = client.err("core/user/login", data.clone()).await;
            assert_eq!((code, text.as_str()), UNAUTHORIZED, "{data}");
        }
        for field in ["password", "pass"] {
            let mut client = broker.connect(transport).await;
            client.login_with(json!({"user": "ann@example.com", field: "anns-own"})).await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_not_known_to_one_is_left_to_the_next() {
    on_both(async |transport| {
        let options = Options::default().plugins(&["auth-static", "auth-open"]).config(&static_users().await);
        let broker = Broker::start(options).await;
        let mut client = broker.connect(transport).await;
        let wrong = json!({"user": "ann@example.com", "password": "wrong"});
        assert_eq!(client.err("core/user/login", wrong).await.0, code::UNAUTHORIZED);
        client.login_with(json!({"user": "ann@example.com", "password": "anns-own"})).await;
        broker.login(transport, "bob").await;
    })
    .await;
}

#[tokio::test]
async fn auth_open_before_another_is_warned_of() {
    let users = static_users().await;
    let mut warnings = Vec::new();
    for plugins in [["auth-static", "auth-open"], ["auth-open", "auth-static"]] {
        let broker = Broker::start(Options::default().plugins(&plugins).config(&users)).await;
        // The addresses are told behind the warnings.
        broker.logged("listening").await;
        warnings.push(broker.log().lines().filter(|line| line.contains("WARN")).count());
        if plugins[0] == "auth-open" {
            let mut client = broker.login(crate::support::Transport::Tcp, "ann@example.com").await;
            client.ok("core/user/list", json!({})).await;
        }
    }
    assert!(warnings[1] > warnings[0], "{warnings:?}");
}

#[tokio::test]
async fn a_token_may_tell_the_user() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.connect(transport).await;
        let answer = client.login_with(json!({"token": "good"})).await;
        assert_eq!(answer, json!({"session_id": client.session_id(), "expires_in": 3600}));
        let sessions = client.ok("core/user/get", json!({"user": "token-user"})).await;
        assert_eq!(sessions[client.session_id()]["via"], "token", "{sessions}");
        let me = client.ok("fixture/core/whoami", json!({})).await;
        assert_eq!((&me["user"], &me["administrator"]), (&json!("token-user"), &json!(false)));
        assert_eq!((&me["session_id"], &me["service"]), (&json!(client.session_id()), &json!("main")));
    })
    .await;
}

#[tokio::test]
async fn a_rejection_is_final() {
    on_both(async |transport| {
        // auth-open, which is asked next, would take anyone.
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.connect(transport).await;
        let answer = client.request("core/user/login", json!({"user": "ann", "token": "bad"})).await;
        let (code, text) = error_of(&answer);
        assert_eq!((code, text.as_str()), UNAUTHORIZED);
        client.login_with(json!({"user": "ann", "token": "unknown to it"})).await;
    })
    .await;
}

#[tokio::test]
async fn the_administrator_is_asked_before_any_plugin() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.connect(transport).await;
        let error = client.err("core/user/login", json!({"user": "admin", "token": "good"})).await;
        assert_eq!(error.0, code::UNAUTHORIZED);
        client.login_with(json!({"user": "admin", "password": ADMIN_PASSWORD, "token": "bad"})).await;
        let me = client.ok("fixture/core/whoami", json!({})).await;
        assert_eq!((&me["user"], &me["administrator"]), (&json!("admin"), &json!(true)));
    })
    .await;
}

#[tokio::test]
async fn an_authenticators_permissions_are_all_there_are() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.connect(transport).await;
        client.login_with(json!({"token": "limited"})).await;
        assert_eq!(client.ok("fixture/core/echo", json!({"a": 1})).await, json!({"a": 1}));
        for command in ["fixture/core/whoami", "core/user/list", "core/event/subscribe"] {
            let data = json!({"class": "media"});
            assert_eq!(client.err(command, data).await.0, code::UNAUTHORIZED, "{command}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_expires_is_closed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut admin = broker.admin(transport).await;
        admin
            .ok("core/event/subscribe", json!({"class": "core", "subclass": "session", "type": "stop"}))
            .await;
        let mut client = broker.connect(transport).await;
        client.login_with(json!({"token": "short"})).await;
        client.expect_closed_as(4002, "session_timeout").await;
        let stop = admin.event().await;
        assert_eq!(stop["obj_id"], client.session_id());
        assert_eq!(
            (&stop["body"]["user"], &stop["body"]["reason"]),
            (&json!("short"), &json!("session_timeout"))
        );
    })
    .await;
}

#[tokio::test]
async fn another_name_for_the_administrator() {
    on_both(async |transport| {
        let config = with_admin("").replace("admin_user = \"admin\"", "admin_user = \"root@example.com\"");
        let broker = Broker::start(Options::default().whole_config(&config)).await;
        let mut root = broker.connect(transport).await;
        root.login_with(json!({"user": "root@example.com", "password": ADMIN_PASSWORD})).await;
        root.ok("core/event/subscribe", json!({"class": "*"})).await;
        let mut admin = broker.login(transport, "admin").await;
        assert_eq!(admin.err("core/event/subscribe", json!({"class": "*"})).await.0, code::UNAUTHORIZED);
    })
    .await;
}
