//! protocol.md §2, "Timers". Waiting is asserted from one side only: a busy machine is late, never early.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, code, on_both, pause, within};

/// Asks `target` for something by way of `session cmd`; the caller's tid, and the request as it arrived.
async fn ask(caller: &mut Client, target: &mut Client) -> (u64, Value) {
    let data = json!({"session_id": target.session_id(), "class": "screen", "cmd": "show"});
    let tid = caller.start("core/session/cmd", data).await;
    (tid, target.next_request().await)
}

#[tokio::test]
async fn a_request_that_is_not_answered_times_out_and_closes() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=300ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let start = Instant::now();
        let (tid, _) = ask(&mut ann, &mut bob).await;
        let answer = ann.response(tid).await;
        assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
        assert_eq!(answer["data"], json!({"code": code::TIMEOUT, "error": "Timeout"}));
        bob.expect_closed_as(4002, "timeout").await;
        ann.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_not_answered_closes() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=300ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        bob.set_autorespond(false);
        ann.ok("core/user/send_event", json!({"user": "bob"})).await;
        bob.next_event().await;
        // Other traffic is no answer.
        for _ in 0..3 {
            bob.ok("core/core/ping", json!({})).await;
        }
        bob.expect_closed_as(4002, "timeout").await;
    })
    .await;
}

/// The connection knows of what is sent by then from a timer only, which was set for what was sent before.
#[tokio::test]
async fn what_follows_on_answered_ones_times_out_too() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.answer=500ms").set("timeouts.ping=1h");
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        for asked in [false, true] {
            let mut bob = broker.login(transport, "bob").await;
            bob.set_autorespond(false);
            for _ in 0..3 {
                ann.ok("core/user/send_event", json!({"user": "bob"})).await;
                let event = bob.next_event().await;
                bob.answer(&event, json!({})).await;
                pause(50).await;
            }
            let start = Instant::now();
            if asked {
                let (tid, _) = ask(&mut ann, &mut bob).await;
                assert_eq!(ann.response(tid).await["data"]["code"], code::TIMEOUT);
            } else {
                ann.ok("core/user/send_event", json!({"user": "bob"})).await;
                bob.next_event().await;
            }
            bob.expect_closed_as(4002, "timeout").await;
            assert!(start.elapsed() >= Duration::from_millis(490), "{:?}", start.elapsed());
        }
    })
    .await;
}

#[tokio::test]
async fn events_may_be_answered_in_any_order() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=1s")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        bob.set_autorespond(false);
        let mut events = Vec::new();
        for _ in 0..5 {
            ann.ok("core/user/send_event", json!({"user": "bob"})).await;
            events.push(bob.next_event().await);
        }
        for event in events.iter().rev() {
            bob.answer(event, json!({})).await;
        }
        bob.expect_silence(1300).await;
        bob.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn each_ack_of_the_target_is_passed_on_and_gives_it_time() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.answer=400ms").set("timeouts.acked=2s");
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let (tid, request) = ask(&mut ann, &mut bob).await;
        // 2.4 s in all: neither the first timer nor a single ack would do.
        for _ in 0..3 {
            bob.ack(&request).await;
            assert_eq!(ann.next_ack().await, json!(tid));
            pause(800).await;
        }
        bob.answer(&request, json!({"shown": true})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"shown": true}));
        bob.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn after_an_ack_the_longer_timer_runs_out_too() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.answer=300ms").set("timeouts.acked=700ms");
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let (tid, request) = ask(&mut ann, &mut bob).await;
        let acked = Instant::now();
        bob.ack(&request).await;
        assert_eq!(ann.response(tid).await["data"]["code"], code::TIMEOUT);
        assert!(acked.elapsed() >= Duration::from_millis(690), "{:?}", acked.elapsed());
        bob.expect_closed_as(4002, "timeout").await;
    })
    .await;
}

#[tokio::test]
async fn an_event_may_be_acknowledged_first() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.answer=400ms").set("timeouts.acked=30s");
        let broker = Broker::start(options).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        bob.set_autorespond(false);
        ann.ok("core/user/send_event", json!({"user": "bob"})).await;
        let event = bob.next_event().await;
        bob.ack(&event).await;
        bob.expect_silence(900).await;
        bob.answer(&event, json!({})).await;
        bob.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn an_ack_never_comes_behind_its_answer() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for _ in 0..3 {
            let tid = ann.start("fixture/core/ack_now", json!({})).await;
            assert_eq!(ann.recv().await, json!({"ack": tid}));
            assert_eq!(ann.recv().await["result"], json!("ok"));
        }
        // Behind more than is written at a time, too.
        let large = "x".repeat(50_000);
        for _ in 0..4 {
            ann.start("fixture/core/echo", json!({"text": large})).await;
        }
        let tid = json!(ann.start("fixture/core/ack_now", json!({})).await);
        let mut order = Vec::new();
        while order.len() < 2 {
            let message = ann.recv().await;
            if message["ack"] == tid || message["tid"] == tid {
                order.push(message["ack"] == tid);
            }
        }
        assert_eq!(order, [true, false]);
    })
    .await;
}

#[tokio::test]
async fn the_broker_acknowledges_what_takes_a_second() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        let start = Instant::now();
        let tid = client.start("fixture/core/sleep", json!({"ms": 1600})).await;
        assert_eq!(client.recv().await, json!({"ack": tid}));
        assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
        assert_eq!(client.response(tid).await["data"], json!({"slept": 1600}));
    })
    .await;
}

