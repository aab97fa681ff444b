//! With plugins that are built in.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::{listed, names};
use crate::support::{Broker, Client, Options, Transport, code, eventually, on_both, with_admin, within};

const MOODY: &str = "fixture-moody";

async fn start() -> Broker {
    Broker::start(Options::fixture()).await
}

async fn watcher(broker: &Broker, transport: Transport) -> Client {
    let mut client = broker.login(transport, "watcher").await;
    client.ok("core/event/subscribe", json!({"class": "core", "subclass": "plugin"})).await;
    client
}

async fn instance(client: &mut Client) -> Value {
    client.ok("moody/core/instance", json!({})).await["instance"].take()
}

#[tokio::test]
async fn one_is_loaded_for_every_connection_at_once() {
    on_both(async |transport| {
        let broker = start().await;
        let (mut admin, mut ann) = (broker.admin(transport).await, broker.login(transport, "ann").await);
        let mut watcher = watcher(&broker, transport).await;
        assert_eq!(ann.err("moody/core/instance", json!({})).await.0, code::UNKNOWN_COMMAND);
        let loaded = admin.ok("core/plugin/load", json!({"name": MOODY})).await;
        assert_eq!((&loaded["name"], &loaded["kind"]), (&json!(MOODY), &json!("builtin")));
        assert_eq!(instance(&mut ann).await, 0);
        assert_eq!(listed(&mut ann, MOODY).await.unwrap(), loaded);
        assert_eq!(names(&mut ann).await, ["fixture", "auth-open", MOODY, "core"]);
        let event = watcher.event().await;
        assert_eq!((&event["type"], &event["obj_id"]), (&json!("loaded"), &json!(MOODY)));
        assert_eq!(event["body"], json!({"version": loaded["version"]}));
        admin.ok("core/plugin/unload", json!({"name": MOODY})).await;
        assert_eq!(ann.err("moody/core/instance", json!({})).await.0, code::UNKNOWN_COMMAND);
        assert_eq!(listed(&mut ann, MOODY).await, None);
        assert_eq!(watcher.event().await["type"], "unloaded");
        broker.logged("a plugin was stopped").await;
    })
    .await;
}

#[tokio::test]
async fn administrators_may_and_whom_a_rule_allows() {
    let rule = "[[service.main.rule]]\nuser = \"ann\"\nallow = [\"command:core/plugin/*\"]";
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().config(rule)).await;
        let (mut ann, mut bob) = (broker.login(transport, "ann").await, broker.login(transport, "bob").await);
        for command in ["core/plugin/load", "core/plugin/reload", "core/plugin/unload"] {
            assert_eq!(bob.err(command, json!({"name": MOODY})).await.0, code::UNAUTHORIZED, "{command}");
        }
        for command in ["core/plugin/load", "core/plugin/reload", "core/plugin/unload"] {
            ann.ok(command, json!({"name": MOODY})).await;
        }
    })
    .await;
}

#[tokio::test]
async fn requests_under_way_finish_before_it_is_stopped() {
    on_both(async |transport| {
        let broker = start().await;
        let (mut admin, mut ann) = (broker.admin(transport).await, broker.login(transport, "ann").await);
        admin.ok("core/plugin/load", json!({"name": MOODY})).await;
        let under_way = ann.start("moody/core/sleep", json!({"ms": 600})).await;
        ann.ok("core/core/ping", json!({})).await;
        admin.ok("core/plugin/unload", json!({"name": MOODY})).await;
        assert_eq!(ann.err("moody/core/sleep", json!({"ms": 1})).await.0, code::UNKNOWN_COMMAND);
        assert!(!broker.log().contains("a plugin was stopped"));
        assert_eq!(ann.response(under_way).await["data"], json!({"instance": 0}));
        broker.logged("a plugin was stopped").await;
    })
    .await;
}

