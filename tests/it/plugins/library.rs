//! A plugin in a library: all that a plugin can register and ask, and how it comes and goes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{listed, text, with_library};
use crate::support::{
    ADMIN_PASSWORD, Broker, Client, Options, Transport, code, fixture_command, fixture_library, jackfield,
    on_both, run, with_admin, within,
};

#[tokio::test]
async fn it_is_listed_as_a_library() {
    let broker = with_library().await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    let plugin = listed(&mut ann, "fixture").await.unwrap();
    assert_eq!((&plugin["kind"], &plugin["state"]), (&json!("library"), &json!("running")));
    let described = json!({"class": "fixture", "cmd": "typed"});
    let typed = ann.ok("core/registry/describe", described).await;
    assert_eq!((&typed["plugin"], &typed["data_schema"]["required"]), (&json!("fixture"), &json!(["name"])));
}

#[tokio::test]
async fn its_handlers_answer() {
    on_both(async |transport| {
        let broker = with_library().await;
        let mut ann = broker.login(transport, "ann").await;
        let big = json!({"a": [1, 2.5, null, "x\u{1f600}"], "n": 12_345_678_901_234_567_890_u64});
        assert_eq!(ann.ok("fixture/core/echo", big.clone()).await, big);
        assert_eq!(ann.ok("fixture/core/sleep", json!({"ms": 20})).await, json!({"slept": 20}));
        assert_eq!(ann.ok("fixture/trouble/spawn", json!({"n": 21})).await, json!({"n": 42}));
        let typed = ann.ok("fixture/core/typed", json!({"name": "x"})).await;
        assert_eq!(typed, json!({"name": "x", "count": 3, "kind": "a"}));
        assert_eq!(ann.err("fixture/core/typed", json!({})).await.0, code::MISSING_FIELD);
        let fail = ann.request("fixture/core/fail", json!({"code": 200_007, "text": "no"})).await;
        assert_eq!(fail["data"], json!({"code": 200_007, "error": "no", "details": {"hint": "x"}}));
        let who = ann.ok("fixture/core/whoami", json!({})).await;
        assert_eq!((&who["user"], &who["session_id"]), (&json!("ann"), &json!(ann.session_id())));
    })
    .await;
}

#[tokio::test]
async fn its_handlers_reach_the_network() {
    let broker = with_library().await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut line = String::new();
        socket.read_to_string(&mut line).unwrap();
        socket.write_all(line.to_uppercase().as_bytes()).unwrap();
    });
    let answer = ann.ok("fixture/trouble/connect", json!({"port": port, "line": "hello"})).await;
    assert_eq!(answer, json!({"line": "HELLO"}));
    echo.join().unwrap();
}

#[tokio::test]
async fn its_questions_are_answered() {
    on_both(async |transport| {
        let broker = with_library().await;
        let mut ann = broker.login(transport, "ann").await;
        let call = json!({"class": "fixture", "cmd": "echo", "data": {"a": 1}});
        assert_eq!(ann.ok("fixture/core/call", call).await, json!({"answer": {"a": 1}}));
        ann.ok("fixture/core/store_put", json!({"key": "k", "value": [1, "x"]})).await;
        assert_eq!(ann.ok("fixture/core/store_get", json!({"key": "k"})).await, json!({"value": [1, "x"]}));
        ann.ok("core/event/subscribe", json!({"class": "media"})).await;
        let fired = ann.ok("fixture/core/fire", json!({"class": "media", "body": {"n": 1}})).await;
        assert_eq!(fired, json!({"queued": 1}));
        assert_eq!(ann.event().await["body"], json!({"n": 1}));
        let virtual_session = json!({"user": "ghost", "class": "fixture", "cmd": "whoami"});
        let who = ann.ok("fixture/core/virtual", virtual_session).await;
        assert_eq!(who["answer"]["user"], "ghost");
        let mut bob = broker.login(transport, "bob").await;
        let ask = json!({"session_id": bob.session_id(), "class": "chess", "cmd": "move", "data": {"a": 1}});
        let asked = ann.start("fixture/core/ask", ask).await;
        let request = bob.next_request().await;
        assert_eq!((&request["class"], &request["data"]), (&json!("chess"), &json!({"a": 1})));
        bob.answer(&request, json!({"b": 2})).await;
        assert_eq!(ann.response(asked).await["data"], json!({"answer": {"b": 2}}));
    })
    .await;
}

