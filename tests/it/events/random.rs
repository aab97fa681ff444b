//! Random subscriptions and events, through the broker and through the model.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::model::{self, Subscriptions, Topic};
use super::{publish, subscribe};
use crate::support::{Broker, Client, Options, Transport};

/// How many plays there are.
const CASES: u32 = 300;

/// How many sessions there are: half of them on each transport, half of them administrators, who may name class `*`.
const SESSIONS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Subscribe(usize, Topic, Value),
    Unsubscribe(usize, Topic),
    Send(usize, Topic, Value),
}

fn field() -> impl Strategy<Value = Option<&'static str>> {
    proptest::sample::select(vec![None, None, Some("a"), Some("b"), Some("a/b"), Some("")])
}

fn topic() -> impl Strategy<Value = Topic> {
    let class = proptest::sample::select(vec!["c", "d"]).prop_map(Some);
    (class, field(), field(), field())
        .prop_map(|(class, subclass, kind, obj_id)| [class, subclass, kind, obj_id])
}

/// A subscription's topic, in every eighth case to every class.
fn wanted() -> impl Strategy<Value = Topic> {
    (topic(), 0..8).prop_map(|(mut topic, dice)| {
        if dice == 0 {
            topic[0] = None;
        }
        topic
    })
}

fn body() -> impl Strategy<Value = Value> {
    let bodies = [
        json!(null),
        json!({}),
        json!({"k": 1}),
        json!({"k": 2, "l": {"m": 1}}),
        json!({"l": {"n": 2}}),
        json!("text"),
        json!([1]),
    ];
    proptest::sample::select(bodies.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    prop_oneof![
        3 => (session.clone(), wanted(), body()).prop_map(|(n, topic, body)| Step::Subscribe(n, topic, body)),
        1 => (session.clone(), wanted()).prop_map(|(n, topic)| Step::Unsubscribe(n, topic)),
        3 => (session, topic(), body()).prop_map(|(n, topic, body)| Step::Send(n, topic, body)),
    ]
}

/// A session, what it is subscribed to, and what it must have been sent.
struct Player {
    client: Client,
    may_name_every_class: bool,
    subscriptions: Subscriptions,
    expected: Vec<Value>,
}

struct Stage {
    _broker: Broker,
    players: Vec<Player>,
}

impl Stage {
    async fn set() -> Self {
        let broker = Broker::start(Options::default()).await;
        let mut players = Vec::new();
        for n in 0..SESSIONS {
            let transport = Transport::BOTH[n % 2];
            let may_name_every_class = n < SESSIONS / 2;
            let client = match may_name_every_class {
                true => broker.admin(transport).await,
                false => broker.login(transport, "ann").await,
            };
            let (subscriptions, expected) = (Subscriptions::new(), Vec::new());
            players.push(Player { client, may_name_every_class, subscriptions, expected });
        }
        for player in &mut players {
            player.client.events_so_far().await;
        }
        Self { _broker: broker, players }
    }

    /// What each session got, and what it should have got.
    async fn play(&mut self, steps: &[Step]) -> (Vec<Vec<Value>>, Vec<Vec<Value>>) {
        for step in steps {
            self.take(step).await;
        }
        self.clear().await
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Subscribe(n, topic, body) => self.players[*n].subscribe(*topic, body).await,
            Step::Unsubscribe(n, topic) => self.players[*n].unsubscribe(*topic).await,
            Step::Send(n, topic, body) => self.send(*n, topic, body).await,
        }
    }

    async fn send(&mut self, sender: usize, topic: &Topic, body: &Value) {
        let mut data = model::data(topic, body.is_null());
        data["body"] = body.clone();
        publish(&mut self.players[sender].client, data).await;
        for player in &mut self.players {
            player.expected.extend(model::delivered(&player.subscriptions, topic, body));
        }
    }

    /// The stage is as at first afterwards.
    async fn clear(&mut self) -> (Vec<Vec<Value>>, Vec<Vec<Value>>) {
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for player in &mut self.players {
            found.push(player.client.events_so_far().await);
            expected.push(std::mem::take(&mut player.expected));
            for topic in player.subscriptions.clone().into_keys() {
                player.unsubscribe(topic).await;
            }
        }
        (found, expected)
    }
}

impl Player {
    fn may(&self, topic: &Topic) -> bool {
        self.may_name_every_class || topic[0].is_some()
    }

    async fn subscribe(&mut self, topic: Topic, body: &Value) {
        if self.may(&topic) {
            let mut data = model::subscription(&topic, body.is_null());
            data["body"] = body.clone();
            subscribe(&mut self.client, data).await;
            self.subscriptions.insert(topic, body.clone());
        }
    }

    async fn unsubscribe(&mut self, topic: Topic) {
        if self.may(&topic) {
            self.client.ok("core/event/unsubscribe", model::subscription(&topic, false)).await;
            self.subscriptions.remove(&topic);
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_broker_does_as_the_model_does() {
    let runtime = runtime();
    let stage = RefCell::new(runtime.block_on(Stage::set()));
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let played = TestRunner::new(config).run(&vec(step(), 1..30), |steps| {
        let (found, expected) = runtime.block_on(stage.borrow_mut().play(&steps));
        prop_assert_eq!(found, expected);
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}
