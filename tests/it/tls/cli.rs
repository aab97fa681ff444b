//! `jackfield call` and `listen` over TLS, and the client library below them.

use std::process::Stdio;

use jackfield_client::{ConnectOptions, DisconnectReason, Error, Tls};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::tls::{self, AUTHORITY, Authority, Pair};
use crate::support::{Broker, Options, Output, Transport, jackfield, jackfield_command, on_tls, within};

const MAP: &str = "[[service.main.plugin.auth-certificate.map]]\nfrom = \"cn\"\nmatches = \"*\"\n";

/// A broker that requires certificates of `authority`.
async fn broker(authority: &Authority, server: &Pair) -> Broker {
    let table = format!("client_ca = \"clients.pem\"\nrequire_client_certificate = true\n{MAP}");
    let options = Options::default().plugins(&["auth-certificate"]).with_tls_of(server);
    let options = options.file("clients.pem", &authority.pem()).config(&tls::table(&table));
    Broker::start(options).await
}

/// A directory with `ca.pem`, and the client's `ann.pem` and `ann.key`.
fn files(client: &Pair) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in
        [("ca.pem", &AUTHORITY.pem()), ("ann.pem", &client.certificate), ("ann.key", &client.key)]
    {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

const ALL: [&str; 6] = ["--ca", "ca.pem", "--cert", "ann.pem", "--key", "ann.key"];

async fn call(directory: &TempDir, url: &str, args: &[&str]) -> Output {
    jackfield(directory.path(), &[&["call", "core/user/list", "--url", url], args].concat()).await
}

#[tokio::test]
async fn call_logs_in_by_certificate() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = broker(&authority, &tls::SERVER).await;
        let directory = files(&authority.client("ann"));
        let url = broker.url(transport);
        for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
            let users = call(&directory, &url, &ALL).await.exits(0).json();
            assert_eq!(users["ann"].as_array().map(Vec::len), Some(1), "{users}");
        }
        let refused = call(&directory, &url, &[&ALL[..], &["--user", "bob"]].concat()).await.exits(1);
        assert!(refused.stderr.contains("Unauthorized"), "{}", refused.stderr);
    })
    .await;
}

#[tokio::test]
async fn listen_prints_events() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = broker(&authority, &tls::SERVER).await;
        let directory = files(&authority.client("ann"));
        let url = broker.url(transport);
        let mut command =
            jackfield_command(directory.path(), &[&["listen", "news", "--url", &url], &ALL[..]].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let event = r#"{"class":"news","body":{"n":1}}"#;
        let args = [&["call", "core/event/send_event", event, "--url", &url], &ALL[..]].concat();
        let line = within("the event", async {
            loop {
                jackfield(directory.path(), &args).await.exits(0);
                let next = tokio::time::timeout(std::time::Duration::from_millis(300), lines.next_line());
                if let Ok(line) = next.await {
                    return line.unwrap().unwrap();
                }
            }
        });
        let line = line.await;
        assert!(line.contains("news") && line.contains("\"n\":1"), "{line}");
        child.kill().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = broker(&authority, &tls::SERVER).await;
        let url = broker.url(transport);
        let good = files(&authority.client("ann"));
        let fails = async |directory: &TempDir, url: &str, args: &[&str], words: &str| {
            let output = call(directory, url, args).await.exits(1);
            assert!(output.stderr.contains(words), "{}", output.stderr);
        };
        fails(&good, &url, &["--cert", "ann.pem", "--key", "ann.key"], "is not trusted here").await;
        fails(&good, &url, &["--ca", "ca.pem"], "the broker requires a client certificate").await;
        // Every address of 127.0.0.0/8 is this machine's; the certificate is for one.
        let wide = broker_for_all(&authority).await;
        let other = wide.url(transport).replace("0.0.0.0", "127.0.0.2");
        fails(&good, &other, &ALL, "is not for this host").await;
        let stranger = files(&Authority::new("Others").client("ann"));
        fails(&stranger, &url, &ALL, "does not trust the authority that made it").await;
        let late = files(&authority.expired_client("ann"));
        fails(&late, &url, &ALL, "the broker refused the client certificate: it has expired").await;
        let plain = match transport {
            Transport::Wss => broker.url(Transport::Ws).replace("ws:", "wss:"),
            _ => broker.url(Transport::Tcp).replace("tcp:", "tls:"),
        };
        call(&good, &plain, &ALL).await.exits(1);
    })
    .await;
}

/// A broker whose listeners are on every address.
async fn broker_for_all(authority: &Authority) -> Broker {
    let options = Options::default().with_tls_of(&tls::SERVER).file("clients.pem", &authority.pem());
    let options = options.listen(&["wss://0.0.0.0:0", "tls://0.0.0.0:0"]);
    let options = options.config(&tls::table("client_ca = \"clients.pem\""));
    Broker::start(options).await
}

#[tokio::test]
async fn an_expired_broker_is_not_spoken_to() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = broker(&authority, &AUTHORITY.expired_server()).await;
        let directory = files(&authority.client("ann"));
        let output = call(&directory, &broker.url(transport), &ALL).await.exits(1);
        assert!(output.stderr.contains("the broker's certificate has expired"), "{}", output.stderr);
    })
    .await;
}

#[tokio::test]
async fn files_and_options_that_make_no_sense_are_wrong_usage() {
    let directory = files(&AUTHORITY.client("ann"));
    std::fs::write(directory.path().join("other.key"), AUTHORITY.client("bob").key).unwrap();
    let url = "wss://127.0.0.1:1";
    for (url, args, words) in [
        (url, &["--ca", "none.pem"][..], "none.pem: No such file"),
        (url, &["--ca", "ann.key"], "ann.key: expected certificates in PEM form"),
        (url, &["--cert", "none.pem", "--key", "ann.key"], "none.pem: No such file"),
        (url, &["--cert", "ann.pem", "--key", "ca.pem"], "ca.pem: expected a private key in PEM form"),
        (url, &["--cert", "ann.pem", "--key", "other.key"], "does not belong to the certificate"),
        (url, &["--cert", "ann.pem"], "--key"),
        (url, &["--key", "ann.key"], "--cert"),
        ("ws://127.0.0.1:1", &["--ca", "ca.pem"], "need a --url with wss:// or tls://"),
    ] {
        let output = call(&directory, url, args).await.exits(2);
        assert!(output.stderr.contains(words), "{}", output.stderr);
        assert!(!output.stderr.contains("BEGIN"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn the_client_library_connects_and_tells_why_not() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = broker(&authority, &tls::SERVER).await;
        let directory = files(&authority.client("ann"));
        let at = |name: &str| directory.path().join(name);
        let options = || ConnectOptions::new(&broker.url(transport)).unwrap();
        let tls = Tls::new().ca_file(at("ca.pem")).unwrap();
        let known = tls.clone().client_certificate(at("ann.pem"), at("ann.key")).unwrap();
        let login = jackfield_client::Login::anonymous();
        let client = jackfield_client::Client::connect(options().tls(known).login(login)).await.unwrap();
        let long = json!({"class": "a", "body": {"long": "x".repeat(500_000)}});
        client.request("core", "event", "send_event", &long).await.unwrap();
        client.close().await;
        let login = jackfield_client::Login::anonymous();
        let refused = jackfield_client::Client::connect(options().tls(tls).login(login)).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Connect { reason: DisconnectReason::Tls(words), .. } if words.contains("requires")),
            "{refused:?}"
        );
    })
    .await;
}
