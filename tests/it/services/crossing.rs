//! `service` in an event command: reaching another service of the same broker.

use serde_json::json;

use super::{publish, side, subscribe, two_services};
use crate::support::{ADMIN_PASSWORD, Broker, Client, Options, Transport, code, on_both};

/// The administrator in `main`, and an ordinary session in each service.
async fn three(broker: &Broker, transport: Transport) -> (Client, Client, Client) {
    let admin = broker.admin(transport).await;
    let here = broker.login(transport, "ann").await;
    let there = broker.service("side").login(transport, "bob").await;
    (admin, here, there)
}

#[tokio::test]
async fn an_event_may_be_sent_to_another_service() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (mut admin, mut here, mut there) = three(&broker, transport).await;
        for client in [&mut admin, &mut here, &mut there] {
            subscribe(client, json!({"class": "c"})).await;
        }
        publish(&mut admin, json!({"class": "c", "type": "t", "service": "side"})).await;
        assert_eq!(there.event().await, json!({"class": "c", "type": "t"}), "its own service is not named");
        for client in [&mut admin, &mut here] {
            client.expect_no_event().await;
        }
    })
    .await;
}

#[tokio::test]
async fn another_services_events_may_be_subscribed_to() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (mut admin, mut here, mut there) = three(&broker, transport).await;
        subscribe(&mut admin, json!({"class": "c", "service": "side", "body": {"of": "side"}})).await;
        publish(&mut here, json!({"class": "c"})).await;
        admin.expect_no_event().await;
        publish(&mut there, json!({"class": "c", "type": "t"})).await;
        let expected = json!({"class": "c", "type": "t", "service": "side", "body": {"of": "side"}});
        assert_eq!(admin.event().await, expected);

        let listed = admin.ok("core/event/get_subscriptions", json!({})).await;
        let found =
            listed.as_array().unwrap().iter().find(|each| each["class"] == "c").expect("it is listed");
        let expected = json!({"class": "c", "subclass": "*", "type": "*", "obj_id": "*", "service": "side",
            "body": {"of": "side"}});
        assert_eq!(*found, expected);

        admin.ok("core/event/unsubscribe", json!({"class": "c"})).await;
        publish(&mut there, json!({"class": "c"})).await;
        assert_eq!(admin.event().await["service"], "side", "the service is one of the fields");
        admin.ok("core/event/unsubscribe", json!({"class": "c", "service": "side"})).await;
        publish(&mut there, json!({"class": "c"})).await;
        admin.expect_no_event().await;
    })
    .await;
}

#[tokio::test]
async fn a_star_is_every_service() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (mut admin, mut here, mut there) = three(&broker, transport).await;
        for client in [&mut here, &mut there] {
            subscribe(client, json!({"class": "c"})).await;
        }
        subscribe(&mut admin, json!({"class": "c", "service": "*"})).await;
        publish(&mut here, json!({"class": "c", "type": "here"})).await;
        assert_eq!(admin.event().await, json!({"class": "c", "type": "here"}));
        publish(&mut there, json!({"class": "c", "type": "there"})).await;
        assert_eq!(admin.event().await, json!({"class": "c", "type": "there", "service": "side"}));
        assert_eq!(here.events_so_far().await, [json!({"class": "c", "type": "here"})]);
        assert_eq!(there.events_so_far().await, [json!({"class": "c", "type": "there"})]);

        publish(&mut admin, json!({"class": "c", "type": "all", "service": "*"})).await;
        for client in [&mut here, &mut there] {
            assert_eq!(client.events_so_far().await, [json!({"class": "c", "type": "all"})]);
        }
        let own = admin.events_so_far().await;
        assert_eq!(own.len(), 1, "once: {own:?}");
    })
    .await;
}

#[tokio::test]
async fn once_per_session_however_many_services_match() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (mut admin, _here, mut there) = three(&broker, transport).await;
        for service in ["main", "side", "*"] {
            subscribe(&mut admin, json!({"class": "c", "service": service})).await;
            subscribe(&mut admin, json!({"class": "c", "type": "t", "service": service})).await;
        }
        subscribe(&mut admin, json!({"class": "*", "type": "t", "service": "*"})).await;
        for (n, service) in ["main", "side", "*"].iter().enumerate() {
            let event = json!({"class": "c", "type": "t", "service": service, "body": {"n": n}});
            publish(&mut admin, event).await;
        }
        publish(&mut there, json!({"class": "c", "type": "t", "body": {"n": 3}})).await;
        let numbers: Vec<_> =
            admin.events_so_far().await.iter().map(|event| event["body"]["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn ones_own_service_needs_no_permission() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (_admin, mut here, mut there) = three(&broker, transport).await;
        for (client, service) in [(&mut here, "main"), (&mut there, "side")] {
            subscribe(client, json!({"class": "c", "service": service})).await;
            publish(client, json!({"class": "c", "service": service})).await;
            assert_eq!(client.events_so_far().await, [json!({"class": "c"})]);
        }
    })
    .await;
}

