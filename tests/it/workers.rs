//! protocol.md §6: sessions that serve commands, and judge logins.

mod authenticator;
mod examples;
mod permission;
mod several;
mod takeover;

use serde_json::{Value, json};

use crate::support::{Broker, Client, Metrics, Options, Transport, code, error_of, on_both, raw_field};

/// Users whose names begin with `worker` may register whatever can be.
const RULE: &str = "[[service.main.rule]]\nuser = \"worker*\"\nallow = [\"register:**\"]";

fn options() -> Options {
    Options::default().config(RULE)
}

/// A worker with one registration.
async fn worker(broker: &Broker, transport: Transport, user: &str, registration: Value) -> Client {
    let mut worker = broker.login(transport, user).await;
    assert_eq!(worker.ok("core/registry/register", registration).await, json!({}));
    worker
}

/// A broker, a session `ann`, and a worker that serves class `work`.
async fn pair(transport: Transport, options: Options) -> (Broker, Client, Client) {
    let broker = Broker::start(options).await;
    let ann = broker.login(transport, "ann").await;
    let worker = worker(&broker, transport, "worker", json!({"class": "work"})).await;
    (broker, ann, worker)
}

#[tokio::test]
async fn a_request_goes_there_and_back() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let tid = ann.start("work/wood/saw", json!({"n": 1})).await;
        let request = worker.next_request().await;
        let from = json!({"user": "ann", "session_id": ann.session_id()});
        let expected = json!({"class": "work", "subclass": "wood", "cmd": "saw", "data": {"n": 1}, "from": from,
            "tid": request["tid"]});
        assert_eq!(request, expected);
        worker.answer(&request, json!({"logs": 3})).await;
        assert_eq!(ann.response(tid).await, json!({"result": "ok", "data": {"logs": 3}, "tid": tid}));
    })
    .await;
}

#[tokio::test]
async fn data_and_answers_keep_their_text() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let data = r#"{"z":1e999,"a":"\u0041","z2":1.0}"#;
        ann.send_text(&format!(r#"{{"class":"work","cmd":"echo","data":{data},"tid":"t"}}"#)).await;
        let request = worker.next_request_text().await;
        assert_eq!(raw_field(&request, "data"), data);
        let tid = raw_field(&request, "tid");
        worker.send_text(&format!(r#"{{"result":"ok","data":{data},"tid":{tid}}}"#)).await;
        assert_eq!(raw_field(&ann.response_text("t").await, "data"), data);
    })
    .await;
}

#[tokio::test]
async fn errors_come_back_unchanged_and_anything_else_is_an_invalid_reply() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let error =
            r#"{"code":200001,"error":"My own","details":{"hint":[1.0]},"more":12345678901234567890123}"#;
        for (reply, expected) in [
            (format!(r#""result":"error","data":{error}"#), Some(error)),
            (r#""result":"error","data":{}"#.to_string(), None),
            (r#""result":"maybe""#.to_string(), None),
        ] {
            let tid = ann.start("work/core/do", json!({})).await;
            let target_tid = raw_field(&worker.next_request_text().await, "tid");
            worker.send_text(&format!("{{{reply},\"tid\":{target_tid}}}")).await;
            let answer = ann.response_text(tid).await;
            match expected {
                Some(error) => assert_eq!(raw_field(&answer, "data"), error),
                None => assert!(raw_field(&answer, "data").contains("Invalid reply"), "{answer}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn acks_are_passed_on() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let tid = ann.start("work/core/do", json!({})).await;
        let request = worker.next_request().await;
        for _ in 0..2 {
            worker.ack(&request).await;
            assert_eq!(ann.next_ack().await, json!(tid));
        }
        worker.answer(&request, json!({})).await;
        assert_eq!(ann.response(tid).await["result"], "ok");
    })
    .await;
}

#[tokio::test]
async fn a_silent_worker_is_closed_and_its_caller_told() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options().set("timeouts.answer=300ms")).await;
        let tid = ann.start("work/core/do", json!({})).await;
        worker.next_request().await;
        assert_eq!(error_of(&ann.response(tid).await), (code::TIMEOUT, "Timeout".into()));
        worker.expect_closed_as(4002, "timeout").await;
        assert_eq!(ann.err("work/core/do", json!({})).await.0, code::UNKNOWN_COMMAND);
    })
    .await;
}

/// Not the time of a handler in the broker.
#[tokio::test]
async fn after_an_ack_the_workers_time_is_longer() {
    on_both(async |transport| {
        let times =
            options().set("timeouts.answer=300ms").set("timeouts.handler=100ms").set("timeouts.acked=900ms");
        let (_broker, mut ann, mut worker) = pair(transport, times).await;
        let tid = ann.start("work/core/do", json!({})).await;
        let request = worker.next_request().await;
        worker.ack(&request).await;
        crate::support::pause(500).await;
        worker.answer(&request, json!({"late": true})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"late": true}));
        let tid = ann.start("work/core/do", json!({})).await;
        let request = worker.next_request().await;
        worker.ack(&request).await;
        assert_eq!(error_of(&ann.response(tid).await).0, code::TIMEOUT);
    })
    .await;
}

