//! Servers that are spoken to over TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::receiver::{ACCEPTED, Receiver};
use super::records::{sample, without_timestamp};
use super::{numbered, start, until_metric};

/// A certificate authority with its files in a directory: `ca.pem`, and what it issues.
pub struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whether a server wants to see a certificate.
#[derive(Clone, Copy)]
pub enum Clients {
    Anyone,
    Known,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Issues `NAME.pem` and `NAME.key`.
    pub fn issue(&self, name: &str) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_string(), "localhost".to_string()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub fn acceptor(&self, clients: Clients) -> TlsAcceptor {
        self.issue("server");
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = match clients {
            Clients::Anyone => builder.unwrap().with_no_client_auth(),
            Clients::Known => {
                let mut roots = RootCertStore::empty();
                roots.add(pem(Path::new(&self.file("ca.pem")))).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.unwrap().with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let config = builder.with_single_cert(vec![pem(Path::new(&self.file("server.pem")))], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn pem(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

#[tokio::test]
async fn a_server_of_ones_own_authority_is_trusted() {
    let authority = Authority::new();
    let tls = Receiver::tls(authority.acceptor(Clients::Anyone)).await;
    let answer = Arc::new(|_| ACCEPTED);
    let https =
        Receiver::http_at("127.0.0.1:0".parse().unwrap(), Some(authority.acceptor(Clients::Anyone)), answer)
            .await;
    let servers = format!("[\"{}\", \"{}\"]", tls.url("tls"), https.url("https"));
    let (_broker, mut ann) =
        start(&format!("servers = {servers}\nca = \"{}\"", authority.file("ca.pem"))).await;
    let (request, record) = sample(&ann);
    ann.ok("core/session/log", request).await;
    for receiver in [tls, https] {
        assert_eq!(without_timestamp(receiver.until(1).await.remove(0)), record);
    }
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let receiver = Receiver::tls(authority.acceptor(Clients::Anyone)).await;
    let (broker, mut ann) =
        start(&format!("server = \"{}\"\nca = \"{}\"", receiver.url("tls"), other.file("ca.pem"))).await;
    ann.ok("core/session/log", numbered(1)).await;
    until_metric(&broker, "reconnects_total", |reconnects| reconnects > 1.5).await;
    broker.logged("cannot send to the log server").await;
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_certificate_is_shown_where_one_is_asked_for() {
    let authority = Authority::new();
    authority.issue("client");
    let receiver = Receiver::tls(authority.acceptor(Clients::Known)).await;
    let (url, ca) = (receiver.url("tls"), authority.file("ca.pem"));
    let (broker, mut ann) = start(&format!("server = \"{url}\"\nca = \"{ca}\"")).await;
    ann.ok("core/session/log", numbered(1)).await;
    until_metric(&broker, "reconnects_total", |reconnects| reconnects > 1.5).await;
    assert_eq!(receiver.count(), 0);
    let sent = until_metric(&broker, "sent_total", |_| true).await.total("jackfield_plugin_gelf_sent_total");
    assert!(sent < 0.5, "{sent} records were sent into a connection that was refused");
    let (certificate, key) = (authority.file("client.pem"), authority.file("client.key"));
    let table =
        format!("server = \"{url}\"\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"");
    let (_broker, mut ann) = start(&table).await;
    ann.ok("core/session/log", json!({"source": "s", "message": "known"})).await;
    assert_eq!(receiver.until(1).await[0]["short_message"], "known");
}
