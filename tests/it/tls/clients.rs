//! Client certificates: asked for, required, and turned into users.

use std::time::Duration;

use rcgen::SanType;
use serde_json::json;

use crate::support::tls::{self, AUTHORITY, Authority, ONLY_1_2, ONLY_1_3, Pair, trusting};
use crate::support::{Broker, Client, Options, Transport, code, eventually, on_tls, pause, within};

/// Common names are users of that name, and devices are users by their DNS names.
const MAP: &str = r#"
[[service.main.plugin.auth-certificate.map]]
from = "dns"
matches = "*.devices.example.com"
user = "device-{1}"

[[service.main.plugin.auth-certificate.map]]
from = "cn"
matches = "*@example.com"
"#;

/// Options of a broker that takes certificates of the authority.
fn options(authority: &Authority, require: bool) -> Options {
    let table = format!("client_ca = \"clients.pem\"\nrequire_client_certificate = {require}\n{MAP}");
    Options::fixture()
        .plugins(&["fixture", "auth-certificate"])
        .with_tls_of(&tls::SERVER)
        .file("clients.pem", &authority.pem())
        .config(&tls::table(&table))
}

/// Connects with this certificate, and says one thing: with TLS 1.3 a client knows only then that it was refused.
async fn try_as(broker: &Broker, transport: Transport, shown: Option<&Pair>) -> Result<Client, String> {
    let tls = trusting(&AUTHORITY);
    let tls = shown.map_or(trusting(&AUTHORITY), |pair| tls.showing(pair));
    connect(&broker.url(transport), &tls.build()).await
}

async fn connect(url: &str, config: &std::sync::Arc<rustls::ClientConfig>) -> Result<Client, String> {
    let mut client = Client::try_connect_as(url, config).await.map_err(|error| error.to_string())?;
    if !client.try_send_text(r#"{"class":"core","cmd":"ping","tid":"first"}"#).await {
        return Err("the connection is closed".into());
    }
    match client.recv_or_error().await {
        Ok(_) => Ok(client),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn a_certificate_logs_in_without_a_user_or_a_password() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, false)).await;
        let ann = authority.client("ann@example.com");
        for versions in [ONLY_1_2, ONLY_1_3] {
            let config = trusting(&AUTHORITY).showing(&ann).versions(versions).build();
            let mut client = connect(&broker.url(transport), &config).await.unwrap();
            client.login_with(json!({})).await;
            let who = client.ok("fixture/core/whoami", json!({})).await;
            assert_eq!(who["user"], "ann@example.com", "{who}");
        }
        let dns = vec![SanType::DnsName("seven.devices.example.com".try_into().unwrap())];
        let device = authority.client_with("a device", dns);
        let mut client = try_as(&broker, transport, Some(&device)).await.unwrap();
        client.login_with(json!({"user": "device-seven"})).await;
        assert_eq!(client.ok("fixture/core/whoami", json!({})).await["user"], "device-seven");
    })
    .await;
}

#[tokio::test]
async fn who_it_is_not_it_cannot_say_to_be() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, false)).await;
        let ann = authority.client("ann@example.com");
        let mut client = try_as(&broker, transport, Some(&ann)).await.unwrap();
        let error = client.err("core/user/login", json!({"user": "bob@example.com"})).await;
        assert_eq!(error.0, code::UNAUTHORIZED);
        // Neither does a certificate that maps to nobody get in, nor none at all.
        for shown in [Some(&authority.client("nobody")), None] {
            let mut client = try_as(&broker, transport, shown).await.unwrap();
            let error = client.err("core/user/login", json!({"user": "ann@example.com"})).await;
            assert_eq!(error.0, code::UNAUTHORIZED);
            assert_eq!(client.err("core/user/login", json!({})).await.0, code::MISSING_FIELD);
        }
    })
    .await;
}

