//! protocol.md §8: permissions.

mod authorizer;
mod rules;

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, Transport, code, error_of, on_both};

/// Whether `client` may do `ask`: `command:C/S/CMD`, or `subscribe:` or `publish:CLASS/SUBCLASS/TYPE/OBJ_ID`.
async fn may(client: &mut Client, ask: &str) -> bool {
    let (action, path) = ask.split_once(':').expect("an action");
    let answer = match action {
        "command" => client.request(path, json!({})).await,
        "subscribe" => client.request("core/event/subscribe", topic(path)).await,
        "publish" => client.request("core/event/send_event", topic(path)).await,
        _ => panic!("{action} is no action"),
    };
    if answer["result"] == "error" && answer["data"]["code"] == code::UNAUTHORIZED {
        assert_eq!(error_of(&answer).1, "Unauthorized");
        return false;
    }
    true
}

fn topic(path: &str) -> Value {
    let fields: Vec<&str> = path.split('/').collect();
    let [class, subclass, kind, obj_id] = fields[..] else { panic!("{path} is no topic") };
    json!({"class": class, "subclass": subclass, "type": kind, "obj_id": obj_id})
}

/// Starts a fixture broker with these rules, and asks it as each user for each thing.
async fn check(transport: Transport, config: &str, asked: &[(&str, &str, bool)]) {
    let broker = Broker::start(Options::fixture().config(config)).await;
    for (user, ask, expected) in asked {
        let mut client = match *user {
            "admin" => broker.admin(transport).await,
            user => broker.login(transport, user).await,
        };
        assert_eq!(may(&mut client, ask).await, *expected, "{user} {ask} under\n{config}");
    }
}

#[tokio::test]
async fn the_default_policy_decides_what_nobody_else_does() {
    on_both(async |transport| {
        let some =
            ["command:core/user/list", "command:fixture/core/echo", "subscribe:a/b/c/d", "publish:a/*/*/*"];
        for (policy, expected) in [("allow", true), ("deny", false)] {
            let asked: Vec<_> =
                some.into_iter().flat_map(|ask| [("ann", ask, expected), ("admin", ask, true)]).collect();
            check(transport, &format!("default_policy = \"{policy}\""), &asked).await;
        }
    })
    .await;
}

/// What belongs to having a session at all needs no permission.
#[tokio::test]
async fn even_where_everything_is_denied() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().config("default_policy = \"deny\"")).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.ok("core/core/ping", json!({})).await;
        let mut admin = broker.admin(transport).await;
        admin.ok("core/user/send_event", json!({"user": "ann", "type": "note"})).await;
        assert_eq!(ann.event().await["type"], "note");
        let data = json!({"session_id": ann.session_id(), "class": "screen", "cmd": "show"});
        let tid = admin.start("core/session/cmd", data).await;
        let request = ann.next_request().await;
        ann.answer(&request, json!({"n": 1})).await;
        assert_eq!(admin.response(tid).await["data"], json!({"n": 1}));
    })
    .await;
}

