//! Which sessions an event reaches, and with which subscription's body.

use serde_json::{Value, json};

use super::model::{self, Topic};
use super::{publish, subscribe};
use crate::support::{Broker, Client, Options, Transport, on_both};

/// Every choice of fields: bit `n` says whether field `n` is there.
fn topics(values: [&'static str; 4]) -> impl Iterator<Item = Topic> {
    (0..16_u8).map(move |bits| std::array::from_fn(|field| (bits >> field & 1 == 1).then(|| values[field])))
}

/// Every event of class `c` or `d` whose other fields are absent, `v` or `w`.
fn events() -> Vec<Topic> {
    let values = [None, Some("v"), Some("w")];
    let mut events = Vec::new();
    for class in ["c", "d"] {
        for subclass in values {
            for kind in values {
                for obj_id in values {
                    events.push([Some(class), subclass, kind, obj_id]);
                }
            }
        }
    }
    events
}

/// The numbers in the bodies of the events that arrived, those of the broker itself apart.
async fn numbers(client: &mut Client) -> Vec<u64> {
    let events = client.events_so_far().await;
    events
        .iter()
        .filter(|event| event["class"] != "core")
        .map(|event| event["body"]["n"].as_u64().unwrap())
        .collect()
}

async fn send_all(sender: &mut Client) {
    for (n, event) in events().iter().enumerate() {
        let mut data = model::data(event, n % 2 == 0);
        data["body"] = json!({"n": n});
        publish(sender, data).await;
    }
}

fn expected(wanted: impl Fn(&Topic) -> bool) -> Vec<u64> {
    (0..).zip(events()).filter(|(_, event)| wanted(event)).map(|(n, _)| n).collect()
}

#[tokio::test]
async fn every_combination_of_fields() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut receivers = Vec::new();
        for (n, topic) in topics(["c", "v", "v", "v"]).enumerate() {
            let mut client = broker.admin(transport).await;
            subscribe(&mut client, model::subscription(&topic, n % 2 == 1)).await;
            receivers.push((topic, client));
        }
        send_all(&mut broker.login(transport, "ann").await).await;
        for (topic, client) in &mut receivers {
            let wanted = expected(|event| model::matches(topic, event));
            assert!(!wanted.is_empty(), "{topic:?} is no test");
            assert_eq!(numbers(client).await, wanted, "{topic:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn once_however_many_subscriptions_match() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut receiver = broker.admin(transport).await;
        for topic in topics(["c", "v", "v", "v"]) {
            subscribe(&mut receiver, model::subscription(&topic, false)).await;
        }
        send_all(&mut broker.login(transport, "ann").await).await;
        assert_eq!(numbers(&mut receiver).await, expected(|_| true));
    })
    .await;
}

/// The next event of class `c`: an administrator subscribed to everything sees sessions come and go, too.
async fn event_of_class_c(receiver: &mut Client) -> Value {
    loop {
        let found = receiver.event().await;
        if found["class"] == "c" {
            return found;
        }
    }
}

/// All sixteen subscriptions match; each is taken away in turn, the most specific first.
async fn most_specific_first(transport: Transport, subscribed: &[Topic]) {
    let broker = Broker::start(Options::default()).await;
    let mut receiver = broker.admin(transport).await;
    for topic in subscribed {
        let mut data = model::subscription(topic, false);
        data["body"] = json!({"of": data});
        subscribe(&mut receiver, data).await;
    }
    let mut by_rank = subscribed.to_vec();
    by_rank.sort_by_key(model::rank);
    let mut sender = broker.login(transport, "ann").await;
    while let Some(topic) = by_rank.pop() {
        let event = json!({"class": "c", "subclass": "s", "type": "t", "obj_id": "o"});
        publish(&mut sender, event).await;
        let found = event_of_class_c(&mut receiver).await;
        assert_eq!(found["body"], json!({"of": model::subscription(&topic, false)}), "left: {by_rank:?}");
        receiver.ok("core/event/unsubscribe", model::subscription(&topic, true)).await;
    }
    publish(&mut sender, json!({"class": "c", "subclass": "s", "type": "t", "obj_id": "o"})).await;
    receiver.expect_no_event().await;
}

#[tokio::test]
async fn the_body_comes_from_the_most_specific() {
    on_both(async |transport| {
        let mut subscribed: Vec<Topic> = topics(["c", "s", "t", "o"]).collect();
        most_specific_first(transport, &subscribed).await;
        subscribed.reverse();
        most_specific_first(transport, &subscribed).await;
    })
    .await;
}

/// The order as it is written down, should the model be as wrong as the broker.
#[test]
fn ties_are_broken_by_obj_id_then_type_then_subclass_then_class() {
    let mut all: Vec<Topic> = topics(["c", "s", "t", "o"]).collect();
    all.sort_by_key(model::rank);
    let names = all.iter().rev().map(|topic| topic.iter().flatten().copied().collect::<String>());
    let expected =
        ["csto", "sto", "cto", "cso", "cst", "to", "so", "co", "st", "ct", "cs", "o", "t", "s", "c", ""];
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn values_are_equal_or_they_are_not() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut receiver = broker.login(transport, "ann").await;
        let long = "x".repeat(2000);
        let values =
            ["V", "v", " v", "v ", "", "**", "v*", "é", "e\u{301}", "a/b", "\"\\\n\u{0}", "null", &long];
        for value in values {
            subscribe(&mut receiver, json!({"class": "c", "type": value, "body": {"subscribed": value}}))
                .await;
        }
        for value in values {
            let event = json!({"class": "c", "type": value});
            publish(&mut receiver, event.clone()).await;
            let expected = json!({"class": "c", "type": value, "body": {"subscribed": value}});
            assert_eq!(receiver.event().await, expected);
        }
        for event in [json!({"class": "C", "type": "v"}), json!({"class": "c", "subclass": "v"})] {
            publish(&mut receiver, event).await;
        }
        publish(&mut receiver, json!({"class": "c", "type": "other"})).await;
        receiver.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_hears_itself_and_all_others_alike() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut clients = Vec::new();
        for (user, through) in [("ann", Transport::Ws), ("ann", Transport::Tcp), ("bob", transport)] {
            let mut client = broker.login(through, user).await;
            subscribe(&mut client, json!({"class": "c"})).await;
            clients.push(client);
        }
        publish(&mut clients[0], json!({"class": "c", "body": {"n": 1}})).await;
        for client in &mut clients {
            assert_eq!(client.events_so_far().await, [json!({"class": "c", "body": {"n": 1}})]);
        }
    })
    .await;
}
