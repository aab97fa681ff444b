//! TLS on the broker's side: the files of a service, what is made of them, and what a client's certificate says.

mod files;
mod keeper;
mod material;
mod peer;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use files::FileProblem;
pub use keeper::{Keeper, Look};
pub use material::Material;

pub(super) use peer::peer_certificate;

/// The cryptography, named wherever it is needed: nothing depends on what the process has set as its default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
