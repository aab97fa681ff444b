//! A library that was built on its own (`tests/foreign_plugin`): another profile, another version of tokio, another
//! allocator than the broker's.
//!
//! `BROKER_UNDER_TEST=target/release/jackfield` has this and every other test run that broker.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use super::{listed, text};
use crate::support::sources::{read, repository};
use crate::support::{Broker, Options, fixture_library, on_both};

/// More than a buffer of any kind holds, so that all of them are filled, grown and freed.
const LONG: usize = 300_000;

/// The version that a lock file has of a crate; of several, the last.
fn locked(file: &str, name: &str) -> String {
    let lock = read(&repository(file));
    let (_, package) = lock.rsplit_once(&format!("name = \"{name}\"\nversion = \"")).unwrap();
    package.split('"').next().unwrap().to_owned()
}

async fn cargo(arguments: &[&str]) -> Output {
    let target = fixture_library().ancestors().nth(3).unwrap().join("foreign-plugin");
    let run = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(repository("tests/foreign_plugin"))
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output();
    timeout(Duration::from_secs(900), run).await.expect("cargo ends").unwrap()
}

/// Builds the library; none where its crates cannot be had. With `EXAMPLES_TEST=required` they have to be.
#[allow(clippy::print_stderr, reason = "says why nothing was tested")]
async fn built() -> Option<PathBuf> {
    let fetched = cargo(&["fetch", "--locked"]).await;
    if !fetched.status.success() {
        let why = String::from_utf8_lossy(&fetched.stderr).into_owned();
        assert!(!why.contains("--locked"), "the lock file of tests/foreign_plugin is old: {why}");
        let required = std::env::var_os("EXAMPLES_TEST").is_some_and(|value| value == "required");
        assert!(!required, "the crates of tests/foreign_plugin: {why}");
        eprintln!("skipped: the crates of tests/foreign_plugin cannot be had: {why}");
        return None;
    }
    let build = cargo(&["build", "--locked", "--offline", "--message-format=json"]).await;
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let messages = String::from_utf8(build.stdout).unwrap();
    let artifacts = messages.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut libraries = artifacts.filter(|message| message["target"]["name"] == "foreign_plugin");
    let library = libraries.find_map(|message| Some(PathBuf::from(message["filenames"][0].as_str()?)));
    Some(library.expect("a library"))
}

/// Gives back, in capitals, what each of two connections sends.
fn shouter() -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().unwrap();
            let mut text = String::new();
            socket.read_to_string(&mut text).unwrap();
            socket.write_all(text.to_uppercase().as_bytes()).unwrap();
        }
    });
    (port, thread)
}

#[test]
fn it_has_other_versions_than_the_broker() {
    for name in ["tokio", "mimalloc", "libmimalloc-sys"] {
        let versions = ["Cargo.lock", "tests/foreign_plugin/Cargo.lock"].map(|file| locked(file, name));
        assert_ne!(versions[0], versions[1], "{name}");
    }
}

#[tokio::test]
async fn it_waits_spawns_and_connects() {
    let Some(library) = built().await else { return };
    on_both(async |transport| {
        let broker = Broker::start(Options::default().plugins(&[text(&library), "auth-open"])).await;
        let mut ann = broker.login(transport, "ann").await;
        let plugin = listed(&mut ann, "foreign").await.unwrap();
        assert_eq!((&plugin["kind"], &plugin["state"]), (&json!("library"), &json!("running")));
        let (port, shouting) = shouter();
        for sent in ["hello".to_owned(), "x".repeat(LONG)] {
            let data = json!({"port": port, "text": sent, "after": 30});
            let answer = ann.ok("foreign/core/exchange", data).await;
            let waited = answer["waited"].as_u64().unwrap();
            assert!((30..5_000).contains(&waited), "{waited} ms");
            let expected =
                json!({"text": sent.to_uppercase(), "user": "ann", "waited": waited, "debug": true});
            assert_eq!(answer, expected);
        }
        shouting.join().unwrap();
        // Nobody is there any more: the error comes through, and the plugin goes on.
        let data = json!({"port": port, "text": "", "after": 0});
        assert_eq!(ann.err("foreign/core/exchange", data).await.0, 200_001);
        assert_eq!(listed(&mut ann, "foreign").await.unwrap()["state"], "running");
    })
    .await;
}
