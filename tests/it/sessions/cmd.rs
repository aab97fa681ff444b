//! `core session cmd`: a request that another session answers.

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, Transport, code, error_of, on_both, raw_field};

/// Two sessions of one broker.
async fn pair(transport: Transport) -> (Broker, Client, Client) {
    let broker = Broker::start(Options::default()).await;
    let ann = broker.login(transport, "ann").await;
    let bob = broker.login(transport, "bob").await;
    (broker, ann, bob)
}

/// Asks `target` to `screen/core/show`; the caller's tid.
async fn show(caller: &mut Client, target: &Client) -> u64 {
    let data = json!({"session_id": target.session_id(), "class": "screen", "cmd": "show"});
    caller.start("core/session/cmd", data).await
}

#[tokio::test]
async fn goes_there_and_back() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = pair(transport).await;
        let data = json!({"session_id": bob.session_id(), "class": "screen", "subclass": "upper", "cmd": "show",
            "data": {"text": "hello", "tid": 5}});
        let tid = ann.start("core/session/cmd", data).await;
        let request = bob.next_request().await;
        let expected = json!({"class": "screen", "subclass": "upper", "cmd": "show",
            "data": {"text": "hello", "tid": 5}, "tid": request["tid"]});
        assert_eq!(request, expected);
        assert!(request["tid"].is_number() || request["tid"].is_string(), "{request}");
        bob.answer(&request, json!({"lines": 3})).await;
        assert_eq!(ann.response(tid).await, json!({"result": "ok", "data": {"lines": 3}, "tid": tid}));
    })
    .await;
}

#[tokio::test]
async fn leaves_out_what_is_not_there() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = pair(transport).await;
        let tid = show(&mut ann, &bob).await;
        let request = bob.next_request().await;
        assert!(request["subclass"].is_null() || request["subclass"] == "core", "{request}");
        assert!(request["data"].is_null() || request["data"] == json!({}), "{request}");
        assert!(request.get("from").is_none(), "{request}");
        bob.send(&json!({"result": "ok", "tid": request["tid"]})).await;
        assert_eq!(ann.response(tid).await, json!({"result": "ok", "tid": tid}));
    })
    .await;
}

#[tokio::test]
async fn carries_any_json() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = pair(transport).await;
        for data in [json!([1, [2]]), json!("text"), json!(5), json!(false), json!({"deep": {"er": null}})] {
            let cmd = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show", "data": data});
            let tid = ann.start("core/session/cmd", cmd).await;
            let request = bob.next_request().await;
            assert_eq!(request["data"], data);
            bob.answer(&request, data.clone()).await;
            assert_eq!(ann.response(tid).await["data"], data);
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_comes_back_unchanged() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = pair(transport).await;
        let errors = [
            r#"{"code":200001,"error":"My own","details":{"hint":[1.0,"\u0041"]},"more":12345678901234567890123}"#,
            r#"{"code":100005,"error":"Timeout"}"#,
            r#"{"code":-1,"error":""}"#,
        ];
        for error in errors {
            let tid = show(&mut ann, &bob).await;
            let request = bob.next_request_text().await;
            let target_tid = raw_field(&request, "tid");
            bob.send_text(&format!(r#"{{"result":"error","data":{error},"tid":{target_tid}}}"#)).await;
            let answer = ann.response_text(tid).await;
            assert_eq!(raw_field(&answer, "result"), "\"error\"");
            let data = raw_field(&answer, "data");
            for field in ["code", "error"] {
                assert_eq!(raw_field(&data, field), raw_field(error, field));
            }
            if error.contains("details") {
                assert_eq!(raw_field(&data, "details"), raw_field(error, "details"));
                assert_eq!(raw_field(&data, "more"), raw_field(error, "more"));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn anything_else_is_an_invalid_reply() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = pair(transport).await;
        for reply in [
            r#""result":"maybe""#,
            r#""result":"maybe","data":{}"#,
            r#""result":5"#,
            r#""result":null"#,
            r#""result":{"ok":true}"#,
            r#""result":"error""#,
            r#""result":"error","data":{}"#,
            r#""result":"error","data":"broken""#,
            r#""result":"error","data":{"code":5}"#,
            r#""result":"error","data":{"error":"text"}"#,
            r#""result":"error","data":{"code":"5","error":"text"}"#,
            r#""result":"error","data":{"code":5,"error":6}"#,
        ] {
            let tid = show(&mut ann, &bob).await;
            let target_tid = raw_field(&bob.next_request_text().await, "tid");
            bob.send_text(&format!("{{{reply},\"tid\":{target_tid}}}")).await;
            let error = error_of(&ann.response(tid).await);
            assert_eq!(error, (code::INVALID_REPLY, "Invalid reply".into()), "{reply}");
        }
        let tid = show(&mut ann, &bob).await;
        let request = bob.next_request().await;
        bob.answer(&request, json!({"still": "here"})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"still": "here"}));
    })
    .await;
}

#[tokio::test]
async fn a_target_that_stops_is_told() {
    on_both(async |transport| {
        let (broker, mut ann, mut bob) = pair(transport).await;
        let stopped = (code::SESSION_STOP, "Session stop".to_string());
        let tid = show(&mut ann, &bob).await;
        bob.next_request().await;
        drop(bob);
        assert_eq!(error_of(&ann.response(tid).await), stopped);
        let mut bob = broker.login(transport, "bob").await;
        let tid = show(&mut ann, &bob).await;
        bob.next_request().await;
        ann.ok("core/session/stop", json!({"session_id": bob.session_id()})).await;
        assert_eq!(error_of(&ann.response(tid).await), stopped);
    })
    .await;
}

