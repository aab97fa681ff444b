//! Failed logins cost the one who fails, and nobody else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, Broker, Options, code, error_of, on_both};

fn wrong() -> Value {
    json!({"user": "admin", "password": "wrong"})
}

#[tokio::test]
async fn each_failure_is_answered_later_than_the_one_before() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        let start = Instant::now();
        for least in [100, 300, 700, 1500] {
            assert_eq!(client.err("core/user/login", wrong()).await.0, code::UNAUTHORIZED);
            // The clocks of two processes may differ by a little in what they call a millisecond.
            assert!(
                start.elapsed() >= Duration::from_millis(least - 5),
                "{:?} for {least} ms",
                start.elapsed()
            );
        }
        let again = Instant::now();
        client.login_with(json!({"user": "admin", "password": ADMIN_PASSWORD})).await;
        assert!(again.elapsed() < Duration::from_millis(1500), "a login that succeeds is not delayed");
    })
    .await;
}

#[tokio::test]
async fn nobody_else_is_slowed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut slow = broker.connect(transport).await;
        let start = Instant::now();
        let mut tids = Vec::new();
        for _ in 0..5 {
            tids.push(slow.start("core/user/login", wrong()).await);
        }
        let mut quick = broker.connect(transport).await;
        quick.login_with(json!({"user": "admin", "password": ADMIN_PASSWORD})).await;
        quick.ok("core/user/list", json!({})).await;
        let others = start.elapsed();
        for tid in tids {
            assert_eq!(error_of(&slow.response(tid).await).0, code::UNAUTHORIZED);
        }
        assert!(start.elapsed() >= Duration::from_millis(3095), "{:?}", start.elapsed());
        assert!(others < start.elapsed(), "{others:?}");
        assert!(others < Duration::from_millis(3000), "{others:?}");
    })
    .await;
}

/// Slow by its nature: the eight delays are 19.1 seconds.
#[tokio::test]
async fn the_eighth_failure_ends_the_connection() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("timeouts.login=120s")).await;
        let mut ann = broker.login(transport, "ann").await;
        let mut bob = broker.login(transport, "bob").await;
        let mut client = broker.connect(transport).await;
        for _ in 0..8 {
            assert_eq!(client.err("core/user/login", wrong()).await.0, code::UNAUTHORIZED);
            ann.ok("core/user/send_event", json!({"user": "bob", "type": "still-here"})).await;
            assert_eq!(bob.event().await["type"], "still-here");
        }
        client.expect_closed_as(4003, "unauthorized").await;
        broker.admin(transport).await;
    })
    .await;
}

#[tokio::test]
async fn a_malformed_login_is_no_failure() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        let start = Instant::now();
        for _ in 0..6 {
            assert_eq!(client.err("core/user/login", json!({})).await.0, code::MISSING_FIELD);
            assert_eq!(client.err("core/user/login", json!({"user": 5})).await.0, code::SYNTAX_ERROR);
        }
        // Counted, eight of them would have ended the connection after 19 seconds.
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        client.login("ann").await;
    })
    .await;
}

#[tokio::test]
async fn a_limit_is_no_failure() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default().set("limits.connections_per_user=1")).await;
        let _ann = broker.login(transport, "ann").await;
        let mut client = broker.connect(transport).await;
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(client.err("core/user/login", json!({"user": "ann"})).await.0, code::LIMIT_EXCEEDED);
        }
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        client.login("bob").await;
    })
    .await;
}

#[tokio::test]
async fn what_is_pipelined_behind_a_login_waits_for_it() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        let login = client.start("core/user/login", json!({"user": "ann"})).await;
        let list = client.start("core/user/list", json!({})).await;
        assert_eq!(client.response(login).await["result"], "ok");
        assert_eq!(client.response(list).await["result"], "ok");
    })
    .await;
}

#[tokio::test]
async fn behind_a_login_that_fails_too() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut client = broker.connect(transport).await;
        let failing = client.start("core/user/login", wrong()).await;
        let list = client.start("core/user/list", json!({})).await;
        let login = client.start("core/user/login", json!({"user": "ann"})).await;
        let again = client.start("core/user/list", json!({})).await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            let answer = client.recv().await;
            answers.push((answer["tid"].as_u64().unwrap(), answer["data"]["code"].as_i64()));
        }
        let expected = [
            (failing, Some(code::UNAUTHORIZED)),
            (list, Some(code::NOT_AUTHENTICATED)),
            (login, None),
            (again, None),
        ];
        assert_eq!(answers, expected);
    })
    .await;
}
