//! Two hundred reloads under load: every request is answered, none with an error, every event arrives. How much memory
//! a reload takes is printed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::text;
use crate::support::{
    Broker, Client, Options, Receiver, Sender, Transport, connect_halves, fixture_library, request_message,
};

const CONNECTIONS: u32 = 50;
/// Requests a second, of all connections together.
const RATE: u32 = 5_000;
const RELOADS: u32 = 200;
/// One in so many finds that the library has changed.
const CHANGED: u32 = 10;
/// How many requests a connection has open at most.
const MOST_OPEN: u64 = 32;
/// All of them take at least so long.
const LEAST: Duration = Duration::from_secs(10);

/// Mostly what is answered in place; but also what waits, asks the broker, and fires an event.
fn request(n: u64) -> Value {
    let (command, data) = match n % 10 {
        0 => ("fixture/core/sleep", json!({"ms": 3})),
        1 => ("fixture/core/call", json!({"class": "fixture", "cmd": "echo", "data": {"n": n}})),
        2 => ("fixture/core/fire", json!({"class": "reloads", "body": {"n": n}})),
        _ => ("fixture/core/echo", json!({"n": n})),
    };
    request_message(command, &data, &json!(n))
}

async fn logged_in(url: &str, user: &str) -> (Sender, Receiver) {
    let (mut sender, mut receiver) = connect_halves(url, None).await;
    let login = json!({"user": user, "events": "push"});
    sender.send(&request_message("core/user/login", &login, &json!(0))).await;
    assert_eq!(receiver.next().await.unwrap()["result"], "ok");
    (sender, receiver)
}

/// Sends at its share of the rate until it is to stop, and takes every answer; how many there were, and how many of
/// them were for events.
async fn drive(url: String, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (mut sender, mut receiver) = logged_in(&url, "driver").await;
    let mut clock = tokio::time::interval(Duration::from_secs(1) * CONNECTIONS / RATE);
    // A tick that is late does not delay those after it; a machine that is too slow gives a lower rate, no backlog.
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut sent, mut answered, mut fired) = (0, 0, 0);
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        if stopped && answered == sent {
            return (answered, fired);
        }
        tokio::select! {
            _ = clock.tick(), if !stopped && sent - answered < MOST_OPEN => {
                sent += 1;
                sender.send(&request(sent)).await;
            }
            message = receiver.next() => {
                let message = message.expect("the connection stays");
                if message.get("ack").is_none() {
                    assert_eq!(message["result"], "ok", "{message}");
                    answered += 1;
                    fired += u64::from(message["data"].get("queued").is_some());
                }
            }
        }
    }
}

/// Counts the events, until the one that says how many there must have been.
async fn listen(url: String, mut subscribed: Option<tokio::sync::oneshot::Sender<()>>) {
    let (mut sender, mut receiver) = logged_in(&url, "listener").await;
    let topic = json!({"class": "reloads"});
    sender.send(&request_message("core/event/subscribe", &topic, &json!(1))).await;
    let mut seen = 0;
    while let Some(message) = receiver.next().await {
        if message.get("result").is_some() {
            subscribed.take().unwrap().send(()).unwrap();
            continue;
        }
        let data = &message["data"];
        if data["type"] == "end" {
            assert_eq!(data["body"]["fired"], seen);
            return;
        }
        seen += 1;
    }
    panic!("the connection ended");
}

/// The memory that a process holds, in bytes.
fn resident(broker: &Broker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A copy of the library as it would be shipped: without debug information, where that can be taken off.
fn stripped(directory: &Path) -> PathBuf {
    let library = directory.join("plugin.so");
    fs::copy(fixture_library(), &library).unwrap();
    // Without binutils it works as it is, only slower.
    drop(Command::new("strip").arg("--strip-debug").arg(&library).status());
    library
}

async fn reload(admin: &mut Client) {
    admin.ok("core/plugin/reload", json!({"name": "fixture"})).await;
}

/// Reloads again and again; the memory that each reload took on average, without and with a changed library.
async fn reload_all(broker: &Broker, admin: &mut Client, library: &Path) -> [f64; 2] {
    let mut grown = [0.0, 0.0];
    let mut before = resident(broker);
    let started = Instant::now();
    for n in 1..=RELOADS {
        let changed = n % CHANGED == 0;
        if changed {
            fs::OpenOptions::new().append(true).open(library).unwrap().write_all(b"x").unwrap();
        }
        reload(admin).await;
        tokio::time::sleep_until((started + LEAST * n / RELOADS).into()).await;
        let now = resident(broker);
        grown[usize::from(changed)] += now as f64 - before as f64;
        before = now;
    }
    let of_changed = f64::from(RELOADS / CHANGED);
    [grown[0] / (f64::from(RELOADS) - of_changed), grown[1] / of_changed]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_no_event_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let library = stripped(directory.path());
    let options = Options::default().plugins(&[text(&library), "auth-open"]);
    // The listener only listens, and on a busy machine for longer than a minute.
    let broker = Broker::start(options.set("timeouts.ping=10m")).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
    let listener = tokio::spawn(listen(broker.url(Transport::Ws), Some(subscribed)));
    is_subscribed.await.unwrap();
    let mut drivers = JoinSet::new();
    for n in 0..CONNECTIONS as usize {
        drivers.spawn(drive(broker.url(Transport::BOTH[n % 2]), Arc::clone(&stop)));
    }
    // One of each kind that is not counted: the first of everything takes memory for good.
    reload(&mut admin).await;
    let (before, started) = (resident(&broker), Instant::now());
    let [same, changed] = reload_all(&broker, &mut admin, &library).await;
    let (took, grown) = (started.elapsed(), resident(&broker).saturating_sub(before) / 1024);
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut fired) = (0, 0);
    while let Some(done) = drivers.join_next().await {
        let (more, events) = done.unwrap();
        (answered, fired) = (answered + more, fired + events);
    }
    let end = json!({"class": "reloads", "type": "end", "body": {"fired": fired}});
    admin.ok("core/event/send_event", end).await;
    listener.await.unwrap();
    assert!(answered > u64::from(RATE), "only {answered} requests");
    assert!(!broker.log().contains("panicked"));
    println!(
        "{RELOADS} reloads, {answered} requests in {took:.1?} ({:.0}/s), {fired} events; memory grew by {grown} KiB, \
         {:.1} KiB a reload of the same library, {:.1} KiB of a changed one of {} KiB",
        answered as f64 / took.as_secs_f64(),
        same / 1024.0,
        changed / 1024.0,
        fs::metadata(&library).unwrap().len() / 1024,
    );
}
