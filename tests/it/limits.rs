//! Limits, where they meet what else is going on; the plain ones are in `bad_input`, `login` and `slow_consumer`.

use serde_json::{Value, json};

use crate::support::{
    Broker, Client, Options, Receiver, Sender, Transport, code, connect_halves, error_of, on_both, pause,
    request_message, within,
};

async fn with_inflight(limit: u32, transport: Transport) -> (Broker, Client, Client) {
    let broker = Broker::start(Options::fixture().set(&format!("limits.inflight={limit}"))).await;
    let ann = broker.login(transport, "ann").await;
    let bob = broker.login(transport, "bob").await;
    (broker, ann, bob)
}

#[tokio::test]
async fn a_thousand_and_twenty_four_requests_are_in_flight_at_first() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut tids = Vec::new();
        for _ in 0..1100 {
            tids.push(ann.start("fixture/core/sleep", json!({"ms": 2500})).await);
        }
        ann.ok("core/core/ping", json!({})).await;
        let mut refused = 0;
        for tid in tids {
            let answer = ann.response(tid).await;
            if answer["result"] == "error" {
                assert_eq!(error_of(&answer).0, code::TOO_MANY_REQUESTS);
                refused += 1;
            }
        }
        assert!((1..=76).contains(&refused), "{refused} of 1,100 refused");
        assert_eq!(ann.ok("fixture/core/sleep", json!({"ms": 1})).await, json!({"slept": 1}));
    })
    .await;
}

#[tokio::test]
async fn a_command_to_another_session_is_in_flight_until_it_is_answered() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = with_inflight(1, transport).await;
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        let tid = ann.start("core/session/cmd", data).await;
        let request = bob.next_request().await;
        for _ in 0..3 {
            assert_eq!(ann.err("fixture/core/sleep", json!({"ms": 1})).await.0, code::TOO_MANY_REQUESTS);
            ann.ok("core/core/ping", json!({})).await;
        }
        bob.answer(&request, json!({"n": 1})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"n": 1}));
        assert_eq!(ann.ok("fixture/core/sleep", json!({"ms": 1})).await, json!({"slept": 1}));
    })
    .await;
}

/// An error makes room as an answer does.
#[tokio::test]
async fn whatever_ends_a_request_makes_room() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = with_inflight(1, transport).await;
        for _ in 0..5 {
            assert_eq!(ann.err("fixture/core/panic_late", json!({})).await.0, code::INTERNAL_ERROR_REF);
            let data = json!({"session_id": "nobody", "class": "screen", "cmd": "show"});
            assert_eq!(ann.err("core/session/cmd", data).await.0, code::SESSION_NOT_FOUND);
        }
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        let tid = ann.start("core/session/cmd", data).await;
        bob.next_request().await;
        drop(bob);
        assert_eq!(error_of(&ann.response(tid).await).0, code::SESSION_STOP);
        assert_eq!(ann.ok("fixture/core/sleep", json!({"ms": 1})).await, json!({"slept": 1}));
    })
    .await;
}

/// Who has used up its requests still gets events, commands and their answers through.
#[tokio::test]
async fn the_brokers_own_requests_are_none_of_the_clients() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = with_inflight(2, transport).await;
        bob.ok("core/event/subscribe", json!({"class": "c"})).await;
        let busy = [
            bob.start("fixture/core/sleep", json!({"ms": 700})).await,
            bob.start("fixture/core/sleep", json!({"ms": 700})).await,
        ];
        for n in 0..10 {
            ann.ok("core/event/send_event", json!({"class": "c", "body": {"n": n}})).await;
            let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
            let tid = ann.start("core/session/cmd", data).await;
            assert_eq!(bob.event().await["body"]["n"], n);
            let request = bob.next_request().await;
            bob.answer(&request, json!({"n": n})).await;
            assert_eq!(ann.response(tid).await["data"], json!({"n": n}));
        }
        for tid in busy {
            assert_eq!(bob.response(tid).await["result"], "ok");
        }
    })
    .await;
}

