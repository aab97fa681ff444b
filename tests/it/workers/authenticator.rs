//! Sessions that judge logins.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RULE;
use crate::support::{
    ADMIN_PASSWORD, Broker, Client, Metrics, Options, Transport, code, jackfield_with_input, on_both,
};

const UNAUTHORIZED: (i64, &str) = (code::UNAUTHORIZED, "Unauthorized");

/// A broker without authenticators, whose administrator judges logins.
async fn judge(transport: Transport, options: Options, registration: Value) -> (Broker, Client) {
    let broker = Broker::start(options.plugins(&[])).await;
    let judge = another(&broker, transport, registration).await;
    (broker, judge)
}

async fn another(broker: &Broker, transport: Transport, registration: Value) -> Client {
    let mut judge = broker.admin(transport).await;
    judge.ok("core/registry/register_authenticator", registration).await;
    judge
}

/// Sends a login, has the judge answer it with `verdict`, and gives what the judge saw and what the client got.
async fn login(broker: &Broker, judge: &mut Client, fields: Value, verdict: Value) -> (Value, Value, Client) {
    let mut client = broker.connect(judge.transport()).await;
    let tid = client.start("core/user/login", fields).await;
    let question = judge.next_request().await;
    judge.answer(&question, verdict).await;
    let answer = client.response(tid).await;
    (question, answer, client)
}

/// A judge that says the same of everybody.
fn always(mut judge: Client, verdict: Value) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(text) = judge.recv_or_end().await {
            let request: Value = serde_json::from_str(&text).unwrap();
            if request["cmd"] == "authenticate" {
                judge.answer(&request, verdict.clone()).await;
            }
        }
    })
}

#[track_caller]
fn assert_error(answer: &Value, expected: (i64, &str)) {
    let error = &answer["data"];
    assert_eq!((&error["code"], &error["error"]), (&json!(expected.0), &json!(expected.1)), "{answer}");
}

#[tokio::test]
async fn it_is_asked_about_all_of_a_login_and_may_accept_it() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        let fields = json!({"user": "ann", "password": "pw", "session_id": "wish", "meta": {"m": 1.0}, "token": "t", "device": "d"});
        let verdict = json!({"verdict": "accept", "user": "anna", "session_id": "given", "metadata": {"role": "chief"},
            "answer": {"hello": "Anna"}});
        let (question, answer, mut client) = login(&broker, &mut judge, fields.clone(), verdict).await;
        let remote = format!("{transport}:{}", client.local_address());
        let data = json!({"login": fields, "remote": remote, "service": "main"});
        let expected = json!({"class": "core", "subclass": "user", "cmd": "authenticate", "data": data, "tid": question["tid"]});
        assert_eq!(question, expected);
        assert_eq!(answer["data"], json!({"session_id": "given", "hello": "Anna"}));
        let sessions = client.ok("core/user/get", json!({"user": "anna"})).await;
        let expected = json!({"given": {"type": "api_server", "remote": remote, "device": "d", "meta": {"m": 1.0}, "role": "chief"}});
        assert_eq!(sessions, expected);
    })
    .await;
}

#[tokio::test]
async fn without_a_user_the_logins_own_is_accepted() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        let accept = json!({"verdict": "accept"});
        let (_, answer, mut ann) = login(&broker, &mut judge, json!({"user": "ann"}), accept.clone()).await;
        assert_eq!(answer["result"], "ok", "{answer}");
        assert!(ann.ok("core/user/list", json!({})).await["ann"].is_array());
        let (_, answer, _) = login(&broker, &mut judge, json!({"token": "t"}), accept).await;
        assert_eq!(answer["data"]["code"], json!(code::PLUGIN_UNAVAILABLE), "nobody is no user");
    })
    .await;
}

