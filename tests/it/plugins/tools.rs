//! `jackfield plugin`: what an operator and an author have.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::text;
use crate::support::sources::repository;
use crate::support::{ADMIN_PASSWORD, Broker, Options, Output, Transport, fixture_library, jackfield};

/// `jackfield plugin ARGS` as the administrator, in the directory of the library.
async fn plugin(broker: &Broker, args: &[&str]) -> Output {
    let url = broker.url(Transport::Ws);
    let login = ["--url", &url, "--user", "admin", "--password", ADMIN_PASSWORD];
    let library = fixture_library();
    jackfield(library.parent().unwrap(), &[&["plugin"], args, &login].concat()).await
}

#[tokio::test]
async fn a_running_brokers_plugins_are_changed() {
    let broker = Broker::start(Options::default()).await;
    let library = fixture_library();
    let file = library.file_name().unwrap().to_str().unwrap();
    let config = broker.file("table.json");
    std::fs::write(&config, "{\"greeting\": \"moin\"}").unwrap();
    // The broker works in another directory.
    let (relative, table) = (format!("./{file}"), format!("@{}", text(&config)));
    let loaded = plugin(&broker, &["load", &relative, "--plugin-config", &table]).await;
    assert_eq!(loaded.exits(0).stdout, "fixture 0.1.0 is loaded\n");
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    assert_eq!(ann.ok("fixture/core/configured", json!({})).await["greeting"], "moin");
    let listed = plugin(&broker, &["list"]).await.exits(0).stdout;
    let line = listed.lines().find(|line| line.starts_with("fixture")).unwrap();
    assert!(line.contains("library") && line.contains("running"), "{listed}");
    assert!(!jackfield(Path::new("/"), &["plugin", "list"]).await.exits(0).stdout.contains("fixture"));
    let reloaded = plugin(&broker, &["reload", "fixture", "--plugin-config", "{\"greeting\":\"hey\"}"]).await;
    assert_eq!(reloaded.exits(0).stdout, "fixture 0.1.0 is loaded anew\n");
    assert_eq!(ann.ok("fixture/core/configured", json!({})).await["greeting"], "hey");
    assert_eq!(plugin(&broker, &["unload", "fixture"]).await.exits(0).stdout, "fixture is unloaded\n");
    ann.err("fixture/core/configured", json!({})).await;
}

