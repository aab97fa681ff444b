//! Two events that one session sends arrive in that order at every session that gets both.

use std::cell::Cell;

use serde_json::{Value, json};

use super::{publish, subscribe};
use crate::support::{Broker, Client, Options, Transport, on_all};

/// Sends all these requests, each with its number in the body, before any answer is read.
async fn send_at_once(client: &mut Client, requests: &[(&str, Value)]) {
    let mut tids = Vec::new();
    for (n, (command, data)) in requests.iter().enumerate() {
        let mut data = data.clone();
        data["body"] = json!({"n": n});
        tids.push(client.start(command, data).await);
    }
    for tid in tids {
        assert_eq!(client.response(tid).await["result"], "ok");
    }
}

async fn numbers(client: &mut Client) -> Vec<u64> {
    client.events_so_far().await.iter().map(|event| event["body"]["n"].as_u64().unwrap()).collect()
}

/// Whether a receiver gets event `n`.
type Gets = fn(u64) -> bool;

/// Receivers on both transports, each with subscriptions of its own.
async fn receivers(broker: &Broker) -> Vec<(Client, Gets)> {
    let wanted: [(Value, Gets); 4] = [
        (json!([{"class": "c"}]), |_| true),
        (json!([{"class": "c", "type": "0"}]), |n| n % 3 == 0),
        (json!([{"class": "c", "type": "1"}, {"class": "c", "type": "2"}]), |n| n % 3 != 0),
        (json!([{"class": "c", "obj_id": "1"}, {"class": "c", "type": "0"}]), |n| n % 3 == 0 || n % 7 == 1),
    ];
    let mut receivers = Vec::new();
    for transport in Transport::BOTH {
        for (subscriptions, gets) in &wanted {
            let mut client = broker.login(transport, "receiver").await;
            for subscription in subscriptions.as_array().unwrap() {
                subscribe(&mut client, subscription.clone()).await;
            }
            receivers.push((client, *gets));
        }
    }
    receivers
}

const EVENTS: u64 = 400;

#[tokio::test]
async fn at_every_receiver() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut receivers = receivers(&broker).await;
        let requests: Vec<_> = (0..EVENTS)
            .map(|n| {
                let event = json!({"class": "c", "type": (n % 3).to_string(), "obj_id": (n % 7).to_string()});
                ("core/event/send_event", event)
            })
            .collect();
        send_at_once(&mut broker.login(transport, "ann").await, &requests).await;
        for (client, gets) in &mut receivers {
            assert_eq!(numbers(client).await, (0..EVENTS).filter(|&n| gets(n)).collect::<Vec<_>>());
        }
    })
    .await;
}

/// The fixture's authorizer takes 50 ms over each event of class `slow`; those behind it must not pass it.
#[tokio::test]
async fn while_an_authorizer_thinks() {
    on_all(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut bob = broker.login(Transport::Tcp, "bob").await;
        let mut carol = broker.login(Transport::Ws, "carol").await;
        for client in [&mut bob, &mut carol] {
            subscribe(client, json!({"class": "slow"})).await;
            subscribe(client, json!({"class": "quick"})).await;
        }
        let (slow, quick) = (json!({"class": "slow"}), json!({"class": "quick"}));
        let to_user = ("core/user/send_event", json!({"user": "bob"}));
        let to_session = ("core/session/send_event", json!({"session_id": bob.session_id()}));
        let (slow, quick) = (("core/event/send_event", slow), ("core/event/send", quick));
        let requests = [
            slow.clone(),
            quick.clone(),
            quick.clone(),
            slow.clone(),
            slow.clone(),
            to_user.clone(),
            slow.clone(),
            to_session,
            quick.clone(),
            slow,
            to_user,
            quick,
        ];
        let mut ann = broker.login(transport, "ann").await;
        send_at_once(&mut ann, &requests).await;
        assert_eq!(numbers(&mut bob).await, (0..12).collect::<Vec<_>>());
        let for_all: Vec<u64> = (0..12).filter(|n| ![5, 7, 10].contains(n)).collect();
        assert_eq!(numbers(&mut carol).await, for_all);
    })
    .await;
}

/// Only the sender of a slow event waits for it.
#[tokio::test]
async fn another_sender_does_not_wait() {
    on_all(async |transport| {
        let broker = Broker::start(Options::fixture().with_tls()).await;
        let mut receiver = broker.login(transport, "bob").await;
        subscribe(&mut receiver, json!({"class": "slow"})).await;
        subscribe(&mut receiver, json!({"class": "quick"})).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut tids = Vec::new();
        for _ in 0..20 {
            tids.push(ann.start("core/event/send_event", json!({"class": "slow"})).await);
        }
        let mut carol = broker.login(transport, "carol").await;
        publish(&mut carol, json!({"class": "quick"})).await;
        let before = receiver.events_so_far().await;
        let quick = before.iter().position(|event| event["class"] == "quick").expect("it is there");
        assert!(quick < 20, "it came behind all that had to wait");
        for tid in tids {
            assert_eq!(ann.response(tid).await["result"], "ok");
        }
        let all = before.len() + receiver.events_so_far().await.len();
        assert_eq!(all, 21);
    })
    .await;
}

/// Answered `ok` means queued for every matching session: nobody has to wait for it any more.
#[tokio::test]
async fn an_answer_means_that_it_is_queued() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut receivers = Vec::new();
        for n in 0..20 {
            let mut client = broker.login(Transport::BOTH[n % 2], "bob").await;
            subscribe(&mut client, json!({"class": "c"})).await;
            receivers.push(client);
        }
        for n in 0..10 {
            publish(&mut ann, json!({"class": "c", "body": {"n": n}})).await;
            for client in &mut receivers {
                assert_eq!(numbers(client).await, [n]);
            }
        }
    })
    .await;
}

/// Subscribes and unsubscribes, logs in and goes away, until it is told to stop.
async fn come_and_go(broker: &Broker, transport: Transport, stop: &Cell<bool>) -> u32 {
    let mut turns = 0;
    while !stop.get() {
        let mut client = broker.login(transport, "restless").await;
        for _ in 0..5 {
            for topic in [json!({"class": "c"}), json!({"class": "c", "type": "t"})] {
                subscribe(&mut client, topic.clone()).await;
                client.ok("core/event/unsubscribe", topic).await;
            }
        }
        subscribe(&mut client, json!({"class": "c"})).await;
        turns += 1;
    }
    turns
}

async fn send_many(client: &mut Client, stop: &Cell<bool>) {
    for n in 0..EVENTS {
        publish(client, json!({"class": "c", "type": "t", "body": {"n": n}})).await;
    }
    stop.set(true);
}

/// Who stays subscribed misses nothing while others come and go around it.
#[tokio::test]
async fn while_others_come_and_go() {
    on_all(async |transport| {
        let broker = Broker::start(Options::default().with_tls()).await;
        let mut steady = Vec::new();
        for topic in [json!({"class": "c"}), json!({"class": "c", "type": "t"})] {
            let mut client = broker.login(transport, "steady").await;
            subscribe(&mut client, topic).await;
            steady.push(client);
        }
        let mut sender = broker.login(transport, "sender").await;
        let stop = Cell::new(false);
        let (turns, more, ()) = tokio::join!(
            come_and_go(&broker, Transport::Ws, &stop),
            come_and_go(&broker, Transport::Tcp, &stop),
            send_many(&mut sender, &stop),
        );
        assert!(turns + more > 2, "nobody came and went");
        for client in &mut steady {
            assert_eq!(numbers(client).await, (0..EVENTS).collect::<Vec<_>>());
        }
    })
    .await;
}
