//! What is not lost, and what is known to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::receiver::{ACCEPTED, Receiver};
use super::{log_all, numbered, numbers, start, until_metric, with_gelf};
use crate::support::{Broker, Transport, code, eventually};

/// An address at which nobody listens now, and somebody may later.
async fn free_address() -> std::net::SocketAddr {
    Receiver::tcp().await.address
}

#[tokio::test]
async fn what_is_accepted_while_a_tcp_server_is_down_arrives() {
    let receiver = Receiver::tcp().await;
    let address = receiver.address;
    let (broker, mut ann) = start(&format!("server = \"{}\"", receiver.url("tcp"))).await;
    log_all(&mut ann, 0..100).await;
    receiver.until(100).await;
    drop(receiver);
    // It is noticed without anything being written.
    broker.logged("cannot send to the log server").await;
    log_all(&mut ann, 100..1100).await;
    let receiver = Receiver::tcp_at(address).await;
    assert_eq!(numbers(&receiver.until(1000).await), (100..1100).collect::<Vec<_>>());
    broker.logged("takes records again").await;
    let metrics = until_metric(&broker, "sent_total", |sent| sent > 1099.5).await;
    assert!(metrics.total("jackfield_plugin_gelf_reconnects_total") > 0.5);
    assert!(metrics.total("jackfield_plugin_gelf_dropped_total") < 0.5);
    assert!(metrics.total("jackfield_plugin_gelf_queue_bytes") < 0.5);
}

#[tokio::test]
async fn the_last_records_are_sent_again_where_that_is_asked_for() {
    let receiver = Receiver::tcp().await;
    let address = receiver.address;
    let (broker, mut ann) = start(&format!("server = \"{}\"\nresend = 5", receiver.url("tcp"))).await;
    log_all(&mut ann, 0..20).await;
    receiver.until(20).await;
    drop(receiver);
    broker.logged("cannot send to the log server").await;
    log_all(&mut ann, 20..22).await;
    let receiver = Receiver::tcp_at(address).await;
    assert_eq!(numbers(&receiver.until(7).await), (15..22).collect::<Vec<_>>());
}