#[tokio::test]
async fn permission_is_asked_for_first() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (mut admin, mut here, mut there) = three(&broker, transport).await;
        subscribe(&mut there, json!({"class": "c"})).await;
        for command in ["core/event/subscribe", "core/event/send_event", "core/event/send"] {
            for service in ["side", "nowhere", "*"] {
                let error = here.err(command, json!({"class": "c", "service": service})).await;
                assert_eq!(error, (code::UNAUTHORIZED, "Unauthorized".into()), "{command} {service}");
            }
            let error = admin.err(command, json!({"class": "c", "service": "nowhere"})).await;
            assert_eq!(error, (code::SERVICE_NOT_FOUND, "Service not found".into()));
        }
        there.expect_no_event().await;
    })
    .await;
}

/// `service:NAME` stands beside what the topic needs.
#[tokio::test]
async fn a_rule_may_give_a_service() {
    on_both(async |transport| {
        let rules = r#"
            [[service.main.rule]]
            user = "one"
            allow = ["service:side"]
            [[service.main.rule]]
            user = "all"
            allow = ["service:*"]
            [[service.main.rule]]
            user = "no-topic"
            allow = ["service:*"]
            deny = ["publish:c/**", "subscribe:c/**"]
        "#;
        let config = format!("{rules}\n{}", side(&["auth-open"], ADMIN_PASSWORD));
        let broker = Broker::start(Options::default().config(&config)).await;
        for (user, service, expected) in [
            ("one", "side", "ok"),
            ("one", "*", "unauthorized"),
            ("one", "nowhere", "unauthorized"),
            ("all", "side", "ok"),
            ("all", "*", "ok"),
            ("all", "nowhere", "unknown"),
            ("no-topic", "side", "unauthorized"),
            ("no-topic", "*", "unauthorized"),
        ] {
            let mut client = broker.login(transport, user).await;
            for command in ["core/event/subscribe", "core/event/send_event"] {
                let answer = client.request(command, json!({"class": "c", "service": service})).await;
                let found = match answer["data"]["code"].as_i64() {
                    None => "ok",
                    Some(code::UNAUTHORIZED) => "unauthorized",
                    Some(code::SERVICE_NOT_FOUND) => "unknown",
                    Some(_) => panic!("{answer}"),
                };
                assert_eq!(found, expected, "{user} {command} {service}");
            }
        }
    })
    .await;
}

/// Who may reach another service may still not speak there as the broker.
#[tokio::test]
async fn class_core_is_the_brokers_in_every_service() {
    on_both(async |transport| {
        let rule = "[[service.main.rule]]\nuser = \"*\"\nallow = [\"service:*\", \"publish:**\"]\n";
        let config = format!("{rule}{}", side(&["auth-open"], ADMIN_PASSWORD));
        let broker = Broker::start(Options::default().config(&config)).await;
        let (_admin, mut here, mut there) = three(&broker, transport).await;
        for service in ["side", "*"] {
            let event =
                json!({"class": "core", "subclass": "user_event", "obj_id": "bob", "service": service});
            assert_eq!(here.err("core/event/send_event", event).await.0, code::UNAUTHORIZED);
        }
        there.expect_no_event().await;
    })
    .await;
}

/// A session that listens to another service ends as any other does, its subscriptions with it.
#[tokio::test]
async fn subscriptions_elsewhere_end_with_the_session() {
    on_both(async |transport| {
        let broker = two_services().await;
        let (mut admin, _here, mut there) = three(&broker, transport).await;
        let login = json!({"user": "admin", "password": ADMIN_PASSWORD, "session_id": "again"});
        let mut first = broker.connect(transport).await;
        first.login_with(login.clone()).await;
        subscribe(&mut first, json!({"class": "c", "service": "side"})).await;
        admin.ok("core/session/stop", json!({"session_id": "again"})).await;
        first.drain().await;
        let mut second = broker.connect(transport).await;
        second.login_with(login).await;
        publish(&mut there, json!({"class": "c"})).await;
        second.expect_no_event().await;
    })
    .await;
}
