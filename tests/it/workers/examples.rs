//! The workers of `examples/` in other languages, run as they stand there.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::RULE;
use crate::support::sources::repository;
use crate::support::{Broker, Client, Options, Transport, code, eventually, within};

/// Whether a language's interpreter is there. With `EXAMPLES_TEST=required` it has to be.
#[allow(clippy::print_stderr, reason = "says why nothing was tested")]
async fn has(program: &str) -> bool {
    let asked =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let there = asked.is_ok_and(|status| status.success());
    let required = std::env::var_os("EXAMPLES_TEST").is_some_and(|value| value == "required");
    assert!(there || !required, "{program} is missing");
    if !there {
        eprintln!("skipped: there is no {program}");
    }
    there
}

/// A worker, killed when it is dropped. What it prints goes to the file `worker` beside the broker's.
fn start(broker: &Broker, program: &str, file: &str) -> Child {
    let output = File::options().create(true).append(true).open(broker.file("worker")).unwrap();
    Command::new(program)
        .arg(repository("examples").join(file))
        .args(["--url", &broker.url(Transport::Tcp), "--user", "worker"])
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn printed(broker: &Broker, text: &str, times: usize) {
    let has_it = || {
        let output = std::fs::read_to_string(broker.file("worker")).unwrap_or_default();
        output.matches(text).count() >= times
    };
    eventually(&format!("{text:?}, {times} times, from the worker"), has_it).await;
}

/// What the two examples have in common: a worker that serves `class`, whose command `slow` takes its time.
async fn exercise(program: &str, file: &str, class: &str, calls: &[(&str, Value, Result<Value, i64>)]) {
    if !has(program).await {
        return;
    }
    let broker = Broker::start(Options::default().config(RULE)).await;
    let mut worker = start(&broker, program, file);
    let serving = format!("serving {class} as ");
    printed(&broker, &serving, 1).await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    call_all(&mut ann, class, calls).await;

    // Long work is acked, and does not keep others waiting.
    let slow = ann.start(&format!("{class}/core/slow"), json!({"seconds": 2.5})).await;
    call_all(&mut ann, class, calls).await;
    assert_eq!(ann.response(slow).await["data"], json!({"slept": 2.5}));
    assert!(!ann.acks().is_empty(), "no ack for work of 2.5 s");

    // It comes back when its session is ended …
    let list = ann.ok("core/user/list", json!({})).await;
    ann.ok("core/session/stop", json!({"session_id": list["worker"][0]})).await;
    printed(&broker, &serving, 2).await;
    call_all(&mut ann, class, calls).await;

    // … and another takes over when it dies.
    let _other = start(&broker, program, file);
    printed(&broker, &serving, 3).await;
    let slow: Vec<u64> = {
        let mut tids = Vec::new();
        for _ in 0..4 {
            tids.push(ann.start(&format!("{class}/core/slow"), json!({"seconds": 1})).await);
        }
        tids
    };
    within("the worker's end", worker.kill()).await.unwrap();
    for tid in slow {
        assert_eq!(ann.response(tid).await["data"], json!({"slept": 1}));
    }
}

async fn call_all(client: &mut Client, class: &str, calls: &[(&str, Value, Result<Value, i64>)]) {
    for (cmd, data, expected) in calls {
        let answer = client.request(&format!("{class}/core/{cmd}"), data.clone()).await;
        match expected {
            Ok(data) => assert_eq!(answer["data"], *data, "{cmd}: {answer}"),
            Err(code) => assert_eq!(answer["data"]["code"], json!(code), "{cmd}: {answer}"),
        }
    }
}

#[tokio::test]
async fn the_python_worker() {
    let calls = [
        ("upper", json!({"text": "héllo"}), Ok(json!({"text": "HÉLLO"}))),
        ("count", json!({"text": "one two"}), Ok(json!({"words": 2, "for": "ann"}))),
        ("count", json!({"text": " "}), Err(200_001)),
        ("upper", json!({"text": 5}), Err(code::SYNTAX_ERROR)),
        ("upper", json!({}), Err(code::MISSING_FIELD)),
        ("lower", json!({}), Err(code::UNKNOWN_COMMAND)),
    ];
    exercise("python3", "worker.py", "text", &calls).await;
}

#[tokio::test]
async fn the_node_worker() {
    let calls = [
        ("sum", json!({"numbers": [1, 2.5]}), Ok(json!({"sum": 3.5, "for": "ann"}))),
        ("mean", json!({"numbers": [1, 2]}), Ok(json!({"mean": 1.5}))),
        ("mean", json!({"numbers": []}), Err(200_001)),
        ("sum", json!({"numbers": ["1"]}), Err(code::SYNTAX_ERROR)),
        ("sum", json!({}), Err(code::MISSING_FIELD)),
        ("product", json!({}), Err(code::UNKNOWN_COMMAND)),
    ];
    exercise("node", "worker.mjs", "math", &calls).await;
}
