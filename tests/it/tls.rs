//! wss:// and tls://: who is let in, by which certificates, and what becomes of the others.

mod cli;
mod clients;
mod docs;
mod mismatch;
mod reload;

use serde_json::json;

use crate::support::tls::{self, AUTHORITY, Authority, ONLY_1_2, ONLY_1_3, trusting};
use crate::support::{Broker, Client, Options, Transport, jackfield, on_tls};

#[tokio::test]
async fn a_client_that_trusts_the_authority_gets_in() {
    on_tls(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut client = broker.login(transport, "ann").await;
        assert_eq!(client.broker_certificate(), tls::SERVER.der());
        let user = client.ok("core/user/get", json!({"user": "ann"})).await;
        let remote = format!("{transport}:{}", client.local_address());
        assert_eq!(user[client.session_id()]["remote"], remote);
        assert_eq!(client.ok("fixture/core/certificate", json!({})).await, json!({}));
    })
    .await;
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() {
    on_tls(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        for versions in [ONLY_1_2, ONLY_1_3] {
            let config = trusting(&AUTHORITY).versions(versions).build();
            let mut client = Client::try_connect_as(&broker.url(transport), &config).await.unwrap();
            client.login("ann").await;
            let long = "x".repeat(300_000);
            client.ok("core/event/subscribe", json!({"class": "long"})).await;
            client.ok("core/event/send_event", json!({"class": "long", "body": {"long": long}})).await;
            assert_eq!(client.event().await["body"]["long"], long);
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_may_ask_for_http_by_alpn_and_need_not() {
    let broker = Broker::start(Options::default().with_tls()).await;
    let connect = async |transport, alpn| {
        let config = trusting(&AUTHORITY).alpn(alpn).build();
        Client::try_connect_as(&broker.url(transport), &config).await
    };
    connect(Transport::Wss, "http/1.1").await.unwrap().login("ann").await;
    connect(Transport::Tls, "anything").await.unwrap().login("ann").await;
    let error = connect(Transport::Wss, "h2").await.err().unwrap();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn a_second_connection_is_resumed() {
    on_tls(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let config = trusting(&AUTHORITY).build();
        for resumed in [false, true, true] {
            let mut client = Client::try_connect_as(&broker.url(transport), &config).await.unwrap();
            // The ticket comes with the first bytes that are read.
            client.login("ann").await;
            assert_eq!(client.is_resumed(), resumed);
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_refuses_the_broker() {
    on_tls(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let other = Authority::new("Another");
        let config = trusting(&other).build();
        let error = Client::try_connect_as(&broker.url(transport), &config).await.err().unwrap();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        broker.logged("TLS handshake failed").await;
        // Nobody else minds.
        broker.login(transport, "ann").await;
    })
    .await;
}

#[tokio::test]
async fn a_client_refuses_a_broker_whose_certificate_has_expired() {
    on_tls(async |transport| {
        let server = AUTHORITY.expired_server();
        let broker = Broker::start(Options::default().with_tls_of(&server).config(&tls::table(""))).await;
        let error = Client::try_connect(&broker.url(transport), None).await.err().unwrap();
        assert!(error.to_string().contains("certificate expired"), "{error}");
        broker.logged("service.main.tls.certificate: the certificate has expired").await;
    })
    .await;
}

/// Runs `jackfield check` on a configuration beside the tests' certificate; its complaint.
async fn complaint(config: &str, files: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("server.pem", &tls::SERVER.certificate);
    write("server.key", &tls::SERVER.key);
    files.iter().for_each(|(name, text)| write(name, text));
    write("j.toml", config);
    let checked = jackfield(directory.path(), &["check", "--config", "j.toml"]).await.exits(2);
    let started = jackfield(directory.path(), &["run", "--config", "j.toml"]).await.exits(2);
    assert_eq!(checked.stderr, started.stderr);
    assert_eq!(checked.stdout, "");
    checked.stderr
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_key() {
    let other = AUTHORITY.server();
    let key = other.key.clone();
    let listen = "[service.main]\nlisten = [\"tls://127.0.0.1:0\"]\n";
    let with = |more: &str| format!("{listen}{}", tls::table(more));
    for (config, files, key, reason) in [
        (with(""), vec![("server.key", "nothing")], "key", "server.key: expected a private key in PEM form"),
        (with(""), vec![("server.key", &*key)], "key", "does not belong to the certificate in"),
        (with(""), vec![("server.pem", "")], "certificate", "server.pem: expected certificates in PEM form"),
        (with("client_ca = \"ca.pem\""), vec![("ca.pem", "x")], "client_ca", "ca.pem: expected certificates"),
        (with("client_ca = \"no.pem\""), vec![], "client_ca", "no.pem: No such file"),
    ] {
        let text = complaint(&config, &files).await;
        assert!(text.contains(&format!("service.main.tls.{key}: ")) && text.contains(reason), "{text}");
        assert!(text.contains("j.toml:"), "{text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
    let text = complaint(listen, &[]).await;
    assert!(text.contains("service.main.listen: tls:// needs the service's tls table"), "{text}");
}

#[tokio::test]
async fn a_map_that_makes_no_sense_is_a_configuration_error() {
    let map = |entry: &str| {
        format!(
            "[service.main]\nplugins = [\"auth-certificate\"]\n[[service.main.plugin.auth-certificate.map]]\n{entry}"
        )
    };
    for (entry, named) in [
        ("from = \"cn\"\nmatches = \"a**b\"", "Invalid value: map.0.matches"),
        ("from = \"cn\"\nmatches = \"a\"\nuser = \"{1}\"", "Invalid value: map.0.user"),
        ("from = \"who\"\nmatches = \"a\"", "service.main.plugin.auth-certificate.map.0.from"),
        ("matches = \"a\"", "expected key"),
    ] {
        let text = complaint(&map(entry), &[]).await;
        assert!(text.contains(named), "{text}");
    }
}
