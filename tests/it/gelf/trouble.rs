//! Log servers that are slow, down, unknown or mad: nobody waits for them.

use std::time::{Duration, Instant};

use super::receiver::Receiver;
use super::{log_all, start};
use crate::support::{Broker, Client, Options, Transport};

const COMMANDS: usize = 10_000;

async fn time(client: &mut Client) -> Duration {
    let started = Instant::now();
    log_all(client, 0..COMMANDS).await;
    started.elapsed()
}

/// How long the commands take with a server, against what they take without the plugin.
async fn costs_little(server: &str) {
    let plain = Broker::start(Options::default()).await;
    let mut bob = plain.login(Transport::Tcp, "bob").await;
    let (_broker, mut ann) = start(&format!("server = \"{server}\"")).await;
    let (without, with) = (time(&mut bob).await, time(&mut ann).await);
    // Queueing is an encoding and a lock. A wait of a millisecond for each command would be ten seconds in all.
    assert!(with < without * 3 + Duration::from_secs(3), "{with:?} with {server}, {without:?} without");
}

#[tokio::test]
async fn a_server_that_takes_nothing() {
    let receiver = Receiver::stalled().await;
    costs_little(&receiver.url("tcp")).await;
}

#[tokio::test]
async fn an_http_server_that_never_answers() {
    let receiver = Receiver::stalled().await;
    costs_little(&receiver.url("http")).await;
}

#[tokio::test]
async fn a_server_that_is_down() {
    let address = Receiver::tcp().await.address;
    costs_little(&format!("tcp://{address}")).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    costs_little("tcp://no-such-host.invalid:12201").await;
}

#[tokio::test]
async fn a_server_that_answers_nonsense() {
    let receiver = Receiver::garbage().await;
    costs_little(&receiver.url("tcp")).await;
    costs_little(&receiver.url("http")).await;
}
