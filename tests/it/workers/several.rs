//! Several sessions serve one class.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::{options, worker};
use crate::support::{
    Broker, Client, Metrics, Transport, code, connect_halves, error_of, on_both, request_message, within,
};

const CONNECTIONS: usize = 50;
const REQUESTS: usize = 100;
/// How many requests the worker that dies has answered, and how many it takes along.
const ANSWERED: usize = 300;
const TAKEN_ALONG: usize = 20;

/// `count` workers for class `work`.
async fn crew(broker: &Broker, transport: Transport, count: usize, registration: Value) -> Vec<Client> {
    let mut crew = Vec::new();
    for n in 0..count {
        crew.push(worker(broker, transport, &format!("worker-{n}"), registration.clone()).await);
    }
    crew
}

#[tokio::test]
async fn requests_go_round() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut crew = crew(&broker, transport, 3, json!({"class": "work"})).await;
        let mut ann = broker.login(transport, "ann").await;
        let tids: Vec<u64> = {
            let mut tids = Vec::new();
            for n in 0..9 {
                tids.push(ann.start("work/core/do", json!({"n": n})).await);
            }
            tids
        };
        for worker in &mut crew {
            for _ in 0..3 {
                let request = worker.next_request().await;
                worker.answer(&request, json!({})).await;
            }
        }
        for tid in tids {
            assert_eq!(ann.response(tid).await["result"], "ok");
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_at_its_limit_is_passed_over() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut one = worker(&broker, transport, "worker-1", json!({"class": "work", "inflight": 1})).await;
        let mut two = worker(&broker, transport, "worker-2", json!({"class": "work", "inflight": 2})).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut tids = Vec::new();
        for _ in 0..3 {
            tids.push(ann.start("work/core/do", json!({})).await);
        }
        let full = (code::TOO_MANY_REQUESTS, "Too many requests in flight".to_string());
        assert_eq!(ann.err("work/core/do", json!({})).await, full);
        let request = one.next_request().await;
        one.answer(&request, json!({})).await;
        assert_eq!(ann.response(tids[0]).await["result"], "ok");
        tids.push(ann.start("work/core/do", json!({})).await);
        let request = one.next_request().await;
        one.answer(&request, json!({})).await;
        for _ in 0..2 {
            let request = two.next_request().await;
            two.answer(&request, json!({})).await;
        }
        for tid in &tids[1..] {
            assert_eq!(ann.response(*tid).await["result"], "ok");
        }
    })
    .await;
}

/// What the last that came said of the triple holds, as long as it is there.
#[tokio::test]
async fn the_last_registration_describes_the_command() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let schema = json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}});
        let registration = json!({"class": "work", "description": "Old."});
        let mut old = worker(&broker, transport, "worker-1", registration).await;
        let registration = json!({"class": "work", "description": "New.", "data_schema": schema});
        let new = worker(&broker, transport, "worker-2", registration).await;
        let mut ann = broker.login(transport, "ann").await;
        let described = json!({"class": "work", "subclass": "*", "cmd": "*"});
        let info = ann.ok("core/registry/describe", described.clone()).await;
        let plugin = format!("session:{}", new.session_id());
        assert_eq!((&info["description"], &info["plugin"]), (&json!("New."), &json!(plugin)));
        assert_eq!(ann.err("work/core/do", json!({})).await.0, code::MISSING_FIELD);
        ann.ok("core/session/stop", json!({"session_id": new.session_id()})).await;
        let info = ann.ok("core/registry/describe", described).await;
        let plugin = format!("session:{}", old.session_id());
        assert_eq!((&info["description"], &info["plugin"]), (&json!("Old."), &json!(plugin)));
        ann.start("work/core/do", json!({})).await;
        old.next_request().await;
    })
    .await;
}

/// A session of the same id is another session.
#[tokio::test]
async fn an_id_that_is_taken_again_brings_no_registration_with_it() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut ann = broker.login(transport, "ann").await;
        for _ in 0..10 {
            let mut worker = broker.connect(transport).await;
            let login = json!({"user": "worker", "session_id": "w"});
            while worker.request("core/user/login", login.clone()).await["result"] != "ok" {
                worker = broker.connect(transport).await;
            }
            assert_eq!(ann.err("work/core/do", json!({})).await.0, code::UNKNOWN_COMMAND);
            worker.ok("core/registry/register", json!({"class": "work"})).await;
            ann.start("work/core/do", json!({})).await;
            worker.next_request().await;
        }
    })
    .await;
}

