use std::{path::Path, sync::Arc};

use rustls::{
    Error, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    files::{Contents, Digest, FileProblem},
    peer::peer_certificate,
    provider,
};
use crate::{codec::Framing, config::TlsConfig};

/// What wss:// clients may ask for by ALPN. Who does not ask gets by without.
const HTTP: &[u8] = b"http/1.1";

/// A service's certificate, key and authorities, ready for handshakes.
pub struct Material {
    source: TlsConfig,
    digest: Digest,
    lines: Arc<ServerConfig>,
    websocket: Arc<ServerConfig>,
    expires: Option<u64>,
}

impl Material {
    /// Reads the files and makes of them what handshakes need.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(source: &TlsConfig) -> Result<Self, FileProblem> {
        Self::build(source, &Contents::read(source)?)
    }

    pub(super) fn build(source: &TlsConfig, contents: &Contents) -> Result<Self, FileProblem> {
        let certified = certified_key(source, contents)?;
        let expires = certified.cert.first().and_then(|leaf| peer_certificate(leaf).not_after);
        let failed = |error: Error| FileProblem::new("certificate", &source.certificate, error.to_string());
        let mut lines = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_client_cert_verifier(client_verifier(source, contents)?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // A ticket lets its owner in without another look at its certificate. So each set of files has tickets of its
        // own: none outlives the authorities it was checked against, and none is good for another service.
        lines.ticketer = Ticketer::new().map_err(failed)?;
        lines.session_storage = Arc::new(NoServerSessionStorage {});
        let mut websocket = lines.clone();
        websocket.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Self {
            source: source.clone(),
            digest: contents.digest(),
            lines: Arc::new(lines),
            websocket: Arc::new(websocket),
            expires,
        })
    }

    /// What a handshake on a listener of this framing goes by.
    pub(in crate::transport) fn server_config(&self, framing: Framing) -> Arc<ServerConfig> {
        match framing {
            Framing::Line => Arc::clone(&self.lines),
            Framing::WebSocket => Arc::clone(&self.websocket),
        }
    }

    /// The last second in which the certificate is valid, in seconds since 1970, where it says so.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    pub(super) fn source(&self) -> &TlsConfig {
        &self.source
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether nothing has changed from `other`.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.source == other.source
    }
}

fn certified_key(source: &TlsConfig, contents: &Contents) -> Result<CertifiedKey, FileProblem> {
    let chain = certificates("certificate", &source.certificate, &contents.certificate)?;
    let bad_key = |reason: String| FileProblem::new("key", &source.key, reason);
    // The parser's own words may quote a line of the file.
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| bad_key("expected a private key in PEM form, not encrypted".to_owned()))?;
    let key = provider().key_provider.load_private_key(key).map_err(|error| bad_key(error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            let certificate = source.certificate.display();
            Err(bad_key(format!("the key does not belong to the certificate in {certificate}")))
        }
        Err(error) => Err(FileProblem::new("certificate", &source.certificate, error.to_string())),
    }
}

/// The certificates of a PEM file: at least one.
fn certificates(
    key: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(FileProblem::new(key, path, "expected certificates in PEM form")),
    }
}

fn client_verifier(
    source: &TlsConfig,
    contents: &Contents,
) -> Result<Arc<dyn ClientCertVerifier>, FileProblem> {
    let (Some(path), Some(bytes)) = (&source.client_ca, &contents.client_ca) else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let bad = |reason: String| FileProblem::new("client_ca", path, reason);
    let mut roots = RootCertStore::empty();
    for authority in certificates("client_ca", path, bytes)? {
        roots.add(authority).map_err(|error| bad(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier =
        if source.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| bad(error.to_string()))
}