#[tokio::test]
async fn what_is_quick_is_not_acknowledged() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut client = broker.login(transport, "ann").await;
        assert_eq!(client.ok("fixture/core/sleep", json!({"ms": 50})).await, json!({"slept": 50}));
        client.expect_silence(1300).await;
        assert_eq!(client.acks(), &[] as &[Value]);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_takes_too_long_times_out_and_the_connection_stays() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("timeouts.handler=300ms")).await;
        let mut client = broker.login(transport, "ann").await;
        let start = Instant::now();
        let answer = client.request("fixture/core/sleep", json!({"ms": 60_000})).await;
        assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
        assert_eq!(answer["data"], json!({"code": code::TIMEOUT, "error": "Timeout"}));
        assert_eq!(client.ok("fixture/core/sleep", json!({"ms": 10})).await, json!({"slept": 10}));
    })
    .await;
}

#[tokio::test]
async fn a_handlers_own_acks_give_it_time() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("timeouts.handler=1s")).await;
        let mut client = broker.login(transport, "ann").await;
        let tid = client.start("fixture/core/ack_sleep", json!({"ms": 2200, "every_ms": 100})).await;
        assert_eq!(client.next_ack().await, json!(tid));
        assert_eq!(client.response(tid).await["result"], "ok");
    })
    .await;
}

#[tokio::test]
async fn the_brokers_ack_does_not() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture().set("timeouts.handler=1500ms")).await;
        let mut client = broker.login(transport, "ann").await;
        let tid = client.start("fixture/core/sleep", json!({"ms": 2400})).await;
        assert_eq!(client.recv().await, json!({"ack": tid}));
        assert_eq!(client.response(tid).await["data"]["code"], code::TIMEOUT);
    })
    .await;
}

#[tokio::test]
async fn session_cmd_has_the_targets_timers_instead() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.handler=200ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let (tid, request) = ask(&mut ann, &mut bob).await;
        pause(700).await;
        bob.answer(&request, json!({"late": true})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"late": true}));
    })
    .await;
}

#[tokio::test]
async fn silence_is_met_with_a_ping() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.ping=1s")).await;
        let mut client = broker.login(transport, "ann").await;
        client.set_autorespond(false);
        for _ in 0..2 {
            let start = Instant::now();
            let ping = client.recv().await;
            assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
            assert_eq!((&ping["class"], &ping["cmd"]), (&json!("core"), &json!("ping")), "{ping}");
            assert!(ping["subclass"].is_null() || ping["subclass"] == "core", "{ping}");
            assert_eq!(ping["data"]["time"].as_f64(), Some(1.0), "{ping}");
            client.answer(&ping, json!({})).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_push_session_is_pinged_too() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.ping=500ms").set("timeouts.answer=200ms");
        let broker = Broker::start(options).await;
        let mut client = broker.connect(transport).await;
        client.login_with(json!({"user": "ann", "events": "push"})).await;
        client.set_autorespond(false);
        client.next_ping().await;
        client.expect_closed_as(4002, "timeout").await;
    })
    .await;
}

#[tokio::test]
async fn whoever_sends_something_is_not_pinged() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.ping=2s")).await;
        let mut client = broker.login(transport, "ann").await;
        client.set_autorespond(false);
        for _ in 0..25 {
            client.send_text(r#"{"class":"core","cmd":"ping","tid":"mine"}"#).await;
            assert_eq!(client.recv().await, json!({"result": "ok", "tid": "mine"}));
            pause(100).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unanswered_ping_closes() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.ping=500ms").set("timeouts.answer=200ms");
        let broker = Broker::start(options).await;
        let mut client = broker.login(transport, "ann").await;
        client.set_autorespond(false);
        client.next_ping().await;
        client.expect_closed_as(4002, "timeout").await;
    })
    .await;
}

#[tokio::test]
async fn an_answered_ping_does_not() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.ping=100ms").set("timeouts.answer=2s");
        let broker = Broker::start(options).await;
        let mut client = broker.login(transport, "ann").await;
        client.expect_silence(2500).await;
        client.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn pings_start_at_login() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.ping=100ms")).await;
        let mut client = broker.connect(transport).await;
        client.set_autorespond(false);
        client.expect_silence(500).await;
        client.login("ann").await;
        client.next_ping().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_does_not_log_in_is_closed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.login=400ms")).await;
        let mut silent = broker.connect(transport).await;
        let start = Instant::now();
        silent.expect_closed_as(4002, "timeout").await;
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
        let mut busy = broker.connect(transport).await;
        within("the end of a connection that only pings", async {
            while busy.try_send_text(r#"{"class":"core","cmd":"ping","tid":1}"#).await {
                let Some(answer) = busy.recv_or_end().await else { return };
                assert_eq!(answer, r#"{"result":"ok","tid":1}"#);
                pause(20).await;
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_login_does_not_stop_the_login_timer() {
    on_both(async |transport| {
        let options = Options::default().set("timeouts.login=900ms");
        let broker = Broker::start(options).await;
        let mut client = broker.connect(transport).await;
        let error = client.err("core/user/login", json!({"user": "admin", "password": "wrong"})).await;
        assert_eq!(error.0, code::UNAUTHORIZED);
        client.expect_closed_as(4002, "timeout").await;
    })
    .await;
}

#[tokio::test]
async fn whoever_has_logged_in_stays() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.login=600ms")).await;
        let mut client = broker.login(transport, "ann").await;
        client.expect_silence(1200).await;
        client.ok("core/core/ping", json!({})).await;
    })
    .await;
}
