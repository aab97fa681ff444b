//! `jackfield bench`: load against a broker, and against what only looks like one.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::support::{
    Broker, Options, Output, Transport, jackfield, jackfield_command, on_both, tls, within,
};

/// Runs `jackfield bench ARGS` at this URL, briefly.
async fn bench_at(url: &str, args: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let brief = ["--warmup", "50ms", "--url", url, "--json"];
    jackfield(directory.path(), &[&["bench"], args, &brief[..]].concat()).await
}

/// The results of a load in which all went well.
async fn good(broker: &Broker, transport: Transport, args: &[&str]) -> Value {
    let args = [args, &["--duration", "300ms"]].concat();
    let results = bench_at(&broker.url(transport), &args).await.exits(0).json();
    for mistake in ["errors", "lost", "duplicates", "out_of_order", "wrong", "connections_lost"] {
        assert_eq!(results["checks"][mistake], 0, "{mistake} in {results}");
    }
    assert!(results["first_problem"].is_null(), "{results}");
    results
}

/// One of what was counted from beginning to end.
fn check(results: &Value, name: &str) -> u64 {
    results["checks"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {results}"))
}

/// Asserts that something was measured, and that the figures fit together.
#[track_caller]
fn is_sensible(results: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {results}"));
    let completed = number(&results["completed"]);
    let rate = completed / number(&results["seconds"]);
    assert!(completed > 0.0 && (number(&results["per_second"]) - rate).abs() <= rate / 1000.0, "{results}");
    assert!(number(&results["bytes_sent"]) > 0.0 && number(&results["bytes_received"]) > 0.0, "{results}");
    let latency = &results["latency_us"];
    let quantiles: Vec<f64> =
        ["p50", "p90", "p99", "p99_9", "max"].iter().map(|name| number(&latency[*name])).collect();
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{results}");
    assert!(number(&results["client"]["cpu_seconds"]) > 0.0, "{results}");
}

#[tokio::test]
async fn rpc_is_answered_request_by_request() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let results = good(&broker, transport, &["rpc", "--connections", "3", "--depth", "4"]).await;
        is_sensible(&results);
        assert_eq!(check(&results, "sent"), check(&results, "answered"), "{results}");
        let settings = &results["settings"];
        assert_eq!((settings["connections"].as_u64(), settings["depth"].as_u64()), (Some(3), Some(4)));
        assert_eq!((&settings["command"], &settings["scenario"]), (&"core/core/ping".into(), &"rpc".into()));
        assert!(results["broker"].is_null() && results["verdict"].is_string(), "{results}");
    })
    .await;
}

#[tokio::test]
async fn rpc_takes_any_command_and_compares_an_echo() {
    let broker = Broker::start(Options::fixture()).await;
    let echo = ["rpc", "fixture/core/echo", "--connections", "2", "--echo"];
    let data = [&echo[..], &["{\"n\": 12345678901234567890}"]].concat();
    is_sensible(&good(&broker, Transport::Tcp, &data).await);
    is_sensible(&good(&broker, Transport::Ws, &[&echo[..], &["--payload", "5000"]].concat()).await);
    let ping = ["rpc", "core/core/ping", "{\"a\":1}", "--echo", "--connections", "1", "--duration", "100ms"];
    let output = bench_at(&broker.url(Transport::Ws), &ping).await.exits(1);
    assert!(output.json()["checks"]["wrong"].as_u64() > Some(0), "{output:?}");
}

#[tokio::test]
async fn an_error_answer_is_a_failure() {
    let broker = Broker::start(Options::default()).await;
    let args = ["rpc", "core/none/such", "--connections", "1", "--duration", "100ms"];
    let output = bench_at(&broker.url(Transport::Ws), &args).await.exits(1);
    assert!(check(&output.json(), "errors") > 0, "{output:?}");
    assert!(output.stderr.contains("errors") && output.stderr.contains("100042"), "{output:?}");
}

#[tokio::test]
async fn commands_go_to_another_session_and_back() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let results = good(&broker, transport, &["cmd", "--connections", "4", "--payload", "100"]).await;
        is_sensible(&results);
        assert_eq!(check(&results, "sent"), check(&results, "answered"), "{results}");
    })
    .await;
}

#[tokio::test]
async fn every_event_reaches_every_subscriber() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for mode in ["--ack", "--push"] {
            for depth in ["1", "20"] {
                let args = ["fanout", mode, "--connections", "5", "--publishers", "2", "--depth", depth];
                let results = good(&broker, transport, &args).await;
                is_sensible(&results);
                assert_eq!(check(&results, "delivered"), check(&results, "sent") * 5, "{results}");
                assert_eq!(results["settings"]["mode"], mode.trim_start_matches('-'));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn idle_sessions_are_weighed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let pid = broker.pid().to_string();
        let results = good(&broker, transport, &["idle", "--connections", "200", "--pid", &pid]).await;
        assert!(results["broker"]["resident_bytes"].as_u64() > Some(1_000_000), "{results}");
        let each = results["broker"]["resident_bytes_per_session"].as_f64().unwrap();
        assert!(each > 0.0 && each < 1e6, "{results}");
        assert!(results["latency_us"].is_null() && results["completed"] == 0, "{results}");
    })
    .await;
}

