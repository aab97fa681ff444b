//! What the broker tells its operator: metrics, health, and never a secret.

mod secrets;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::{get, try_get};
use crate::support::{Broker, Client, Metrics, Options, Transport, eventually, on_both, pause, within};

/// The names that dashboards rely on.
mod name {
    pub const CONNECTIONS: &str = "jackfield_connections";
    pub const SESSIONS: &str = "jackfield_sessions";
    pub const REQUESTS: &str = "jackfield_requests_total";
    pub const PENDING: &str = "jackfield_requests_pending";
    pub const EVENTS_DELIVERED: &str = "jackfield_events_delivered_total";
    pub const EVENTS_DROPPED: &str = "jackfield_events_dropped_total";
    pub const BAD_INPUT: &str = "jackfield_bad_input_total";
    pub const FIXTURE_CALLS: &str = "jackfield_plugin_fixture_calls_total";
}

/// The fixture broker with its admin pages.
fn with_pages() -> Options {
    Options::fixture().set("admin.listen=http://127.0.0.1:0")
}

/// Reads the metrics until they are as wanted: counting may lag behind what is counted.
async fn until_metrics(broker: &Broker, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
    within(what, async {
        loop {
            let metrics = Metrics::of(broker).await;
            if wanted(&metrics) {
                return metrics;
            }
            pause(20).await;
        }
    })
    .await
}

/// Waits until a metric has this value.
async fn until_total(broker: &Broker, name: &str, value: f64) {
    until_metrics(broker, &format!("{name} to be {value}"), |metrics| equal(metrics.total(name), value))
        .await;
}

/// Counts are whole numbers.
fn equal(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.5
}

#[tokio::test]
async fn pages_are_off_unless_they_are_asked_for() {
    let broker = Broker::start(Options::default()).await;
    assert!(broker.ready().get("admin").is_none_or(Value::is_null), "{}", broker.ready());
}

#[tokio::test]
async fn every_metric_has_a_help_line_and_a_type() {
    let broker = Broker::start(with_pages()).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    ann.ok("fixture/core/echo", json!({})).await;
    ann.err("fixture/core/panic", json!({})).await;
    let metrics = Metrics::of(&broker).await;
    assert!(!metrics.samples.is_empty(), "no metrics");
    for series in metrics.samples.keys() {
        let sample = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.strip_suffix(suffix));
        let family = family.filter(|family| metrics.types.contains_key(*family)).unwrap_or(sample);
        assert!(metrics.help.get(family).is_some_and(|help| !help.is_empty()), "{family} has no help line");
        let kind = metrics.types.get(family).unwrap_or_else(|| panic!("{family} has no type"));
        assert!(
            ["counter", "gauge", "histogram", "summary"].contains(&kind.as_str()),
            "{family} is a {kind}"
        );
        assert_eq!(kind == "counter", family.ends_with("_total"), "{family} is a {kind}");
    }
    let described: BTreeSet<_> = metrics.help.keys().collect();
    assert_eq!(described, metrics.types.keys().collect::<BTreeSet<_>>());
}