/// And the caller gets one answer, however often and late the target gives one.
#[tokio::test]
async fn is_answered_once() {
    on_both(async |transport| {
        let (_broker, mut ann, mut bob) = pair(transport).await;
        let tid = show(&mut ann, &bob).await;
        let request = bob.next_request().await;
        for n in 0..3 {
            bob.answer(&request, json!({"n": n})).await;
            bob.ack(&request).await;
        }
        bob.ok("core/core/ping", json!({})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"n": 0}));
        ann.expect_silence(100).await;
        assert_eq!(ann.acks(), &[] as &[Value]);
    })
    .await;
}

/// A tid is the target's own: nobody else can answer in its place.
#[tokio::test]
async fn is_answered_by_its_target() {
    on_both(async |transport| {
        let (broker, mut ann, mut bob) = pair(transport).await;
        let mut eve = broker.login(transport, "eve").await;
        let tid = show(&mut ann, &bob).await;
        let request = bob.next_request().await;
        eve.ack(&request).await;
        eve.answer(&request, json!({"forged": true})).await;
        eve.ok("core/core/ping", json!({})).await;
        bob.answer(&request, json!({"forged": false})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"forged": false}));
        assert_eq!(ann.acks(), &[] as &[Value]);
    })
    .await;
}

#[tokio::test]
async fn each_answer_finds_its_caller() {
    on_both(async |transport| {
        let (broker, mut ann, mut bob) = pair(transport).await;
        let mut eve = broker.login(transport, "eve").await;
        let mut asked = Vec::new();
        for n in 0..50 {
            let data = |who| json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show", "data": {"of": who, "n": n}});
            asked.push((n, ann.start("core/session/cmd", data("ann")).await, eve.start("core/session/cmd", data("eve")).await));
        }
        let mut requests = Vec::new();
        for _ in 0..100 {
            requests.push(bob.next_request().await);
        }
        for request in requests.iter().rev() {
            bob.answer(request, request["data"].clone()).await;
        }
        for (n, of_ann, of_eve) in asked {
            assert_eq!(ann.response(of_ann).await["data"], json!({"of": "ann", "n": n}));
            assert_eq!(eve.response(of_eve).await["data"], json!({"of": "eve", "n": n}));
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_may_command_itself() {
    on_both(async |transport| {
        let (_broker, mut ann, _bob) = pair(transport).await;
        let data =
            json!({"session_id": ann.session_id(), "class": "screen", "cmd": "show", "data": {"n": 1}});
        let tid = ann.start("core/session/cmd", data).await;
        let request = ann.next_request().await;
        assert_eq!(request["data"], json!({"n": 1}));
        ann.answer(&request, json!({"n": 2})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"n": 2}));
    })
    .await;
}

#[tokio::test]
async fn an_unknown_target_is_an_error() {
    on_both(async |transport| {
        let (_broker, mut ann, _bob) = pair(transport).await;
        let data = json!({"session_id": "none", "class": "screen", "cmd": "show"});
        let error = ann.err("core/session/cmd", data).await;
        assert_eq!(error, (code::SESSION_NOT_FOUND, "Session not found".into()));
    })
    .await;
}

#[tokio::test]
async fn only_administrators_speak_as_core() {
    on_both(async |transport| {
        let (broker, mut ann, mut bob) = pair(transport).await;
        let mut admin = broker.admin(transport).await;
        let data = |id: &str| json!({"session_id": id, "class": "core", "subclass": "any", "cmd": "thing"});
        let error = ann.err("core/session/cmd", data(bob.session_id())).await;
        assert_eq!(error, (code::UNAUTHORIZED, "Unauthorized".into()));
        let error = ann.err("core/session/cmd", data("none")).await;
        assert_eq!(error.0, code::UNAUTHORIZED, "permission comes before what is named");
        let tid = admin.start("core/session/cmd", data(bob.session_id())).await;
        let request = bob.recv().await;
        assert_eq!((&request["class"], &request["cmd"]), (&json!("core"), &json!("thing")));
        bob.answer(&request, json!({"done": true})).await;
        assert_eq!(admin.response(tid).await["data"], json!({"done": true}));
    })
    .await;
}

/// protocol.md §2: each request has a time of its own. That of the first closes the connection, and those behind it,
/// whose time has not come yet, are told that their target stopped (§4).
#[tokio::test]
async fn whoever_waits_for_a_silent_session_is_told() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.answer=400ms")).await;
        let mut ann = broker.login(transport, "ann").await;
        let bob = broker.login(transport, "bob").await;
        let data = json!({"session_id": bob.session_id(), "class": "screen", "cmd": "show"});
        let mut tids = Vec::new();
        for _ in 0..3 {
            tids.push(ann.start("core/session/cmd", data.clone()).await);
        }
        let mut told = Vec::new();
        for tid in tids {
            told.push(error_of(&ann.response(tid).await).0);
        }
        let late = told.iter().skip_while(|code| **code == code::TIMEOUT);
        assert_eq!(told[0], code::TIMEOUT);
        assert!(late.clone().all(|code| *code == code::SESSION_STOP), "{told:?}");
    })
    .await;
}