#[tokio::test]
async fn over_http_nothing_leaves_the_queue_before_it_is_acknowledged() {
    let well = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&well);
    let receiver = Receiver::http(Arc::new(move |n| match (answers.load(Ordering::Relaxed), n % 5) {
        (true, _) => ACCEPTED,
        // Nor does a wrong password or path say anything about a record.
        (false, 3) => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        (false, 4) => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        (false, 0) => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
        (false, 1) => "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        (false, _) => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    }))
    .await;
    let (broker, mut ann) = start(&format!("server = \"{}\"", receiver.url("http"))).await;
    log_all(&mut ann, 0..50).await;
    let metrics = until_metric(&broker, "reconnects_total", |reconnects| reconnects > 2.5).await;
    assert!(metrics.total("jackfield_plugin_gelf_sent_total") < 0.5);
    assert!(metrics.total("jackfield_plugin_gelf_dropped_total") < 0.5);
    well.store(true, Ordering::Relaxed);
    let mut found = numbers(&receiver.until(50).await);
    found.sort_unstable();
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_an_http_server_rejects_is_dropped_and_counted() {
    let receiver = Receiver::http(Arc::new(|n| match n {
        0 => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        _ => ACCEPTED,
    }))
    .await;
    let (broker, mut ann) =
        start(&format!("server = \"{}\"\nhttp_connections = 1", receiver.url("http"))).await;
    log_all(&mut ann, 0..3).await;
    assert_eq!(numbers(&receiver.until(2).await), [1, 2]);
    let metrics = until_metric(&broker, "sent_total", |sent| sent > 1.5).await;
    assert!(metrics.labelled("jackfield_plugin_gelf_dropped_total", "reason", "rejected") > 0.5);
}

/// Graylog's HTTP input takes 64 KiB, where nobody has said otherwise.
#[tokio::test]
async fn what_is_too_long_for_an_http_server_is_cut_or_dropped_and_counted() {
    const TOO_LONG: &str = "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\n\r\n";
    let receiver = Receiver::http(Arc::new(|n| if n == 2 || n > 3 { ACCEPTED } else { TOO_LONG })).await;
    let table = format!("server = \"{}\"\nhttp_connections = 1", receiver.url("http"));
    let (broker, mut ann) = start(&table).await;
    let long = json!({"source": "s", "message": "m", "full_message": "x".repeat(100_000), "meta": {"n": 0}});
    ann.ok("core/session/log", long).await;
    log_all(&mut ann, 1..3).await;
    let found = receiver.until(2).await;
    assert_eq!(numbers(&found), [0, 2]);
    assert_eq!(found[0]["full_message"], "x".repeat(25_000));
    let metrics = until_metric(&broker, "sent_total", |sent| sent > 1.5).await;
    assert!(metrics.labelled("jackfield_plugin_gelf_dropped_total", "reason", "rejected") > 0.5);
}

#[tokio::test]
async fn a_full_queue_refuses_with_an_error_or_drops_the_oldest() {
    let address = free_address().await;
    let table = format!("server = \"tcp://{address}\"\nqueue_bytes = 20000");
    let (broker, mut ann) = start(&table).await;
    let mut accepted = 0;
    let error = loop {
        let answer = ann.request("core/session/log", numbered(accepted)).await;
        match answer["result"] == "ok" {
            true => accepted += 1,
            false => break crate::support::error_of(&answer),
        }
    };
    assert_eq!(error, (code::PLUGIN_UNAVAILABLE, "Plugin unavailable: gelf".into()));
    let metrics = until_metric(&broker, "dropped_total", |dropped| dropped > 0.5).await;
    assert!(metrics.labelled("jackfield_plugin_gelf_dropped_total", "reason", "refused") > 0.5);
    assert!(metrics.total("jackfield_plugin_gelf_queue_bytes") > 15_000.0);
    let receiver = Receiver::tcp_at(address).await;
    assert_eq!(numbers(&receiver.until(accepted).await), (0..accepted as u64).collect::<Vec<_>>());
    drop(receiver);

    let (broker, mut ann) = start(&format!("{table}\noverflow = \"drop_oldest\"")).await;
    log_all(&mut ann, 0..200).await;
    let metrics = until_metric(&broker, "dropped_total", |dropped| dropped > 0.5).await;
    let dropped = metrics.labelled("jackfield_plugin_gelf_dropped_total", "reason", "oldest");
    let receiver = Receiver::tcp_at(address).await;
    eventually("the newest", || numbers(&receiver.records()).last() == Some(&199)).await;
    let found = numbers(&receiver.records());
    assert_eq!(found.len() + dropped as usize, 200);
    assert_eq!(found, (200 - found.len() as u64..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stopping_broker_sends_what_waits() {
    let address = free_address().await;
    let (mut broker, mut ann) = start(&format!("server = \"tcp://{address}\"")).await;
    log_all(&mut ann, 0..500).await;
    broker.terminate();
    ann.event().await;
    let receiver = Receiver::tcp_at(address).await;
    assert_eq!(broker.exit_code().await, Some(0));
    assert_eq!(numbers(&receiver.until(500).await), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_stopping_broker_cannot_send_is_told_of() {
    let address = free_address().await;
    let options = with_gelf(&format!("server = \"tcp://{address}\"")).set("timeouts.drain=1s");
    let mut broker = Broker::start(options).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    log_all(&mut ann, 0..5).await;
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));
    let log = broker.log();
    let line = log
        .lines()
        .find(|line| line.contains("could not be sent in time"))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("records=5"), "{line}");
}

#[tokio::test]
async fn the_spool_survives_a_broker_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let table = format!("server = \"tcp://{address}\"\nspool = \"{}\"", directory.path().display());
    let (mut broker, mut ann) = start(&table).await;
    log_all(&mut ann, 0..300).await;
    until_metric(&broker, "queue_bytes", |bytes| bytes < 0.5).await;
    kill_process(Pid::from_raw(i32::try_from(broker.pid()).unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(broker.exit_code().await, None);

    // The next stops in the ordinary way; what it was given stays, too.
    let (mut broker, mut ann) = start(&table).await;
    log_all(&mut ann, 300..400).await;
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));

    let receiver = Receiver::tcp_at(address).await;
    let (broker, mut ann) = start(&table).await;
    ann.ok("core/session/log", json!({"source": "s", "message": "m", "meta": {"n": 400}})).await;
    assert_eq!(numbers(&receiver.until(401).await), (0..=400).collect::<Vec<_>>());
    until_metric(&broker, "sent_total", |sent| sent > 400.5).await;
}

#[tokio::test]
async fn two_services_may_have_their_spools_in_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::tcp().await;
    let table = format!("server = \"{}\"\nspool = \"{}\"", receiver.url("tcp"), directory.path().display());
    let side = format!(
        "[service.side]\nlisten = [\"ws://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\nplugins = [\"auth-open\", \"gelf\"]\n\
         [service.side.plugin.gelf]\n{table}"
    );
    let broker = Broker::start(with_gelf(&table).config(&side)).await;
    let mut here = broker.login(Transport::Tcp, "ann").await;
    let mut there = broker.service("side").login(Transport::Tcp, "ann").await;
    log_all(&mut here, 0..10).await;
    log_all(&mut there, 10..20).await;
    let mut found = numbers(&receiver.until(20).await);
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
}