#[tokio::test]
async fn data_is_checked_and_defaults_are_filled_in() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let schema = json!({"type": "object", "required": ["city"],
            "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}, "days": {"type": "integer", "default": 3}}});
        let registration = json!({"class": "work", "subclass": "core", "cmd": "go", "data_schema": schema});
        let mut worker = worker(&broker, transport, "worker", registration).await;
        let mut ann = broker.login(transport, "ann").await;
        for (data, error) in [
            (json!({"city": 1}), (code::SYNTAX_ERROR, "Syntax error: city")),
            (json!({}), (code::MISSING_FIELD, "Missing field: city")),
            (json!({"city": "rome"}), (code::INVALID_VALUE, "Invalid value: city")),
        ] {
            assert_eq!(ann.err("work/core/go", data).await, (error.0, error.1.into()));
        }
        ann.start("work/core/go", json!({"city": "Rome"})).await;
        assert_eq!(worker.next_request().await["data"], json!({"city": "Rome", "days": 3}));
    })
    .await;
}

#[tokio::test]
async fn the_most_exact_registration_serves() {
    on_both(async |transport| {
        let broker = Broker::start(options()).await;
        let mut ann = broker.login(transport, "ann").await;
        let registrations = [
            ("any", json!({"class": "work"})),
            ("wood", json!({"class": "work", "subclass": "wood"})),
            ("saw", json!({"class": "work", "subclass": "wood", "cmd": "saw"})),
        ];
        let mut workers = Vec::new();
        for (name, registration) in registrations {
            workers.push(worker(&broker, transport, &format!("worker-{name}"), registration).await);
        }
        for (command, place) in
            [("work/wood/saw", 2), ("work/wood/cut", 1), ("work/metal/saw", 0), ("work/core/x", 0)]
        {
            let tid = ann.start(command, json!({})).await;
            let request = workers[place].next_request().await;
            workers[place].answer(&request, json!({"by": place})).await;
            assert_eq!(ann.response(tid).await["data"], json!({"by": place}), "{command}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_may_call_its_own_class() {
    on_both(async |transport| {
        let (_broker, _ann, mut worker) = pair(transport, options()).await;
        let tid = worker.start("work/core/do", json!({"n": 1})).await;
        let request = worker.next_request().await;
        assert_eq!(request["from"]["user"], "worker");
        worker.answer(&request, json!({"n": 2})).await;
        assert_eq!(worker.response(tid).await["data"], json!({"n": 2}));
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_is_still_answered_after_unregister() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let tid = ann.start("work/core/do", json!({})).await;
        let request = worker.next_request().await;
        for _ in 0..2 {
            assert_eq!(worker.ok("core/registry/unregister", json!({"class": "work"})).await, json!({}));
        }
        assert_eq!(ann.err("work/core/do", json!({})).await.0, code::UNKNOWN_COMMAND);
        worker.answer(&request, json!({"done": true})).await;
        assert_eq!(ann.response(tid).await["data"], json!({"done": true}));
    })
    .await;
}

#[tokio::test]
async fn a_registration_ends_with_its_session() {
    on_both(async |transport| {
        let (_broker, mut ann, worker) = pair(transport, options()).await;
        let unknown = (code::UNKNOWN_COMMAND, "Unknown command 'work/core/do'".to_string());
        ann.ok("core/session/stop", json!({"session_id": worker.session_id()})).await;
        assert_eq!(ann.err("work/core/do", json!({})).await, unknown);
        assert_eq!(ann.ok("core/registry/list", json!({"class": "work"})).await, json!([]));
    })
    .await;
}

#[tokio::test]
async fn registering_again_replaces() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let again = json!({"class": "work", "description": "Better.", "inflight": 1,
            "data_schema": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}});
        worker.ok("core/registry/register", again).await;
        let list = ann.ok("core/registry/list", json!({"class": "work"})).await;
        let plugin = format!("session:{}", worker.session_id());
        let expected = json!([{"class": "work", "subclass": "*", "cmd": "*", "description": "Better.", "plugin": plugin}]);
        assert_eq!(list, expected);
        assert_eq!(ann.err("work/core/do", json!({})).await.0, code::MISSING_FIELD);
        let first = ann.start("work/core/do", json!({"x": 1})).await;
        let request = worker.next_request().await;
        assert_eq!(ann.err("work/core/do", json!({"x": 2})).await.0, code::TOO_MANY_REQUESTS);
        worker.ok("core/registry/register", json!({"class": "work", "inflight": 1})).await;
        assert_eq!(ann.err("work/core/do", json!({})).await.0, code::TOO_MANY_REQUESTS, "what it has still counts");
        worker.answer(&request, json!({})).await;
        ann.response(first).await;
        ann.start("work/core/do", json!({})).await;
        worker.next_request().await;
    })
    .await;
}

