//! A thousand sessions, ten thousand subscriptions, and fifty connections with two hundred requests in flight each:
//! every request is answered once, every event is delivered once and in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Broker, Options, Receiver, Sender, Transport, connect_halves, request_message};

const SESSIONS: usize = 1000;
const SENDERS: usize = 50;
/// How many requests each sender has in flight at once.
const REQUESTS: usize = 200;
const GROUPS: usize = 50;
/// How many sockets there are at either end, with room for the tests that run beside this one.
const FILES: u64 = 4096;

/// What request `n` of a sender is.
enum Kind {
    /// An event for every session.
    All,
    /// An event for the sessions of one group.
    Group(usize),
    /// An event for one session.
    Own(usize),
    /// A request that takes its time.
    Sleep,
}

fn kind(sender: usize, n: usize) -> Kind {
    match n {
        100 => Kind::All,
        n if n % 20 == 3 => Kind::Group((sender + n) % GROUPS),
        n if n % 10 == 7 => Kind::Own((sender * 20 + n / 10) % SESSIONS),
        _ => Kind::Sleep,
    }
}

fn reaches(kind: &Kind, session: usize) -> bool {
    match kind {
        Kind::All => true,
        Kind::Group(group) => session % GROUPS == *group,
        Kind::Own(own) => session == *own,
        Kind::Sleep => false,
    }
}

fn request(sender: usize, n: usize) -> Value {
    let mut event = match kind(sender, n) {
        Kind::All => json!({"class": "load", "subclass": "all"}),
        Kind::Group(group) => json!({"class": "load", "subclass": "group", "type": group.to_string()}),
        Kind::Own(own) => json!({"class": "load", "subclass": "own", "obj_id": own.to_string()}),
        Kind::Sleep => return request_message("fixture/core/sleep", &json!({"ms": 300}), &json!(n)),
    };
    event["body"] = json!({"sender": sender, "n": n});
    request_message("core/event/send_event", &event, &json!(n))
}

/// What session `n` subscribes to: ten topics, three of which are used.
fn subscriptions(n: usize) -> Vec<Value> {
    let mut topics = vec![
        json!({"class": "load", "subclass": "all"}),
        json!({"class": "load", "subclass": "group", "type": (n % GROUPS).to_string()}),
        json!({"class": "load", "subclass": "own", "obj_id": n.to_string()}),
    ];
    topics.extend((0..7).map(|idle| json!({"class": format!("idle-{idle}"), "obj_id": n.to_string()})));
    topics
}

/// Both ends of every connection need a file; the broker inherits the limit.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < FILES) {
        let enough = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
        setrlimit(Resource::Nofile, Rlimit { current: Some(enough), maximum: limit.maximum }).unwrap();
    }
}

struct Session {
    sender: Sender,
    receiver: Receiver,
}

impl Session {
    /// Connects and logs in; every fourth session gets its events without answering them.
    async fn open(url: &str, n: usize) -> Self {
        let (sender, receiver) = connect_halves(url, None).await;
        let mut session = Self { sender, receiver };
        let events = if n % 4 == 3 { "push" } else { "ack" };
        let data = json!({"user": format!("user-{n}"), "events": events});
        session.sender.send(&request_message("core/user/login", &data, &json!(0))).await;
        session.expect_ok(1).await;
        session
    }

    /// Reads so many answers, which must be `ok`.
    async fn expect_ok(&mut self, count: usize) {
        for _ in 0..count {
            let answer = self.next().await;
            assert_eq!(answer["result"], "ok", "{answer}");
        }
    }

    async fn next(&mut self) -> Value {
        self.receiver.next().await.expect("the connection stays")
    }

    async fn subscribe(mut self, n: usize) -> Self {
        for topic in subscriptions(n) {
            let request = request_message("core/event/subscribe", &topic, &json!(0));
            self.sender.feed(&request).await.expect("the connection takes a request");
        }
        self.sender.flush().await.expect("the connection takes a request");
        self.expect_ok(10).await;
        self
    }

    /// Takes what session `n` must get, in each sender's order, and nothing else.
    async fn listen(mut self, n: usize) {
        let mut due = due(n);
        let mut left: usize = due.values().map(VecDeque::len).sum();
        while left > 0 {
            let event = self.next().await;
            assert_eq!(event["cmd"], "event", "{event}");
            let body = &event["data"]["body"];
            let expected = due.get_mut(&body["sender"].as_u64().unwrap()).and_then(VecDeque::pop_front);
            assert_eq!(body["n"].as_u64(), expected, "session {n} got {event}");
            left -= 1;
            if event.get("tid").is_some() {
                self.sender.answer(&event).await;
            }
        }
        self.expect_nothing_more().await;
    }

    /// Sends all requests at once, and takes one answer for each.
    async fn drive(mut self, sender: usize) {
        for n in 0..REQUESTS {
            self.sender.feed(&request(sender, n)).await.expect("the connection takes a request");
        }
        self.sender.flush().await.expect("the connection takes a request");
        let mut answered = [false; REQUESTS];
        while answered.contains(&false) {
            let message = self.next().await;
            if message.get("ack").is_some() {
                continue;
            }
            assert_eq!(message["result"], "ok", "{message}");
            let tid = usize::try_from(message["tid"].as_u64().unwrap()).unwrap();
            assert!(!std::mem::replace(&mut answered[tid], true), "{tid} was answered twice");
        }
        self.expect_nothing_more().await;
    }

    async fn expect_nothing_more(&mut self) {
        self.sender.send(&request_message("core/core/ping", &json!({}), &json!("end"))).await;
        let last = self.next().await;
        assert_eq!(last["tid"], "end", "expected nothing more, got {last}");
    }
}

/// The numbers of the events that session `n` must get, by sender.
fn due(session: usize) -> BTreeMap<u64, VecDeque<u64>> {
    let of_sender = |sender: usize| {
        let wanted = (0..REQUESTS).filter(|&n| reaches(&kind(sender, n), session));
        wanted.map(|n| u64::try_from(n).unwrap()).collect()
    };
    (0..SENDERS).map(|sender| (u64::try_from(sender).unwrap(), of_sender(sender))).collect()
}

/// Opens sessions, some at a time, half of them on each transport.
async fn open(broker: &Broker, count: usize, then: impl AsyncFn(usize, Session) -> Session) -> Vec<Session> {
    let urls = Transport::BOTH.map(|transport| broker.url(transport));
    let opening = (0..count).map(async |n| then(n, Session::open(&urls[n % 2], n).await).await);
    iter(opening).buffered(32).collect().await
}

/// Waits for all of them; the deadline is for the case that something was lost.
async fn all_done(mut tasks: JoinSet<()>) {
    let all = async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    timeout(Duration::from_secs(60), all).await.expect("every answer and every event comes");
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_reordered() {
    allow_many_files();
    let broker = Broker::start(Options::fixture().set("timeouts.answer=60s")).await;
    let listeners = open(&broker, SESSIONS, async |n, session| session.subscribe(n).await).await;
    let senders = open(&broker, SENDERS, async |_, session| session).await;
    let mut tasks = JoinSet::new();
    for (n, session) in listeners.into_iter().enumerate() {
        tasks.spawn(session.listen(n));
    }
    for (n, session) in senders.into_iter().enumerate() {
        tasks.spawn(session.drive(n));
    }
    all_done(tasks).await;
}
