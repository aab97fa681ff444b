//! New files, good and bad, while the broker runs.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::support::tls::{self, AUTHORITY, Authority, Pair, trusting};
use crate::support::{Broker, Client, Options, Transport, on_tls, pause, with_admin, within};

const IN_USE: &str = "new TLS files are in use for new connections";
const BAD: &str = "a new TLS file cannot be used; the old ones stay in use";

/// A configuration that is all in its file, with these keys of the TLS table.
fn config(more: &str) -> String {
    with_admin(&format!("plugins = [\"auth-open\"]\n{}", tls::table(more)))
}

async fn start() -> Broker {
    let options = Options::default().plugins(&[]).with_tls_of(&tls::SERVER).whole_config(&config(""));
    Broker::start(options).await
}

fn replace(broker: &Broker, pair: &Pair) {
    broker.replace_file("server.key", &pair.key);
    broker.replace_file("server.pem", &pair.certificate);
}

/// Waits until new connections are shown this certificate.
async fn until_shown(broker: &Broker, transport: Transport, pair: &Pair) {
    within("the new certificate", async {
        while broker.connect(transport).await.broker_certificate() != pair.der() {
            pause(20).await;
        }
    })
    .await;
}

/// A hundred sessions, each with a subscription.
async fn gather(broker: &Broker, transport: Transport) -> Vec<Client> {
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = broker.login(transport, &format!("user-{n}")).await;
        client.ok("core/event/subscribe", json!({"class": "news"})).await;
        clients.push(client);
    }
    clients
}

/// Every session still has its certificate, gets its events, and is answered.
async fn all_go_on(clients: &mut [Client], round: usize, shown: &Pair) {
    let news = json!({"class": "news", "body": {"round": round}});
    clients[round].ok("core/event/send_event", news.clone()).await;
    for client in clients {
        assert_eq!(client.event().await, news);
        client.ok("core/user/list", json!({})).await;
        assert_eq!(client.broker_certificate(), shown.der());
    }
}

#[tokio::test]
async fn a_hundred_connections_live_on_while_files_change() {
    on_tls(async |transport| {
        let broker = start().await;
        let mut clients = gather(&broker, transport).await;
        let second = AUTHORITY.server();
        replace(&broker, &second);
        until_shown(&broker, transport, &second).await;
        broker.logged(IN_USE).await;
        all_go_on(&mut clients, 0, &tls::SERVER).await;
    })
    .await;
}

#[tokio::test]
async fn and_when_the_configuration_is_read_again() {
    on_tls(async |transport| {
        let broker = start().await;
        let mut clients = gather(&broker, transport).await;
        // Other files, so that only the new configuration leads there.
        let second = AUTHORITY.server();
        broker.replace_file("second.pem", &second.certificate);
        broker.replace_file("second.key", &second.key);
        broker.rewrite_config(&config("").replace("server.", "second."));
        broker.hangup();
        until_shown(&broker, transport, &second).await;
        all_go_on(&mut clients, 0, &tls::SERVER).await;
        // The same files with other contents: the signal does not wait for the watch.
        let third = AUTHORITY.server();
        broker.replace_file("second.pem", &third.certificate);
        broker.replace_file("second.key", &third.key);
        broker.hangup();
        until_shown(&broker, transport, &third).await;
        all_go_on(&mut clients, 1, &tls::SERVER).await;
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_is_swapped_is_noticed() {
    let broker = start().await;
    let second = AUTHORITY.server();
    for (directory, pair) in [("one", &*tls::SERVER), ("two", &second)] {
        std::fs::create_dir(broker.file(directory)).unwrap();
        std::fs::write(broker.file(directory).join("server.pem"), &pair.certificate).unwrap();
        std::fs::write(broker.file(directory).join("server.key"), &pair.key).unwrap();
    }
    symlink("one", broker.file("current")).unwrap();
    broker.rewrite_config(&config("").replace("server.", "current/server."));
    broker.hangup();
    broker.logged("the configuration was reloaded").await;
    symlink("two", broker.file("next")).unwrap();
    std::fs::rename(broker.file("next"), broker.file("current")).unwrap();
    until_shown(&broker, Transport::Tls, &second).await;
}

#[tokio::test]
async fn a_bad_new_file_is_told_and_the_old_one_stays() {
    let broker = start().await;
    let second = AUTHORITY.server();
    // A key without its certificate: half of a pair.
    broker.replace_file("server.key", &second.key);
    broker.logged(BAD).await;
    broker.logged("does not belong to the certificate in").await;
    until_shown(&broker, Transport::Wss, &tls::SERVER).await;
    broker.replace_file("server.pem", "no certificate");
    broker.logged("expected certificates in PEM form").await;
    std::fs::remove_file(broker.file("server.pem")).unwrap();
    broker.logged("No such file").await;
    until_shown(&broker, Transport::Wss, &tls::SERVER).await;
    // Longer than a look takes: each change is told once.
    pause(2500).await;
    assert_eq!(broker.log().matches(BAD).count(), 3, "{}", broker.log());
    broker.replace_file("server.pem", &second.certificate);
    until_shown(&broker, Transport::Wss, &second).await;
}

#[tokio::test]
async fn a_bad_file_keeps_a_new_configuration_out() {
    let broker = start().await;
    broker.replace_file("bad.pem", "no authority");
    broker.rewrite_config(&config("client_ca = \"bad.pem\"").replace("auth-open", "auth-static"));
    broker.hangup();
    broker.logged("the configuration is bad; nothing was changed").await;
    assert!(broker.log().contains("service.main.tls.client_ca"));
    broker.login(Transport::Wss, "ann").await;
}

#[tokio::test]
async fn client_certificates_can_be_asked_for_while_it_runs() {
    on_tls(async |transport| {
        let broker = start().await;
        let authority = Authority::new("Clients");
        let ann = authority.client("ann");
        // Resumed from now on: a ticket from before must not get past what comes.
        let without = trusting(&AUTHORITY).build();
        let url = broker.url(transport);
        let mut before = Client::try_connect_as(&url, &without).await.unwrap();
        before.login("early").await;
        broker.replace_file("clients.pem", &authority.pem());
        broker.rewrite_config(&config("client_ca = \"clients.pem\"\nrequire_client_certificate = true"));
        broker.hangup();
        broker.logged("the configuration was reloaded").await;
        let refused = async {
            let mut client = Client::try_connect_as(&url, &without).await.map_err(drop)?;
            client.recv_or_error().await.map_err(drop)
        };
        assert!(refused.await.is_err());
        let with = trusting(&AUTHORITY).showing(&ann).build();
        Client::try_connect_as(&url, &with).await.unwrap().login("ann").await;
        before.ok("core/user/list", json!({})).await;
        // And no more.
        broker.rewrite_config(&config(""));
        broker.hangup();
        within("a connection without a certificate", async {
            loop {
                if let Ok(mut client) = Client::try_connect_as(&url, &without).await
                    && client.try_send_text(r#"{"class":"core","cmd":"ping","tid":1}"#).await
                    && client.recv_or_error().await.is_ok()
                {
                    break;
                }
            }
        })
        .await;
    })
    .await;
}