#[tokio::test]
async fn who_takes_longer_than_a_handler_may_is_not_waited_for() {
    let broker = Broker::start(Options::fixture().set("timeouts.handler=300ms")).await;
    let (mut admin, mut ann) =
        (broker.admin(Transport::Tcp).await, broker.login(Transport::Tcp, "ann").await);
    admin.ok("core/plugin/load", json!({"name": MOODY})).await;
    let under_way = ann.start("moody/core/sleep", json!({"ms": 60_000})).await;
    ann.ok("core/core/ping", json!({})).await;
    admin.ok("core/plugin/unload", json!({"name": MOODY})).await;
    broker.logged("a plugin was stopped").await;
    assert_eq!(ann.response(under_way).await["data"]["code"], code::TIMEOUT);
}

#[tokio::test]
async fn a_reload_puts_a_new_one_in_the_place_of_the_old() {
    on_both(async |transport| {
        let plugins = [MOODY, "fixture", "auth-open"];
        let broker = Broker::start(Options::fixture().plugins(&plugins)).await;
        let (mut admin, mut ann) = (broker.admin(transport).await, broker.login(transport, "ann").await);
        let mut watcher = watcher(&broker, transport).await;
        let first = instance(&mut ann).await;
        let under_way = ann.start("moody/core/sleep", json!({"ms": 300})).await;
        ann.ok("core/core/ping", json!({})).await;
        admin.ok("core/plugin/reload", json!({"name": MOODY})).await;
        assert_ne!(instance(&mut ann).await, first);
        assert_eq!(ann.response(under_way).await["data"]["instance"], first);
        assert_eq!(names(&mut ann).await, [MOODY, "fixture", "auth-open", "core"]);
        assert_eq!(
            [watcher.event().await, watcher.event().await].map(|event| event["type"].clone()),
            [json!("unloaded"), json!("loaded")]
        );
    })
    .await;
}

#[tokio::test]
async fn a_port_is_handed_from_the_old_one_to_the_new() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = start().await;
    let mut admin = broker.admin(Transport::Tcp).await;
    admin.ok("core/plugin/load", json!({"name": MOODY, "config": {"port": port}})).await;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    eventually("the plugin's listener", listens).await;
    for _ in 0..3 {
        admin.ok("core/plugin/reload", json!({"name": MOODY})).await;
        eventually("the new plugin's listener", listens).await;
    }
    admin.ok("core/plugin/unload", json!({"name": MOODY})).await;
    eventually("the listener's end", || !listens()).await;
    assert!(!broker.log().contains("a plugin's service failed"));
}

/// The first still has a request when the third comes, so it still has its port.
#[tokio::test]
async fn a_port_is_handed_on_past_one_that_never_had_it() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = start().await;
    let mut admin = broker.admin(Transport::Tcp).await;
    admin.ok("core/plugin/load", json!({"name": MOODY, "config": {"port": port}})).await;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    eventually("the first plugin's listener", listens).await;
    let under_way = admin.start("moody/core/sleep", json!({"ms": 1000})).await;
    for _ in 0..2 {
        admin.ok("core/plugin/reload", json!({"name": MOODY})).await;
    }
    let stopped = || broker.log().matches("a plugin was stopped").count();
    assert_eq!(admin.response(under_way).await["result"], "ok");
    eventually("the end of the first two", || stopped() == 2).await;
    eventually("the third plugin's listener", listens).await;
    assert!(!broker.log().contains("a plugin's service failed"));
}

