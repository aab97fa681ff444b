use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::TlsConfig;

/// What is wrong with one of a service's TLS files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FileProblem {
    /// The key of the configuration that names the file, in `[service.NAME.tls]`.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be used.
    pub reason: String,
}

impl FileProblem {
    pub(super) fn new(key: &'static str, path: &Path, reason: impl Into<String>) -> Self {
        Self { key, path: path.to_owned(), reason: reason.into() }
    }
}

/// The files' contents as they were read, all at about one time.
pub(super) struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Option<Vec<u8>>,
}

/// Tells contents apart without keeping them: one is a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Contents {
    pub(super) fn read(config: &TlsConfig) -> Result<Self, FileProblem> {
        let client_ca = config.client_ca.as_deref().map(|path| read("client_ca", path)).transpose()?;
        Ok(Self {
            certificate: read("certificate", &config.certificate)?,
            key: read("key", &config.key)?,
            client_ca,
        })
    }

    pub(super) fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        for part in [&self.certificate, &self.key, self.client_ca.as_deref().unwrap_or_default()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Digest(bytes)
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, FileProblem> {
    std::fs::read(path).map_err(|error| FileProblem::new(key, path, error.to_string()))
}