#[tokio::test]
async fn it_may_reject_with_an_error_of_its_own() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        let verdict = json!({"verdict": "reject", "error": {"code": 200_005, "error": "Banned", "until": 5}});
        let (_, answer, mut client) = login(&broker, &mut judge, json!({"user": "ann"}), verdict).await;
        assert_eq!(answer["data"], json!({"code": 200_005, "error": "Banned", "until": 5}));
        assert_eq!(client.err("core/user/list", json!({})).await.0, code::NOT_AUTHENTICATED);
        let verdict = json!({"verdict": "reject"});
        let (_, answer, _) = login(&broker, &mut judge, json!({"user": "ann"}), verdict).await;
        assert_error(&answer, UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn those_that_continue_are_followed_by_the_next_and_nobody_is_unauthorized() {
    on_both(async |transport| {
        let (broker, mut first) = judge(transport, Options::default(), json!({})).await;
        let mut second = another(&broker, transport, json!({})).await;
        for (verdict, ok) in [(json!({"verdict": "accept"}), true), (json!({"verdict": "continue"}), false)] {
            let mut client = broker.connect(transport).await;
            let tid = client.start("core/user/login", json!({"user": "ann"})).await;
            let question = first.next_request().await;
            // Registering again keeps the place.
            first.ok("core/registry/register_authenticator", json!({})).await;
            first.answer(&question, json!({"verdict": "continue"})).await;
            let question = second.next_request().await;
            second.answer(&question, verdict).await;
            let answer = client.response(tid).await;
            assert_eq!(answer["result"] == "ok", ok, "{answer}");
            if !ok {
                assert_error(&answer, UNAUTHORIZED);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn plugins_are_asked_before_it() {
    on_both(async |transport| {
        let directory = tempfile::tempdir().unwrap();
        let hash =
            jackfield_with_input(directory.path(), &["hash-password"], "right\n").await.exits(0).stdout;
        let users = format!("[service.main.plugin.auth-static.users]\nann = \"{}\"\n", hash.trim());
        let broker = Broker::start(Options::default().plugins(&["auth-static"]).config(&users)).await;
        let mut judge = another(&broker, transport, json!({})).await;
        let mut ann = broker.connect(transport).await;
        ann.login_with(json!({"user": "ann", "password": "right"})).await;
        let mut eve = broker.connect(transport).await;
        assert_eq!(
            eve.err("core/user/login", json!({"user": "ann", "password": "x"})).await.0,
            code::UNAUTHORIZED
        );
        let (_, answer, _) =
            login(&broker, &mut judge, json!({"user": "bob"}), json!({"verdict": "accept"})).await;
        assert_eq!(answer["result"], "ok");
    })
    .await;
}

/// Who is asked might have rejected: without its verdict nobody is let in, and nobody further is asked.
#[tokio::test]
async fn without_a_verdict_the_login_is_rejected() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        let _other = always(another(&broker, transport, json!({})).await, json!({"verdict": "accept"}));
        let unavailable = format!("Plugin unavailable: session:{}", judge.session_id());
        for garbage in [
            json!({}),
            json!([]),
            json!("accept"),
            json!({"verdict": true}),
            json!({"verdict": "ACCEPT"}),
            json!({"verdict": "accept", "user": 5}),
            json!({"verdict": "accept", "user": "*"}),
            json!({"verdict": "accept", "session_id": "a b"}),
            json!({"verdict": "accept", "permissions": {"allow": ["everything"]}}),
            json!({"verdict": "accept", "expires": "soon"}),
            json!({"verdict": "reject", "error": "no"}),
        ] {
            let (_, answer, _) = login(&broker, &mut judge, json!({"user": "ann"}), garbage.clone()).await;
            assert_error(&answer, (code::PLUGIN_UNAVAILABLE, &unavailable));
        }
        let mut client = broker.connect(transport).await;
        let tid = client.start("core/user/login", json!({"user": "ann"})).await;
        let question = judge.next_request().await;
        judge.answer_error(&question, json!({"code": 200_001, "error": "Broken"})).await;
        assert_error(&client.response(tid).await, (code::PLUGIN_UNAVAILABLE, &unavailable));
        let tid = client.start("core/user/login", json!({"user": "ann"})).await;
        judge.next_request().await;
        drop(judge);
        assert_error(&client.response(tid).await, (code::PLUGIN_UNAVAILABLE, &unavailable));
        // It is asked no more.
        client.login("ann").await;
    })
    .await;
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_nobody_else_waits() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({"deadline": 1.5})).await;
        let mut client = broker.connect(transport).await;
        let begun = Instant::now();
        let tid = client.start("core/user/login", json!({"user": "ann"})).await;
        let question = judge.next_request().await;
        // An ack gives no more time.
        judge.ack(&question).await;
        let mut admin = broker.admin(transport).await;
        admin.ok("core/user/list", json!({})).await;
        assert!(begun.elapsed() < Duration::from_millis(1500), "the administrator waited");
        let unavailable = format!("Plugin unavailable: session:{}", judge.session_id());
        assert_error(&client.response(tid).await, (code::PLUGIN_UNAVAILABLE, &unavailable));
        assert!(begun.elapsed() >= Duration::from_millis(1500));
        // Too late.
        judge.answer(&question, json!({"verdict": "accept"})).await;
        judge.ok("core/core/ping", json!({})).await;
        assert_eq!(client.err("core/user/list", json!({})).await.0, code::NOT_AUTHENTICATED);
    })
    .await;
}

#[tokio::test]
async fn it_ends_with_its_session_or_when_it_says_so() {
    on_both(async |transport| {
        let (broker, mut first) = judge(transport, Options::default(), json!({})).await;
        let second = another(&broker, transport, json!({})).await;
        for _ in 0..2 {
            first.ok("core/registry/unregister_authenticator", json!({})).await;
        }
        first.ok("core/session/stop", json!({"session_id": second.session_id()})).await;
        let mut ann = broker.connect(transport).await;
        let (code, text) = ann.err("core/user/login", json!({"user": "ann"})).await;
        assert_eq!((code, text.as_str()), UNAUTHORIZED);
        first.expect_silence(50).await;
    })
    .await;
}

