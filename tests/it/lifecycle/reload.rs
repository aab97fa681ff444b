//! SIGHUP: what changes while the broker runs, and what does not.

use serde_json::{Value, json};

use crate::support::{
    ADMIN_PASSWORD, Broker, Client, Options, Transport, code, error_of, eventually, jackfield_with_input,
    on_both, with_admin, within,
};

/// A broker whose configuration is all in its file.
async fn configured(rest: &str) -> Broker {
    let options =
        Options::fixture().plugins(&[]).config("plugins = [\"fixture\", \"auth-open\"]").config(rest);
    Broker::start(options).await
}

fn reload(broker: &Broker, rest: &str) {
    broker.rewrite_config(&with_admin(&format!("plugins = [\"fixture\", \"auth-open\"]\n{rest}")));
    broker.hangup();
}

/// Asks again and again until the answer is as wanted.
async fn until(client: &mut Client, command: &str, data: Value, wanted: impl Fn(&Value) -> bool) {
    within(&format!("{command} to be answered as wanted"), async {
        while !wanted(&client.request(command, data.clone()).await) {}
    })
    .await;
}

fn fails_with(code: i64) -> impl Fn(&Value) -> bool {
    move |answer| answer["data"]["code"] == code
}

fn succeeds(answer: &Value) -> bool {
    answer["result"] == "ok"
}

/// Whether the administrator gets in with this password.
async fn admin_gets_in(broker: &Broker, transport: Transport, password: &str) -> bool {
    let mut client = broker.connect(transport).await;
    succeeds(&client.request("core/user/login", json!({"user": "admin", "password": password})).await)
}

async fn until_admin_gets_in(broker: &Broker, transport: Transport, password: &str) {
    within("the new administrator password to hold", async {
        while !admin_gets_in(broker, transport, password).await {}
    })
    .await;
}

#[tokio::test]
async fn rules_and_the_default_policy() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut ann = broker.login(transport, "ann").await;
        ann.ok("core/user/list", json!({})).await;
        reload(&broker, "default_policy = \"deny\"");
        until(&mut ann, "core/user/list", json!({}), fails_with(code::UNAUTHORIZED)).await;
        let rule = "[[service.main.rule]]\nuser = \"ann\"\nallow = [\"command:core/user/list\"]";
        reload(&broker, &format!("default_policy = \"deny\"\n{rule}"));
        until(&mut ann, "core/user/list", json!({}), succeeds).await;
        let get = json!({"user": "ann"});
        assert_eq!(ann.err("core/user/get", get.clone()).await.0, code::UNAUTHORIZED);
        reload(&broker, "");
        until(&mut ann, "core/user/get", get, succeeds).await;
    })
    .await;
}

#[tokio::test]
async fn limits() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut ann = broker.login(transport, "ann").await;
        ann.ok("core/event/subscribe", json!({"class": "first"})).await;
        reload(&broker, "[limits]\nsubscriptions_per_session = 1\ninflight = 1");
        within("the limit to hold", async {
            for n in 0.. {
                // Another class each time: to subscribe again is always allowed.
                let topic = json!({"class": format!("media-{n}")});
                if fails_with(code::LIMIT_EXCEEDED)(&ann.request("core/event/subscribe", topic).await) {
                    return;
                }
            }
        })
        .await;
        let first = ann.start("fixture/core/sleep", json!({"ms": 300})).await;
        let second = ann.start("fixture/core/sleep", json!({"ms": 300})).await;
        assert_eq!(error_of(&ann.response(second).await).0, code::TOO_MANY_REQUESTS);
        assert!(succeeds(&ann.response(first).await));
        reload(&broker, "");
        until(&mut ann, "core/event/subscribe", json!({"class": "media"}), succeeds).await;
    })
    .await;
}

#[tokio::test]
async fn timeouts() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut ann = broker.login(transport, "ann").await;
        reload(&broker, "[timeouts]\nhandler = \"100ms\"");
        until(&mut ann, "fixture/core/sleep", json!({"ms": 600}), fails_with(code::TIMEOUT)).await;
        reload(&broker, "");
        until(&mut ann, "fixture/core/sleep", json!({"ms": 600}), succeeds).await;
    })
    .await;
}

#[tokio::test]
async fn a_shorter_time_for_answers_holds_for_who_waits_for_longer() {
    on_both(async |transport| {
        let broker = configured("[timeouts]\nanswer = \"1h\"\nlogin = \"1h\"").await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        bob.set_autorespond(false);
        ann.ok("core/user/send_event", json!({"user": "bob"})).await;
        let event = bob.next_event().await;
        bob.answer(&event, json!({})).await;
        reload(&broker, "[timeouts]\nanswer = \"300ms\"\nhandler = \"100ms\"");
        until(&mut ann, "fixture/core/sleep", json!({"ms": 600}), fails_with(code::TIMEOUT)).await;
        ann.ok("core/user/send_event", json!({"user": "bob"})).await;
        bob.next_event().await;
        bob.expect_closed_as(4002, "timeout").await;
    })
    .await;
}