#[tokio::test]
async fn what_fails_is_told() {
    let broker = Broker::start(Options::default()).await;
    let library = fixture_library();
    let path = text(&library);
    for (args, code, said) in [
        (vec!["load", "no-such"], 1, "found 'no-such'"),
        (vec!["load", "./no-such.so"], 1, "No such file"),
        (vec!["load", path, "--plugin-config", "{\"trouble\":\"refuse\"}"], 1, "not today"),
        (vec!["load", path, "--plugin-config", "{\"secret\":"], 2, "expected a JSON object"),
        (vec!["unload", "core"], 1, "'core' cannot be unloaded"),
        (vec!["unload", "fixture"], 1, "Plugin unavailable: fixture"),
        (vec!["reload", "fixture"], 1, "Plugin unavailable: fixture"),
    ] {
        let output = plugin(&broker, &args).await.exits(code);
        assert!(output.stderr.contains(said), "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    let url = broker.url(Transport::Tcp);
    let output = jackfield(Path::new("/"), &["plugin", "unload", "auth-open", "--url", &url]).await.exits(1);
    assert!(output.stderr.contains("Unauthorized"), "{}", output.stderr);
}

#[tokio::test]
async fn check_lists_what_a_library_registers() {
    let directory = TempDir::new().unwrap();
    let library = fixture_library();
    let output = jackfield(directory.path(), &["plugin", "check", text(&library)]).await.exits(0).stdout;
    let expected = [
        "fixture 0.1.0: would load",
        "toolchain: rustc",
        "ABI: 1.0",
        "SHA-256: ",
        "authenticators: 1",
        "event filters: 1",
        "services: 1",
        "fixture/core/typed  (fixture)",
        "name: string",
    ];
    for wanted in expected {
        assert!(output.contains(wanted), "{wanted} is not in\n{output}");
    }
    let config = directory.path().join("c.toml");
    std::fs::write(&config, "[service.main.plugin.fixture]\ntrouble = \"refuse\"").unwrap();
    let arguments = ["plugin", "check", text(&library), "--config", "c.toml"];
    let output = jackfield(directory.path(), &arguments).await.exits(1);
    assert!(output.stderr.contains("not today"), "{}", output.stderr);
    let missing = ["plugin", "check", text(&library), "--config", "none.toml"];
    jackfield(directory.path(), &missing).await.exits(2);
}

#[tokio::test]
async fn new_does_not_write_over_anything() {
    let directory = TempDir::new().unwrap();
    for (name, said) in [("Bad", "lower case"), ("core", "built in"), ("fn", "crate"), ("../x", "lower case")]
    {
        let output = jackfield(directory.path(), &["plugin", "new", name]).await.exits(2);
        assert!(output.stderr.contains(said), "{name}: {}", output.stderr);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    jackfield(directory.path(), &["plugin", "new", "weather"]).await.exits(0);
    let again = jackfield(directory.path(), &["plugin", "new", "weather", "--kind", "auth"]).await.exits(2);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
}

/// Runs cargo on a new plugin, with what the workspace has locked and built.
async fn cargo(plugin: &Path, command: &str) {
    let target = fixture_library().ancestors().nth(3).unwrap().to_path_buf();
    let run = Command::new(env!("CARGO"))
        .args([command, "--offline"])
        .current_dir(plugin)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output();
    let output = timeout(Duration::from_secs(600), run).await.expect("cargo ends").unwrap();
    assert!(output.status.success(), "cargo {command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a plugin, builds it, runs its tests; its library.
async fn made(directory: &Path, name: &str, kind: &str) -> std::path::PathBuf {
    jackfield(directory, &["plugin", "new", name, "--kind", kind]).await.exits(0);
    let plugin = directory.join(name);
    std::fs::copy(repository("Cargo.lock"), plugin.join("Cargo.lock")).unwrap();
    cargo(&plugin, "build").await;
    cargo(&plugin, "test").await;
    let library = format!("lib{}.so", name.replace('-', "_"));
    fixture_library().ancestors().nth(2).unwrap().join(library)
}

#[tokio::test]
async fn a_new_plugin_builds_passes_its_test_and_loads() {
    let directory = TempDir::new().unwrap();
    let command = made(directory.path(), "new-command", "command").await;
    let auth = made(directory.path(), "new-auth", "auth").await;
    jackfield(directory.path(), &["plugin", "check", text(&command)]).await.exits(0);
    let broker = Broker::start(Options::default()).await;
    let table = "{\"tokens\":{\"t0k3n\":\"ann@example.com\"}}";
    plugin(&broker, &["load", text(&command)]).await.exits(0);
    plugin(&broker, &["load", text(&auth), "--plugin-config", table]).await.exits(0);
    let mut client = broker.login(Transport::Tcp, "bob").await;
    let greeting = client.ok("new-command/core/greet", json!({"name": "Ann"})).await;
    assert_eq!(greeting, json!({"text": "Hello, Ann!"}));
    plugin(&broker, &["unload", "auth-open"]).await.exits(0);
    let mut ann = broker.connect(Transport::Ws).await;
    ann.login_with(json!({"token": "t0k3n"})).await;
    assert!(ann.ok("core/user/list", json!({})).await.get("ann@example.com").is_some());
    let refused = broker.connect(Transport::Ws).await.err("core/user/login", json!({"user": "eve"})).await;
    assert_eq!(refused.0, crate::support::code::UNAUTHORIZED);
}