#[tokio::test]
async fn answers_do_not_count_as_requests() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.requests_per_second=6")).await;
        let mut sender = broker.login(transport, "sender").await;
        let mut ann = broker.login(transport, "ann").await;
        ann.ok("core/event/subscribe", json!({"class": "c"})).await;
        for n in 0..100 {
            let mut sent =
                sender.request("core/event/send_event", json!({"class": "c", "body": {"n": n}})).await;
            while sent["result"] == "error" {
                assert_eq!(error_of(&sent).0, code::RATE_LIMITED);
                sender = broker.login(transport, "sender").await;
                sent = sender.request("core/event/send_event", json!({"class": "c", "body": {"n": n}})).await;
            }
        }
        for n in 0..100 {
            assert_eq!(ann.event().await["body"]["n"], n);
        }
        assert_eq!(ann.ok("fixture/core/echo", json!({"n": 1})).await, json!({"n": 1}));
    })
    .await;
}

#[tokio::test]
async fn the_rate_is_per_session_and_comes_back() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("limits.requests_per_second=4")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut too = broker.login(transport, "ann").await;
        let mut refused = false;
        for _ in 0..200 {
            refused |= ann.request("fixture/core/echo", json!({})).await["result"] == "error";
        }
        assert!(refused, "200 requests in a row");
        too.ok("fixture/core/echo", json!({})).await;
        ann.ok("core/core/ping", json!({})).await;
        pause(1200).await;
        for _ in 0..3 {
            ann.ok("fixture/core/echo", json!({})).await;
        }
    })
    .await;
}

/// As many requests as a client that reads nothing can send in this time.
const REQUESTS: u64 = 3000;

async fn send_requests(mut sender: Sender) -> Sender {
    let data = "x".repeat(10_000);
    for tid in 0..REQUESTS {
        let command = if tid % 100 == 7 { "fixture/core/sleep" } else { "fixture/core/echo" };
        let data = if tid % 100 == 7 { json!({"ms": 20}) } else { json!({"it": data}) };
        sender.send(&request_message(command, &data, &json!(tid))).await;
    }
    sender
}

async fn log_in(sender: &mut Sender, receiver: &mut Receiver) {
    let data = json!({"user": "ann", "events": "push"});
    sender.send(&request_message("core/user/login", &data, &json!("login"))).await;
    assert_eq!(receiver.next().await.expect("an answer")["result"], "ok");
    sender.send(&request_message("core/event/subscribe", &json!({"class": "c"}), &json!("subscribe"))).await;
    assert_eq!(receiver.next().await.expect("an answer")["result"], "ok");
}

/// Whoever does not read its answers is not read from, and finds everything there when it reads on.
#[tokio::test]
async fn who_reads_late_misses_nothing() {
    on_both(async |transport| {
        let options = Options::fixture().set("limits.outbound_bytes=400000").set("timeouts.write=120s");
        let broker = Broker::start(options).await;
        let (mut sender, mut receiver) = connect_halves(&broker.url(transport), Some(4096)).await;
        log_in(&mut sender, &mut receiver).await;
        let sending = tokio::spawn(send_requests(sender));
        pause(700).await;
        assert!(!sending.is_finished(), "30 MB were read from a client that reads nothing");

        let mut bob = broker.login(transport, "bob").await;
        for n in 0..10 {
            bob.ok("core/event/send_event", json!({"class": "c", "body": {"n": n}})).await;
        }
        let mut answers = vec![0; usize::try_from(REQUESTS).unwrap()];
        let mut events = Vec::new();
        while answers.contains(&0) || events.len() < 10 {
            let message = within("the next message", receiver.next()).await.expect("the connection stays");
            match message["tid"].as_u64() {
                Some(tid) => {
                    assert_eq!(message["result"], "ok", "request {tid}");
                    answers[usize::try_from(tid).unwrap()] += 1;
                }
                None => events.push(message["data"]["body"]["n"].as_u64().unwrap()),
            }
        }
        assert!(answers.iter().all(|&count| count == 1), "a request was answered twice");
        assert_eq!(events, (0..10).collect::<Vec<_>>());
        let mut sender = within("the rest of the requests", sending).await.unwrap();
        sender.send(&request_message("core/core/ping", &json!({}), &json!("end"))).await;
        let last: Value = within("the last answer", receiver.next()).await.expect("the connection stays");
        assert_eq!(last["tid"], "end", "nothing came twice");
    })
    .await;
}