#[tokio::test]
async fn handlers_see_what_a_certificate_says() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, true)).await;
        let names = vec![
            SanType::DnsName("a.example.com".try_into().unwrap()),
            SanType::Rfc822Name("ann@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example.com/ann".try_into().unwrap()),
            SanType::IpAddress("10.0.0.7".parse().unwrap()),
            SanType::IpAddress("fd00::7".parse().unwrap()),
        ];
        let pair = authority.client_with("ann@example.com", names);
        let mut client = try_as(&broker, transport, Some(&pair)).await.unwrap();
        client.login_with(json!({})).await;
        let facts = client.ok("fixture/core/certificate", json!({})).await;
        assert_eq!(facts["common_name"], "ann@example.com");
        assert_eq!(facts["subject"], "CN=ann@example.com,O=Example\\, Inc.");
        assert_eq!(facts["dns"], json!(["a.example.com"]));
        assert_eq!(facts["email"], json!(["ann@example.com"]));
        assert_eq!(facts["uri"], json!(["spiffe://example.com/ann"]));
        assert_eq!(facts["ip"], json!(["10.0.0.7", "fd00::7"]));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pair.der());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(facts["sha256"], hex);
        assert!(facts["not_after"].as_u64().unwrap() > 2_000_000_000, "{facts}");
    })
    .await;
}

#[tokio::test]
async fn certificates_of_another_authority_and_expired_ones_are_refused() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, false)).await;
        let other = Authority::new("Others").client("ann@example.com");
        let expired = authority.expired_client("ann@example.com");
        for (pair, alert) in [(&other, "UnknownCA"), (&expired, "CertificateExpired")] {
            let error = try_as(&broker, transport, Some(pair)).await.err().unwrap();
            assert!(error.contains(alert), "{error}");
        }
        let failures = || broker.log().matches("TLS handshake failed").count();
        eventually("two failures in the log", || failures() == 2).await;
        assert!(broker.log().contains("UnknownIssuer") && broker.log().contains("certificate expired"));
    })
    .await;
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in_where_one_is_required() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, true)).await;
        let error = try_as(&broker, transport, None).await.err().unwrap();
        assert!(error.contains("CertificateRequired"), "{error}");
        broker.logged("peer sent no certificates").await;
        let ann = authority.client("ann@example.com");
        try_as(&broker, transport, Some(&ann)).await.unwrap().login_with(json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_resumed_session_still_has_its_certificate() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, true)).await;
        let ann = authority.client("ann@example.com");
        let config = trusting(&AUTHORITY).showing(&ann).build();
        for resumed in [false, true] {
            let mut client = connect(&broker.url(transport), &config).await.unwrap();
            client.login_with(json!({})).await;
            assert_eq!(client.is_resumed(), resumed);
        }
    })
    .await;
}

/// A ticket from before must not get past the authorities that count now.
#[tokio::test]
async fn another_authority_ends_what_could_be_resumed() {
    on_tls(async |transport| {
        let (authority, other) = (Authority::new("Clients"), Authority::new("Others"));
        let ann = authority.client("ann@example.com");
        for versions in [ONLY_1_2, ONLY_1_3] {
            let broker = Broker::start(options(&authority, true)).await;
            let config = trusting(&AUTHORITY).showing(&ann).versions(versions).build();
            let mut before = connect(&broker.url(transport), &config).await.unwrap();
            before.login_with(json!({})).await;
            broker.replace_file("clients.pem", &other.pem());
            broker.logged("new TLS files are in use").await;
            let error = connect(&broker.url(transport), &config).await.err().unwrap();
            assert!(error.contains("UnknownCA"), "{error}");
            before.ok("core/core/ping", json!({})).await;
        }
    })
    .await;
}

/// Nor does a ticket live longer than the certificate that it stands for.
#[tokio::test]
async fn what_a_certificate_gave_ends_with_it() {
    on_tls(async |transport| {
        let authority = Authority::new("Clients");
        let broker = Broker::start(options(&authority, true)).await;
        let ann = authority.client_for("ann@example.com", Duration::from_secs(3));
        let config = trusting(&AUTHORITY).showing(&ann).build();
        let mut client = connect(&broker.url(transport), &config).await.unwrap();
        client.login_with(json!({})).await;
        let mut again = connect(&broker.url(transport), &config).await.unwrap();
        assert!(again.is_resumed());
        client.expect_closed_as(4002, "session_timeout").await;
        within("the end of what can be resumed", async {
            while connect(&broker.url(transport), &config).await.is_ok() {
                pause(50).await;
            }
        })
        .await;
        // In other words than those of a certificate that is verified: this one was not.
        broker.logged("invalid peer certificate: Expired").await;
        again.ok("core/core/ping", json!({})).await;
    })
    .await;
}