#[tokio::test]
async fn some_things_no_default_policy_gives() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().config("default_policy = \"allow\"")).await;
        let mut ann = broker.login(transport, "ann").await;
        for ask in
            ["subscribe:*/*/*/*", "subscribe:*/a/b/c", "publish:core/*/*/*", "publish:core/user_event/x/ann"]
        {
            assert!(!may(&mut ann, ask).await, "{ask}");
        }
        for command in ["core/event/subscribe", "core/event/send_event"] {
            for service in ["other", "*"] {
                let error = ann.err(command, json!({"class": "a", "service": service})).await;
                assert_eq!(error.0, code::UNAUTHORIZED, "{command} {service}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_rule_may_give_every_class() {
    on_both(async |transport| {
        let config = r#"
            default_policy = "deny"
            [[service.main.rule]]
            user = "ann"
            allow = ["command:core/event/*", "subscribe:**"]
            [[service.main.rule]]
            user = "bob"
            allow = ["command:core/event/*", "subscribe:*/note/**"]
        "#;
        check(
            transport,
            config,
            &[
                ("ann", "subscribe:*/*/*/*", true),
                ("bob", "subscribe:*/note/*/*", true),
                ("bob", "subscribe:*/*/*/*", false),
                ("ann", "publish:a/*/*/*", false),
            ],
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn administrators_pass() {
    on_both(async |transport| {
        let config = r#"
            default_policy = "deny"
            [[service.main.rule]]
            user = "*"
            deny = ["command:**", "subscribe:**", "publish:**", "service:**", "register:**"]
        "#;
        let asks = [
            "command:core/user/list",
            "command:fixture/core/echo",
            "command:core/event/subscribe",
            "subscribe:*/*/*/*",
            "subscribe:a/b/c/d",
            "subscribe:forbidden/*/*/*",
            "publish:core/session_event/stopping/x",
            "publish:a/*/*/*",
        ];
        let asked: Vec<_> =
            asks.into_iter().flat_map(|ask| [("admin", ask, true), ("ann", ask, false)]).collect();
        check(transport, config, &asked).await;
    })
    .await;
}

#[tokio::test]
async fn only_administrators_publish_as_core() {
    on_both(async |transport| {
        let config = r#"
            [[service.main.rule]]
            user = "*"
            allow = ["command:**", "subscribe:**", "publish:**", "publish:core/**"]
        "#;
        check(
            transport,
            config,
            &[
                ("ann", "publish:core/*/*/*", false),
                ("ann", "publish:a/*/*/*", true),
                ("admin", "publish:core/*/*/*", true),
            ],
        )
        .await;
        let broker = Broker::start(Options::default().config(config)).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.ok("core/user/send_event", json!({"user": "ann"})).await;
        assert_eq!(ann.event().await["class"], "core", "a command of its own, with a permission of its own");
    })
    .await;
}

/// A caller of `session cmd` with class `core` would speak as the broker.
#[tokio::test]
async fn only_administrators_ask_sessions_as_core() {
    on_both(async |transport| {
        let config = "[[service.main.rule]]\nuser = \"*\"\nallow = [\"command:**\"]";
        let broker = Broker::start(Options::default().config(config)).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let data =
            json!({"session_id": bob.session_id(), "class": "core", "subclass": "any", "cmd": "thing"});
        assert_eq!(ann.err("core/session/cmd", data.clone()).await.0, code::UNAUTHORIZED);
        let mut admin = broker.admin(transport).await;
        let tid = admin.start("core/session/cmd", data).await;
        let request = bob.next_request().await;
        bob.answer(&request, json!({})).await;
        assert_eq!(admin.response(tid).await["result"], "ok");
        bob.expect_silence(20).await;
    })
    .await;
}

#[tokio::test]
async fn other_names_of_a_command_need_the_main_ones_permission() {
    on_both(async |transport| {
        let broker = |lists: &str| {
            let config = format!("default_policy = \"deny\"\n[[service.main.rule]]\nuser = \"*\"\n{lists}");
            Broker::start(Options::default().config(&config))
        };
        for (lists, expected) in [
            (r#"allow = ["command:core/event/send_event", "publish:**"]"#, true),
            (r#"allow = ["command:core/event/send", "publish:**"]"#, false),
            (
                r#"deny = ["command:core/event/send_event"]
                allow = ["command:**", "publish:**"]"#,
                false,
            ),
            (
                r#"deny = ["command:core/event/send"]
                allow = ["command:**", "publish:**"]"#,
                true,
            ),
        ] {
            let broker = broker(lists).await;
            let mut ann = broker.login(transport, "ann").await;
            for command in ["core/event/send", "core/event/send_event"] {
                let answer = ann.request(command, json!({"class": "a"})).await;
                assert_eq!(answer["result"] == "ok", expected, "{command} under {lists}: {answer}");
            }
        }
    })
    .await;
}

/// Logged in, command known, permission, data, then what it names.
#[tokio::test]
async fn permission_comes_behind_the_name_and_before_the_data() {
    on_both(async |transport| {
        let config = "default_policy = \"deny\"";
        let broker = Broker::start(Options::fixture().config(config)).await;
        let mut ann = broker.login(transport, "ann").await;
        for command in ["nothing/core/x", "core/user/nothing", "fixture/nothing/echo"] {
            assert_eq!(ann.err(command, json!({})).await.0, code::UNKNOWN_COMMAND, "{command}");
        }
        for (command, data) in [
            ("core/user/get", json!({})),
            ("core/user/get", json!({"user": 5})),
            ("core/user/get", json!({"user": "nobody"})),
            ("core/session/stop", json!({"session_id": "nobody"})),
            ("core/session/log", json!({"source": "s", "message": "m", "level": 99})),
            ("core/event/subscribe", json!({"class": 5})),
            ("core/event/send_event", json!({})),
            ("fixture/core/typed", json!({"count": "x"})),
            ("fixture-wild/any/thing", json!([])),
        ] {
            assert_eq!(ann.err(command, data.clone()).await.0, code::UNAUTHORIZED, "{command} {data}");
        }
        let mut admin = broker.admin(transport).await;
        assert_eq!(admin.err("core/user/get", json!({"user": 5})).await.0, code::SYNTAX_ERROR);
        assert_eq!(admin.err("core/user/get", json!({"user": "nobody"})).await.0, code::USER_NOT_FOUND);
        let data = json!({"session_id": "nobody", "class": "a"});
        assert_eq!(admin.err("core/session/cmd", data).await.1, "Missing field: cmd");
    })
    .await;
}

/// What `subscribe` and `send_event` ask beside the command needs their data, so it comes behind it.
#[tokio::test]
async fn a_topics_permission_comes_behind_its_data() {
    on_both(async |transport| {
        let config =
            "default_policy = \"deny\"\n[[service.main.rule]]\nuser = \"*\"\nallow = [\"command:**\"]";
        let broker = Broker::start(Options::default().config(config)).await;
        let mut ann = broker.login(transport, "ann").await;
        for command in ["core/event/subscribe", "core/event/send_event"] {
            assert_eq!(ann.err(command, json!({})).await.0, code::MISSING_FIELD);
            assert_eq!(ann.err(command, json!({"class": "a", "type": 5})).await.0, code::SYNTAX_ERROR);
            assert_eq!(ann.err(command, json!({"class": "a"})).await.0, code::UNAUTHORIZED);
        }
    })
    .await;
}