/// Large requests count by their bytes, and make nobody a slow consumer.
#[tokio::test]
async fn a_worker_is_not_buried_under_bytes() {
    on_both(async |transport| {
        let options = options().set("limits.outbound_bytes=100000").set("limits.message_bytes=40000");
        let broker = Broker::start(options).await;
        let mut worker = worker(&broker, transport, "worker", json!({"class": "work"})).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut eve = broker.login(transport, "eve").await;
        let data = json!({"text": "x".repeat(20_000)});
        let first =
            [ann.start("work/core/do", data.clone()).await, ann.start("work/core/do", data.clone()).await];
        let requests = [worker.next_request().await, worker.next_request().await];
        assert_eq!(eve.err("work/core/do", data.clone()).await.0, code::TOO_MANY_REQUESTS);
        for (request, tid) in requests.iter().zip(first) {
            worker.answer(request, json!({})).await;
            assert_eq!(ann.response(tid).await["result"], "ok");
        }
        eve.start("work/core/do", data).await;
        worker.next_request().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_leaves_fails_its_requests() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut crew = crew(&broker, transport, 2, json!({"class": "work"})).await;
        let mut ann = broker.login(transport, "ann").await;
        let tids = [ann.start("work/core/do", json!({})).await, ann.start("work/core/do", json!({})).await];
        let mut first = crew.remove(0);
        first.next_request().await;
        let unavailable =
            (code::PLUGIN_UNAVAILABLE, format!("Plugin unavailable: session:{}", first.session_id()));
        drop(first);
        assert_eq!(error_of(&ann.response(tids[0]).await), unavailable);
        let request = crew[0].next_request().await;
        crew[0].answer(&request, json!({})).await;
        assert_eq!(ann.response(tids[1]).await["result"], "ok");
    })
    .await;
}

#[tokio::test]
async fn with_retry_another_worker_gets_them() {
    on_both(async |transport| {
        let broker = Broker::start(options().set("admin.listen=http://127.0.0.1:0")).await;
        let mut crew = crew(&broker, transport, 2, json!({"class": "work", "retry": true})).await;
        let mut ann = broker.login(transport, "ann").await;
        let tid = ann.start("work/core/do", json!({"n": 1e300})).await;
        let mut first = crew.remove(0);
        let request = first.next_request().await;
        // It took the work up, but nothing of an answer was sent.
        first.ack(&request).await;
        assert_eq!(ann.next_ack().await, json!(tid));
        drop(first);
        let again = crew[0].next_request().await;
        assert_eq!((&again["data"], &again["from"]), (&request["data"], &request["from"]));
        crew[0].answer(&again, json!({"by": 2})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"by": 2}));
        assert_eq!(Metrics::of(&broker).await.total("jackfield_worker_retries_total").round() as i64, 1);
        let tid = ann.start("work/core/do", json!({})).await;
        let mut last = crew.remove(0);
        last.next_request().await;
        drop(last);
        let error = error_of(&ann.response(tid).await);
        assert_eq!(error, (code::PLUGIN_UNAVAILABLE, "Plugin unavailable: work/*/*".into()));
    })
    .await;
}

/// A request that kills whoever gets it must not kill them all.
#[tokio::test]
async fn a_request_is_retried_three_times() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut dying = JoinSet::new();
        for mut worker in crew(&broker, transport, 6, json!({"class": "work", "retry": true})).await {
            dying.spawn(async move { worker.next_request().await["data"].take() });
        }
        let mut ann = broker.login(transport, "ann").await;
        let error = ann.err("work/core/do", json!({"evil": true})).await;
        assert_eq!(error, (code::PLUGIN_UNAVAILABLE, "Plugin unavailable: work/*/*".into()));
        for _ in 0..4 {
            assert_eq!(dying.join_next().await.unwrap().unwrap(), json!({"evil": true}));
        }
        let alive = |list: &Value| {
            list.as_array().unwrap().iter().filter(|plugin| plugin["kind"] == "session").count() == 2
        };
        ann.until_ok("core/plugin/list", json!({}), alive).await;
        dying.abort_all();
    })
    .await;
}

