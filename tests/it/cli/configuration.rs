//! Reading the configuration: what wins, and what is wrong with it.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{
    Broker, Options, Output, Transport, jackfield, jackfield_command, on_both, run, with_admin,
};

async fn check(directory: &Path, config: &str) -> Output {
    fs::write(directory.join("broker.toml"), config).unwrap();
    jackfield(directory, &["check", "--config", "broker.toml"]).await
}

/// Whether an error points at this line of the file, however it writes that.
fn names_line(error: &str, line: usize) -> bool {
    error.contains(&format!("broker.toml:{line}")) || error.contains(&format!("line {line}"))
}

#[tokio::test]
async fn a_good_file_passes() {
    let directory = tempfile::tempdir().unwrap();
    check(directory.path(), "").await.exits(0);
    let whole = r#"
        [service.main]
        listen = ["ws://127.0.0.1:0", "tcp://127.0.0.1:0"]
        plugins = ["auth-static", "auth-open"]
        admin_user = "root"
        admin_password = "secret"
        default_policy = "deny"
        [[service.main.rule]]
        user = "*@example.com"
        allow = ["command:core/event/*", "subscribe:media/**", "publish:media/session/*/*"]
        deny = ["command:core/session/stop"]
        [service.other]
        listen = ["tcp://127.0.0.1:0"]
        [service.main.plugin.auth-static.users]
        [admin]
        listen = "http://127.0.0.1:0"
        [limits]
        message_bytes = 1048576
        outbound_bytes = 4194304
        inflight = 1024
        connections = 1000000
        connections_per_user = 0
        requests_per_second = 0
        subscriptions_per_session = 10000
        registrations_per_session = 1000
        [timeouts]
        answer = "5s"
        acked = "3m"
        login = "30s"
        ping = "60s"
        handler = "180s"
        write = "100ms"
        drain = "10s"
    "#;
    check(directory.path(), whole).await.exits(0);
}

#[tokio::test]
async fn a_misspelt_key_is_named_with_its_line_and_the_nearest() {
    let directory = tempfile::tempdir().unwrap();
    for (rest, line, key, nearest) in [
        ("default_polcy = \"deny\"", 4, "default_polcy", "default_policy"),
        ("admin_passwort = \"x\"", 4, "admin_passwort", "admin_password"),
        ("[limits]\nmesage_bytes = 5", 5, "mesage_bytes", "message_bytes"),
        ("[timeouts]\nanswer = \"5s\"\nhandlr = \"5s\"", 6, "handlr", "handler"),
        ("\n# a comment\n[admn]\nlisten = \"http://127.0.0.1:0\"", 6, "admn", "admin"),
        ("[[service.main.rule]]\nuser = \"x\"\nalow = []", 6, "alow", "allow"),
        ("plugins = [\"auth-static\"]\n[service.main.plugin.auth-static]\nuser = {}", 6, "user", "users"),
    ] {
        let output = check(directory.path(), &with_admin(rest)).await.exits(2);
        for part in ["broker.toml", key, nearest] {
            assert!(output.stderr.contains(part), "{part} is not in\n{}", output.stderr);
        }
        assert!(names_line(&output.stderr, line), "line {line} is not in\n{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_is_named_with_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    for (rest, line, key) in [
        ("[limits]\nmessage_bytes = \"many\"", 5, "message_bytes"),
        ("[limits]\ninflight = -1", 5, "inflight"),
        ("[timeouts]\nanswer = \"soon\"", 5, "answer"),
        ("[timeouts]\nanswer = 5", 5, "answer"),
        ("default_policy = \"perhaps\"", 4, "default_policy"),
        ("listen = \"ws://127.0.0.1:0\"", 4, "listen"),
        ("listen = [\"gopher://127.0.0.1:0\"]", 4, "listen"),
        ("[[service.main.rule]]\nuser = \"x\"\nallow = [\"nonsense\"]", 6, "allow"),
    ] {
        let output = check(directory.path(), &with_admin(rest)).await.exits(2);
        for part in ["broker.toml", key, "expected"] {
            assert!(output.stderr.contains(part), "{part} is not in\n{}", output.stderr);
        }
        assert!(names_line(&output.stderr, line), "line {line} is not in\n{}", output.stderr);
    }
}

#[tokio::test]
async fn what_is_not_there_or_no_toml_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["check", "run", "commands"] {
        let output = jackfield(directory.path(), &[command, "--config", "nowhere.toml"]).await.exits(2);
        assert!(output.stderr.contains("nowhere.toml"), "{}", output.stderr);
    }
    let output = check(directory.path(), "[service.main]\nlisten = = 5\n").await.exits(2);
    assert!(output.stderr.contains("broker.toml") && names_line(&output.stderr, 2), "{}", output.stderr);
    let output = check(directory.path(), &with_admin("plugins = [\"no-such-plugin\"]")).await.exits(2);
    assert!(output.stderr.contains("no-such-plugin"), "{}", output.stderr);
    let output =
        check(directory.path(), "[service.main]\nadmin_password_file = \"no-file\"\n").await.exits(2);
    assert!(output.stderr.contains("no-file"), "{}", output.stderr);
}

