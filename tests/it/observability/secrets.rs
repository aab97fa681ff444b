//! Passwords, tokens and secrets never appear in a log, an event, a metric or `user get`: a value of its own at every
//! place where one can stand, so that a leak tells where it came from.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::with_pages;
use crate::support::http::get;
use crate::support::{Broker, Client, Options, Transport, jackfield_with_input, on_both, pause};

/// Every secret begins so, and nothing else does.
const MARK: &str = "hush-4f1d9c";

/// A secret that names its place.
fn secret(place: &str) -> String {
    format!("{MARK}-{place}")
}

/// The login fields that are secret; `pin` because the fixture's authenticator says so.
const FIELDS: [&str; 9] = [
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

async fn hash(password: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    jackfield_with_input(directory.path(), &["hash-password"], password)
        .await
        .exits(0)
        .stdout
        .trim()
        .to_string()
}

/// The whole configuration: an administrator, a user of `auth-static`, and everything logged.
async fn options(format: &str) -> Options {
    let config = format!(
        "[service.main]\nadmin_user = \"admin\"\nadmin_password = \"{}\"\n[service.main.plugin.auth-static.users]\n\
         \"static@example.com\" = \"{}\"\n[limits]\nmessage_bytes = 4096\n",
        secret("admin"),
        hash(&secret("static")).await,
    );
    with_pages()
        .whole_config(&config)
        .plugins(&["fixture", "auth-static", "auth-open"])
        .env("RUST_LOG", "trace")
        .args(&["--log-format", format])
}

/// Logins that succeed, with a secret in every field; the sessions stay.
async fn logins(broker: &Broker, transport: Transport) -> Vec<Client> {
    let mut sessions = Vec::new();
    let mut login = async |data: Value| {
        let mut client = broker.connect(transport).await;
        client.login_with(data).await;
        sessions.push(client);
    };
    login(json!({"user": "admin", "password": secret("admin")})).await;
    login(json!({"user": "static@example.com", "password": secret("static")})).await;
    login(json!({"user": "static@example.com", "pass": secret("static")})).await;
    for field in FIELDS {
        let mut data = json!({"user": "open@example.com", "meta": {"kept": 1}, "also": "kept"});
        data[field] = json!(secret(&format!("open-{field}")));
        data["meta"][field] = json!(secret(&format!("meta-{field}")));
        login(data).await;
    }
    login(json!({"token": "good", "pin": secret("with-token"), "password": secret("beside-a-token")})).await;
    let either =
        json!({"user": "open@example.com", "password": secret("both-password"), "pass": secret("both-pass")});
    let mut client = broker.connect(transport).await;
    client.request("core/user/login", either).await;
    sessions
}

/// Logins that fail, for every reason there is.
async fn failures(broker: &Broker, transport: Transport) {
    let long = "x".repeat(200);
    for (n, data) in [
        json!({"user": "admin", "password": secret("wrong-admin")}),
        json!({"user": "static@example.com", "password": secret("wrong-static")}),
        json!({"user": "a", "token": "bad", "secret": secret("rejected")}),
        json!({"password": secret("nobody")}),
        json!({"user": {"password": secret("user-object")}}),
        json!({"user": ["a"], "password": secret("user-list")}),
        json!({"user": "a", "password": [secret("password-list")]}),
        json!({"user": "a", "password": {"value": secret("password-object")}}),
        json!({"user": "a", "pass": [secret("pass-list")]}),
        json!({"user": "a", "meta": secret("meta-string"), "password": secret("meta-wrong")}),
        json!({"user": "a", "events": "neither", "password": secret("events-wrong")}),
        json!({"user": "a", "session_id": "", "password": secret("session-wrong")}),
        json!({"user": "a", "session_id": long, "token": secret("session-long")}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = broker.connect(transport).await;
        let answer = client.request("core/user/login", data).await;
        assert_eq!(answer["result"], "error", "login {n}");
        assert!(!answer.to_string().contains(MARK), "{answer}");
    }
}

/// Messages that are wrong in themselves, each on a connection of its own.
async fn malformed(broker: &Broker, transport: Transport) {
    let login =
        |data: String| format!(r#"{{"class":"core","subclass":"user","cmd":"login","data":{data},"tid":1}}"#);
    let cut = login(format!(r#"{{"user":"a","password":"{}"#, secret("cut")));
    for text in [
        cut.trim_end_matches(",\"tid\":1}").to_string(),
        login(format!(r#"{{"user":"a","password":"{}"}}"#, secret("trailing"))) + "}",
        login(format!(r#"{{"user":"a","password":"{}\x"}}"#, secret("escape"))),
        login(format!(r#"{{"user":"a","password":{}}}"#, secret("unquoted"))),
        login(format!(r#""{}""#, secret("data-string"))),
        format!(r#"{{"class":5,"cmd":"login","data":{{"password":"{}"}},"tid":1}}"#, secret("class-number")),
        format!(
            r#"{{"class":"core","subclass":"user","cmd":"login","data":{{"password":"{}"}}}}"#,
            secret("no-tid")
        ),
        format!(
            r#"{{"class":"core","cmd":"login","data":{{"password":"{}"}},"tid":1}}"#,
            secret("no-command")
        ),
        format!(
            r#"{{"class":"core","subclass":"user","cmd":"list","data":{{"password":"{}"}},"tid":1}}"#,
            secret("before-login")
        ),
        format!(r#"{{"password":"{}","tid":1}}"#, secret("no-message")),
        format!(r#"["{}"]"#, secret("list")),
        login(format!(r#"{{"user":"a","password":"{}","x":"{}"}}"#, secret("oversized"), "x".repeat(5000))),
    ] {
        let mut client = broker.connect(transport).await;
        client.send_text(&text).await;
        let answer = client.recv_text().await;
        assert!(answer.contains("error") && !answer.contains(MARK), "{answer}");
    }
}

/// What only one transport can get wrong.
async fn broken_off(broker: &Broker, transport: Transport) {
    let mut client = broker.connect(transport).await;
    let text = format!(r#"{{"class":"core","data":{{"password":"{}"#, secret("broken-off"));
    match transport {
        Transport::Tcp | Transport::Tls => {
            client.send_raw(text.as_bytes()).await;
            client.finish_sending().await;
        }
        Transport::Ws | Transport::Wss => {
            client.send_ws(Message::binary([text.as_bytes(), &[0xff]].concat())).await;
        }
    }
    client.drain().await;
}

/// What a session that is there may send.
async fn afterwards(session: &mut Client) {
    session.err("core/user/login", json!({"user": "a", "password": secret("again")})).await;
    session.ok("core/user/list", json!({"password": secret("unknown-field")})).await;
    session.err("core/user/nothing", json!({"password": secret("unknown-command")})).await;
    session.err("core/user/get", json!({"password": secret("missing-field")})).await;
    session.ok("fixture/core/echo", json!({"password": secret("echoed")})).await;
    session.err("fixture/core/panic", json!({"password": secret("panicked")})).await;
}

async fn expect_clean(what: &str, text: &str) {
    let leak = text.lines().find(|line| line.contains(MARK));
    assert_eq!(leak, None, "in {what}");
}

#[tokio::test]
async fn they_appear_nowhere() {
    on_both(async |transport| {
        let format = if transport == Transport::Ws { "text" } else { "json" };
        let mut broker = Broker::start(options(format).await).await;
        let mut spy = broker.connect(transport).await;
        spy.login_with(json!({"user": "admin", "password": secret("admin")})).await;
        spy.ok("core/event/subscribe", json!({"class": "*"})).await;

        let mut sessions = logins(&broker, transport).await;
        failures(&broker, transport).await;
        malformed(&broker, transport).await;
        broken_off(&broker, transport).await;
        afterwards(&mut sessions[1]).await;
        broker.hangup();
        pause(200).await;

        let users = spy.ok("core/user/list", json!({})).await;
        for user in users.as_object().unwrap().keys() {
            let shown = spy.ok("core/user/get", json!({"user": user})).await;
            expect_clean("user get", &shown.to_string()).await;
        }
        drop(sessions);
        let events = spy.events_so_far().await;
        assert!(events.len() > 10, "{} events are no test", events.len());
        expect_clean("events", &json!(events).to_string()).await;
        expect_clean("/metrics", &get(&format!("{}/metrics", broker.admin_url())).await.body).await;

        broker.terminate();
        assert_eq!(broker.exit_code().await, Some(0));
        assert!(broker.log().contains("TRACE"), "trace is not on");
        expect_clean("the log", &broker.log()).await;
        expect_clean("standard output", &broker.stdout()).await;
    })
    .await;
}

/// Nor in what a bad configuration is answered with, which shows the line it is about.
#[tokio::test]
async fn a_bad_configuration_does_not_tell_them() {
    let secret = secret("configuration");
    for line in [
        format!("admin_password = [\"{secret}\"]"),
        format!("admin_pasword = \"{secret}\""),
        format!("admin_password = \"{secret}"),
        format!("admin_password = \"{secret}\"\nadmin_password = \"{secret}\""),
        format!("admin_password = \"{secret}\"\nrule = 5"),
    ] {
        let config = format!("[service.main]\n{line}\n");
        let options = Options::default().whole_config(&config).env("RUST_LOG", "trace");
        let mut broker = Broker::spawn(&options);
        assert_eq!(broker.exit_code().await, Some(2), "{}", broker.log());
        assert!(broker.log().contains("jackfield.toml"), "{}", broker.log());
        expect_clean("what it says", &broker.log()).await;
    }
}

/// Passwords that did not come from a file are no less secret.
#[tokio::test]
async fn nor_do_the_environment_and_the_command_line() {
    let options = Options::fixture()
        .whole_config("")
        .env("RUST_LOG", "trace")
        .env("JACKFIELD_SERVICE__MAIN__ADMIN_PASSWORD", &secret("environment"))
        .set("service.main.admin_user=root")
        .set(&format!("service.main.admin_password={}", secret("command-line")));
    let mut broker = Broker::start(options).await;
    let mut client = broker.connect(Transport::Tcp).await;
    client.login_with(json!({"user": "root", "password": secret("command-line")})).await;
    client.ok("core/event/subscribe", json!({"class": "*"})).await;
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));
    expect_clean("the log", &broker.log()).await;
}