#[tokio::test]
async fn what_fails_changes_nothing_and_says_why() {
    on_both(async |transport| {
        let broker = start().await;
        let (mut admin, mut watcher) = (broker.admin(transport).await, watcher(&broker, transport).await);
        let before = admin.ok("core/plugin/list", json!({})).await;
        let cases = [
            (json!({"name": "no-such"}), code::INVALID_VALUE, "no-such"),
            (json!({"name": MOODY, "config": {"mood": "refuse"}}), code::PLUGIN_UNAVAILABLE, "not today"),
            (json!({"name": MOODY, "config": {"mood": "bad"}}), code::INVALID_VALUE, "config.mood"),
            (json!({"name": MOODY, "config": {"moood": "bad"}}), code::INVALID_VALUE, "config.moood"),
            (json!({"name": MOODY, "config": {"mood": "panic"}}), code::INTERNAL_ERROR_REF, "Internal error"),
            (json!({"name": "fixture-a"}), code::INVALID_OPERATION, "fixture-b"),
            (json!({"path": "./no-such.so"}), code::INVALID_VALUE, "no-such.so"),
        ];
        for (data, expected, named) in cases {
            let (code, text) = admin.err("core/plugin/load", data.clone()).await;
            assert_eq!(code, expected, "{data}: {text}");
            assert!(text.contains(named), "{text}");
            assert_eq!(admin.ok("core/plugin/list", json!({})).await, before);
            let event = watcher.event().await;
            assert_eq!((&event["type"], &event["body"]["error"]), (&json!("failed"), &json!(text)));
        }
        broker.logged("the fixture was asked to panic in register").await;
        for data in [json!({}), json!({"name": MOODY, "path": "x.so"}), json!({"name": "fixture"})] {
            admin.err("core/plugin/load", data).await;
        }
        watcher.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn a_reload_that_fails_keeps_the_old_one() {
    on_both(async |transport| {
        let broker = start().await;
        let mut admin = broker.admin(transport).await;
        admin.ok("core/plugin/load", json!({"name": MOODY})).await;
        let first = instance(&mut admin).await;
        let refuse = json!({"name": MOODY, "config": {"mood": "refuse"}});
        assert_eq!(admin.err("core/plugin/reload", refuse).await.0, code::PLUGIN_UNAVAILABLE);
        assert_eq!(instance(&mut admin).await, first);
        admin.ok("core/plugin/reload", json!({"name": MOODY})).await;
        assert_ne!(instance(&mut admin).await, first);
        assert_eq!(admin.err("core/plugin/reload", json!({"name": "x"})).await.0, code::PLUGIN_UNAVAILABLE);
    })
    .await;
}

#[tokio::test]
async fn what_is_needed_stays() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().plugins(&["fixture-a", "fixture-b"])).await;
        let mut admin = broker.admin(transport).await;
        let (code, text) = admin.err("core/plugin/unload", json!({"name": "fixture-b"})).await;
        assert_eq!(code, code::INVALID_OPERATION);
        assert!(text.contains("fixture-a"), "{text}");
        assert_eq!(admin.err("core/plugin/unload", json!({"name": "core"})).await.0, code::INVALID_OPERATION);
        assert_eq!(admin.err("core/plugin/unload", json!({"name": "no"})).await.0, code::PLUGIN_UNAVAILABLE);
        admin.ok("core/plugin/reload", json!({"name": "fixture-b"})).await;
        admin.ok("core/plugin/unload", json!({"name": "fixture-a"})).await;
        admin.ok("core/plugin/unload", json!({"name": "fixture-b"})).await;
        admin.err("core/plugin/load", json!({"name": "fixture-a"})).await;
        admin.ok("core/plugin/load", json!({"name": "fixture-b"})).await;
        admin.ok("core/plugin/load", json!({"name": "fixture-a"})).await;
        assert_eq!(names(&mut admin).await, ["fixture-a", "fixture-b", "core"]);
    })
    .await;
}