#[tokio::test]
async fn run_fails_on_a_bad_file_as_check_does() {
    let mut broker = Broker::spawn(&Options::default().config("default_polcy = \"deny\""));
    assert_eq!(broker.exit_code().await, Some(2));
    for part in ["jackfield.toml", "default_polcy", "default_policy"] {
        assert!(broker.log().contains(part), "{part} is not in\n{}", broker.log());
    }
    assert!(!broker.file("ready.json").exists());
}

#[tokio::test]
async fn a_bad_variable_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("JACKFIELD_NONSENSE", "1"),
        ("JACKFIELD_LIMITS__MESAGE_BYTES", "1"),
        ("JACKFIELD_LIMITS__MESSAGE_BYTES", "many"),
        ("JACKFIELD_SERVICE__MAIN__DEFAULT_POLICY", "perhaps"),
    ] {
        let mut command = jackfield_command(directory.path(), &["check"]);
        command.env(name, value);
        let output = run(command, "").await.exits(2);
        assert!(output.stderr.contains(name), "{name} is not in\n{}", output.stderr);
    }
}

#[tokio::test]
async fn a_bad_setting_is_named() {
    for (setting, named) in [
        ("limits.mesage_bytes=5", "message_bytes"),
        ("limits.message_bytes=many", "limits.message_bytes"),
        ("timeouts.answer=soon", "timeouts.answer"),
        ("nonsense", "KEY=VALUE"),
    ] {
        let mut broker = Broker::spawn(&Options::default().set(setting));
        assert_eq!(broker.exit_code().await, Some(2), "{setting}");
        assert!(broker.log().contains(named), "{named} is not in\n{}", broker.log());
    }
}

/// Of these administrator passwords, those that are taken.
async fn accepted(broker: &Broker, passwords: &[&'static str]) -> Vec<&'static str> {
    let mut accepted = Vec::new();
    for password in passwords {
        let mut client = broker.connect(Transport::Tcp).await;
        let login = json!({"user": "admin", "password": password});
        if client.request("core/user/login", login).await["result"] == "ok" {
            accepted.push(*password);
        }
    }
    accepted
}

const ADMIN_PASSWORD_VARIABLE: &str = "JACKFIELD_SERVICE__MAIN__ADMIN_PASSWORD";

#[tokio::test]
async fn the_environment_wins_over_the_file_and_settings_over_both() {
    let config = with_admin("").replace("secret-admin", "of-file");
    let options = || Options::default().whole_config(&config);
    let passwords = ["of-file", "of-env", "of-set"];
    let file = Broker::start(options()).await;
    assert_eq!(accepted(&file, &passwords).await, ["of-file"]);
    let env = Broker::start(options().env(ADMIN_PASSWORD_VARIABLE, "of-env")).await;
    assert_eq!(accepted(&env, &passwords).await, ["of-env"]);
    let set = options().env(ADMIN_PASSWORD_VARIABLE, "of-env").set("service.main.admin_password=of-set");
    assert_eq!(accepted(&Broker::start(set).await, &passwords).await, ["of-set"]);
}

#[tokio::test]
async fn flags_win_over_settings() {
    on_both(async |transport| {
        let options = Options::default()
            .set("service.main.plugins=[\"auth-static\"]")
            .set("service.main.listen=[\"tcp://127.0.0.1:0\",\"tcp://127.0.0.1:0\"]");
        let broker = Broker::start(options).await;
        broker.login(transport, "ann").await;
        assert_eq!(broker.main().urls().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn settings_other_than_strings_are_toml() {
    let options = Options::default()
        .listen(&[])
        .plugins(&[])
        .set("service.main.listen=[\"tcp://127.0.0.1:0\"]")
        .set("limits.message_bytes=1_000")
        .env("JACKFIELD_SERVICE__MAIN__PLUGINS", "[\"auth-open\"]");
    let broker = Broker::start(options).await;
    let mut client = broker.login(Transport::Tcp, "ann").await;
    client.send_text(&"x".repeat(1001)).await;
    let (_, text) = crate::support::error_of(&client.recv().await);
    assert_eq!(text, "Message too large: 1001 bytes, the limit is 1000");
}

/// `12345` is a password, and so is one in quotation marks.
#[tokio::test]
async fn a_string_is_taken_as_written() {
    let passwords = ["12345", "\"quoted\"", "quoted", "true", "a=b"];
    for password in ["12345", "\"quoted\"", "true", "a=b"] {
        let set = Options::default().set(&format!("service.main.admin_password={password}"));
        assert_eq!(accepted(&Broker::start(set).await, &passwords).await, [password]);
    }
    for password in ["12345", "\"quoted\""] {
        let env = Options::default().env(ADMIN_PASSWORD_VARIABLE, password);
        assert_eq!(accepted(&Broker::start(env).await, &passwords).await, [password]);
    }
}

#[tokio::test]
async fn a_password_file_loses_one_newline() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let config =
        format!("[service.main]\nadmin_user = \"admin\"\nadmin_password_file = '{}'\n", file.display());
    let passwords = ["of-file", "of-file\n", "of-file\n\n"];
    for (content, password) in [("of-file", 0), ("of-file\n", 0), ("of-file\n\n", 1)] {
        fs::write(&file, content).unwrap();
        let broker = Broker::start(Options::default().whole_config(&config)).await;
        assert_eq!(accepted(&broker, &passwords).await, [passwords[password]], "{content:?}");
    }
}
