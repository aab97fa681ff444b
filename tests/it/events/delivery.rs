//! What an event looks like on its way to a session, and what the session owes for it.

use serde_json::{Value, json};

use super::{publish, subscribe};
use crate::support::{Broker, Client, Options, Transport, code, on_both, pause, raw_field};

/// A session of `user` that gets events without having to answer them.
async fn push_session(broker: &Broker, transport: Transport, user: &str) -> Client {
    let mut client = broker.connect(transport).await;
    client.login_with(json!({"user": user, "events": "push"})).await;
    client
}

/// Every event there can be, as it is sent and as it must arrive.
fn events() -> Vec<Value> {
    let optional =
        [("subclass", json!("s")), ("type", json!("t")), ("obj_id", json!("o")), ("body", json!({"b": 1}))];
    let with = |bits: usize| {
        let mut event = json!({"class": "c"});
        for (n, (name, value)) in optional.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1) {
            assert!(n < optional.len());
            event[*name] = value.clone();
        }
        event
    };
    (0..1 << optional.len()).map(with).collect()
}

/// Writes out what is absent, in one of the ways in which it can be.
fn spelled_out(event: &Value, absent: &Value) -> Value {
    let mut event = event.clone();
    for field in ["subclass", "type", "obj_id"] {
        if event.get(field).is_none() {
            event[field] = absent.clone();
        }
    }
    event
}

#[tokio::test]
async fn the_frame_is_as_it_is_written_down() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut sender = broker.login(transport, "sender").await;
        let mut ann = broker.login(transport, "ann").await;
        let mut push = push_session(&broker, transport, "push").await;
        for client in [&mut ann, &mut push] {
            subscribe(client, json!({"class": "c"})).await;
        }
        for event in events() {
            for absent in [json!("*"), json!(null)] {
                publish(&mut sender, spelled_out(&event, &absent)).await;
                let frame = ann.next_event().await;
                let tid = &frame["tid"];
                assert!(tid.is_number() || tid.is_string(), "{frame}");
                assert_eq!(frame, json!({"class": "core", "cmd": "event", "data": event, "tid": tid}));
                let frame = push.next_event().await;
                assert_eq!(frame, json!({"class": "core", "cmd": "event", "data": event}));
            }
        }
    })
    .await;
}

/// Two open events of one session never share a tid.
#[tokio::test]
async fn each_event_has_a_tid_of_its_own() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        ann.set_autorespond(false);
        subscribe(&mut ann, json!({"class": "c"})).await;
        let mut tids = Vec::new();
        for _ in 0..50 {
            publish(&mut ann, json!({"class": "c"})).await;
            let tid = raw_field(&ann.next_event_text().await, "tid");
            assert!(!tids.contains(&tid), "{tid} came twice");
            tids.push(tid);
        }
    })
    .await;
}

/// Whatever a client answers an event with, an answer it is.
#[tokio::test]
async fn an_error_is_an_answer_too() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=400ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        subscribe(&mut ann, json!({"class": "c"})).await;
        ann.set_autorespond(false);
        for answer in [
            json!({"result": "error", "data": {"code": 1, "error": "no"}}),
            json!({"result": "ok", "data": [1]}),
            json!({"result": "strange"}),
        ] {
            publish(&mut ann, json!({"class": "c"})).await;
            let mut answer = answer.clone();
            answer["tid"] = ann.next_event().await["tid"].take();
            ann.send(&answer).await;
        }
        ann.expect_silence(900).await;
        ann.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_session_owes_nothing() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=200ms")).await;
        let mut push = push_session(&broker, transport, "push").await;
        push.set_autorespond(false);
        subscribe(&mut push, json!({"class": "c"})).await;
        publish(&mut push, json!({"class": "c"})).await;
        assert_eq!(push.event().await, json!({"class": "c"}));
        push.ok("core/user/send_event", json!({"user": "push"})).await;
        assert_eq!(push.event().await["subclass"], "user_event");
        push.expect_silence(600).await;
        push.ok("core/core/ping", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn class_core_cannot_be_forged() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        subscribe(&mut bob, json!({"class": "core"})).await;
        let forged = [
            json!({"class": "core"}),
            json!({"class": "core", "subclass": "user_event", "obj_id": "bob"}),
            json!({"class": "core", "subclass": "session_event", "type": "stopping", "obj_id": bob.session_id()}),
            json!({"class": "core", "subclass": "session", "type": "stop", "obj_id": bob.session_id()}),
        ];
        for event in &forged {
            for command in ["core/event/send_event", "core/event/send"] {
                let refused = ann.err(command, event.clone()).await;
                assert_eq!(refused, (code::UNAUTHORIZED, "Unauthorized".into()), "{event}");
            }
        }
        bob.expect_no_event().await;
        let mut admin = broker.admin(transport).await;
        bob.events_so_far().await;
        for event in &forged {
            publish(&mut admin, event.clone()).await;
            assert_eq!(bob.event().await, *event);
        }
    })
    .await;
}

#[tokio::test]
async fn events_to_a_user_and_to_a_session_are_heard_by_others_who_ask() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let mut spy = broker.login(transport, "spy").await;
        subscribe(&mut spy, json!({"class": "core", "subclass": "user_event", "body": {"spied": true}}))
            .await;
        subscribe(&mut spy, json!({"class": "core", "subclass": "session_event", "type": "note"})).await;

        ann.ok("core/user/send_event", json!({"user": "bob", "type": "note", "body": {"n": 1}})).await;
        let event = json!({"class": "core", "subclass": "user_event", "type": "note", "obj_id": "bob"});
        let with = |body: Value| {
            let mut event = event.clone();
            event["body"] = body;
            event
        };
        assert_eq!(bob.event().await, with(json!({"n": 1})));
        assert_eq!(spy.event().await, with(json!({"n": 1, "spied": true})));

        let data = json!({"session_id": bob.session_id(), "type": "note"});
        ann.ok("core/session/send_event", data).await;
        let event =
            json!({"class": "core", "subclass": "session_event", "type": "note", "obj_id": bob.session_id()});
        assert_eq!(bob.event().await, event);
        assert_eq!(spy.event().await, event);
        ann.expect_no_event().await;
    })
    .await;
}

/// An event accepted is delivered though the one who sent it has gone.
#[tokio::test]
async fn the_sender_may_leave() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut bob = broker.login(transport, "bob").await;
        subscribe(&mut bob, json!({"class": "c"})).await;
        for n in 0..20 {
            let mut ann = broker.login(transport, "ann").await;
            publish(&mut ann, json!({"class": "c", "body": {"n": n}})).await;
        }
        for n in 0..20 {
            assert_eq!(bob.event().await["body"]["n"], n);
        }
    })
    .await;
}

/// A session that is late with its answers gets its events all the same.
#[tokio::test]
async fn events_do_not_wait_for_answers() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        subscribe(&mut bob, json!({"class": "c"})).await;
        bob.set_autorespond(false);
        for _ in 0..100 {
            publish(&mut ann, json!({"class": "c"})).await;
        }
        let mut events = Vec::new();
        for _ in 0..100 {
            events.push(bob.next_event().await);
        }
        pause(100).await;
        for event in events.iter().rev() {
            bob.answer(event, json!({})).await;
        }
        bob.ok("core/core/ping", json!({})).await;
    })
    .await;
}
