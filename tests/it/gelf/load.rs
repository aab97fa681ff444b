//! Many records, over every transport at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::receiver::{ACCEPTED, Receiver};
use super::tls::{Authority, Clients};
use super::{log_all, start};
use crate::support::{Metrics, pause};

const RECORDS: usize = 100_000;

/// Over UDP the receiver's machine may drop datagrams; over the others nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_records() {
    let authority = Authority::new();
    let (udp, tcp) = (Receiver::udp().await, Receiver::tcp().await);
    let tls = Receiver::tls(authority.acceptor(Clients::Anyone)).await;
    let http = Receiver::http(Arc::new(|_| ACCEPTED)).await;
    let servers = [udp.url("udp"), tcp.url("tcp"), tls.url("tls"), http.url("http")];
    let table =
        format!("servers = {servers:?}\nca = \"{}\"\ncompression = \"none\"", authority.file("ca.pem"));
    let (broker, mut ann) = start(&table).await;
    log_all(&mut ann, 0..RECORDS).await;
    let sent = "jackfield_plugin_gelf_sent_total";
    let all = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            let metrics = Metrics::of(&broker).await;
            if servers.iter().all(|server| metrics.labelled(sent, "server", server) > RECORDS as f64 - 0.5) {
                return;
            }
            pause(50).await;
        }
    });
    all.await.expect("every server was sent every record");
    for (receiver, ordered) in [(tcp, true), (tls, true), (http, false)] {
        // Sent may be read a moment later.
        crate::support::eventually("the last records", || receiver.count() >= RECORDS).await;
        let mut found = receiver.numbers();
        if !ordered {
            found.sort_unstable();
        }
        assert!(found.iter().copied().eq(0..RECORDS as u64), "{} at {}", found.len(), receiver.address);
    }
    let found = udp.numbers();
    let different: HashSet<u64> = found.iter().copied().collect();
    assert_eq!(different.len(), found.len(), "a datagram came twice");
    assert!(found.len() > RECORDS / 100, "only {} came by UDP", found.len());
}