#[tokio::test]
async fn the_registry_shows_workers_like_any_other() {
    on_both(async |transport| {
        let (_broker, mut ann, mut worker) = pair(transport, options()).await;
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let registration = json!({"class": "work", "subclass": "core", "cmd": "go", "description": "Goes.", "data_schema": schema});
        worker.ok("core/registry/register", registration).await;
        worker.ok("core/registry/register_authenticator", json!({})).await;
        let described = ann.ok("core/registry/describe", json!({"class": "work", "cmd": "go"})).await;
        let name = format!("session:{}", worker.session_id());
        let expected = json!({"class": "work", "subclass": "core", "cmd": "go", "description": "Goes.", "plugin": name,
            "permission": "command:work/core/go", "data_schema": schema, "reply_schema": {}});
        assert_eq!(described, expected);
        let plugins = ann.ok("core/plugin/list", json!({})).await;
        let own: Vec<&Value> =
            plugins.as_array().unwrap().iter().filter(|plugin| plugin["kind"] == "session").collect();
        assert_eq!(own.len(), 1, "{plugins}");
        assert_eq!((&own[0]["name"], &own[0]["state"]), (&json!(name), &json!("running")));
        assert_eq!(own[0]["commands"], json!(["work/*/*", "work/core/go"]));
        assert_eq!(own[0]["authenticators"], 1);
    })
    .await;
}

#[tokio::test]
async fn metrics_count_what_workers_do() {
    let options = options().set("admin.listen=http://127.0.0.1:0");
    let (broker, mut ann, mut worker) = pair(Transport::Tcp, options).await;
    worker.ok("core/registry/register", json!({"class": "more"})).await;
    let tid = ann.start("work/core/do", json!({})).await;
    let request = worker.next_request().await;
    worker.answer(&request, json!({})).await;
    ann.response(tid).await;
    let metrics = Metrics::of(&broker).await;
    let total = |name| metrics.total(name).round() as i64;
    assert_eq!(total("jackfield_worker_requests_total"), 1);
    assert_eq!(total("jackfield_worker_retries_total"), 0);
    assert_eq!(total("jackfield_worker_registrations"), 2);
    ann.ok("core/session/stop", json!({"session_id": worker.session_id()})).await;
    assert_eq!(Metrics::of(&broker).await.total("jackfield_worker_registrations").round() as i64, 0);
}