#[tokio::test]
async fn connections_and_sessions_are_counted() {
    on_both(async |transport| {
        let broker = Broker::start(with_pages()).await;
        until_total(&broker, name::CONNECTIONS, 0.0).await;
        let ann = broker.login(transport, "ann").await;
        let bob = broker.login(transport, "bob").await;
        let anonymous = broker.connect(transport).await;
        until_total(&broker, name::CONNECTIONS, 3.0).await;
        until_total(&broker, name::SESSIONS, 2.0).await;
        drop((ann, anonymous));
        until_total(&broker, name::CONNECTIONS, 1.0).await;
        until_total(&broker, name::SESSIONS, 1.0).await;
        drop(bob);
        until_total(&broker, name::CONNECTIONS, 0.0).await;
        until_total(&broker, name::SESSIONS, 0.0).await;
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted() {
    on_both(async |transport| {
        let broker = Broker::start(with_pages()).await;
        let mut ann = broker.login(transport, "ann").await;
        let before = Metrics::of(&broker).await;
        for _ in 0..20 {
            ann.ok("fixture/core/echo", json!({})).await;
        }
        let grown = |metrics: &Metrics, name: &str| metrics.total(name) - before.total(name);
        until_metrics(&broker, "20 requests", |metrics| grown(metrics, name::REQUESTS) > 19.5).await;
        let metrics = Metrics::of(&broker).await;
        assert!(equal(grown(&metrics, name::REQUESTS), 20.0), "{}", metrics.text);
        assert!(
            equal(grown(&metrics, name::FIXTURE_CALLS), 20.0),
            "a plugin's own counter: {}",
            metrics.text
        );
    })
    .await;
}

#[tokio::test]
async fn requests_that_wait_are_counted_as_long_as_they_do() {
    let broker = Broker::start(with_pages()).await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    let mut bob = broker.login(Transport::Tcp, "bob").await;
    let data = json!({"session_id": bob.session_id(), "class": "app", "cmd": "do"});
    let relayed = ann.start("core/session/cmd", data.clone()).await;
    let first = bob.next_request().await;
    until_total(&broker, name::PENDING, 1.0).await;
    let handled = ann.start("fixture/core/ask", data.clone()).await;
    let second = bob.next_request().await;
    until_total(&broker, name::PENDING, 2.0).await;
    bob.answer(&first, json!({})).await;
    assert_eq!(ann.response(relayed).await["result"], "ok");
    until_total(&broker, name::PENDING, 1.0).await;
    bob.answer(&second, json!({})).await;
    assert_eq!(ann.response(handled).await["result"], "ok");
    until_total(&broker, name::PENDING, 0.0).await;
    ann.start("core/session/cmd", data).await;
    bob.next_request().await;
    until_total(&broker, name::PENDING, 1.0).await;
    drop(ann);
    until_total(&broker, name::PENDING, 0.0).await;
}

#[tokio::test]
async fn events_are_counted() {
    on_both(async |transport| {
        let broker = Broker::start(with_pages()).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut receivers = Vec::new();
        for _ in 0..3 {
            let mut client = broker.login(transport, "bob").await;
            client.ok("core/event/subscribe", json!({"class": "c"})).await;
            receivers.push(client);
        }
        let before = Metrics::of(&broker).await.total(name::EVENTS_DELIVERED);
        for _ in 0..10 {
            ann.ok("core/event/send_event", json!({"class": "c"})).await;
            ann.ok("core/event/send_event", json!({"class": "nobody"})).await;
        }
        until_total(&broker, name::EVENTS_DELIVERED, before + 30.0).await;
        assert!(equal(Metrics::of(&broker).await.total(name::EVENTS_DROPPED), 0.0), "nothing was dropped");
    })
    .await;
}

/// What a slow consumer did not get is counted, with the reason.
#[tokio::test]
async fn what_is_dropped_is_counted_by_its_reason() {
    on_both(async |transport| {
        let options = with_pages().set("limits.outbound_bytes=262144").set("timeouts.answer=60s");
        let broker = Broker::start(options).await;
        let mut stalled = Client::connect_narrow(&broker.url(transport)).await;
        stalled.login("stalled").await;
        stalled.ok("core/event/subscribe", json!({"class": "c"})).await;
        let mut ann = broker.login(transport, "ann").await;
        let bulk = "x".repeat(100_000);
        for _ in 0..200 {
            ann.ok("core/event/send_event", json!({"class": "c", "body": {"bulk": bulk}})).await;
        }
        until_metrics(&broker, "a drop", |metrics| {
            metrics.labelled(name::EVENTS_DROPPED, "reason", "slow_consumer") > 0.5
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_filters_drop_is_counted() {
    on_both(async |transport| {
        let broker = Broker::start(with_pages()).await;
        let mut deaf = broker.login(transport, "deaf").await;
        deaf.ok("core/event/subscribe", json!({"class": "fixture-change"})).await;
        for class in ["fixture-drop", "fixture-change"] {
            deaf.ok("core/event/send_event", json!({"class": class})).await;
        }
        until_metrics(&broker, "two drops", |metrics| {
            equal(metrics.labelled(name::EVENTS_DROPPED, "reason", "filtered"), 2.0)
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn answers_that_nobody_waits_for_are_counted() {
    on_both(async |transport| {
        let broker = Broker::start(with_pages()).await;
        let mut ann = broker.login(transport, "ann").await;
        let counted = |metrics: &Metrics| metrics.labelled(name::BAD_INPUT, "kind", "unknown_tid");
        let before = counted(&Metrics::of(&broker).await);
        for n in 0..7 {
            ann.send(&json!({"result": "ok", "tid": format!("nobody-{n}")})).await;
            ann.send(&json!({"ack": 900_000_000 + n})).await;
        }
        ann.ok("core/core/ping", json!({})).await;
        until_metrics(&broker, "14 answers", |metrics| equal(counted(metrics), before + 14.0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_runs_is_live_and_ready() {
    let broker = Broker::start(with_pages()).await;
    for page in ["health/live", "health/ready"] {
        let found = get(&format!("{}/{page}", broker.admin_url())).await;
        assert_eq!(found.status, 200, "{page}: {}", found.body);
    }
    for page in ["", "health", "health/dead", "metrics/more"] {
        assert_eq!(get(&format!("{}/{page}", broker.admin_url())).await.status, 404, "{page}");
    }
}

#[tokio::test]
async fn one_that_drains_is_live_but_not_ready() {
    let mut broker = Broker::start(with_pages()).await;
    let mut ann = broker.login(Transport::Ws, "ann").await;
    let under_way = ann.start("fixture/core/sleep", json!({"ms": 1500})).await;
    ann.ok("core/core/ping", json!({})).await;
    broker.terminate();
    assert_eq!(ann.event().await["type"], "stopping");
    let ready = get(&format!("{}/health/ready", broker.admin_url())).await;
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert_eq!(get(&format!("{}/health/live", broker.admin_url())).await.status, 200);
    assert_eq!(ann.response(under_way).await["data"], json!({"slept": 1500}));
    assert_eq!(broker.exit_code().await, Some(0));
    assert!(
        try_get(&format!("{}/health/live", broker.admin_url())).await.is_err(),
        "nobody is there any more"
    );
}

/// Whoever reads a page slowly, or sends nonsense there, disturbs no session.
#[tokio::test]
async fn pages_disturb_nobody() {
    let broker = Broker::start(with_pages()).await;
    let authority = broker.admin_url().strip_prefix("http://").unwrap().to_string();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(tokio::net::TcpStream::connect(&authority).await.unwrap());
    }
    let mut nonsense = tokio::net::TcpStream::connect(&authority).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut nonsense, b"\0\xff{}\r\n\r\n").await.unwrap();
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    ann.ok("core/user/list", json!({})).await;
    assert_eq!(get(&format!("{}/health/live", broker.admin_url())).await.status, 200);
}

#[tokio::test]
async fn the_log_as_json_names_where_the_broker_listens() {
    let broker = Broker::start(with_pages().args(&["--log-format", "json"])).await;
    let urls = [broker.url(Transport::Ws), broker.url(Transport::Tcp), broker.admin_url()];
    let addresses: Vec<&str> = urls.iter().map(|url| url.split_once("://").unwrap().1).collect();
    eventually("every address in the log", || addresses.iter().all(|address| broker.log().contains(address)))
        .await;
    for line in broker.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line.is_object() && line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

/// A user may be called anything: not even at level `DEBUG` does a name look like a line of the broker's.
#[tokio::test]
async fn a_users_name_is_quoted_in_the_log() {
    let broker = Broker::start(Options::default().env("RUST_LOG", "debug")).await;
    let mut ann = broker.connect(Transport::Tcp).await;
    ann.login_with(json!({"user": "ann\n2026-01-01T00:00:00Z  INFO forged"})).await;
    drop(ann);
    broker.logged("session ended").await;
    assert!(broker.log().contains("forged"));
    assert!(!broker.log().lines().any(|line| line.starts_with("2026-01-01")), "{}", broker.log());
}
