//! What a TLS client's certificate says.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificate that a connection's client has proved to own. The broker has checked it against the authorities
/// that the service trusts, and its dates; what its names are worth is for authenticators to say.
///
/// A virtual session and a plugin have none, nor has a client on a listener without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerCertificate {
    /// The subject's common name, the most specific where there are several.
    pub common_name: Option<String>,
    /// The whole subject as RFC 4514 writes it, most specific part first: `CN=sensor 7,O=Example`.
    pub subject: String,
    /// Subject alternative names: DNS names.
    pub dns: Vec<String>,
    /// Subject alternative names: e-mail addresses.
    pub email: Vec<String>,
    /// Subject alternative names: URIs.
    pub uri: Vec<String>,
    /// Subject alternative names: IP addresses.
    pub ip: Vec<IpAddr>,
    /// The SHA-256 fingerprint of the whole certificate, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The last second in which it is valid, in seconds since 1970; `None` where that cannot be read.
    pub not_after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_crosses_borders_as_json() {
        let certificate = PeerCertificate {
            common_name: Some("ann".into()),
            subject: "CN=ann".into(),
            ip: vec!["::1".parse().unwrap()],
            sha256: "00".repeat(32),
            not_after: Some(1),
            ..PeerCertificate::default()
        };
        let json = serde_json::to_value(&certificate).unwrap();
        assert_eq!(json["ip"], serde_json::json!(["::1"]));
        assert_eq!(json["common_name"], "ann");
        assert_eq!(serde_json::from_value::<PeerCertificate>(json).unwrap(), certificate);
    }
}
