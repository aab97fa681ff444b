//! The command line.

mod call;
mod configuration;

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{
    Broker, Options, Transport, fixture_command, jackfield, jackfield_with_input, run, with_admin,
};

/// The commands that the core plugin must have.
const CORE: [&str; 21] = [
    "core/user/login",
    "core/user/list",
    "core/user/get",
    "core/user/send_event",
    "core/session/stop",
    "core/session/send_event",
    "core/session/cmd",
    "core/session/log",
    "core/event/subscribe",
    "core/event/unsubscribe",
    "core/event/get_subscriptions",
    "core/event/send_event",
    "core/registry/list",
    "core/registry/describe",
    "core/plugin/list",
    "core/plugin/load",
    "core/plugin/reload",
    "core/plugin/unload",
    "core/core/ping",
    "core/core/event",
    // Never known, to see that the check can fail.
    "core/core/none",
];

#[tokio::test]
async fn commands_lists_the_registry() {
    let directory = tempfile::tempdir().unwrap();
    let text = jackfield(directory.path(), &["commands"]).await.exits(0).stdout;
    let json = jackfield(directory.path(), &["commands", "--json"]).await.exits(0).json();
    let listed: Vec<String> = json.as_array().unwrap().iter().map(path).collect();
    for command in CORE {
        let known = command != "core/core/none";
        assert_eq!(listed.contains(&command.to_string()), known, "{command} in {listed:?}");
        assert_eq!(text.contains(command), known, "{command} in\n{text}");
    }
    for command in json.as_array().unwrap() {
        assert!(command["description"].as_str().is_some_and(|text| !text.is_empty()), "{command}");
        assert_eq!(command["plugin"], "core", "{command}");
        assert!(command["data_schema"].is_object(), "{command}");
    }
}

fn path(command: &Value) -> String {
    let part = |name: &str| command[name].as_str().unwrap().to_string();
    [part("class"), part("subclass"), part("cmd")].join("/")
}

#[tokio::test]
async fn commands_has_those_of_the_configured_plugins() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("c.toml"), with_admin("plugins = [\"fixture\"]")).unwrap();
    let command = fixture_command(directory.path(), &["commands", "--config", "c.toml", "--json"]);
    let json = run(command, "").await.exits(0).json();
    let typed = json.as_array().unwrap().iter().find(|command| path(command) == "fixture/core/typed");
    let typed = typed.unwrap_or_else(|| panic!("no fixture/core/typed in {json}"));
    assert_eq!(typed["plugin"], "fixture");
    assert_eq!(typed["data_schema"]["required"], serde_json::json!(["name"]), "{typed}");
}

#[tokio::test]
async fn plugin_list_names_what_is_built_in() {
    let directory = tempfile::tempdir().unwrap();
    let text = jackfield(directory.path(), &["plugin", "list"]).await.exits(0).stdout;
    for plugin in ["core", "auth-open", "auth-static", "gelf"] {
        assert!(text.contains(plugin), "{plugin} in\n{text}");
    }
}

#[tokio::test]
async fn hash_password_prints_a_salted_hash() {
    let directory = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for input in ["correct horse\n", "correct horse"] {
        let output = jackfield_with_input(directory.path(), &["hash-password"], input).await.exits(0);
        let hash = output.stdout.strip_suffix('\n').unwrap().to_string();
        assert!(hash.starts_with("$argon2id$") && !hash.contains(char::is_whitespace), "{hash:?}");
        assert!(!output.stdout.contains("horse") && !output.stderr.contains("horse"), "{output:?}");
        hashes.push(hash);
    }
    assert_ne!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn completions_for_three_shells() {
    let directory = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = jackfield(directory.path(), &["completions", shell]).await.exits(0).stdout;
        assert!(script.contains("jackfield") && script.contains("hash-password"), "{shell}: {script}");
        scripts.push(script);
    }
    assert!(scripts[0] != scripts[1] && scripts[1] != scripts[2] && scripts[0] != scripts[2]);
    jackfield(directory.path(), &["completions", "cobol"]).await.exits(2);
}

#[tokio::test]
async fn wrong_usage_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    for args in
        [&["nonsense"][..], &["run", "--nonsense"], &["call"], &["listen"], &["run", "--listen", "nowhere"]]
    {
        let output = jackfield(directory.path(), args).await.exits(2);
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}: {output:?}");
    }
    let help = jackfield(directory.path(), &["--help"]).await.exits(0).stdout;
    for command in
        ["run", "check", "commands", "plugin", "call", "listen", "bench", "hash-password", "completions"]
    {
        assert!(help.contains(command), "{command} in\n{help}");
    }
    jackfield(directory.path(), &["--version"]).await.exits(0);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for scheme in ["ws", "tcp"] {
        let options = Options::default().listen(&["tcp://127.0.0.1:0", &format!("{scheme}://{address}")]);
        let mut broker = Broker::spawn(&options);
        assert_eq!(broker.exit_code().await, Some(1));
        assert!(broker.log().contains(&address), "{}", broker.log());
        assert!(!broker.file("ready.json").exists());
    }
}

/// The password in the line that tells of a generated one.
fn generated_password(log: &str) -> Option<String> {
    let mut passwords =
        log.lines().filter_map(|line| line.strip_prefix("administrator password (generated): "));
    let password = passwords.next()?.to_string();
    assert_eq!(passwords.next(), None, "told twice");
    Some(password)
}

#[tokio::test]
async fn an_administrator_without_a_password_is_given_one() {
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let config = "[service.main]\nadmin_user = \"admin\"\n";
        let broker = Broker::start(Options::default().whole_config(config).env("RUST_LOG", "off")).await;
        let password = generated_password(&broker.log()).expect("the generated password");
        assert!(password.len() >= 16, "{password} is easily guessed");
        let mut client = broker.connect(Transport::Tcp).await;
        client.login_with(serde_json::json!({"user": "admin", "password": password})).await;
        client.ok("core/event/subscribe", serde_json::json!({"class": "*"})).await;
        passwords.push(password);
    }
    assert_ne!(passwords[0], passwords[1]);
}

#[tokio::test]
async fn one_with_a_password_is_not() {
    let broker = Broker::start(Options::default()).await;
    broker.login(Transport::Tcp, "ann").await;
    assert!(!broker.log().contains("(generated)"), "{}", broker.log());
}