/// What times out has been tried long enough.
#[tokio::test]
async fn a_silent_worker_is_not_retried() {
    on_both(async |transport| {
        let broker = Broker::start(options().set("timeouts.answer=300ms")).await;
        let mut crew = crew(&broker, transport, 2, json!({"class": "work", "retry": true})).await;
        let mut ann = broker.login(transport, "ann").await;
        let tid = ann.start("work/core/do", json!({})).await;
        crew[0].next_request().await;
        assert_eq!(error_of(&ann.response(tid).await).0, code::TIMEOUT);
        crew[1].ok("core/core/ping", json!({})).await;
        let tid = ann.start("work/core/do", json!({"second": true})).await;
        assert_eq!(crew[1].next_request().await["data"], json!({"second": true}));
        assert_eq!(error_of(&ann.response(tid).await).0, code::TIMEOUT);
    })
    .await;
}

/// A worker that answers everything; or so many requests, then takes some more and dies with them.
fn work(mut worker: Client, answers: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut taken = 0;
        while taken < answers.saturating_add(TAKEN_ALONG) {
            let Some(text) = worker.recv_or_end().await else { return };
            let request: Value = serde_json::from_str(&text).unwrap();
            if request["class"] != "work" {
                continue;
            }
            if taken < answers {
                worker.answer(&request, request["data"].clone()).await;
            }
            taken += 1;
        }
    })
}

/// Every connection sends its requests, all at once, and counts the answers of each kind.
async fn call_all(url: String) -> BTreeMap<i64, usize> {
    let (mut sender, mut receiver) = connect_halves(&url, None).await;
    sender.send(&request_message("core/user/login", &json!({"user": "ann"}), &json!("login"))).await;
    assert_eq!(receiver.next().await.unwrap()["tid"], "login");
    let writing = tokio::spawn(async move {
        for n in 0..REQUESTS {
            sender.send(&request_message("work/core/do", &json!({"n": n}), &json!(n))).await;
            tokio::task::yield_now().await;
        }
        sender
    });
    let mut answers = BTreeMap::new();
    while answers.len() < REQUESTS {
        let answer = receiver.next().await.expect("the broker stays");
        if answer.get("result").is_none() {
            continue;
        }
        let tid = answer["tid"].as_u64().unwrap();
        let code = answer["data"]["code"].as_i64().unwrap_or(0);
        assert!(code != 0 || answer["data"]["n"] == json!(tid), "{answer}");
        assert!(answers.insert(tid, code).is_none(), "{tid} is answered twice");
    }
    let mut sender = writing.await.unwrap();
    sender.send(&request_message("core/core/ping", &json!({}), &json!("end"))).await;
    while let Some(message) = receiver.next().await {
        if message["tid"] == "end" {
            break;
        }
        assert!(message.get("result").is_none(), "answered twice: {message}");
    }
    let mut counts = BTreeMap::new();
    for code in answers.into_values() {
        *counts.entry(code).or_default() += 1;
    }
    counts
}

/// Three workers, one of which dies while fifty connections ask; how many requests ended with which code.
async fn lose_one(transport: Transport, retry: bool) -> BTreeMap<i64, usize> {
    let broker = Broker::start(options().set("limits.requests_per_second=0")).await;
    let registration = json!({"class": "work", "retry": retry, "inflight": 65536});
    let crew = crew(&broker, transport, 3, registration).await;
    let lives = [ANSWERED, usize::MAX, usize::MAX];
    let mut crew: Vec<_> =
        crew.into_iter().zip(lives).map(|(worker, answers)| work(worker, answers)).collect();
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        callers.spawn(call_all(broker.url(transport)));
    }
    let mut counts = BTreeMap::new();
    within("all answers", async {
        while let Some(of_one) = callers.join_next().await {
            for (code, count) in of_one.unwrap() {
                *counts.entry(code).or_default() += count;
            }
        }
    })
    .await;
    within("the victim's end", crew.remove(0)).await.unwrap();
    crew.iter().for_each(JoinHandle::abort);
    counts
}

#[tokio::test]
async fn nothing_is_lost_with_a_worker_when_it_may_be_retried() {
    for transport in Transport::BOTH {
        assert_eq!(lose_one(transport, true).await, BTreeMap::from([(0, CONNECTIONS * REQUESTS)]));
    }
}

#[tokio::test]
async fn only_a_lost_workers_own_requests_fail() {
    for transport in Transport::BOTH {
        let counts = lose_one(transport, false).await;
        assert_eq!(counts.values().sum::<usize>(), CONNECTIONS * REQUESTS);
        let expected = [0, code::PLUGIN_UNAVAILABLE];
        assert!(counts.keys().all(|code| expected.contains(code)), "{counts:?}");
        assert!(
            counts.get(&code::PLUGIN_UNAVAILABLE).is_some_and(|failed| *failed >= TAKEN_ALONG),
            "{counts:?}"
        );
    }
}
