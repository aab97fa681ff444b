use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use jackfield_plugin_api::PeerCertificate;
use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate, TbsCertificate,
    der::{Decode, oid::db::rfc4519::COMMON_NAME},
    ext::pkix::{
        SubjectAltName,
        name::{DirectoryString, GeneralName},
    },
};

/// What a certificate says. One that rustls has verified but that cannot be read here has its fingerprint alone, so
/// that nobody gets in by a name that was misread.
pub(in crate::transport) fn peer_certificate(der: &CertificateDer<'_>) -> PeerCertificate {
    let mut facts = PeerCertificate { sha256: fingerprint(der), ..PeerCertificate::default() };
    match Certificate::from_der(der) {
        Ok(certificate) => describe(certificate.tbs_certificate(), &mut facts),
        Err(error) => tracing::warn!(sha256 = facts.sha256, %error, "a certificate's names cannot be read"),
    }
    facts
}

fn fingerprint(der: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16));
    digest(&SHA256, der).as_ref().iter().flat_map(digits).flatten().collect()
}

fn describe(certificate: &TbsCertificate, facts: &mut PeerCertificate) {
    let subject = certificate.subject();
    facts.subject = subject.to_string();
    let names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    // The most specific part stands last.
    let name = names.last().and_then(|name| DirectoryString::try_from(&name.value).ok());
    facts.common_name = name.map(|name| name.value().into_owned());
    facts.not_after = Some(certificate.validity().not_after.to_unix_duration().as_secs());
    match certificate.get_extension::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names.iter().for_each(|name| add_name(name, facts)),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(sha256 = facts.sha256, %error, "a certificate's alternative names cannot be read");
        }
    }
}

fn add_name(name: &GeneralName, facts: &mut PeerCertificate) {
    match name {
        GeneralName::DnsName(name) => facts.dns.push(name.as_str().to_owned()),
        GeneralName::Rfc822Name(name) => facts.email.push(name.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(name) => facts.uri.push(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => facts.ip.extend(address(bytes.as_bytes())),
        _ => {}
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