#[tokio::test]
async fn clients_come_and_go() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let results = good(&broker, transport, &["churn", "--connections", "4"]).await;
        is_sensible(&results);
        assert_eq!(check(&results, "sent"), check(&results, "answered"), "{results}");
        let mut ann = broker.login(transport, "ann").await;
        let users = ann.ok("core/user/list", serde_json::json!({})).await;
        assert_eq!(users.as_object().map(serde_json::Map::len), Some(1), "{users}");
    })
    .await;
}

#[tokio::test]
async fn tls_is_spoken() {
    let broker = Broker::start(Options::default().with_tls()).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, tls::AUTHORITY.pem()).unwrap();
    for transport in [Transport::Wss, Transport::Tls] {
        let args = ["rpc", "--connections", "2", "--ca", ca.to_str().unwrap()];
        is_sensible(&good(&broker, transport, &args).await);
    }
}

#[tokio::test]
async fn a_rate_is_kept_to() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        for scenario in ["rpc", "cmd", "fanout", "churn"] {
            let results = good(&broker, transport, &[scenario, "--connections", "2", "--rate", "100"]).await;
            // 50 ms and 300 ms of load; more only if the machine was too busy to end it in time.
            let sent = check(&results, "sent");
            let due = sent + check(&results, "unsent");
            assert!(sent > 0 && due >= 34, "{results}");
            assert_eq!(results["settings"]["rate"], 100.0);
            let load = results["seconds"].as_f64().unwrap() + 0.05;
            assert!(due as f64 <= load * 100.0 + 500.0, "far more than the rate: {results}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_brokers_cpu_time_is_counted() {
    let broker = Broker::start(Options::default()).await;
    let pid = broker.pid().to_string();
    let results = good(&broker, Transport::Ws, &["rpc", "--pid", &pid, "--connections", "4"]).await;
    let used = results["broker"]["cpu_seconds"].as_f64().unwrap();
    let rate = results["broker"]["per_cpu_second"].as_f64();
    assert_eq!(rate.is_some(), used > 0.0, "{results}");
    assert!(results["verdict"].as_str().unwrap().contains("the broker"), "{results}");
}

#[tokio::test]
async fn people_get_a_table() {
    let broker = Broker::start(Options::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let url = broker.url(Transport::Ws);
    let args = ["bench", "rpc", "--url", &url, "--duration", "100ms", "--warmup", "0s", "--connections", "1"];
    let output = jackfield(directory.path(), &args).await.exits(0);
    for word in ["rpc at", "completed", "p99.9", "all well", "limit"] {
        assert!(output.stdout.contains(word), "{word} in\n{}", output.stdout);
    }
    assert_eq!(output.stderr, "", "a bar is for terminals");
}

#[tokio::test]
async fn wrong_usage_starts_nothing() {
    for args in [
        &["none"][..],
        &["rpc", "--connections", "0"],
        &["rpc", "--payload", "1"],
        &["rpc", "--duration", "0s"],
        &["rpc", "--rate", "-1"],
        &["rpc", "--pid", "0"],
        &["rpc", "core/core/ping", "{x"],
        &["rpc", "core/core/ping", "{}", "--payload", "200"],
        &["cmd", "--connections", "3"],
        &["fanout", "--ack", "--push"],
        &["idle", "--depth", "1"],
        &["churn", "--payload", "200"],
        &["rpc", "--url", "http://127.0.0.1"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let output = jackfield(directory.path(), &[&["bench"], args].concat()).await.exits(2);
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for scenario in ["rpc", "churn"] {
        let output = bench_at(&format!("tcp://{nobody}"), &[scenario]).await.exits(1);
        assert!(output.stderr.contains("connect"), "{output:?}");
    }
}

#[tokio::test]
async fn a_broker_that_goes_ends_the_load() {
    on_both(async |transport| {
        let mut broker = Broker::start(Options::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let url = broker.url(transport);
        let args = ["bench", "rpc", "--connections", "2", "--duration", "5m", "--json", "--url", &url];
        let bench = jackfield_command(directory.path(), &args).spawn().unwrap();
        let mut ann = broker.login(transport, "ann").await;
        within("the load's sessions", async {
            loop {
                let users = ann.ok("core/user/list", serde_json::json!({})).await;
                if users["cli"].as_array().is_some_and(|sessions| sessions.len() == 2) {
                    return;
                }
            }
        })
        .await;
        broker.terminate();
        broker.exit_code().await;
        let output = within("the load's end", bench.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let results: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(check(&results, "connections_lost") + check(&results, "errors") > 0, "{results}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("not all went well"), "{output:?}");
    })
    .await;
}

/// What becomes of event number 3 and of the one behind it.
type Fate = fn(u64, &str) -> Vec<String>;

/// Serves lines: every event goes to every subscriber, by `fate`.
async fn false_fanout(fate: Fate) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let events = broadcast::Sender::<String>::new(1000);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(false_session(stream, events.clone(), fate));
        }
    });
    url
}

async fn false_session(stream: TcpStream, events: broadcast::Sender<String>, fate: Fate) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut subscription = None;
    loop {
        let subscribed = subscription.is_some();
        let line = tokio::select! {
            Ok(Some(line)) = lines.next_line() => line,
            Ok(event) = next_event(&mut subscription), if subscribed => {
                if writer.write_all(event.as_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
            else => return,
        };
        let request: Value = serde_json::from_str(&line).unwrap();
        let Some(cmd) = request["cmd"].as_str() else { continue };
        let tid = request["tid"].as_u64().unwrap();
        if cmd == "subscribe" {
            subscription = Some(events.subscribe());
        }
        let data = if cmd == "login" { "{\"session_id\":\"s\"}" } else { "{}" };
        let answer = format!("{{\"result\":\"ok\",\"data\":{data},\"tid\":{tid}}}\n");
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if cmd == "send_event" {
            let event = format!("{{\"class\":\"core\",\"cmd\":\"event\",\"data\":{}}}\n", request["data"]);
            for event in fate(tid, &event) {
                events.send(event).ok();
            }
        }
    }
}

async fn next_event(
    subscription: &mut Option<broadcast::Receiver<String>>,
) -> Result<String, broadcast::error::RecvError> {
    subscription.as_mut().unwrap().recv().await
}

/// Another number in the event's payload.
fn renumbered(event: &str, from: u64, to: u64) -> String {
    event.replace(&format!("-{from:016x}-"), &format!("-{to:016x}-"))
}

#[tokio::test]
async fn a_broker_that_mixes_up_events_is_found_out() {
    let cases: [(&str, u64, Fate); 5] = [
        ("", 0, |_, event| vec![event.into()]),
        ("lost", 1, |number, event| if number == 3 { vec![] } else { vec![event.into()] }),
        ("duplicates", 1, |number, event| vec![event.into(); if number == 3 { 2 } else { 1 }]),
        ("out_of_order", 1, |number, event| {
            // Numbers 3 and 4 change places.
            let swapped = renumbered(event, number, 7 - number.clamp(3, 4));
            vec![if (3..=4).contains(&number) { swapped } else { event.into() }]
        }),
        ("wrong", 1, |number, event| {
            let garbled = event.replace("\"bench\":", "\"Bench\":");
            if number == 3 { vec![garbled, event.into()] } else { vec![event.into()] }
        }),
    ];
    for (mistake, count, fate) in cases {
        let url = false_fanout(fate).await;
        let args = [
            "fanout",
            "--push",
            "--connections",
            "1",
            "--rate",
            "200",
            "--duration",
            "100ms",
            "--timeout",
            "1s",
        ];
        let output = bench_at(&url, &args).await.exits(if count > 0 { 1 } else { 0 });
        let results = output.json();
        assert!(check(&results, "sent") > 5, "{results}");
        for other in ["errors", "lost", "duplicates", "out_of_order", "wrong", "connections_lost"] {
            let expected = if other == mistake { count } else { 0 };
            assert_eq!(check(&results, other), expected, "{other} for {mistake} in {results}");
        }
    }
}

/// What a server that only looks like a broker answers the request of this id; `None` is nothing.
type Answers = fn(u64) -> Option<String>;

/// Serves lines: the login well, the rest by `answers`.
async fn false_broker(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let request: Value = serde_json::from_str(&line).unwrap();
                    let answer = if request["cmd"] == "login" {
                        Some("{\"result\":\"ok\",\"data\":{\"session_id\":\"s\"},\"tid\":0}\n".into())
                    } else {
                        answers(request["tid"].as_u64().unwrap())
                    };
                    if writer.write_all(answer.unwrap_or_default().as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

fn ok(tid: u64) -> String {
    format!("{{\"result\":\"ok\",\"tid\":{tid}}}\n")
}

#[tokio::test]
async fn a_broker_that_answers_wrongly_is_found_out() {
    let cases: [(&str, Answers); 5] = [
        ("lost", |tid| (tid != 3).then(|| ok(tid))),
        ("duplicates", |tid| Some(if tid == 3 { ok(3) + &ok(3) } else { ok(tid) })),
        ("errors", |tid| {
            Some(if tid == 3 {
                "{\"result\":\"error\",\"data\":{\"code\":1},\"tid\":3}\n".into()
            } else {
                ok(tid)
            })
        }),
        ("wrong", |tid| Some(if tid == 3 { ok(3) + "{\"hello\":1}\n" } else { ok(tid) })),
        ("wrong", |tid| Some(if tid == 3 { ok(3) + &ok(1 << 60) } else { ok(tid) })),
    ];
    for (mistake, answers) in cases {
        let url = false_broker(answers).await;
        let args = ["rpc", "--connections", "1", "--duration", "100ms", "--timeout", "1s"];
        let output = bench_at(&url, &args).await.exits(1);
        assert_eq!(check(&output.json(), mistake), 1, "{mistake} in {output:?}");
        assert!(output.stderr.contains(&format!("1 {mistake}")), "{output:?}");
    }
    let url = false_broker(|tid| Some(ok(tid))).await;
    bench_at(&url, &["rpc", "--connections", "1", "--duration", "100ms"]).await.exits(0);
}
