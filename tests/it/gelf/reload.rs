//! Another table while the broker runs, wrong tables, and what is shown of a server.

use super::receiver::Receiver;
use super::{log_all, numbers, start, until_metric, with_gelf};
use crate::support::{Broker, Metrics, jackfield, with_admin};

#[tokio::test]
async fn another_server_gets_what_is_logged_from_then_on_and_nothing_is_lost() {
    let (first, second) = (Receiver::tcp().await, Receiver::tcp().await);
    let table = |receiver: &Receiver| format!("server = \"{}\"", receiver.url("tcp"));
    let (broker, mut ann) = start(&table(&first)).await;
    log_all(&mut ann, 0..500).await;
    broker.rewrite_config(&with_admin(&format!("[service.main.plugin.gelf]\n{}", table(&second))));
    broker.hangup();
    log_all(&mut ann, 500..2000).await;
    broker.logged("the configuration was reloaded").await;
    log_all(&mut ann, 2000..2500).await;
    until_metric(&broker, "sent_total", |sent| sent > 2499.5).await;
    crate::support::eventually("all records", || first.count() + second.count() >= 2500).await;
    let mut found = numbers(&first.records());
    found.extend(numbers(&second.records()));
    assert_eq!(found, (0..2500).collect::<Vec<_>>());
    assert!(second.count() >= 500);
}

#[tokio::test]
async fn wrong_tables_are_mistakes_of_the_configuration() {
    for (table, text) in [
        ("", "server"),
        ("server = \"gopher://a\"", "expected udp://, tcp://, tls://, http:// or https://"),
        ("server = \"udp://a\"\nchunk_bytes = 3", "chunk_bytes"),
        ("server = \"udp://a\"\ncompresion = \"zlib\"", "compression"),
        ("server = \"udp://a\"\ncompression = \"lz4\"", "compression"),
        ("server = \"tls://a\"\nca = \"/no/such.pem\"", "/no/such.pem"),
        ("server = \"tcp://u:hush-hush@a\"", "http:// and https:// only"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jackfield.toml");
        let text_of_file = with_admin(&format!("plugins = [\"gelf\"]\n[service.main.plugin.gelf]\n{table}"));
        std::fs::write(&file, text_of_file).unwrap();
        let output = jackfield(directory.path(), &["check", "--config", "jackfield.toml"]).await.exits(2);
        assert!(output.stderr.contains(text), "{table}: {}", output.stderr);
        assert!(!output.stderr.contains("Invalid value: server: tcp://u"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn credentials_in_a_url_are_sent_and_shown_to_nobody_else() {
    let receiver = Receiver::stalled().await;
    let url = format!("http://ann:hush-hush@{}/path-hush?token=hush-hush", receiver.address);
    let broker =
        Broker::start(with_gelf(&format!("server = \"{url}\"\nbroker_log = true\ntimeout = \"200ms\"")))
            .await;
    broker.logged("cannot send to the log server").await;
    assert!(!broker.log().contains("hush"), "{}", broker.log());
    let metrics = Metrics::of(&broker).await;
    assert!(metrics.text.contains(&format!("server=\"http://{}\"", receiver.address)), "{}", metrics.text);
    assert!(!metrics.text.contains("hush"), "{}", metrics.text);
}