#[tokio::test]
async fn its_extensions_are_asked() {
    on_both(async |transport| {
        let broker = with_library().await;
        let mut token = broker.connect(transport).await;
        let answer = token.login_with(json!({"token": "good"})).await;
        assert_eq!(answer["expires_in"], 3600);
        let refused = broker.connect(transport).await.err("core/user/login", json!({"token": "bad"})).await;
        assert_eq!(refused.0, code::UNAUTHORIZED);
        let mut ann = broker.login(transport, "ann").await;
        let forbidden = ann.err("core/event/subscribe", json!({"class": "forbidden"})).await;
        assert_eq!(forbidden.0, code::UNAUTHORIZED);
        for class in ["fixture-drop", "fixture-change"] {
            ann.ok("core/event/subscribe", json!({"class": class})).await;
            ann.ok("core/event/send_event", json!({"class": class, "body": {"n": 1}})).await;
        }
        let changed = ann.event().await;
        assert_eq!(
            (&changed["class"], &changed["body"]),
            (&json!("fixture-change"), &json!({"changed": true}))
        );
        ann.expect_no_event().await;
        ann.ok("core/session/log", json!({"source": "s", "message": "m", "meta": {"k": 1}})).await;
        let logged = ann.ok("fixture/core/logged", json!({})).await;
        assert_eq!(logged["records"][0]["message"], "m", "{logged}");
        let observed = ann
            .until_ok("fixture/core/observed", json!({}), |seen| {
                seen["changes"].as_array().unwrap().len() > 1
            })
            .await;
        let users: Vec<&Value> = observed["changes"].as_array().unwrap().iter().map(|c| &c["user"]).collect();
        assert!(users.contains(&&json!("token-user")) && users.contains(&&json!("ann")), "{observed}");
        ann.until_ok("fixture/core/service_state", json!({}), |state| state["running"] == true).await;
        ann.ok("fixture/trouble/log", json!({"text": "from the library"})).await;
        broker.logged("from the library").await;
    })
    .await;
}

async fn instance(client: &mut Client) -> Value {
    client.ok("fixture/trouble/instance", json!({})).await["instance"].take()
}

/// A copy of the library in the broker's directory, which may be changed.
fn copy(broker: &Broker) -> PathBuf {
    let copy = broker.file("plugin.so");
    fs::copy(fixture_library(), &copy).unwrap();
    copy
}

/// Another library with the same plugin: a byte more.
fn change(library: &PathBuf) {
    fs::OpenOptions::new().append(true).open(library).unwrap().write_all(b"x").unwrap();
}

#[tokio::test]
async fn it_is_loaded_by_its_path_and_reloaded_from_it() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let library = copy(&broker);
        let mut admin = broker.admin(transport).await;
        let info = admin.ok("core/plugin/load", json!({"path": "plugin.so"})).await;
        assert_eq!((&info["name"], &info["kind"]), (&json!("fixture"), &json!("library")));
        assert_eq!(instance(&mut admin).await, 0);
        admin.ok("core/plugin/reload", json!({"name": "fixture"})).await;
        assert_eq!(instance(&mut admin).await, 1, "the same content is another instance of the same library");
        change(&library);
        admin.ok("core/plugin/reload", json!({"name": "fixture", "config": {"greeting": "moin"}})).await;
        assert_eq!(instance(&mut admin).await, 0, "other content is another library");
        assert_eq!(admin.ok("fixture/core/configured", json!({})).await["greeting"], "moin");
        let again = admin.err("core/plugin/load", json!({"path": text(&library)})).await;
        assert_eq!(again.0, code::INVALID_OPERATION);
        admin.ok("core/plugin/unload", json!({"name": "fixture"})).await;
        assert_eq!(admin.err("fixture/core/echo", json!({})).await.0, code::UNKNOWN_COMMAND);
        admin.ok("core/plugin/load", json!({"name": "fixture"})).await;
        assert_eq!(instance(&mut admin).await, 1, "by its name, for it was there before");
    })
    .await;
}

#[tokio::test]
async fn requests_under_way_finish_in_the_old_one() {
    let broker = with_library().await;
    let mut admin = broker.admin(Transport::Tcp).await;
    let under_way = admin.start("fixture/core/sleep", json!({"ms": 400})).await;
    admin.ok("core/core/ping", json!({})).await;
    admin.ok("core/plugin/reload", json!({"name": "fixture"})).await;
    assert_eq!(instance(&mut admin).await, 1);
    assert_eq!(admin.response(under_way).await["data"], json!({"slept": 400}));
    broker.logged("a plugin was stopped").await;
    admin.ok("core/plugin/unload", json!({"name": "fixture"})).await;
    admin.ok("core/core/ping", json!({})).await;
}

