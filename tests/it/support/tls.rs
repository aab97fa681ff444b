//! Certificates that a test makes, and clients that go by them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// The authority that clients trust where a test does not say otherwise.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("Test authority"));

/// A server's certificate of that authority, for `localhost` and 127.0.0.1.
pub static SERVER: LazyLock<Pair> = LazyLock::new(|| AUTHORITY.server());

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap().to_vec()
    }
}

/// Makes certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate for `localhost` and 127.0.0.1.
    pub fn server(&self) -> Pair {
        self.sign(&server_params())
    }

    /// The same, out of date.
    pub fn expired_server(&self) -> Pair {
        self.sign(&expired(server_params()))
    }

    /// A client's certificate of this common name.
    pub fn client(&self, name: &str) -> Pair {
        self.sign(&client_params(name))
    }

    /// The same, out of date.
    pub fn expired_client(&self, name: &str) -> Pair {
        self.sign(&expired(client_params(name)))
    }

    /// A client's certificate that is valid for so long from now on.
    pub fn client_for(&self, name: &str, time: Duration) -> Pair {
        let mut params = client_params(name);
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        params.not_after = date_time_ymd(1970, 1, 1) + end;
        self.sign(&params)
    }

    /// A client's certificate with these alternative names.
    pub fn client_with(&self, name: &str, names: Vec<SanType>) -> Pair {
        let mut params = client_params(name);
        params.subject_alt_names = names;
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn server_params() -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_string()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn client_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    params
}

/// How a client does TLS: whom it trusts, what it shows, and which versions it knows.
pub struct ClientTls<'a> {
    authority: &'a Authority,
    shown: Option<&'a Pair>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
}

/// TLS 1.2 alone.
pub const ONLY_1_2: &[&SupportedProtocolVersion] = &[&TLS12];

/// TLS 1.3 alone.
pub const ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// A client that trusts this authority and shows nothing.
pub fn trusting(authority: &Authority) -> ClientTls<'_> {
    ClientTls { authority, shown: None, versions: rustls::ALL_VERSIONS, alpn: Vec::new() }
}

impl<'a> ClientTls<'a> {
    pub fn showing(self, pair: &'a Pair) -> Self {
        Self { shown: Some(pair), ..self }
    }

    pub fn versions(self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        Self { versions, ..self }
    }

    pub fn alpn(self, protocol: &str) -> Self {
        Self { alpn: vec![protocol.as_bytes().to_vec()], ..self }
    }

    pub fn build(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shown {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let certificate = CertificateDer::from(pair.der());
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.clone();
        config.resumption = Resumption::in_memory_sessions(16);
        Arc::new(config)
    }
}

/// What clients do that say nothing else: they trust [`AUTHORITY`], and show nothing.
pub fn client() -> Arc<ClientConfig> {
    static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| trusting(&AUTHORITY).build());
    Arc::clone(&CLIENT)
}

/// The name that servers' certificates are for.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// `[service.main.tls]` with the files `server.pem` and `server.key`, and more keys.
pub fn table(more: &str) -> String {
    format!("[service.main.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n{more}\n")
}