#[tokio::test]
async fn it_outlives_a_reload() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        broker.hangup();
        broker.logged("reloaded").await;
        let (_, answer, _) =
            login(&broker, &mut judge, json!({"user": "ann"}), json!({"verdict": "accept"})).await;
        assert_eq!(answer["result"], "ok");
    })
    .await;
}

/// It never learns the administrator's password, and makes nobody an administrator.
#[tokio::test]
async fn the_administrator_is_out_of_its_reach() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        let mut client = broker.connect(transport).await;
        client.err("core/user/login", json!({"user": "admin", "password": "wrong"})).await;
        client.login_with(json!({"user": "admin", "password": ADMIN_PASSWORD})).await;
        judge.expect_silence(50).await;
        let verdict = json!({"verdict": "accept", "user": "admin"});
        let (_, answer, _) = login(&broker, &mut judge, json!({"token": "t"}), verdict).await;
        assert_error(&answer, UNAUTHORIZED);
        let verdict = json!({"verdict": "accept", "user": "ann", "administrator": true,
            "permissions": {"allow": ["command:**", "register:**", "service:*", "subscribe:app/**"]}});
        let (_, answer, mut ann) = login(&broker, &mut judge, json!({"token": "t"}), verdict).await;
        assert_eq!(answer["result"], "ok", "{answer}");
        ann.ok("core/event/subscribe", json!({"class": "app"})).await;
        for (command, data) in [
            ("core/event/subscribe", json!({"class": "other"})),
            ("core/event/subscribe", json!({"class": "app", "service": "*"})),
            ("core/registry/register", json!({"class": "work"})),
            ("core/registry/register_authenticator", json!({})),
            ("core/event/send_event", json!({"class": "core"})),
        ] {
            assert_eq!(ann.err(command, data.clone()).await.0, code::UNAUTHORIZED, "{command} {data}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_it_accepts_may_expire() {
    on_both(async |transport| {
        let (broker, mut judge) = judge(transport, Options::default(), json!({})).await;
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + 0.4;
        let verdict = json!({"verdict": "accept", "expires": soon});
        let (_, answer, mut ann) = login(&broker, &mut judge, json!({"user": "ann"}), verdict).await;
        assert_eq!(answer["result"], "ok", "{answer}");
        ann.drain().await;
    })
    .await;
}

/// A rule may let somebody judge logins who is no administrator.
#[tokio::test]
async fn who_may_judge_is_a_matter_of_permission() {
    on_both(async |transport| {
        let rule = "[[service.main.rule]]\nuser = \"judge\"\nallow = [\"register:core/user/authenticate\"]";
        let broker = Broker::start(Options::default().config(rule)).await;
        let mut judge = broker.login(transport, "judge").await;
        judge.ok("core/registry/register_authenticator", json!({})).await;
        assert_eq!(judge.err("core/registry/register", json!({"class": "work"})).await.0, code::UNAUTHORIZED);
        assert_eq!(judge.err("core/registry/register", json!({"class": "core"})).await.0, code::UNAUTHORIZED);
    })
    .await;
}

const SECRET: &str = "hush-5ec2e7";

#[tokio::test]
async fn secrets_go_to_the_judge_and_nowhere_else() {
    let options =
        Options::default().env("RUST_LOG", "trace").set("admin.listen=http://127.0.0.1:0").config(RULE);
    let (mut broker, mut judge) = judge(Transport::Tcp, options, json!({})).await;
    let mut watcher = broker.admin(Transport::Tcp).await;
    watcher.ok("core/event/subscribe", json!({"class": "*"})).await;
    let fields = json!({"user": "ann", "password": SECRET, "token": SECRET, "meta": {"secret": SECRET}});
    for verdict in [json!({"verdict": "accept"}), json!({"verdict": "reject"}), json!({"verdict": SECRET})] {
        let (question, answer, client) = login(&broker, &mut judge, fields.clone(), verdict).await;
        assert_eq!(question["data"]["login"], fields);
        assert!(!answer.to_string().contains(SECRET), "{answer}");
        drop(client);
    }
    let seen = watcher.events_so_far().await;
    assert!(!seen.is_empty() && !json!(seen).to_string().contains(SECRET), "{seen:?}");
    let metrics = Metrics::of(&broker).await;
    assert_eq!(metrics.total("jackfield_worker_logins_total").round() as i64, 3);
    assert!(!metrics.text.contains(SECRET));
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));
    let log = broker.log();
    assert!(log.contains("TRACE") && log.contains("a session gave no verdict on a login"));
    assert_eq!(log.lines().find(|line| line.contains(SECRET)), None);
}
