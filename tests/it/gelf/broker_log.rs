//! The broker's own log.

use serde_json::json;

use super::receiver::Receiver;
use super::{numbered, start, with_gelf};
use crate::support::{Broker, Transport, eventually};

#[tokio::test]
async fn reaches_the_server_where_that_is_asked_for() {
    let receiver = Receiver::tcp().await;
    let table = format!("server = \"{}\"\nbroker_log = true\nhost = \"machine-7\"", receiver.url("tcp"));
    let (broker, mut ann) = start(&table).await;
    ann.ok("core/session/log", numbered(1)).await;
    let listening = |record: &serde_json::Value| record["short_message"] == "listening";
    eventually("the broker's own records", || receiver.records().iter().any(listening)).await;
    eventually("the session's record", || receiver.records().iter().any(|record| record["_n"] == 1)).await;
    let records = receiver.records();
    let own = records.iter().find(|record| listening(record)).unwrap();
    assert_eq!(
        (&own["host"], &own["level"], &own["version"]),
        (&json!("machine-7"), &json!(6), &json!("1.1"))
    );
    assert_eq!((&own["_service"], &own["_target"]), (&json!("main"), &json!("jackfield::cli::run")));
    assert!(own["_url"].as_str().unwrap().contains("127.0.0.1"), "{own}");
    // It goes as itself, and not as a line of the log, too.
    assert_eq!(
        records.iter().filter(|record| record["_user"] == "ann" || record["_user"] == "\"ann\"").count(),
        1
    );
    assert!(!records.iter().any(|record| record["_target"] == "jackfield::session_log"));
    drop(broker);
}

#[tokio::test]
async fn goes_through_the_filter_and_stays_at_home_otherwise() {
    let receiver = Receiver::tcp().await;
    let table = format!("server = \"{}\"", receiver.url("tcp"));
    let (_broker, mut ann) = start(&table).await;
    ann.ok("core/session/log", numbered(1)).await;
    receiver.until(1).await;
    assert_eq!(receiver.count(), 1, "{:?}", receiver.records());
    let options = with_gelf(&format!("{table}\nbroker_log = true")).env("RUST_LOG", "warn");
    let broker = Broker::start(options).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    ann.ok("core/session/log", numbered(2)).await;
    eventually("the session's record", || receiver.records().iter().any(|record| record["_n"] == 2)).await;
    assert!(!receiver.records().iter().any(|record| record["short_message"] == "listening"));
}

/// What the sender says of its troubles would make the next record, and that the next trouble.
#[tokio::test]
async fn does_not_go_round_in_circles() {
    let address = Receiver::tcp().await.address;
    let (broker, _ann) = start(&format!("server = \"tcp://{address}\"\nbroker_log = true")).await;
    broker.logged("cannot send to the log server").await;
    let receiver = Receiver::tcp_at(address).await;
    receiver.until(1).await;
    broker.logged("takes records again").await;
    assert!(!receiver.records().iter().any(|record| record["_target"].to_string().contains("gelf")));
}
