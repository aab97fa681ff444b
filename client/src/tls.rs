//! TLS: whom to trust, who to be, and what went wrong in words.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, InconsistentKeys, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{net::TcpStream, sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{DisconnectReason, Error};

/// Whom a client trusts on `wss://` and `tls://` connections, and the certificate that it shows there.
///
/// ```no_run
/// use jackfield_client::{ConnectOptions, Tls};
///
/// # fn options() -> Result<ConnectOptions, jackfield_client::Error> {
/// let tls = Tls::new().ca_file("ca.pem")?.client_certificate("ann.pem", "ann.key")?;
/// let options = ConnectOptions::new("wss://broker.example")?.tls(tls);
/// # Ok(options)
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Arc<SingleCertAndKey>>,
    config: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Tls {
    /// Trusts the authorities that the system trusts, and shows no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in a PEM file, and the system's no more. May be called for several files.
    ///
    /// # Errors
    /// [`Error::TlsFile`] for a file that cannot be read, or without certificates in PEM form.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.authorities.extend(certificates(path.as_ref())?);
        Ok(self.changed())
    }

    /// Shows a certificate to a broker that asks for one: PEM files of its chain and of its private key.
    ///
    /// # Errors
    /// [`Error::TlsFile`] for a file that cannot be read or used, and for a key that is not the certificate's.
    pub fn client_certificate(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let certified = certified_key(certificate.as_ref(), key.as_ref())?;
        self.identity = Some(Arc::new(certified.into()));
        Ok(self.changed())
    }

    /// What was made of other settings is not for these.
    fn changed(mut self) -> Self {
        self.config = Arc::default();
        self
    }

    /// Does the handshake; `host` is what the certificate must be for.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DisconnectReason> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            DisconnectReason::Tls("the URL's host is no name that a certificate can have".into())
        })?;
        let config = self.config.get_or_try_init(|| self.build()).await?;
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(io_reason)
    }

    async fn build(&self) -> Result<Arc<ClientConfig>, DisconnectReason> {
        let failed = |error: rustls::Error| DisconnectReason::Tls(error.to_string());
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(self.roots().await?);
        let config = match &self.identity {
            Some(identity) => config.with_client_cert_resolver(Arc::clone(identity) as _),
            None => config.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    async fn roots(&self) -> Result<RootCertStore, DisconnectReason> {
        let given = self.authorities.clone();
        let authorities = if given.is_empty() { system_authorities().await } else { given };
        let mut roots = RootCertStore::empty();
        // A system may hold authorities that cannot be used; the others still can.
        roots.add_parsable_certificates(authorities);
        if roots.is_empty() {
            let reason = "there is no authority to trust: the system has none, and none was given";
            return Err(DisconnectReason::Tls(reason.into()));
        }
        Ok(roots)
    }
}

/// Reads many files, so on a thread where that may take its time.
async fn system_authorities() -> Vec<CertificateDer<'static>> {
    let found = spawn_blocking(rustls_native_certs::load_native_certs).await;
    found.map(|found| found.certs).unwrap_or_default()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = read(path)?;
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(file_error(path, "expected certificates in PEM form")),
    }
}

fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let chain = certificates(certificate)?;
    // The parser's own words may quote a line of the file.
    let parsed = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| file_error(key, "expected a private key in PEM form, not encrypted"))?;
    let signing = provider().key_provider.load_private_key(parsed);
    let certified = CertifiedKey::new(chain, signing.map_err(|error| file_error(key, &error.to_string()))?);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let reason = format!("the key does not belong to the certificate in {}", certificate.display());
            Err(file_error(key, &reason))
        }
        Err(error) => Err(file_error(certificate, &error.to_string())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| file_error(path, &error.to_string()))
}

fn file_error(path: &Path, reason: &str) -> Error {
    Error::TlsFile { path: PathBuf::from(path), reason: reason.to_owned() }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.len())
            .field("client_certificate", &self.identity.is_some())
            .finish()
    }
}

/// Why a socket failed, TLS or not.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(crate) fn io_reason(error: io::Error) -> DisconnectReason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => DisconnectReason::Tls(in_words(error)),
        // The end of a TLS connection without TLS's own goodbye.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            DisconnectReason::ClosedByPeer { code: None, reason: String::new() }
        }
        None => DisconnectReason::Io(error.to_string()),
    }
}

fn in_words(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(error) => unacceptable(error),
        AlertReceived(alert) => refused(*alert),
        InvalidMessage(_) => "there is no TLS on the broker's port".into(),
        error => error.to_string(),
    }
}

/// What is wrong with the broker's certificate.
fn unacceptable(error: &CertificateError) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    match error {
        UnknownIssuer => {
            "the broker's certificate is from an authority that is not trusted here (UnknownIssuer)".into()
        }
        Expired | ExpiredContext { .. } => format!("the broker's certificate has expired ({error})"),
        NotValidYet | NotValidYetContext { .. } => {
            format!("the broker's certificate is not valid yet ({error})")
        }
        NotValidForName | NotValidForNameContext { .. } => {
            format!("the broker's certificate is not for this host ({error})")
        }
        error => format!("the broker's certificate is not good ({error})"),
    }
}

/// What the broker meant by ending the handshake.
fn refused(alert: AlertDescription) -> String {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        DecryptError, UnknownCA, UnsupportedCertificate,
    };
    match alert {
        CertificateRequired => "the broker requires a client certificate".into(),
        CertificateExpired => "the broker refused the client certificate: it has expired".into(),
        UnknownCA => {
            "the broker refused the client certificate: it does not trust the authority that made it".into()
        }
        BadCertificate | CertificateRevoked | CertificateUnknown | DecryptError | UnsupportedCertificate => {
            format!("the broker refused the client certificate ({alert:?})")
        }
        alert => format!("the broker ended the TLS handshake ({alert:?})"),
    }
}
