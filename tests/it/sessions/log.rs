//! `core session log`: what clients write to the broker's log, and to every sink.

use serde_json::{Value, json};

use crate::support::{Broker, Options, code, on_both};

#[tokio::test]
async fn reaches_every_sink_as_it_was_sent() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        let rich = json!({"source": "kitchen", "message": "It burns", "level": 3, "full_message": "It burns\nbadly",
            "meta": {"room": "kitchen", "n.1-x_Y": 2, "list": [1, "x"], "flag": true}});
        assert_eq!(ann.ok("core/session/log", rich.clone()).await, json!({}));
        ann.ok("core/session/log", json!({"source": "hall", "message": "All is quiet"})).await;
        let both = |logged: &Value| logged["records"].as_array().is_some_and(|records| records.len() == 2);
        let logged = ann.until_ok("fixture/core/logged", json!({}), both).await;
        let [first, second] = &logged["records"].as_array().unwrap()[..] else { panic!("{logged}") };
        for (field, value) in rich.as_object().unwrap() {
            assert_eq!(&first[field], value, "{first}");
        }
        let (user, session) = (json!("ann"), json!(ann.session_id()));
        for record in [first, second] {
            assert_eq!((&record["user"], &record["session_id"]), (&user, &session));
        }
        assert_eq!((&second["source"], &second["message"]), (&json!("hall"), &json!("All is quiet")));
        assert_eq!(second["level"], 1);
        assert!(second["full_message"].is_null(), "{second}");
        assert!(second["meta"].is_null() || second["meta"] == json!({}), "{second}");
    })
    .await;
}

#[tokio::test]
async fn takes_the_levels_of_syslog() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for level in 0..=7 {
            ann.ok("core/session/log", json!({"source": "s", "message": "m", "level": level})).await;
        }
        for level in [-1, 8, 1000] {
            let error =
                ann.err("core/session/log", json!({"source": "s", "message": "m", "level": level})).await;
            assert_eq!(error, (code::INVALID_VALUE, "Invalid value: level".into()), "{level}");
        }
        let all = |logged: &Value| logged["records"].as_array().is_some_and(|records| records.len() == 8);
        let logged = ann.until_ok("fixture/core/logged", json!({}), all).await;
        let levels: Vec<_> =
            logged["records"].as_array().unwrap().iter().map(|r| r["level"].as_i64()).collect();
        assert_eq!(levels, (0..=7).map(Some).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn refuses_meta_keys_that_could_not_be_fields() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for key in ["id", "user", "session_id", "", "two words", "a/b", "é", "a:b", "line\n"] {
            let data = json!({"source": "s", "message": "m", "meta": {"good": 1, key: 2}});
            let error = ann.err("core/session/log", data).await;
            assert_eq!(error, (code::INVALID_VALUE, format!("Invalid value: meta.{key}")));
        }
        for key in ["ID", "_id", "users", "a.b-c_d", "0", "-"] {
            ann.ok("core/session/log", json!({"source": "s", "message": "m", "meta": {key: 2}})).await;
        }
    })
    .await;
}

#[tokio::test]
async fn lands_in_the_brokers_own_log() {
    on_both(async |transport| {
        for format in ["text", "json"] {
            let broker = Broker::start(Options::default().args(&["--log-format", format])).await;
            let mut ann = broker.login(transport, "ann@example.com").await;
            let data = json!({"source": "kitchen-7", "message": "The milk boils over", "level": 0,
                "full_message": "From the pot", "meta": {"pot": "blue-one", "litres": 2}});
            ann.ok("core/session/log", data).await;
            broker.logged("The milk boils over").await;
            let log = broker.log();
            let record = log.lines().find(|line| line.contains("The milk boils over")).unwrap();
            for fact in ["kitchen-7", "ann@example.com", ann.session_id(), "pot", "blue-one", "litres"] {
                assert!(record.contains(fact), "{fact} is not in {record}");
            }
        }
    })
    .await;
}

/// `level` is the log's own: the number of `core session log` stands beside it.
#[tokio::test]
async fn carries_user_session_source_and_level_in_json() {
    on_both(async |transport| {
        let broker =
            Broker::start(Options::default().args(&["--log-format", "json"]).env("RUST_LOG", "debug")).await;
        let mut ann = broker.login(transport, "ann").await;
        for (level, name) in [(0, "ERROR"), (3, "ERROR"), (4, "WARN"), (5, "INFO"), (6, "INFO"), (7, "DEBUG")]
        {
            let message = format!("of level {level}");
            ann.ok("core/session/log", json!({"source": "app", "message": message, "level": level})).await;
            broker.logged(&message).await;
            let log = broker.log();
            let line = log.lines().find(|line| line.contains(&message)).unwrap();
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&record["level"], &record["severity"]), (&json!(name), &json!(level)), "{line}");
            assert_eq!(line.matches("\"level\":").count(), 1, "{line}");
            let quoted = |text: &str| json!(format!("{text:?}"));
            assert_eq!(record["user"], quoted("ann"));
            assert_eq!(record["session_id"], quoted(ann.session_id()));
            assert_eq!(record["source"], quoted("app"));
        }
    })
    .await;
}

/// What a client writes stays one line, and is not taken for the broker's own words.
#[tokio::test]
async fn cannot_forge_a_line() {
    on_both(async |transport| {
        for format in ["text", "json"] {
            let broker = Broker::start(Options::default().args(&["--log-format", format])).await;
            let mut ann = broker.login(transport, "ann").await;
            let forged = "first half\n2026-01-01T00:00:00Z  INFO second half\x1b[31m";
            let data = json!({"source": forged, "message": forged, "meta": {"key": forged}});
            ann.ok("core/session/log", data).await;
            broker.logged("second half").await;
            let log = broker.log();
            assert!(!log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{log}");
            assert!(!log.contains('\u{1b}'), "{log:?}");
        }
    })
    .await;
}
