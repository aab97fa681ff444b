//! What a broker takes that has nothing to do: docs/performance.md.

use std::fs;

use crate::support::{Broker, Options, kilobytes, released};

/// Six huge pages alone would be 12 MiB. How much of the program is mapped depends on how it was built, so the whole is
/// judged where it was built for use.
#[tokio::test]
async fn an_empty_broker_takes_little_memory() {
    let broker = Broker::start(Options::default()).await;
    let (own, all) = (kilobytes(&broker, "RssAnon"), kilobytes(&broker, "VmRSS"));
    assert!(own <= 6 << 10, "{own} KiB of its own");
    assert!(released().is_none() || all <= 10 << 10, "{all} KiB resident");
}

#[test]
fn the_released_program_is_small() {
    let Some(program) = released() else { return };
    let bytes = fs::metadata(program).unwrap().len();
    assert!(bytes < 25_000_000, "{bytes} bytes");
}
