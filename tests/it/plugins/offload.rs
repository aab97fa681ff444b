//! A plugin that blocks: its handlers have threads of their own, and everybody else's requests go on.

use std::time::{Duration, Instant};

use serde_json::json;

use super::text;
use crate::support::{Broker, Options, c_library, on_both};

/// More than the broker has threads for what does not block.
const BLOCKED: usize = 40;

#[tokio::test]
async fn who_blocks_delays_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let library = c_library(directory.path(), "tests/it/plugins/blocking.c", "plugin-api/include");
    on_both(async |transport| {
        let broker = Broker::start(Options::default().plugins(&[text(&library), "auth-open"])).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let started = Instant::now();
        let mut waiting = Vec::new();
        for _ in 0..BLOCKED {
            waiting.push(ann.start("blocking/core/wait", json!({})).await);
        }
        let mut others = 0;
        for tid in waiting {
            while started.elapsed() < Duration::from_millis(400) {
                bob.ok("core/core/ping", json!({})).await;
                others += 1;
            }
            assert_eq!(ann.response(tid).await["data"], json!({"waited": true}));
        }
        // One after the other, the handlers would have taken twenty seconds, and nobody would have been answered.
        assert!(
            others > 0 && started.elapsed() < Duration::from_secs(15),
            "{others}, {:?}",
            started.elapsed()
        );
    })
    .await;
}