#[tokio::test]
async fn a_reload_of_the_configuration_keeps_it_unless_it_changed() {
    let config = "plugins = [\"./plugin.so\", \"auth-open\"]\n[service.main.plugin.fixture]\ngreeting = ";
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("plugin.so");
    fs::copy(fixture_library(), &library).unwrap();
    let listed = config.replace("./plugin.so", text(&library));
    let options = Options::default().plugins(&[]).config(&format!("{listed}\"one\""));
    let broker = Broker::start(options).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    let greeting = |wanted: &'static str| move |answer: &Value| answer["greeting"] == wanted;
    admin.until_ok("fixture/core/configured", json!({}), greeting("one")).await;
    broker.hangup();
    broker.logged("the configuration was reloaded").await;
    assert_eq!(instance(&mut admin).await, 0, "it was kept");
    broker.rewrite_config(&with_admin(&format!("{listed}\"two\"")));
    broker.hangup();
    admin.until_ok("fixture/core/configured", json!({}), greeting("two")).await;
    assert_eq!(instance(&mut admin).await, 1, "it has another table");
    change(&library);
    broker.hangup();
    within("the changed library", async { while instance(&mut admin).await != 0 {} }).await;
    fs::write(&library, "no library").unwrap();
    broker.hangup();
    broker.logged("it is no shared library").await;
    assert_eq!(instance(&mut admin).await, 0, "what is loaded does not depend on the file");
}

#[tokio::test]
async fn its_table_is_checked_by_its_schema() {
    let directory = tempfile::tempdir().unwrap();
    let config = |table: &str| {
        let library = fixture_library();
        let text = with_admin(&format!("plugins = [{:?}]\n[service.main.plugin.{table}", text(&library)));
        fs::write(directory.path().join("c.toml"), text).unwrap();
    };
    for (table, named) in [
        ("fixture]\ngreting = \"x\"", "greting"),
        ("fixture]\ngreeting = 1", "greeting"),
        ("fixtrue]\ngreeting = \"x\"", "did you mean `fixture`?"),
        ("fixture]\ntrouble = \"refuse\"", "not today"),
        ("fixture]\ntrouble = \"register\"", "asked to panic in register"),
    ] {
        config(table);
        let output = jackfield(directory.path(), &["check", "--config", "c.toml"]).await.exits(2);
        assert!(output.stderr.contains(named), "{table}: {}", output.stderr);
    }
    config("fixture]\ngreeting = \"x\"");
    jackfield(directory.path(), &["check", "--config", "c.toml"]).await.exits(0);
    let commands = jackfield(directory.path(), &["commands", "--config", "c.toml"]).await.exits(0);
    assert!(commands.stdout.contains("fixture/core/typed"), "{}", commands.stdout);
}

#[tokio::test]
async fn the_name_of_a_builtin_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let library = fixture_library();
    let arguments = ["check", "--plugin", text(&library)];
    let output = run(fixture_command(directory.path(), &arguments), "").await.exits(2);
    assert!(output.stderr.contains("one of that name is built in"), "{}", output.stderr);
}

#[tokio::test]
async fn library_sha256_says_what_may_be_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let library = fixture_library();
    let checked = jackfield(directory.path(), &["plugin", "check", text(&library)]).await.exits(0);
    let sum = checked.stdout.lines().find_map(|line| line.strip_prefix("SHA-256: ")).unwrap();
    for (allowed, may) in [(sum.to_uppercase(), true), ("0".repeat(64), false)] {
        let broker =
            Broker::start(Options::default().config(&format!("library_sha256 = [\"{allowed}\"]"))).await;
        let mut admin = broker.admin(Transport::Tcp).await;
        let answer = admin.request("core/plugin/load", json!({"path": text(&library)})).await;
        assert_eq!(answer["result"] == "ok", may, "{answer}");
        let told = answer["data"]["error"]
            .as_str()
            .is_some_and(|told| told.contains("is not in library_sha256") && told.contains(sum));
        assert_eq!(told, !may, "{answer}");
        assert!(!broker.log().contains(ADMIN_PASSWORD));
    }
}
