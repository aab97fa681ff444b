//! `jackfield call` and `jackfield listen`: a client on the command line.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{
    ADMIN_PASSWORD, Broker, Options, Output, Transport, jackfield, jackfield_command, on_both, pause, within,
};

/// Runs `jackfield call ARGS` at a broker, as `ann`.
async fn call(broker: &Broker, transport: Transport, args: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let url = broker.url(transport);
    jackfield(directory.path(), &[&["call"], args, &["--url", &url, "--user", "ann"]].concat()).await
}

#[tokio::test]
async fn an_answer_is_its_data_on_stdout() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let output = call(&broker, transport, &["core/user/list"]).await.exits(0);
        let users = output.json();
        assert_eq!(users["ann"].as_array().map(Vec::len), Some(1), "{users}");
        assert_eq!(output.stderr, "");
        let data = r#"{"a": [1, "two", null], "text": "é"}"#;
        let echoed = call(&broker, transport, &["fixture/core/echo", data]).await.exits(0).json();
        assert_eq!(echoed, serde_json::from_str::<Value>(data).unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_whole_answer_is_one_line_of_json() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let data = r#"{"a":{"b":1}}"#;
        let output = call(&broker, transport, &["fixture/core/echo", data, "--json"]).await.exits(0);
        assert_eq!(output.stdout.matches('\n').count(), 1, "{output:?}");
        let answer = output.json();
        assert_eq!((&answer["result"], &answer["data"]), (&json!("ok"), &json!({"a": {"b": 1}})));
        let output =
            call(&broker, transport, &["core/user/get", r#"{"user":"nobody"}"#, "--json"]).await.exits(1);
        let line = format!("{}{}", output.stdout, output.stderr);
        assert!(line.contains("100033") && line.contains("User not found"), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn an_error_answer_goes_to_stderr() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for (args, text) in [
            (&["core/user/get", r#"{"user":"nobody"}"#][..], "User not found"),
            (&["no/such/command"], "Unknown command 'no/such/command'"),
            (&["core/user/get"], "Missing field: user"),
        ] {
            let output = call(&broker, transport, args).await.exits(1);
            assert_eq!(output.stdout, "");
            assert!(output.stderr.contains(text), "{output:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_password_is_given_and_never_printed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let url = broker.url(transport);
        let args = |password| {
            ["call", "core/user/list", "--url", &url, "--user", "admin", "--password", password]
                .map(String::from)
        };
        for (password, code) in [(ADMIN_PASSWORD, 0), ("wrong-one", 1)] {
            let args = args(password);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let output = jackfield(directory.path(), &args).await.exits(code);
            assert!(!output.stdout.contains(password) && !output.stderr.contains(password), "{output:?}");
            assert_eq!(output.stderr.contains("Unauthorized"), code == 1, "{output:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_usage_and_no_broker_are_told_apart() {
    let broker = Broker::start(Options::default()).await;
    for args in [&["core/user/list", "{nonsense"][..], &["core/user"], &["core/user/list/more"], &[""]] {
        let output = call(&broker, Transport::Ws, args).await.exits(2);
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for scheme in ["ws", "tcp"] {
        let url = format!("{scheme}://{free}");
        let args = ["call", "core/user/list", "--url", &url, "--user", "ann"];
        let output = jackfield(directory.path(), &args).await.exits(1);
        assert!(output.stderr.contains(&free.to_string()), "{output:?}");
    }
}

#[tokio::test]
async fn listen_prints_events_as_they_come() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let directory = tempfile::tempdir().unwrap();
        let url = broker.url(transport);
        let args = ["listen", "media/song/start", "--url", &url, "--user", "listener"];
        let mut child = jackfield_command(directory.path(), &args).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let printed = within("a printed event", async {
            loop {
                for (kind, n) in [("stop", 1), ("start", 2)] {
                    let body = json!({"marker": format!("event-{n}")});
                    let data = json!({"class": "media", "subclass": "song", "type": kind, "body": body});
                    ann.ok("core/event/send_event", data).await;
                }
                tokio::select! {
                    line = lines.next_line() => return line.unwrap().expect("a line before its end"),
                    () = pause(50) => {}
                }
            }
        })
        .await;
        assert!(printed.contains("event-2"), "{printed}");
        child.kill().await.unwrap();
    })
    .await;
}