#[tokio::test]
async fn one_that_is_loaded_is_not_loaded_again() {
    on_both(async |transport| {
        let broker = start().await;
        let mut admin = broker.admin(transport).await;
        for name in ["fixture", "core"] {
            let (code, text) = admin.err("core/plugin/load", json!({"name": name})).await;
            assert_eq!(code, code::INVALID_OPERATION, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_of_the_configuration_leaves_what_was_changed() {
    let broker =
        Broker::start(Options::fixture().plugins(&[]).config("plugins = [\"fixture\", \"auth-open\"]")).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    admin.ok("core/plugin/load", json!({"name": MOODY})).await;
    admin.ok("core/plugin/unload", json!({"name": "fixture"})).await;
    // Nothing that would stay.
    admin.ok("core/plugin/reload", json!({"name": "auth-open"})).await;
    let first = instance(&mut admin).await;
    let config = "plugins = [\"fixture-second\", \"fixture\"]";
    broker.rewrite_config(&with_admin(config));
    broker.hangup();
    within("the new list to hold", async { while listed(&mut admin, "fixture-second").await.is_none() {} })
        .await;
    assert_eq!(names(&mut admin).await, ["fixture-second", MOODY, "core"]);
    assert_eq!(instance(&mut admin).await, first, "it was kept");
    admin.ok("core/plugin/load", json!({"name": "fixture"})).await;
    assert_eq!(names(&mut admin).await, ["fixture-second", "fixture", MOODY, "core"]);
}

#[tokio::test]
async fn a_table_that_was_given_stays_out_of_the_log() {
    let broker = Broker::start(Options::fixture().env("RUST_LOG", "trace")).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    for config in [json!({"secret": "hunter2"}), json!({"secret": {"hunter2": "hunter2"}})] {
        let data = json!({"name": MOODY, "config": config});
        let answer = admin.request("core/plugin/load", data.clone()).await;
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
        let answer = admin.request("core/plugin/reload", data).await;
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    broker.logged("a plugin was loaded").await;
    assert!(!broker.log().contains("hunter2"));
}

#[tokio::test]
async fn changes_at_the_same_time_come_one_after_the_other() {
    let broker = start().await;
    let mut admins = Vec::new();
    for _ in 0..8 {
        admins.push(broker.admin(Transport::Tcp).await);
    }
    let mut tids = Vec::new();
    for admin in &mut admins {
        tids.push(admin.start("core/plugin/load", json!({"name": MOODY})).await);
    }
    let mut loaded = 0;
    for (admin, tid) in admins.iter_mut().zip(tids) {
        let answer = admin.response(tid).await;
        match answer["result"].as_str() {
            Some("ok") => loaded += 1,
            _ => assert_eq!(answer["data"]["code"], code::INVALID_OPERATION, "{answer}"),
        }
    }
    assert_eq!(loaded, 1);
}

const HANGS: &str = "the fixture was asked to hang in register";

/// What makes `fixture-moody` hang when it is to register.
fn hanging() -> String {
    "plugins = [\"fixture-moody\", \"auth-open\"]\n[service.main.plugin.fixture-moody]\nmood = \"hang\""
        .to_owned()
}

#[tokio::test]
async fn one_that_never_registers_stops_nobody_else() {
    let options = || Options::fixture().set("timeouts.drain=1s");
    // At the start, where nothing is to be drained yet.
    let mut starting = Broker::spawn(&options().plugins(&[]).config(&hanging()));
    starting.logged(HANGS).await;
    starting.hangup();
    starting.terminate();
    assert_eq!(starting.exit_code().await, Some(0));
    // In a reload of the configuration.
    let mut reloading = Broker::start(options().plugins(&[]).config("plugins = [\"auth-open\"]")).await;
    reloading.rewrite_config(&with_admin(&hanging()));
    reloading.hangup();
    reloading.logged(HANGS).await;
    reloading.login(Transport::Tcp, "ann").await.ok("core/user/list", json!({})).await;
    reloading.interrupt();
    assert_eq!(reloading.exit_code().await, Some(0));
    // By a command, which the others do not wait for.
    let mut loading = Broker::start(options()).await;
    let mut admin = loading.admin(Transport::Tcp).await;
    admin.start("core/plugin/load", json!({"name": MOODY, "config": {"mood": "hang"}})).await;
    loading.logged(HANGS).await;
    admin.ok("fixture/core/echo", json!({})).await;
    loading.hangup();
    loading.terminate();
    assert_eq!(loading.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_signal_to_reload_that_comes_during_a_reload_is_kept() {
    let broker =
        Broker::start(Options::fixture().plugins(&[]).config("plugins = [\"fixture\", \"auth-open\"]")).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    for list in ["plugins = [\"fixture-second\"]", "plugins = [\"fixture\", \"fixture-moody\"]"] {
        broker.rewrite_config(&with_admin(list));
        broker.hangup();
    }
    within("the last list to hold", async { while listed(&mut admin, MOODY).await.is_none() {} }).await;
}
