//! A receiver that is not ours: graygelf, from npm. It speaks UDP alone.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::records::{sample, without_timestamp};
use super::start;
use crate::support::sources::repository;
use crate::support::within;

struct GrayGelf {
    _node: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

/// Whether the test may not skip itself.
fn required() -> bool {
    std::env::var_os("GELF_RECEIVER_TEST").is_some_and(|value| value == "required")
}

impl GrayGelf {
    #[allow(clippy::print_stderr, reason = "says why nothing was tested")]
    async fn start() -> Option<Self> {
        let node =
            Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        let installed = repository("tests/gelf-receiver/node_modules/graygelf").exists();
        if !(installed && node.is_ok_and(|status| status.success())) {
            assert!(!required(), "node, or `npm ci` in tests/gelf-receiver, is missing");
            eprintln!("skipped: no node, or no `npm ci` in tests/gelf-receiver");
            return None;
        }
        let mut command = Command::new("node");
        command.arg(repository("tests/gelf-receiver/receiver.mjs"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut node = command.spawn().unwrap();
        let lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let mut receiver = Self { _node: node, lines, port: 0 };
        let line = receiver.line().await;
        receiver.port = line.strip_prefix("listening ").unwrap().parse().unwrap();
        Some(receiver)
    }

    async fn line(&mut self) -> String {
        within("a line of the receiver's", self.lines.next_line()).await.unwrap().expect("the receiver runs")
    }

    async fn message(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

#[tokio::test]
async fn reads_the_sample_however_it_is_sent() {
    let Some(mut receiver) = GrayGelf::start().await else { return };
    for more in [
        "compression = \"zlib\"",
        "compression = \"gzip\"",
        "compression = \"none\"",
        "compression = \"none\"\nchunk_bytes = 100",
        "compression = \"gzip\"\nchunk_bytes = 100",
    ] {
        let (_broker, mut ann) =
            start(&format!("server = \"udp://127.0.0.1:{}\"\n{more}", receiver.port)).await;
        let (request, record) = sample(&ann);
        assert_eq!(ann.ok("core/session/log", request).await, json!({}));
        assert_eq!(without_timestamp(receiver.message().await), record, "{more}");
    }
}

#[tokio::test]
async fn reads_a_record_of_many_chunks() {
    let Some(mut receiver) = GrayGelf::start().await else { return };
    let table = format!("server = \"udp://127.0.0.1:{}\"\ncompression = \"none\"", receiver.port);
    let (_broker, mut ann) = start(&table).await;
    let full = "Grüße\n".repeat(10_000);
    ann.ok("core/session/log", json!({"source": "s", "message": "long", "full_message": full})).await;
    assert_eq!(receiver.message().await["full_message"], json!(full));
}