#[tokio::test]
async fn the_administrators_password() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut admin = broker.admin(transport).await;
        broker
            .rewrite_config(&with_admin("plugins = [\"auth-open\"]").replace(ADMIN_PASSWORD, "another one"));
        broker.hangup();
        until_admin_gets_in(&broker, transport, "another one").await;
        assert!(!admin_gets_in(&broker, transport, ADMIN_PASSWORD).await);
        admin.ok("core/user/list", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn what_the_command_line_says_still_wins() {
    on_both(async |transport| {
        let options = Options::default().set("service.main.admin_password=from-the-line");
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        broker
            .rewrite_config(&with_admin("default_policy = \"deny\"").replace(ADMIN_PASSWORD, "another one"));
        broker.hangup();
        until(&mut ann, "core/user/list", json!({}), fails_with(code::UNAUTHORIZED)).await;
        assert!(admin_gets_in(&broker, transport, "from-the-line").await);
        assert!(!admin_gets_in(&broker, transport, "another one").await);
        broker.login(transport, "bob").await;
    })
    .await;
}

#[tokio::test]
async fn a_plugins_own_table() {
    on_both(async |transport| {
        let directory = tempfile::tempdir().unwrap();
        let hash = jackfield_with_input(directory.path(), &["hash-password"], "own\n").await.exits(0);
        let table = format!("[service.main.plugin.auth-static.users]\nann = \"{}\"", hash.stdout.trim());
        let options = Options::default().plugins(&["auth-static"]).config("");
        let broker = Broker::start(options).await;
        let login = json!({"user": "ann", "password": "own"});
        let mut before = broker.connect(transport).await;
        assert_eq!(before.err("core/user/login", login.clone()).await.0, code::UNAUTHORIZED);
        broker.rewrite_config(&with_admin(&table));
        broker.hangup();
        within("the new user to be known", async {
            loop {
                let mut client = broker.connect(transport).await;
                if succeeds(&client.request("core/user/login", login.clone()).await) {
                    return;
                }
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_plugin_list() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut ann = broker.login(transport, "ann").await;
        let under_way = ann.start("fixture/core/sleep", json!({"ms": 1500})).await;
        // It has been read, then.
        ann.ok("core/core/ping", json!({})).await;
        let shorter = with_admin("plugins = [\"auth-open\"]");
        broker.rewrite_config(&shorter);
        broker.hangup();
        until(&mut ann, "fixture/core/echo", json!({}), fails_with(code::UNKNOWN_COMMAND)).await;
        assert_eq!(ann.response(under_way).await["data"], json!({"slept": 1500}));
        reload(&broker, "");
        until(&mut ann, "fixture/core/echo", json!({}), succeeds).await;
        broker.login(transport, "bob").await;
    })
    .await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut ann = broker.login(transport, "ann").await;
        for (bad, named) in [
            ("default_policy = \"deny\"\ndefault_polcy = \"deny\"", "default_polcy"),
            ("default_policy = \"deny\"\n[limits]\nmessage_bytes = \"many\"", "message_bytes"),
            ("default_policy = \"deny\"\n[timeouts]\nanswer = \"soon\"", "soon"),
            ("default_policy = \"deny\"\nplugins = [\"no-such-plugin\"]", "no-such-plugin"),
            ("default_policy = \"deny\"\nthis is no = = TOML", "jackfield.toml"),
        ] {
            let before = broker.log().len();
            broker.rewrite_config(&with_admin(bad).replace(ADMIN_PASSWORD, "another one"));
            broker.hangup();
            eventually(named, || broker.log()[before..].contains(named)).await;
            ann.ok("core/user/list", json!({})).await;
            ann.ok("fixture/core/echo", json!({})).await;
            assert!(admin_gets_in(&broker, transport, ADMIN_PASSWORD).await, "{named}");
            assert!(!admin_gets_in(&broker, transport, "another one").await, "{named}");
        }
        reload(&broker, "default_policy = \"deny\"");
        until(&mut ann, "core/user/list", json!({}), fails_with(code::UNAUTHORIZED)).await;
    })
    .await;
}

#[tokio::test]
async fn listeners_and_services_need_a_restart_and_the_log_says_so() {
    let listen = "listen = [\"ws://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\nplugins = [\"auth-open\"]";
    let start = async || Broker::start(Options::default().listen(&[]).plugins(&[]).config(listen)).await;
    let changed = [
        "listen = [\"ws://127.0.0.1:0\"]\nplugins = [\"auth-open\"]".to_string(),
        format!("{listen}\n[service.other]\nlisten = [\"tcp://127.0.0.1:0\"]"),
    ];
    for config in changed {
        let broker = start().await;
        let before = broker.log().len();
        broker.rewrite_config(&with_admin(&config).replace(ADMIN_PASSWORD, "another one"));
        broker.hangup();
        until_admin_gets_in(&broker, Transport::Tcp, "another one").await;
        eventually("restart in the log", || broker.log()[before..].contains("restart")).await;
        broker.login(Transport::Ws, "ann").await;
    }
}

#[tokio::test]
async fn no_session_notices() {
    on_both(async |transport| {
        let broker = configured("").await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        bob.ok("core/event/subscribe", json!({"class": "media"})).await;
        for n in 0..100 {
            if n % 10 == 0 {
                reload(&broker, &format!("[limits]\ninflight = {}", 100 + n));
            }
            ann.ok("core/event/send_event", json!({"class": "media", "body": {"n": n}})).await;
            assert_eq!(bob.event().await["body"]["n"], n);
        }
    })
    .await;
}
