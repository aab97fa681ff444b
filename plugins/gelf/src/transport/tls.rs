//! TLS, set up anew for each connection: a renewed certificate needs no reload.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{config::TlsFiles, server::Server};

/// Connects over TLS.
pub(super) async fn handshake(
    stream: TcpStream,
    server: &Server,
    files: &TlsFiles,
    protocols: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let files = files.clone();
    let mut config =
        tokio::task::spawn_blocking(move || config(&files)).await.map_err(io::Error::other)??;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Whether TLS can be set up from these files.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check(files: &TlsFiles) -> io::Result<()> {
    config(files).map(drop)
}

fn config(files: &TlsFiles) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots(files.ca.as_deref())?);
    let Some((certificate, key)) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    // The parser's own words may quote a line of the file, or all of it.
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| about(key, "expected a private key in PEM form, not encrypted"))?;
    let chain = certificates(certificate)?;
    builder.with_client_auth_cert(chain, private).map_err(|error| about(certificate, error))
}

fn roots(ca: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| about(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(about(path, "expected certificates in PEM form")),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| about(path, error))
}

fn about(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
