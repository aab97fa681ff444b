//! docs/tls.md: its commands and its configuration, as they stand there.

use std::path::Path;
use std::process::Command;

use crate::support::sources::{read, repository};
use crate::support::{Broker, Options, Transport, jackfield};

/// The code block behind the mark of this name.
fn block(page: &str, mark: &str) -> String {
    let (_, rest) =
        page.split_once(&format!("<!-- test:{mark} -->\n```")).unwrap_or_else(|| panic!("no {mark}"));
    let (_language, rest) = rest.split_once('\n').unwrap();
    rest.split_once("\n```").unwrap().0.to_string()
}

fn shell(directory: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Without `openssl` on the machine there is nothing to try the commands with.
fn has_openssl() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn what_the_page_says_leads_to_a_login_by_certificate() {
    if !has_openssl() {
        return;
    }
    let page = read(&repository("docs/tls.md"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for mark in ["authority", "server", "client"] {
        shell(path, &block(&page, mark));
    }
    let config = block(&page, "configuration");
    std::fs::write(path.join("jackfield.toml"), &config).unwrap();
    let checked = jackfield(path, &["check", "--config", "jackfield.toml"]).await.exits(0);
    assert_eq!(checked.stdout, "The configuration is valid.\n");
    let text = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    let options = ["ca.pem", "server.pem", "server.key"]
        .into_iter()
        .fold(Options::default().plugins(&[]), |options, name| options.file(name, &text(name)))
        .listen(&["wss://127.0.0.1:0", "tls://127.0.0.1:0"])
        .whole_config(&config);
    let broker = Broker::start(options).await;
    for transport in [Transport::Wss, Transport::Tls] {
        let url = broker.url(transport).replace("127.0.0.1", "localhost");
        let tls = ["--ca", "ca.pem", "--cert", "seven.pem", "--key", "seven.key"];
        let users = jackfield(path, &[&["call", "core/user/list", "--url", &url], &tls[..]].concat()).await;
        assert_eq!(users.exits(0).json()["device-seven"].as_array().map(Vec::len), Some(1));
    }
}
